"""What the assets reach outside: the lake's folder and Postgres, both found when used, never on import."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import psycopg
import pyarrow as pa

from copytrader_assets.bulk.day import CONNECTIONS, PART_ROWS, read_day
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import day_bounds_ns
from copytrader_assets.schemas import EVENTS
from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect

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
        return Lake.at(self.root or settings().lake_location)


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
            return self._seal_in(connection, day)

    def seals_since(self, moment: dt.datetime | None) -> list[Seal]:
        """The seals set after `moment` (all of them for None) that still hold, oldest first."""
        with self.connection() as connection:
            rows = connection.execute(
                f"{_SEALS} WHERE sealed_at > coalesce(%s::timestamptz, '-infinity') AND unsealed_at IS NULL"
                " ORDER BY sealed_at, day",
                (moment,),
            ).fetchall()
        return [Seal(*row) for row in rows]

    def seals(self, first: dt.date, last: dt.date) -> dict[dt.date, Seal]:
        """The seals of the range, those that no longer hold included."""
        with self.connection() as connection:
            rows = connection.execute(f"{_SEALS} WHERE day BETWEEN %s AND %s", (first, last)).fetchall()
        return {row[0]: Seal(*row) for row in rows}

    def scopes(self, first: dt.date, last: dt.date) -> dict[dt.date, str]:
        """Under which scope the worker kept each sealed day of the range: all, touched or tracked."""
        with self.connection() as connection:
            return dict(
                connection.execute(
                    "SELECT day, scope FROM ingest_days WHERE day BETWEEN %s AND %s ORDER BY day", (first, last)
                ).fetchall()
            )

    def slot_times(self, day: dt.date) -> dict[int, int]:
        """Block times in whole seconds of the day's slots, by slot, as far as the worker heard them."""
        start, end = (ns // 1_000_000_000 for ns in day_bounds_ns(day))
        with self.connection() as connection:
            return dict(
                connection.execute(
                    "SELECT slot, block_time FROM ingest_slots WHERE block_time >= %s AND block_time < %s", (start, end)
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
    def read_day(
        self, day: dt.date, part_rows: int = PART_ROWS, connections: int = CONNECTIONS
    ) -> Iterator[tuple[Seal | None, Iterator[pa.Table]]]:
        """The day's seal, and its raw_events in chain order as columns of EVENTS, in parts of whole slots.

        All of it as of one moment: the worker adds late events and recounts the day in one transaction. Neither
        `part_rows` nor `connections` changes the rows or their order. Reading raises DataError where a value does not
        fit its column, as an amount beyond u64 would not.
        """
        schema = pa.schema([field.with_nullable(True) for field in EVENTS.arrow])
        with self.connection() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            seal = self._seal_in(connection, day)
            parts = read_day(
                connection,
                connect,
                day,
                schema,
                expected_rows=seal.n_events if seal else 0,
                part_rows=part_rows,
                connections=connections,
                last_slot=self._last_slot(day),
            )
            with closing(parts):
                yield seal, parts

    def _seal_in(self, connection: psycopg.Connection[Any], day: dt.date) -> Seal | None:
        """The seal of `day` as the connection's transaction sees it."""
        return _seal(connection, day)

    def _last_slot(self, day: dt.date) -> int | None:
        """The slot up to which the day's events are read, None for all of them."""
        return None


def _seal(connection: psycopg.Connection[Any], day: dt.date) -> Seal | None:
    row = connection.execute(f"{_SEALS} WHERE day = %s", (day,)).fetchone()
    return Seal(*row) if row else None
