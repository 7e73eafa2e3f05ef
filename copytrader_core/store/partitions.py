"""Daily partitions of `raw_events`: making them ahead, finding and dropping them. Not here: whether a day may go."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import psycopg

from copytrader_core.errors import StoreError

__all__ = [
    "DAYS_AHEAD",
    "DEFAULT_PARTITION",
    "Ensured",
    "day_bounds_ns",
    "days_in_default",
    "drop",
    "ensure_ahead",
    "ensure_partitions",
    "is_busy",
    "partition_days",
    "partition_name",
]

DEFAULT_PARTITION: Final = "raw_events_default"
DAYS_AHEAD: Final = 3
_DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = date(1970, 1, 1)
_BUSY: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_DEFAULT_DAYS: Final = "SELECT utc_day(ts_ns), count(*) FROM raw_events_default GROUP BY 1 ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Ensured:
    """A partition that was made, with the number of rows that had been waiting for it in the default partition."""

    day: date
    moved: int


def partition_name(day: date) -> str:
    """The table that holds `day`."""
    return f"raw_events_{day:%Y%m%d}"


def day_bounds_ns(day: date) -> tuple[int, int]:
    """First nanosecond of the UTC day, and of the next."""
    start = (day - _EPOCH).days * _DAY_NS
    return start, start + _DAY_NS


def partition_days(connection: psycopg.Connection) -> list[date]:
    """The days that have a partition of their own, in order."""
    found = connection.execute(
        "SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'raw_events'::regclass AND c.relname ~ '^raw_events_[0-9]{8}$' ORDER BY 1"
    )
    return [day for (day,) in found]


def days_in_default(connection: psycopg.Connection) -> dict[date, int]:
    """The days whose rows lie in the default partition, with the number of rows. Reads all of it."""
    return dict(connection.execute(_DEFAULT_DAYS).fetchall())


def ensure_partitions(
    connection: psycopg.Connection, first_day: date, last_day: date, *, patience_seconds: float = 60.0
) -> list[Ensured]:
    """Makes the missing partitions from `first_day` to `last_day` and returns those that it made.

    Rows that are waiting in the default partition move along, a day in one transaction: readers and writers see them
    before or after, never twice and never not at all. Any number of callers at once is fine. A day that retention has
    dropped stays without a partition. Raises StoreError when a lock cannot be had within `patience_seconds`.
    """
    gone = {day for (day,) in connection.execute("SELECT day FROM ingest_days WHERE dropped_at IS NOT NULL")}
    have = {*partition_days(connection), *gone}
    days = [first_day + timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    deadline = time.monotonic() + patience_seconds
    made = [(day, _make(connection, day, deadline)) for day in days if day not in have]
    return [Ensured(day, moved) for day, moved in made if moved is not None]


def ensure_ahead(connection: psycopg.Connection, days: int = DAYS_AHEAD) -> list[Ensured]:
    """Makes the partitions of yesterday to `days` ahead, by the wall clock and by the newest landed block's clock.

    Costs a few small queries when they are there. Does not wait for a lock that somebody's long query holds: raises
    StoreError, and the next call makes up for it; until then the default partition takes the rows.
    """
    today = datetime.now(UTC).date()
    found = connection.execute("SELECT max(block_time) / 86400 FROM ingest_slots").fetchone()
    on_chain = today if not found or found[0] is None else _EPOCH + timedelta(days=found[0])
    made: list[Ensured] = []
    for centre in sorted({today, on_chain}):
        first, last = centre - timedelta(days=1), centre + timedelta(days=days)
        made += ensure_partitions(connection, first, last, patience_seconds=0)
    return made


def is_busy(error: psycopg.Error) -> bool:
    """Whether `error` says no more than that somebody else holds a lock just now."""
    return isinstance(error, _BUSY)


def drop(connection: psycopg.Connection, day: date) -> None:
    """Detaches and drops the partition of `day`, in the caller's transaction. A day with events must be sealed.

    The exclusive lock is held for milliseconds and waited for only briefly, so that writers never queue behind it.
    Raises psycopg's LockNotAvailable, and RaiseException for a day that is not sealed.
    """
    connection.execute("SELECT drop_raw_events_partition(%s)", (day,))


def _make(connection: psycopg.Connection, day: date, deadline: float) -> int | None:
    """Makes one partition, trying again while its locks are taken. How many rows moved; None if it was there."""
    while True:
        try:
            with connection.transaction():
                found = connection.execute("SELECT raw_events_partition(%s)", (day,)).fetchone()
            return None if found is None else found[0]
        except _BUSY as error:
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the partition of {day} cannot be made, {DEFAULT_PARTITION} is in use: {str(error).strip()}; "
                    "end the long query that reads raw_events (pg_stat_activity names it) and try again"
                ) from error
            time.sleep(random.uniform(0.05, 0.3))
