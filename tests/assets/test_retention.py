"""Retention: a day leaves Postgres only when its snapshot has been proven equal, and is never computed again."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pyarrow as pa
import pytest

from copytrader_assets.housekeeping import retention as retention_job
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retention import Outcome, late_days, retire, retire_day, snapshot_digests
from copytrader_assets.schemas import EVENTS
from copytrader_core.errors import StoreError
from copytrader_core.store import days, partitions
from copytrader_core.store.day_digest import content_hash, day_digests
from tests.assets.conftest import Platform
from tests.assets.planted import SLOTS_PER_DAY, Market, day, event

TWO_DAYS = [event(n, "BUY", 10 + n, 20, sig=f"sig{n}") for n in (*range(80), *range(SLOTS_PER_DAY, SLOTS_PER_DAY + 80))]
LOOSE = pa.schema([field.with_nullable(True) for field in EVENTS.arrow])


@pytest.fixture
def db(platform: Platform) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(platform.url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def snapshot(platform: Platform, date: dt.date, part_rows: int = 65_536) -> str:
    with Warehouse().read_day(date, part_rows) as (_, parts):
        staged = platform.lake.stage_parts("events", date, LOOSE, parts, {})
    platform.lake.publish([staged])
    return staged.content_hash


def prepare(platform: Platform, db: psycopg.Connection[Any], rows: list[dict[str, Any]] | None = None) -> None:
    """Two days of events, the first one sealed and in the lake."""
    platform.plant(TWO_DAYS if rows is None else rows)
    days.seal(db, day(0), "manual")
    snapshot(platform, day(0))


def kept(platform: Platform, db: psycopg.Connection[Any]) -> str:
    """Why the first day stays; and it does."""
    before = platform.sql("SELECT count(*) FROM raw_events")
    outcome = retire_day(db, platform.lake, day(0))
    assert outcome.done == "kept" and platform.sql("SELECT count(*) FROM raw_events") == before
    assert platform.sql("SELECT 1 FROM ingest_days WHERE dropped_at IS NOT NULL") == []
    return outcome.reason


def test_a_verified_day_is_dropped_and_marked_with_what_was_verified(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    prepare(platform, db)
    proven = content_hash(day_digests(db, day(0)))
    assert retire_day(db, platform.lake, day(0)) == Outcome(day(0), "dropped", 80)
    assert platform.sql("SELECT count(*), min(utc_day(ts_ns)) FROM raw_events") == [(80, day(1))]
    assert platform.sql("SELECT n_events, content_hash, dropped_at IS NOT NULL FROM ingest_days") == [
        (80, proven, True)
    ]
    assert proven == content_hash(snapshot_digests(platform.lake, day(0)))
    assert platform.sql("SELECT count(*) FROM raw_event_slots WHERE day = '2026-03-01'") == [(0,)]


def test_both_sides_compute_the_same_content_from_the_oddest_values(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    odd = event(5, "BUY", 2**64 - 1, 2**63, alias='ü, "x":\n-', price_est=5e-324, amount_in=-0.0, amount_out=1e308)
    none = event(6, "CREATE", None, None, alias="", tx_index=None, price_est=float("nan"), fee_sol=None)
    prepare(platform, db, [odd, none])
    db.execute("""UPDATE raw_events SET meta_json = '{"b": [1, null, "é"], "a": 18446744073709551615}'""")
    snapshot(platform, day(0))
    ours = day_digests(db, day(0))
    assert ours == snapshot_digests(platform.lake, day(0)) and content_hash(ours).startswith("2:")


@pytest.mark.parametrize(
    "change",
    [
        "quote_raw = quote_raw + 1",
        "swap_fee_raw = NULL",
        "alias = CASE WHEN alias IS NULL THEN '' END",
        "amount_in = coalesce(amount_in, 1) * 1.0000000000000002",
        "slot = slot + 1",
        "meta_json = '{}'",
        "created_at = created_at + interval '1 microsecond'",
    ],
)
def test_a_changed_value_keeps_the_day_and_its_event_is_named(
    platform: Platform, db: psycopg.Connection[Any], change: str
) -> None:
    prepare(platform, db, [event(5, "BUY", 7, 8, sig="other"), event(9, "BUY", 7, 8, sig="changed")])
    db.execute(f"UPDATE raw_events SET {change} WHERE sig = 'changed'")
    reason = kept(platform, db)
    assert "its snapshot differs" in reason and "with other values: changed/0/-1/0" in reason
    assert f"copytrader materialize --from {day(0)} --to {day(0)}" in reason and "other/" not in reason


def test_a_missing_and_an_additional_event_keep_the_day_and_are_named(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    prepare(platform, db, [event(n, "BUY", 7, 8, sig=f"sig{n}") for n in range(5)])
    db.execute("DELETE FROM raw_events WHERE sig = 'sig2'")
    platform.plant([event(7, "BUY", 1, 1, sig="late")])
    reason = kept(platform, db)
    assert "5 events here, 5 there" in reason
    assert "not in the snapshot: late/0/-1/0" in reason and "only in the snapshot: sig2/0/-1/0" in reason


def test_the_leader_that_is_filled_in_later_changes_nothing(platform: Platform, db: psycopg.Connection[Any]) -> None:
    prepare(platform, db)
    db.execute("UPDATE raw_events SET leader_wallet = 'leader'")
    assert retire_day(db, platform.lake, day(0)).done == "dropped"


def test_an_unsealed_or_unmaterialized_day_stays_with_its_reason(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    platform.plant(Market(1, 1, events_per_day=20).rows)
    assert "it is not sealed" in kept(platform, db)
    days.seal(db, day(0), "manual")
    assert "not in the lake" in kept(platform, db)
    snapshot(platform, day(0))
    db.execute("UPDATE ingest_days SET unsealed_at = now(), unsealed_reason = 'a gap'")
    assert "it is not sealed" in kept(platform, db)


def test_a_partition_that_was_made_ahead_and_stayed_empty_goes_without_a_mark(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    partitions.ensure_partitions(db, day(0), day(0))
    assert str(retire_day(db, platform.lake, day(0))) == f"{day(0)} dropped: it was empty"
    assert partitions.partition_days(db) == [] and platform.sql("SELECT * FROM ingest_days") == []


def test_a_day_that_somebody_writes_to_stays_untouched(platform: Platform, db: psycopg.Connection[Any]) -> None:
    prepare(platform, db)
    with psycopg.connect(platform.url) as writer:
        writer.execute("UPDATE raw_events SET alias = 'x' WHERE ts_ns < %s", (partitions.day_bounds_ns(day(0))[1],))
        assert "in use" in kept(platform, db)
        writer.rollback()
    assert retire_day(db, platform.lake, day(0)).done == "dropped"


def test_the_newest_days_are_kept_and_a_dry_run_changes_nothing(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    today = dt.datetime.now(dt.UTC).date()
    prepare(platform, db)
    age = (today - day(0)).days
    assert list(retire(db, platform.lake, age)) == []
    assert list(retire(db, platform.lake, age - 1, dry_run=True)) == [Outcome(day(0), "would drop", 80)]
    assert platform.sql("SELECT count(*) FROM raw_events WHERE utc_day(ts_ns) = '2026-03-01'") == [(80,)]
    assert [outcome.done for outcome in retire(db, platform.lake, age - 1)] == ["dropped"]
    with pytest.raises(StoreError, match="at least 1 day"):
        list(retire(db, platform.lake, 0))


def test_a_dropped_day_is_not_computed_again_but_the_days_after_it_are(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    platform.plant(Market(2, 2, events_per_day=60).rows)
    for number in range(2):
        days.seal(db, day(number), "manual")
    platform.succeed(day(0), select="events,trades,open_positions")
    before = platform.files()
    assert retire_day(db, platform.lake, day(0)).done == "dropped"
    assert "was dropped after its snapshot had been verified" in platform.failure(day(0), select="events")
    assert platform.files() == before
    platform.succeed(day(1), select="events,trades,open_positions")


def test_late_events_of_a_dropped_day_are_taken_counted_and_reported(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    prepare(platform, db)
    retire_day(db, platform.lake, day(0))
    platform.plant([event(3, "BUY", 1, 1, sig="late")])
    partitions.ensure_partitions(db, day(0), day(0))
    assert partitions.days_in_default(db)[day(0)] == 1
    assert [(one.day, one.n_events, one.late_events) for one in late_days(db)] == [(day(0), 80, 1)]
    assert days.seal(db, day(0), "manual").late_events == 1
    assert platform.sql("SELECT n_events, late_events FROM ingest_days") == [(80, 1)]
    assert "1 events that came later are not in it" in platform.failure(day(0), select="events")


def test_a_day_whose_seal_has_ended_is_refused_with_the_reason(platform: Platform, db: psycopg.Connection[Any]) -> None:
    prepare(platform, db)
    db.execute("UPDATE ingest_days SET unsealed_at = now(), unsealed_reason = 'slots 5 to 6 were found missing'")
    message = platform.failure(day(0), select="events")
    assert "not sealed any more: slots 5 to 6 were found missing" in message and "backfill" in message
    assert Warehouse().seals_since(None) == []


def test_reading_in_parts_gives_the_same_file(platform: Platform, db: psycopg.Connection[Any]) -> None:
    prepare(platform, db)
    assert len({snapshot(platform, day(0), part_rows) for part_rows in (1, 7, 1000)}) == 1
    with Warehouse().read_day(day(0), 7) as (_, found):
        parts = list(found)
    assert len(parts) > 5
    assert pa.concat_tables(parts).equals(platform.lake.read("events", day(0)))


def test_the_command_says_what_it_did_and_fails_where_a_day_had_to_stay(
    platform: Platform, db: psycopg.Connection[Any]
) -> None:
    prepare(platform, db)
    command = [sys.executable, "-m", "copytrader_cli.main", "retention", "--keep-days", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1, done.stderr
    assert f"{day(0)} dropped: 80 events, equal to the snapshot" in done.stdout
    assert f"{day(1)} kept: it is not sealed" in done.stdout and "1 day(s)" in done.stderr


def test_the_job_drops_what_the_command_drops(platform: Platform, db: psycopg.Connection[Any]) -> None:
    prepare(platform, db, [event(SLOTS_PER_DAY - 5, "BUY", 1, 1)])
    resources = {"lake_folder": LakeFolder(root=str(platform.lake.root)), "warehouse": Warehouse()}
    with dg.DagsterInstance.ephemeral() as instance:
        result = retention_job.execute_in_process(
            instance=instance,
            resources=resources,
            run_config={"ops": {"drop_verified_days": {"config": {"keep_days": 1}}}},
        )
    assert result.success
    assert platform.sql("SELECT dropped_at IS NOT NULL FROM ingest_days") == [(True,)]
