"""The running day: how far it is known, what is released of it, and that nothing of it is kept as a day."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import psycopg
import pytest

from copytrader_assets.definitions import build_defs
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.running_day import reach_or_reason
from copytrader_assets.schedules import intraday_refresh
from copytrader_core.settings import settings
from copytrader_core.store import days
from copytrader_core.store.days import Reach
from copytrader_core.store.releases import load_release
from tests.assets.conftest import Platform
from tests.assets.oracle import expected
from tests.assets.planted import SLOTS_PER_DAY, Market, Row, day, event, track

KEYS = ("wallet", "mint", "open_sig", "open_path", "status", "pnl_raw", "n_sells")
MORNING = 2 * SLOTS_PER_DAY + SLOTS_PER_DAY // 4
NOON = 2 * SLOTS_PER_DAY + SLOTS_PER_DAY // 2
RESOURCES = {"lake_folder": LakeFolder(), "warehouse": Warehouse()}


def cover(platform: Platform, *slots: int, checkpoint: int | None = None) -> None:
    """The worker has seen these slots and knows of no hole up to the checkpoint."""
    with psycopg.connect(platform.url) as connection:
        for slot in slots:
            seconds = event(slot, "BUY", 1, 1)["ts_ns"] // 10**9
            connection.execute(
                "INSERT INTO ingest_slots (slot, block_time, n_txs, n_events) VALUES (%s, %s, 0, 0)", (slot, seconds)
            )
        connection.execute(
            "INSERT INTO ingest_checkpoint (stream, slot) VALUES ('confirmed', %s)"
            " ON CONFLICT (stream) DO UPDATE SET slot = excluded.slot",
            (max(slots) if checkpoint is None else checkpoint,),
        )


def reach(platform: Platform) -> Reach | None:
    with psycopg.connect(platform.url) as connection:
        return days.reach(connection)


def gap(platform: Platform, first: int, last: int) -> None:
    platform.execute(f"INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES ({first}, {last}, 'test')")


def test_nothing_is_known_of_a_day_without_blocks(platform: Platform) -> None:
    assert reach(platform) is None


def test_the_day_is_known_up_to_the_checkpoint(platform: Platform) -> None:
    cover(platform, 2 * SLOTS_PER_DAY - 1, MORNING, NOON, NOON + 50, checkpoint=NOON)
    found = reach(platform)
    assert found is not None and (found.day, found.slot) == (day(2), NOON)
    assert found.block_time == event(NOON, "BUY", 1, 1)["ts_ns"] // 10**9


def test_the_day_is_known_up_to_its_first_open_gap(platform: Platform) -> None:
    cover(platform, 2 * SLOTS_PER_DAY - 1, MORNING, NOON)
    gap(platform, MORNING + 10, MORNING + 20)
    found = reach(platform)
    assert found is not None and found.slot == MORNING
    platform.execute("UPDATE ingest_gaps SET filled_at = now()")
    filled = reach(platform)
    assert filled is not None and filled.slot == NOON


@pytest.mark.parametrize("seen", [(MORNING, NOON), (2 * SLOTS_PER_DAY - 1, NOON)])
def test_a_day_whose_beginning_was_not_seen_is_not_known(platform: Platform, seen: tuple[int, ...]) -> None:
    cover(platform, *seen)
    if len(seen) == 2 and seen[0] < 2 * SLOTS_PER_DAY:
        gap(platform, 2 * SLOTS_PER_DAY, NOON - 1)
    assert reach(platform) is None


def market(seed: int) -> list[Row]:
    """Two whole days and the running one, whose events of the afternoon are there too."""
    return Market(seed, 3, events_per_day=90).rows


def until(rows: list[Row], slot: int) -> list[Row]:
    return [row for row in rows if row["slot"] <= slot]


def truth(rows: list[Row], last: int) -> list[tuple[object, ...]]:
    numbers = [day(n) for n in range(last + 1)]
    books = expected(rows, numbers)
    trips = [trip for one in numbers for trip in books[one][0]] + books[numbers[-1]][1]
    return sorted(tuple(trip[name] for name in KEYS) for trip in trips if trip["wallet"] in {"wallet-1", "wallet-2"})


def served(platform: Platform) -> list[tuple[object, ...]]:
    return sorted(platform.sql(f"SELECT {', '.join(KEYS)} FROM trades"))


@pytest.fixture
def running(platform: Platform) -> Platform:
    """Days 0 and 1 are sealed and computed, day 2 is running and known until noon."""
    track(platform.url, wallet_1="one", wallet_2="two")
    platform.plant(market(1), day(0), day(1))
    platform.succeed(day(0), day(1))
    cover(platform, 2 * SLOTS_PER_DAY - 1, NOON)
    return platform


def refresh(instance: dg.DagsterInstance | None = None) -> dg.ExecuteInProcessResult:
    job = build_defs().resolve_job_def("intraday")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def lake_files(platform: Platform) -> dict[str, bytes]:
    return {name: content for name, content in platform.files().items() if not name.startswith(".facts")}


def test_the_running_day_is_released_as_far_as_it_is_known(running: Platform) -> None:
    assert refresh().success
    assert served(running) == truth(until(market(1), NOON), 2)
    assert served(running) != truth(market(1), 2)
    with psycopg.connect(running.url) as connection:
        release = load_release(connection)
    assert (release.as_of, release.release_id[:20]) == (str(day(2)), f"{day(2)}-slot{NOON}"[:20])
    assert running.sql("SELECT until_slot FROM release_current JOIN releases USING (release_id)") == [(NOON,)]


def test_nothing_after_the_known_slot_counts(running: Platform) -> None:
    assert refresh().success
    columns = "(to_jsonb(p) - 'updated_at')::text"
    before = running.sql(f"SELECT {columns} FROM wallet_patterns p ORDER BY wallet")
    running.execute(f"DELETE FROM raw_events WHERE slot > {NOON}")
    assert refresh().success
    assert running.sql(f"SELECT {columns} FROM wallet_patterns p ORDER BY wallet") == before


def test_no_day_is_published_and_none_recorded(running: Platform) -> None:
    before = lake_files(running)
    with dg.DagsterInstance.ephemeral() as instance:
        assert refresh(instance).success
        assert instance.get_materialized_partitions(dg.AssetKey("trades")) == set()
    assert lake_files(running) == before
    assert list((running.root / "intraday").iterdir()) == []
    linked = running.sql(
        "SELECT count(*) FROM raw_events WHERE leader_wallet IS NOT NULL AND ts_ns >= 1772496000000000000"
    )
    assert linked == [(0,)]


def test_the_sealed_day_takes_the_place_of_the_provisional_one(running: Platform) -> None:
    assert refresh().success
    running.plant([], day(2))
    running.succeed(day(2))
    assert served(running) == truth(market(1), 2)
    whole = running.sql("SELECT * FROM release_current")
    assert running.sql("SELECT until_slot FROM release_current JOIN releases USING (release_id)") == [(None,)]
    assert "is sealed" in str(reach_or_reason(running.lake, Warehouse()))
    assert refresh().success
    assert running.sql("SELECT * FROM release_current") == whole


def test_a_recomputed_yesterday_takes_the_place_of_what_stood_on_the_old_one(running: Platform) -> None:
    assert refresh().success
    late = [event(9, "BUY", 10**13, 10**9, wallet="wallet-1", mint=f"coin-{n}", sig=f"late-{n}") for n in range(5)]
    running.plant(late, day(0))
    running.succeed(day(0), day(1))
    assert served(running) == truth([*until(market(1), 2 * SLOTS_PER_DAY - 1), *late], 1)
    assert refresh().success
    assert served(running) == truth([*until(market(1), NOON), *late], 2)


def test_an_older_day_leaves_the_provisional_release_alone(running: Platform) -> None:
    assert refresh().success
    before = served(running), running.sql("SELECT * FROM release_current")
    running.succeed(day(0))
    assert (served(running), running.sql("SELECT * FROM release_current")) == before


def test_a_bag_is_dead_by_the_known_slot_and_not_by_midnight(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bought at noon of day 1: at noon of day 2 nobody has traded the coin for 24 h, in the morning not yet."""
    monkeypatch.setenv("COPYTRADER_LEDGER__DEAD_AFTER_HOURS", "24")
    settings.cache_clear()
    track(platform.url, wallet_1="one")
    pool = {"program": "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA", "reserve_base_raw": 10**9, "reserve_quote_raw": 1}
    bought = {"wallet": "wallet-1"} | pool
    rows = [event(NOON - SLOTS_PER_DAY, "BUY", 1000, 10**6, **bought), event(MORNING, "BUY", 1, 1, mint="coin-b")]
    platform.plant(rows, day(0), day(1))
    platform.succeed(day(0), day(1))
    cover(platform, 2 * SLOTS_PER_DAY - 1, MORNING)
    assert refresh().success
    assert platform.sql("SELECT status FROM trades WHERE wallet = 'wallet-1'") == [("OPEN",)]
    cover(platform, NOON + 100)
    assert refresh().success
    assert platform.sql("SELECT status FROM trades WHERE wallet = 'wallet-1'") == [("DEAD",)]


