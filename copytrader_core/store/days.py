"""Sealing UTC days of `raw_events`: which days are complete, and how many events they hold. Nothing here moves data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg

from copytrader_core.errors import StoreError

__all__ = [
    "MAX_DAYS",
    "SealedDay",
    "day_of",
    "days_between",
    "newest_sealed",
    "open_gaps_touching",
    "recount_sealed",
    "seal",
    "seal_covered",
]

MAX_DAYS = 5 * 366
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class SealedDay:
    """A day that is declared complete, with the number of its events and the slots they span."""

    day: date
    n_events: int
    first_slot: int | None
    last_slot: int | None


def day_of(seconds: int) -> date:
    """The UTC day of a unix time."""
    return datetime.fromtimestamp(seconds, UTC).date()


def days_between(first: date, last: date) -> list[date]:
    """Every day of the range, both ends included. Raises StoreError for a backwards or absurdly long range."""
    count = (last - first).days + 1
    if not 1 <= count <= MAX_DAYS:
        raise StoreError(f"the range {first} to {last} has {count} days, expected 1 to {MAX_DAYS}")
    return [first + timedelta(days=offset) for offset in range(count)]


def seal(connection: psycopg.Connection, day: date, sealed_by: str) -> SealedDay:
    """Declares `day` complete with the events that it holds now; again after late data brings it up to date."""
    found = connection.execute(
        "INSERT INTO ingest_days (day, sealed_by, n_events, first_slot, last_slot)"
        " SELECT %(day)s, %(by)s, count(*), min(slot), max(slot) FROM raw_events"
        " WHERE ts_ns >= %(start)s AND ts_ns < %(end)s"
        " ON CONFLICT (day) DO UPDATE SET sealed_at = now(), sealed_by = excluded.sealed_by,"
        " n_events = excluded.n_events, first_slot = excluded.first_slot, last_slot = excluded.last_slot"
        " RETURNING day, n_events, first_slot, last_slot",
        {"day": day, "by": sealed_by, "start": _start(day) * 10**9, "end": (_start(day) + _DAY_SECONDS) * 10**9},
    ).fetchone()
    if found is None:
        raise StoreError(f"sealing {day} changed nothing: look at the rules and triggers on ingest_days")
    return SealedDay(*found)


def recount_sealed(connection: psycopg.Connection, days: set[date]) -> list[SealedDay]:
    """Brings those of `days` that are sealed up to date; for events that came after the seal."""
    found = connection.execute("SELECT day, sealed_by FROM ingest_days WHERE day = ANY(%s)", (sorted(days),)).fetchall()
    return [seal(connection, day, sealed_by) for day, sealed_by in found]


def newest_sealed(connection: psycopg.Connection) -> int:
    """The newest sealed day as days since 1970, -1 if none is sealed."""
    found = connection.execute("SELECT max(day) - DATE '1970-01-01' FROM ingest_days").fetchone()
    return -1 if not found or found[0] is None else int(found[0])


def seal_covered(connection: psycopg.Connection) -> list[SealedDay]:
    """Seals, in the worker's name, every past day that its slots cover without a hole.

    A day is covered when a slot of an earlier day, a slot of a later day and everything between them is known: no open
    gap touches it. The day that coverage began in counts only if the first slot was declared the chain's first.
    """
    return [seal(connection, day, "worker") for day in _candidates(connection) if _is_covered(connection, day)]


def open_gaps_touching(connection: psycopg.Connection, day: date) -> list[tuple[int, int]]:
    """Open gaps that overlap `day`, as far as the known slots tell where the day begins and ends."""
    before, after = _neighbours(connection, day)
    return connection.execute(
        "SELECT from_slot, to_slot FROM ingest_gaps WHERE filled_at IS NULL"
        " AND from_slot < coalesce(%s, 9223372036854775807) AND to_slot > coalesce(%s, -1) ORDER BY from_slot",
        (after, before),
    ).fetchall()


def _candidates(connection: psycopg.Connection) -> list[date]:
    """Unsealed days from the first known block's on, up to the one before the newest block's."""
    found = connection.execute("SELECT min(block_time), max(block_time) FROM ingest_slots").fetchone()
    if not found or found[0] is None:
        return []
    first, newest = day_of(found[0]), day_of(found[1])
    sealed = {day for (day,) in connection.execute("SELECT day FROM ingest_days WHERE day >= %s", (first,))}
    days = (first + timedelta(days=offset) for offset in range((newest - first).days))
    return [day for day in days if day not in sealed]


def _is_covered(connection: psycopg.Connection, day: date) -> bool:
    before, after = _neighbours(connection, day)
    if after is None or (before is None and not _start_is_complete(connection)):
        return False
    return not open_gaps_touching(connection, day)


def _neighbours(connection: psycopg.Connection, day: date) -> tuple[int | None, int | None]:
    """The last known slot before the day and the first one after it."""
    found = connection.execute(
        "SELECT (SELECT max(slot) FROM ingest_slots WHERE block_time ="
        "  (SELECT max(block_time) FROM ingest_slots WHERE block_time < %(start)s)),"
        " (SELECT min(slot) FROM ingest_slots WHERE block_time ="
        "  (SELECT min(block_time) FROM ingest_slots WHERE block_time >= %(end)s))",
        {"start": _start(day), "end": _start(day) + _DAY_SECONDS},
    ).fetchone()
    return (found[0], found[1]) if found else (None, None)


def _start_is_complete(connection: psycopg.Connection) -> bool:
    found = connection.execute(
        "SELECT bool_or(complete_from = (SELECT min(slot) FROM ingest_slots)) FROM ingest_checkpoint"
    ).fetchone()
    return bool(found and found[0])


def _start(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
