"""What the assets reach outside: the lake's folder and Postgres, both found when used, never on import."""

from __future__ import annotations

import datetime as dt
import tempfile
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
_READ_DAY = """
COPY (
    SELECT {columns} FROM raw_events WHERE ts_ns >= {start} AND ts_ns < {end}
    ORDER BY slot, tx_index NULLS FIRST, sig COLLATE "C", outer_ix, inner_ix, event_seq
) TO STDOUT (FORMAT csv)
"""

_SEALS = "SELECT day, sealed_at, sealed_by, n_events FROM ingest_days"


@dataclass(frozen=True, slots=True)
class Seal:
    """A day's row of ingest_days."""

    day: dt.date
    sealed_at: dt.datetime
    sealed_by: str
    n_events: int


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
        """The seals set after `moment` (all of them for None), oldest first."""
        with self.connection() as connection:
            rows = connection.execute(
                f"{_SEALS} WHERE sealed_at > coalesce(%s::timestamptz, '-infinity') ORDER BY sealed_at, day", (moment,)
            ).fetchall()
        return [Seal(*row) for row in rows]

    def has_events_before(self, day: dt.date) -> bool:
        """Whether raw_events holds anything older than `day`."""
        start, _ = day_bounds_ns(day)
        with self.connection() as connection:
            row = connection.execute("SELECT EXISTS (SELECT 1 FROM raw_events WHERE ts_ns < %s)", (start,)).fetchone()
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

    def read_events(self, day: dt.date) -> tuple[Seal | None, pa.Table]:
        """The day's seal and its raw_events in chain order, as columns of EVENTS; both as of one moment.

        Raises DataError where a value does not fit its column, as an amount beyond u64 would not.
        """
        with tempfile.TemporaryFile() as spool:
            start, end = day_bounds_ns(day)
            query = _READ_DAY.format(columns=", ".join(map(_expression, EVENTS.names)), start=start, end=end)
            with self.connection() as connection:
                # The worker adds late events and recounts the day in one transaction.
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                seal = _seal(connection, day)
                with connection.cursor() as cursor, cursor.copy(query) as copy:
                    for block in copy:
                        spool.write(block)
            size = spool.tell()
            spool.seek(0)
            return seal, _parse(spool, day) if size else EVENTS.arrow.empty_table()


def _seal(connection: psycopg.Connection[Any], day: dt.date) -> Seal | None:
    row = connection.execute(f"{_SEALS} WHERE day = %s", (day,)).fetchone()
    return Seal(*row) if row else None


def _expression(column: str) -> str:
    """Times as integers: a text timestamp would depend on the session."""
    return "(extract(epoch FROM created_at) * 1000000)::bigint" if column == "created_at" else column


def _parse(spool: Any, day: dt.date) -> pa.Table:
    types = {c.name: pa.int64() if c.name == "created_at" else c.type for c in EVENTS.columns}
    try:
        table = pyarrow.csv.read_csv(
            spool,
            pyarrow.csv.ReadOptions(column_names=EVENTS.names, block_size=16 << 20),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            # Postgres writes NULL as nothing and an empty text as "".
            pyarrow.csv.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        return EVENTS.conform(table)
    except pa.ArrowInvalid as error:
        raise DataError(f"raw_events of {day} do not fit the lake's columns: {error}") from error
