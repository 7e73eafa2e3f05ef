"""Dropping days of raw_events whose snapshot has been proven equal, row for row. Not here: when (jobs.py, the CLI)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.bulk import content
from copytrader_assets.bulk.day import read_day
from copytrader_assets.lake import Lake
from copytrader_assets.lake_root import open_parquet
from copytrader_assets.schemas import EVENTS
from copytrader_core.errors import StoreError
from copytrader_core.store import days, partitions
from copytrader_core.store.day_digest import (
    COLUMNS,
    SLOTS_PER_BLOCK,
    Digests,
    content_hash,
    day_digests,
    row_hashes,
)
from copytrader_core.store.postgres import connect

_SHOWN_KEYS: Final = 5
_BATCH_ROWS: Final = 65_536
# Postgres hashes so many blocks of slots by itself, and each must come out as the reader had it.
_BLOCKS_HASHED_TWICE: Final = 4
Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a day: `rows` that Postgres held, and the reason where it was kept."""

    day: dt.date
    done: Literal["dropped", "would drop", "kept"]
    rows: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.day} {self.done}: {self.reason or f'{self.rows} events, equal to the snapshot'}"


class _KeptError(StoreError):
    """Why a day must stay."""


def retire(connection: Connection, lake: Lake, keep_days: int, *, dry_run: bool = False) -> Iterator[Outcome]:
    """Drops every day before the last `keep_days` that may go, oldest first, each in one transaction.

    `connection` must be in autocommit. Raises StoreError for fewer than one day to keep.
    """
    if keep_days < 1:
        raise StoreError(f"expected at least 1 day to keep, found {keep_days}")
    cutoff = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=keep_days)
    for day in _old_days(connection, cutoff):
        yield retire_day(connection, lake, day, dry_run=dry_run)


def retire_day(connection: Connection, lake: Lake, day: dt.date, *, dry_run: bool = False) -> Outcome:
    """Drops `day`, if it is sealed, materialized and equal to its snapshot in every row; else says why it stays.

    Writers of that day wait from the comparison to the drop, so that nothing can slip in between.
    """
    rows = 0
    try:
        if not dry_run and _is_sealed(connection, day):
            partitions.ensure_partitions(connection, day, day)
        with connection.transaction(force_rollback=dry_run):
            rows = _lock(connection, day)
            proven = None if rows == 0 and not _is_sealed(connection, day) else _prove(connection, lake, day)
            if not dry_run:
                _drop(connection, day, proven, rows)
    except _KeptError as reason:
        return Outcome(day, "kept", rows, str(reason))
    except psycopg.OperationalError as error:
        if not partitions.is_busy(error):
            raise
        return Outcome(day, "kept", rows, "its partition is in use; nothing was changed, try again later")
    done: Literal["would drop", "dropped"] = "would drop" if dry_run else "dropped"
    return Outcome(day, done, rows, "" if proven else "it was empty")


def _old_days(connection: Connection, cutoff: dt.date) -> list[dt.date]:
    gone = {day for (day,) in connection.execute("SELECT day FROM ingest_days WHERE dropped_at IS NOT NULL")}
    found = {*partitions.partition_days(connection), *partitions.days_in_default(connection)}
    return sorted(day for day in found - gone if day < cutoff)


def late_days(connection: Connection) -> list[days.SealedDay]:
    """The dropped days for which events came afterwards, with their number, counted again."""
    return [
        one for one in days.recount_sealed(connection, set(partitions.days_in_default(connection))) if one.late_events
    ]


def _lock(connection: Connection, day: dt.date) -> int:
    """Keeps writers out of the day until the end of the transaction and returns how many rows it has."""
    connection.execute("SELECT lock_raw_events_day(%s)", (day,))
    start, end = partitions.day_bounds_ns(day)
    found = connection.execute("SELECT count(*) FROM raw_events WHERE ts_ns >= %s AND ts_ns < %s", (start, end))
    return int((found.fetchone() or (0,))[0])


def _is_sealed(connection: Connection, day: dt.date) -> bool:
    found = connection.execute("SELECT 1 FROM ingest_days WHERE day = %s AND unsealed_at IS NULL", (day,)).fetchone()
    return found is not None