def test_what_is_held_was_seen_until_the_known_slot_and_not_until_midnight(platform: Platform) -> None:
    """One coin was held for four seconds, another for one so far: neither is known to be held for five."""
    track(platform.url, wallet_1="one")
    mine = {"wallet": "wallet-1"}
    rows = [event(NOON - 100, "BUY", 1000, 10**6, **mine), event(NOON - 90, "SELL", 1000, 10**6, **mine)]
    platform.plant([*rows, event(NOON - 3, "BUY", 1000, 10**6, mint="coin-b", **mine)], day(0), day(1))
    platform.succeed(day(0), day(1))
    cover(platform, 2 * SLOTS_PER_DAY - 1, NOON)
    assert refresh().success
    assert platform.sql("SELECT hold_over, hold_over_trials, censored_holds FROM wallet_patterns") == [(0.0, 1, 1)]


def half_hour(unfinished: dg.DagsterRunStatus | None = None) -> dg.RunRequest | dg.SkipReason:
    with dg.DagsterInstance.local_temp() as instance:
        if unfinished is not None:
            instance.add_run(dg.DagsterRun(job_name="intraday", status=unfinished))
        now = dt.datetime.now(dt.UTC)
        with dg.build_schedule_context(instance, resources=RESOURCES, scheduled_execution_time=now) as context:
            result = intraday_refresh(context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


def test_the_schedule_asks_once_for_each_newest_slot(running: Platform) -> None:
    first, again = half_hour(), half_hour()
    cover(running, NOON + 100)
    later = half_hour()
    assert isinstance(first, dg.RunRequest) and isinstance(again, dg.RunRequest) and isinstance(later, dg.RunRequest)
    assert first.run_key == again.run_key == f"{day(2)} up to slot {NOON}" != later.run_key


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_refresh_that_has_not_ended_is_enough(running: Platform, status: dg.DagsterRunStatus) -> None:
    reason = half_hour(status)
    assert isinstance(reason, dg.SkipReason) and "has not ended" in str(reason.skip_message)
    assert isinstance(half_hour(dg.DagsterRunStatus.FAILURE), dg.RunRequest)


def test_the_schedule_waits_for_yesterday(running: Platform) -> None:
    running.forget("wallet_patterns", day(1))
    reason = half_hour()
    assert isinstance(reason, dg.SkipReason) and f"{day(1)} is not published yet" in str(reason.skip_message)


def test_the_schedule_waits_while_yesterday_is_computed_from_older_events(running: Platform) -> None:
    running.plant([event(9, "BUY", 10**13, 10**9, sig="late")], day(0))
    running.plant([event(SLOTS_PER_DAY + 9, "BUY", 10**13, 10**9, sig="later")], day(1))
    reason = half_hour()
    assert isinstance(reason, dg.SkipReason) and f"events {day(1)} holds" in str(reason.skip_message)
