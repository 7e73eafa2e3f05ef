"""The code location as a user sees it: names, groups, jobs and crons; what the sensor and the schedule ask for."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import dagster as dg
import pytest

from copytrader_assets.definitions import build_defs
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.schedules import nightly, nightly_retention
from copytrader_assets.sensors import sealed_days
from tests.assets.conftest import Platform
from tests.assets.planted import day, event, seal

NIGHT = dt.datetime(2026, 3, 3, 1, 15, tzinfo=dt.UTC)


def test_the_assets_and_their_groups() -> None:
    graph = build_defs().resolve_asset_graph()
    found = {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert found == {
        "raw_events": "ingest",
        "events": "lake",
        "trades": "trades",
        "open_positions": "trades",
        "first_buys": "patterns",
        "wallet_links": "patterns",
        "follow_edges": "patterns",
        "leader_scores": "patterns",
        "entities": "patterns",
        "edge_validation": "patterns",
        "leader_inflow": "patterns",
        "inflow_calibration": "patterns",
        "wallet_patterns": "patterns",
        "wallet_windows": "patterns",
        "copies": "lake",
        "copy_exits": "lake",
        "leader_exits": "patterns",
        "exit_curves": "patterns",
        "copy_value": "patterns",
        "calibration": "patterns",
        "calibration_bins": "patterns",
        "pattern_release": "serving",
        "leader_links": "serving",
    }


def test_every_computed_asset_takes_a_range_in_one_run_and_has_a_description() -> None:
    graph = build_defs().resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.executable_asset_keys]
    assert {node.backfill_policy for node in nodes} == {dg.BackfillPolicy.single_run()}
    assert all(graph.get(key).description for key in graph.get_all_asset_keys())


def test_yesterdays_positions_are_the_parent_of_todays() -> None:
    graph = build_defs().resolve_asset_graph()
    key = dg.AssetKey("open_positions")
    assert key in graph.get(key).parent_keys
    mapping = graph.get_partition_mapping(key, parent_asset_key=key)
    assert (mapping.start_offset, mapping.end_offset) == (-1, -1)


def test_jobs_and_crons() -> None:
    definitions = build_defs()
    assert definitions.resolve_job_def("daily").partitions_def is not None
    assert (nightly.name, nightly.cron_schedule, nightly.execution_timezone) == ("nightly", "15 1 * * *", "UTC")
    assert (nightly_retention.name, nightly_retention.cron_schedule) == ("nightly_retention", "30 4 * * *")
    assert nightly_retention.default_status == dg.DefaultScheduleStatus.STOPPED
    assert definitions.resolve_job_def("retention").partitions_def is None
    assert (sealed_days.name, sealed_days.minimum_interval_seconds) == ("sealed_days", 60)


def test_the_definitions_need_no_database_to_be_imported() -> None:
    code = "import copytrader_assets.definitions"
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "COPYTRADER_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


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


def night_request(platform: Platform) -> dg.RunRequest:
    context = dg.build_schedule_context(
        scheduled_execution_time=NIGHT, resources={"lake_folder": LakeFolder(root=str(platform.lake.root))}
    )
    request = nightly(context)
    assert isinstance(request, dg.RunRequest)
    return request


def test_the_nightly_run_computes_yesterday(platform: Platform) -> None:
    assert night_request(platform).partition_key == "2026-03-02"


def test_the_nightly_run_includes_the_days_that_earlier_nights_missed(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1)], day(0))
    platform.succeed(day(0), select="events,trades,open_positions")
    assert night_request(platform).partition_key == "2026-03-02"
    late = dg.build_schedule_context(
        scheduled_execution_time=NIGHT + dt.timedelta(days=2),
        resources={"lake_folder": LakeFolder(root=str(platform.lake.root))},
    )
    request = nightly(late)
    assert isinstance(request, dg.RunRequest)
    assert request.tags["dagster/asset_partition_range_start"] == "2026-03-02"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-03-04"


@pytest.mark.parametrize(
    "asset", ["events", "trades", "open_positions", "wallet_patterns", "wallet_windows", "follow_edges"]
)
def test_columns_are_described_in_the_ui(asset: str) -> None:
    graph = build_defs().resolve_asset_graph()
    schema = graph.get(dg.AssetKey(asset)).metadata["dagster/column_schema"]
    assert all(column.description for column in schema.columns)


def test_a_run_without_a_day_says_so(platform: Platform) -> None:
    job = build_defs().resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("events")], raise_on_error=False
        )
    data = result.get_step_failure_events()[0].step_failure_data
    assert data.user_failure_data is not None
    assert "the run names no day" in str(data.user_failure_data.description)
