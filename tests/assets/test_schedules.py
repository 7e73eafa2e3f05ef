"""What the sensor reports, and which days the schedules ask for: sealed ones, in order, none twice."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.schedules import nightly
from copytrader_assets.sensors import sealed_days
from tests.assets.conftest import Platform
from tests.assets.planted import day, event, seal

NIGHT = dt.datetime(2026, 3, 3, 1, 15, tzinfo=dt.UTC)
LEDGER = "events,trades,open_positions"
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def sensor_result(cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"warehouse": Warehouse()})
        result = sealed_days(context)
    assert isinstance(result, (dg.SensorResult, dg.SkipReason))
    return result


def test_the_sensor_reports_each_sealed_day_once_and_again_when_it_is_sealed_again(platform: Platform) -> None:
    assert isinstance(sensor_result(None), dg.SkipReason)
    platform.plant([event(1, "BUY", 1, 1)], day(0), day(1))
    first = sensor_result(None)
    assert isinstance(first, dg.SensorResult)
    assert [report.partition for report in first.asset_events] == [str(day(0)), str(day(1))]
    assert isinstance(sensor_result(first.cursor), dg.SkipReason)
    platform.execute("UPDATE ingest_days SET sealed_at = now() + interval '1 second' WHERE day = '2026-03-01'")
    again = sensor_result(first.cursor)
    assert isinstance(again, dg.SensorResult)
    assert [report.partition for report in again.asset_events] == [str(day(0))]


def test_the_sensor_keeps_days_before_the_first_partition_to_itself(platform: Platform) -> None:
    seal(platform.url, dt.date(2023, 12, 31))
    result = sensor_result(None)
    assert isinstance(result, dg.SensorResult) and result.asset_events == []


def tick(
    platform: Platform, nights_later: int = 0, under_way: dg.DagsterRunStatus | None = None
) -> dg.RunRequest | dg.SkipReason:
    """The schedule at 01:15 of the day after day(1), or of a later one; with a run in the status `under_way`."""
    with dg.DagsterInstance.local_temp() as instance:
        if under_way is not None:
            instance.add_run(dg.DagsterRun(job_name="daily", status=under_way))
        now = NIGHT + dt.timedelta(days=nights_later)
        resources = {"lake_folder": LakeFolder(root=str(platform.lake.root)), "warehouse": Warehouse()}
        # Entered, so that it lets go of its instance again: what is defined later would ask one that is gone.
        with dg.build_schedule_context(instance, resources=resources, scheduled_execution_time=now) as context:
            result = nightly(context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


def asked(request: dg.RunRequest | dg.SkipReason) -> tuple[str | None, ...]:
    """The first and the last day of the run."""
    assert isinstance(request, dg.RunRequest), request.skip_message
    if request.partition_key is not None:
        return request.partition_key, request.partition_key
    return request.tags[START], request.tags[END]


def why_not(result: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


def test_a_day_that_is_not_sealed_is_waited_for(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(0))
    platform.succeed(day(0), select=LEDGER)
    assert why_not(tick(platform)) == f"{day(1)} is not sealed; looking again in half an hour"
    platform.plant([], day(1))
    assert asked(tick(platform)) == (str(day(1)), str(day(1)))


def test_a_seal_that_ended_says_why(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(0), day(1))
    platform.succeed(day(0), select=LEDGER)
    platform.execute(
        "UPDATE ingest_days SET unsealed_at = now(), unsealed_reason = 'slots 5 to 9' WHERE day >= '2026-03-02'"
    )
    assert "slots 5 to 9" in why_not(tick(platform))


def test_a_computed_day_is_not_asked_for_again(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(0), day(1))
    platform.succeed(day(0), day(1), select=LEDGER)
    assert "every day up to 2026-03-02 is computed" in why_not(tick(platform))


def test_missed_days_are_caught_up_in_one_run(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], *map(day, range(4)))
    platform.succeed(day(0), select=LEDGER)
    assert asked(tick(platform, 2)) == (str(day(1)), str(day(3)))


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_what_is_left_of_the_days_of_a_run_is_not_asked_for_while_it_goes_on(
    platform: Platform, status: dg.DagsterRunStatus
) -> None:
    platform.plant([event(1, "BUY", 1, 1)], *map(day, range(4)))
    platform.succeed(day(0), select=LEDGER)
    assert "has not ended" in why_not(tick(platform, 2, under_way=status))
    assert asked(tick(platform, 2, under_way=dg.DagsterRunStatus.FAILURE)) == (str(day(1)), str(day(3)))


def test_catching_up_ends_before_the_first_day_that_is_not_sealed(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(0), day(1), day(3))
    platform.succeed(day(0), select=LEDGER)
    assert asked(tick(platform, 2)) == (str(day(1)), str(day(1)))


def test_the_first_night_begins_with_the_first_day_that_has_events(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(-3), *map(day, range(2)))
    assert asked(tick(platform)) == (str(day(0)), str(day(1)))


def test_late_events_bring_their_day_and_all_after_it_back(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(0), day(1))
    platform.succeed(day(0), day(1), select=LEDGER)
    platform.plant([event(2, "BUY", 1, 1)], day(0))
    assert asked(tick(platform)) == (str(day(0)), str(day(1)))


def test_a_new_seal_is_a_new_request_and_the_same_one_is_not(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(0), day(1))
    first, second = tick(platform), tick(platform)
    platform.execute("UPDATE ingest_days SET sealed_at = now() + interval '1 second'")
    third = tick(platform)
    assert isinstance(first, dg.RunRequest) and isinstance(second, dg.RunRequest) and isinstance(third, dg.RunRequest)
    assert first.run_key == second.run_key != third.run_key
