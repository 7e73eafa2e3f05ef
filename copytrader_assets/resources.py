"""What the assets reach outside: the lake's folder and Postgres, both found when used, never on import."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.csv

from copytrader_assets.lake import Lake
from copytrader_assets.partitions import day_bounds_ns
from copytrader_assets.schemas import EVENTS
from copytrader_core.errors import DataError
from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect

# Signatures in byte order, whatever the database's locale: it decides between transactions without an index only.
_READ_SLOTS = """
COPY (
    SELECT {columns} FROM raw_events
    WHERE slot >= {first} AND slot <= {last} AND ts_ns >= {start} AND ts_ns < {end}
    ORDER BY slot, tx_index NULLS FIRST, sig COLLATE "C", outer_ix, inner_ix, event_seq
) TO STDOUT (FORMAT csv)
"""
# Rows that are read at once: enough to keep Postgres and Arrow busy, few enough for any machine.
_PART_ROWS = 65_536
_SLOTS = "SELECT slot, count(*) FROM raw_events WHERE ts_ns >= %s AND ts_ns < %s GROUP BY slot ORDER BY slot"

_SEALS = """
SELECT day, sealed_at, sealed_by, n_events, unsealed_reason, dropped_at, late_events FROM ingest_days
"""


@dataclass(frozen=True, slots=True)
class Seal:
    """A day's row of ingest_days. `unsealed_reason` is why the seal no longer holds, None while it does."""

    day: dt.date
    sealed_at: dt.datetime
    sealed_by: str
    n_events: int
    unsealed_reason: str | None
    dropped_at: dt.datetime | None
    late_events: int


class LakeFolder(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake. `root` is for tests; empty means the folder of the settings."""

    root: str = ""

    @property
    def lake(self) -> Lake:
        """The lake itself."""
        return Lake(Path(self.root) if self.root else settings().lake_path)


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Postgres. Connects to DATABASE_URL or the embedded server when it is first asked."""

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection whose transaction commits at the end and rolls back on an error."""
        with connect() as connection:
            yield connection

    def seal(self, day: dt.date) -> Seal | None:
        """The seal of `day`, or None."""
        with self.connection() as connection:
            return _seal(connection, day)

    def seals_since(self, moment: dt.datetime | None) -> list[Seal]:
        """The seals set after `moment` (all of them for None) that still hold, oldest first."""
        with self.connection() as connection:
            rows = connection.execute(
                f"{_SEALS} WHERE sealed_at > coalesce(%s::timestamptz, '-infinity') AND unsealed_at IS NULL"
                " ORDER BY sealed_at, day",
                (moment,),
            ).fetchall()
        return [Seal(*row) for row in rows]

    def scopes(self, first: dt.date, last: dt.date) -> dict[dt.date, str]:
        """Under which scope the worker kept each sealed day of the range: all, touched or tracked."""
        with self.connection() as connection:
            return dict(
                connection.execute(
                    "SELECT day, scope FROM ingest_days WHERE day BETWEEN %s AND %s ORDER BY day", (first, last)
                ).fetchall()
            )

    def has_events_before(self, day: dt.date) -> bool:
        """Whether raw_events holds, or held before retention, anything older than `day`."""
        start, _ = day_bounds_ns(day)
        with self.connection() as connection:
            row = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM raw_events WHERE ts_ns < %s)"
                " OR EXISTS (SELECT 1 FROM ingest_days WHERE day < %s AND dropped_at IS NOT NULL AND n_events > 0)",
                (start, day),
            ).fetchone()
        return bool(row and row[0])

    def tracked_wallets(self) -> dict[str, str | None]:
        """The tracked wallets and their names."""
        with self.connection() as connection:
            return dict(
                connection.execute("SELECT wallet, alias FROM wallets WHERE is_tracked ORDER BY wallet").fetchall()
            )

    def first_sealed_day(self) -> dt.date | None:
        """The first sealed day that has events, or None."""
        with self.connection() as connection:
            row = connection.execute("SELECT min(day) FROM ingest_days WHERE n_events > 0").fetchone()
        return row[0] if row else None

    @contextmanager
    def read_day(self, day: dt.date, part_rows: int = _PART_ROWS) -> Iterator[tuple[Seal | None, Iterator[pa.Table]]]:
        """The day's seal, and its raw_events in chain order as columns of EVENTS, in parts of whole slots.

        All of it as of one moment: the worker adds late events and recounts the day in one transaction. Reading raises
        DataError where a value does not fit its column, as an amount beyond u64 would not.
        """
        with self.connection() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("SET LOCAL work_mem = '192MB'")
            yield _seal(connection, day), _parts(connection, day, part_rows)


def _seal(connection: psycopg.Connection[Any], day: dt.date) -> Seal | None:
    row = connection.execute(f"{_SEALS} WHERE day = %s", (day,)).fetchone()
    return Seal(*row) if row else None


def _parts(connection: psycopg.Connection[Any], day: dt.date, part_rows: int) -> Iterator[pa.Table]:
    slots = connection.execute(_SLOTS, day_bounds_ns(day)).fetchall()
    for first, last in _slot_ranges(slots, part_rows):
        yield _read_slots(connection, day, first, last)


def _slot_ranges(slots: list[tuple[int, int]], part_rows: int) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) that hold about `part_rows` rows each; a slot is never divided."""
    first, held = None, 0
    for slot, rows in slots:
        first = slot if first is None else first
        held += rows
        if held >= part_rows:
            yield first, slot
            first, held = None, 0
    if first is not None:
        yield first, slots[-1][0]


def _read_slots(connection: psycopg.Connection[Any], day: dt.date, first: int, last: int) -> pa.Table:
    start, end = day_bounds_ns(day)
    columns = ", ".join(map(_expression, EVENTS.names))
    query = _READ_SLOTS.format(columns=columns, first=first, last=last, start=start, end=end)
    sink = pa.BufferOutputStream()
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for block in copy:
            sink.write(block)
    return _parse(pa.BufferReader(sink.getvalue()), day)


def _expression(column: str) -> str:
    """Times as integers: a text timestamp would depend on the session. The leader is filled in from the snapshot's own
    edges: with it the same day would never be the same snapshot again.
    """
    if column == "leader_wallet":
        return "NULL::text"
    return "(extract(epoch FROM created_at) * 1000000)::bigint" if column == "created_at" else column


def _parse(text: pa.BufferReader, day: dt.date) -> pa.Table:
    types = {c.name: pa.int64() if c.name == "created_at" else c.type for c in EVENTS.columns}
    try:
        table = pyarrow.csv.read_csv(
            text,
            pyarrow.csv.ReadOptions(column_names=EVENTS.names, block_size=8 << 20),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            # Postgres writes NULL as nothing and an empty text as "".
            pyarrow.csv.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        return EVENTS.conform(table)
    except pa.ArrowInvalid as error:
        raise DataError(f"raw_events of {day} do not fit the lake's columns: {error}") from error