def _prove(connection: Connection, lake: Lake, day: dt.date) -> str:
    """The content hash that both sides have. Raises _KeptError."""
    if not _is_sealed(connection, day):
        raise _KeptError(f"it is not sealed: when it is complete, run `copytrader seal --from {day} --to {day}`")
    materialize = f"run `copytrader materialize --from {day} --to {day}`"
    if not lake.has(EVENTS.name, day):
        raise _KeptError(f"its events are not in the lake {lake.root}: {materialize}")
    ours, theirs = postgres_digests(connection, day), snapshot_digests(lake, day)
    _demand_true_reading(connection, day, ours)
    if ours != theirs:
        raise _KeptError(f"its snapshot differs: {_difference(connection, lake, day, ours, theirs)}; {materialize}")
    return content_hash(ours)


def _difference(connection: Connection, lake: Lake, day: dt.date, ours: Digests, theirs: Digests) -> str:
    """The first events that are on one side only or differ, in a sentence."""
    block = min(b for b in {*ours, *theirs} if ours.get(b) != theirs.get(b))
    here, there = row_hashes(connection, day, block), snapshot_row_hashes(lake, day, block)
    found = {
        "not in the snapshot": sorted(here.keys() - there.keys()),
        "only in the snapshot": sorted(there.keys() - here.keys()),
        "with other values": sorted(key for key in here.keys() & there.keys() if here[key] != there[key]),
    }
    counts = f"{sum(d.rows for d in ours.values())} events here, {sum(d.rows for d in theirs.values())} there"
    return "; ".join([counts, *(f"{what}: {', '.join(keys[:_SHOWN_KEYS])}" for what, keys in found.items() if keys)])


def _drop(connection: Connection, day: dt.date, proven: str | None, rows: int) -> None:
    partitions.drop(connection, day)
    if proven is None:
        return
    connection.execute(
        "DELETE FROM raw_event_slots s USING ingest_days d"
        " WHERE d.day = %s AND s.slot BETWEEN d.first_slot AND d.last_slot AND s.day = d.day",
        (day,),
    )
    connection.execute(
        "UPDATE ingest_days SET dropped_at = now(), content_hash = %s, n_events = %s WHERE day = %s",
        (proven, rows, day),
    )


def postgres_digests(connection: Connection, day: dt.date) -> Digests:
    """The digests of what Postgres holds of `day`, as `connection`'s transaction sees it, hashed by the reader."""
    rows = connection.execute("SELECT n_events FROM ingest_days WHERE day = %s", (day,)).fetchone()
    schema = pa.schema([EVENTS.arrow.field(name).with_nullable(True) for name in COLUMNS])
    found: Digests = {}
    with closing(read_day(connection, connect, day, schema, expected_rows=rows[0] if rows else 0)) as parts:
        for part in parts:
            found = content.added(found, content.digests(part))
    return found


def _demand_true_reading(connection: Connection, day: dt.date, ours: Digests) -> None:
    """A fault that the reader makes in the same way on both sides would not show; Postgres hashes some slots itself."""
    blocks = sorted(ours)
    for block in blocks[:: max(1, len(blocks) // _BLOCKS_HASHED_TWICE)]:
        if (own := day_digests(connection, day, block)) != {block: ours[block]}:
            raise _KeptError(
                f"the reader and Postgres disagree about slots {block * SLOTS_PER_BLOCK} to"
                f" {(block + 1) * SLOTS_PER_BLOCK - 1}: {ours[block]} and {own.get(block)}. This is a fault of"
                " copytrader, please report it"
            )


def snapshot_digests(lake: Lake, day: dt.date) -> Digests:
    """The digests of the day's published Parquet file, computed from what the file holds."""
    found: Digests = {}
    for batch in _snapshot_batches(lake, day):
        found = content.added(found, content.digests(batch))
    return found


def snapshot_row_hashes(lake: Lake, day: dt.date, block: int) -> dict[str, str]:
    """The MD5 of each row of a block of slots of the published file, by its key."""
    found: dict[str, str] = {}
    for batch in _snapshot_batches(lake, day):
        inside = batch.filter(pc.equal(pc.divide(batch.column("slot"), SLOTS_PER_BLOCK), block))
        keys = zip(*(inside.column(name).to_pylist() for name in EVENTS.key), strict=True)
        hashes = zip(*content.row_hashes(inside), strict=True)
        found |= {
            "/".join(map(str, key)): f"{int(high):016x}{int(low):016x}"
            for key, (high, low) in zip(keys, hashes, strict=True)
        }
    return found


def _snapshot_batches(lake: Lake, day: dt.date) -> Iterator[pa.RecordBatch]:
    with open_parquet(lake.file(EVENTS.name, day)) as file:
        yield from file.iter_batches(_BATCH_ROWS, columns=list(COLUMNS))
