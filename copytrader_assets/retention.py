"""Dropping days of raw_events whose snapshot has been proven equal, row for row. Not here: when (jobs.py, the CLI)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from copytrader_assets.lake import Lake
from copytrader_assets.schemas import EVENTS
from copytrader_core.errors import StoreError
from copytrader_core.store import days, partitions
from copytrader_core.store.day_digest import (
    COLUMNS,
    SLOTS_PER_BLOCK,
    Digests,
    content_hash,
    day_digests,
    digests_of,
    row_hashes,
)

_SHOWN_KEYS: Final = 5
_BATCH_ROWS: Final = 65_536
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
    name = partitions.partition_name(day)
    if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() == (None,):
        name = partitions.DEFAULT_PARTITION
    connection.execute("SELECT set_config('lock_timeout', '700ms', true)")
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(name)))
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
    ours, theirs = day_digests(connection, day), snapshot_digests(lake, day)
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


def snapshot_digests(lake: Lake, day: dt.date) -> Digests:
    """The digests of the day's published Parquet file, computed by DuckDB from what the file holds."""
    return digests_of(
        _over_snapshot(
            lake,
            day,
            f"SELECT slot // {SLOTS_PER_BLOCK}, count(*), sum(('0x' || left(hash, 16))::UBIGINT),"  # noqa: S608
            f" sum(('0x' || right(hash, 16))::UBIGINT) FROM (SELECT slot, {_HASH} AS hash FROM snapshot) GROUP BY 1",
        )
    )


def snapshot_row_hashes(lake: Lake, day: dt.date, block: int) -> dict[str, str]:
    """The MD5 of each row of a block of slots of the published file, by its key."""
    return dict(
        _over_snapshot(
            lake,
            day,
            f"SELECT concat_ws('/', sig, outer_ix, inner_ix, event_seq), {_HASH} FROM snapshot"  # noqa: S608
            f" WHERE slot // {SLOTS_PER_BLOCK} = {block}",
        )
    )


def _over_snapshot(lake: Lake, day: dt.date, query: str) -> list[tuple[Any, ...]]:
    schema = pa.schema([pa.field(name, _as_bits(EVENTS.arrow.field(name).type)) for name in COLUMNS])
    with pq.ParquetFile(lake.file(EVENTS.name, day)) as file, duckdb.connect(":memory:") as connection:
        batches = (_bits(batch, schema) for batch in file.iter_batches(_BATCH_ROWS, columns=list(COLUMNS)))
        connection.register("snapshot", pa.RecordBatchReader.from_batches(schema, batches))
        return connection.execute(query).fetchall()


def _as_bits(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.types.is_floating(kind) or pa.types.is_timestamp(kind) else kind


def _bits(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Floats as the integers of their bits and times as microseconds: exact in every database."""
    columns = [batch.column(field.name) for field in schema]
    return pa.record_batch(
        [c.view(f.type) if c.type != f.type else c for c, f in zip(columns, schema, strict=True)], schema
    )


def _text(column: str, kind: str) -> str:
    if kind in ("text", "jsonb"):
        return f"coalesce(strlen({column})::VARCHAR || ':' || {column}, '-')"
    return f"coalesce({column}::VARCHAR, '-')"


_HASH: Final = f"md5(concat_ws(',', {', '.join(_text(*one) for one in COLUMNS.items())}))"
