"""Sealing UTC days of `raw_events`: which days are complete, how many events they hold, and what ends a seal."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg

from copytrader_core.errors import StoreError
from copytrader_core.store import partitions
from copytrader_core.store.partitions import day_bounds_ns

__all__ = [
    "Reach",
    "SealedDay",
    "UnsealedDay",
    "day_of",
    "newest_sealed",
    "open_gaps_touching",
    "reach",
    "recount_sealed",
    "seal",
    "seal_covered",
    "stored_twice",
    "unseal_gapped",
]

_log = logging.getLogger("copytrader.ingest.days")

_DAY_SECONDS = 86_400


# Keys of the day's events that stand on another day as well; only a slot with two clocks can have any.
_STORED_TWICE = """
SELECT DISTINCT r.sig, utc_day(o.ts_ns)::text FROM raw_event_slots s
JOIN raw_events r ON r.slot = s.slot AND r.ts_ns >= %(start)s AND r.ts_ns < %(end)s
JOIN raw_events o ON o.slot = s.slot AND (o.ts_ns < %(start)s OR o.ts_ns >= %(end)s)
    AND (o.sig, o.outer_ix, o.inner_ix, o.event_seq) = (r.sig, r.outer_ix, r.inner_ix, r.event_seq)
WHERE s.day IS NULL ORDER BY 1, 2 LIMIT 5
"""
_COUNT = """
INSERT INTO ingest_days (day, sealed_by, n_events, first_slot, last_slot, scope)
SELECT %(day)s, %(by)s, count(*), min(slot), max(slot), coalesce((SELECT max(s.scope) FROM ingest_slots s
    WHERE s.block_time >= %(start)s / 1000000000 AND s.block_time < %(end)s / 1000000000), 'all')
FROM raw_events WHERE ts_ns >= %(start)s AND ts_ns < %(end)s
ON CONFLICT (day) DO UPDATE SET sealed_at = now(), sealed_by = excluded.sealed_by, n_events = excluded.n_events,
    first_slot = excluded.first_slot, last_slot = excluded.last_slot, scope = excluded.scope,
    unsealed_at = NULL, unsealed_reason = NULL
RETURNING day, n_events, first_slot, last_slot
"""
_LATE = """
UPDATE ingest_days SET late_events =
    (SELECT count(*) FROM raw_events WHERE ts_ns >= %(start)s AND ts_ns < %(end)s)
WHERE day = %(day)s AND dropped_at IS NOT NULL RETURNING day, n_events, first_slot, last_slot, late_events
"""
# Seals that an open gap is younger than. A worker's day is bounded by its slots, any other by its own events' slots.
_DOUBTFUL = """
SELECT d.day, d.sealed_by, g.from_slot, g.to_slot,
    coalesce(g.from_slot <= d.last_slot AND g.to_slot >= d.first_slot, FALSE)
FROM ingest_gaps g JOIN ingest_days d ON g.opened_at > d.sealed_at
WHERE g.filled_at IS NULL AND d.unsealed_at IS NULL AND d.dropped_at IS NULL ORDER BY d.day, g.from_slot
"""


@dataclass(frozen=True, slots=True)
class SealedDay:
    """A day that is declared complete, with the number of its events and the slots they span.

    `late_events` came after the day had been dropped: they lie in Postgres and in no snapshot.
    """

    day: date
    n_events: int
    first_slot: int | None
    last_slot: int | None
    late_events: int = 0


@dataclass(frozen=True, slots=True)
class UnsealedDay:
    """A day whose seal has ended, and why."""

    day: date
    reason: str


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a day that is not sealed yet is known without a hole: the newest such slot, and its block's time."""

    day: date
    slot: int
    block_time: int


def reach(connection: psycopg.Connection) -> Reach | None:
    """How far the day of the newest block is known from its beginning on, None where not even that was seen.

    Slots beyond the checkpoint may still have holes that nobody has noticed.
    """
    newest = connection.execute("SELECT max(block_time) FROM ingest_slots").fetchone()
    if not newest or newest[0] is None:
        return None
    day = day_of(newest[0])
    before, _ = _neighbours(connection, day)
    if before is None and not _start_is_complete(connection):
        return None
    first_hole = min((start for start, _ in open_gaps_touching(connection, day)), default=2**62)
    found = connection.execute(
        "SELECT slot, block_time FROM ingest_slots WHERE block_time >= %s AND slot < %s"
        " AND slot <= (SELECT max(slot) FROM ingest_checkpoint) ORDER BY slot DESC LIMIT 1",
        (_start(day), first_hole),
    ).fetchone()
    return Reach(day, *found) if found else None


def day_of(seconds: int) -> date:
    """The UTC day of a unix time."""
    return datetime.fromtimestamp(seconds, UTC).date()


def seal(connection: psycopg.Connection, day: date, sealed_by: str) -> SealedDay:
    """Declares `day` complete with the events that it holds now; again after late data brings it up to date.

    Rows that were waiting in the default partition move to the day's own. A day that retention has dropped keeps its
    count, and what came since is counted as late. Raises StoreError if an event of the day stands on another day too.
    """
    if (dropped := _count_late(connection, day)) is not None:
        return dropped
    partitions.ensure_partitions(connection, day, day)
    if twice := stored_twice(connection, day):
        named = ", ".join(f"{sig} (also on {other})" for sig, other in twice)
        raise StoreError(
            f"{day} cannot be sealed, some of its events are stored under two days' clocks: {named}. "
            "Delete the rows with the wrong ts_ns from raw_events, then seal again"
        )
    return _count(connection, day, sealed_by)


def stored_twice(connection: psycopg.Connection, day: date) -> list[tuple[str, str]]:
    """Signatures of `day` whose events stand on another day too, with that day; only plain COPY can cause it."""
    bounds = _bounds(day)
    connection.execute(
        "INSERT INTO raw_event_slots AS known (slot, day) SELECT DISTINCT slot, %(day)s::date FROM raw_events"
        " WHERE ts_ns >= %(start)s AND ts_ns < %(end)s ORDER BY 1"
        " ON CONFLICT (slot) DO UPDATE SET day = NULL WHERE known.day <> excluded.day",
        bounds,
    )
    return connection.execute(_STORED_TWICE, bounds).fetchall()


def recount_sealed(connection: psycopg.Connection, days: set[date]) -> list[SealedDay]:
    """Brings those of `days` that are sealed up to date; for events that came after the seal or after the drop."""
    found = connection.execute(
        "SELECT day, sealed_by, dropped_at IS NOT NULL FROM ingest_days WHERE day = ANY(%s) AND unsealed_at IS NULL",
        (sorted(days),),
    ).fetchall()
    counted = [
        _count_late(connection, day) if dropped else _count(connection, day, sealed_by)
        for day, sealed_by, dropped in found
    ]
    for one in counted:
        if one is not None and one.late_events:
            _log.warning("late_events day=%s events=%d hint='the day was dropped'", one.day, one.late_events)
    return [one for one in counted if one is not None]


def newest_sealed(connection: psycopg.Connection) -> int:
    """The newest sealed day as days since 1970, -1 if none is sealed."""
    found = connection.execute("SELECT max(day) - DATE '1970-01-01' FROM ingest_days").fetchone()
    return -1 if not found or found[0] is None else int(found[0])


def seal_covered(connection: psycopg.Connection) -> list[SealedDay]:
    """Seals, in the worker's name, every past day that its slots cover without a hole.

    A day is covered when a slot of an earlier day, a slot of a later day and everything between them is known: no open
    gap touches it. The day that coverage began in counts only if the first slot was declared the chain's first.
    Keeps house as well: ends seals that no longer hold and makes the partitions of the days to come.
    """
    try:
        partitions.ensure_ahead(connection)
    except StoreError as error:
        _log.warning("partitions_not_made error=%r", str(error))
    for unsealed in unseal_gapped(connection):
        _log.warning("day_unsealed day=%s reason=%r", unsealed.day, unsealed.reason)
    sealed = []
    for day in _candidates(connection):
        if not _is_covered(connection, day):
            continue
        try:
            sealed.append(seal(connection, day, "worker"))
        except StoreError as error:
            _log.error("day_not_sealed day=%s error=%r", day, str(error))
    return sealed


def unseal_gapped(connection: psycopg.Connection) -> list[UnsealedDay]:
    """Ends the seal of every day in which a gap was found after it had been sealed, and returns those days."""
    unsealed: dict[date, str] = {}
    for day, sealed_by, start, end, inside in connection.execute(_DOUBTFUL).fetchall():
        touches = (start, end) in open_gaps_touching(connection, day) if sealed_by == "worker" else inside
        if touches:
            unsealed.setdefault(day, f"slots {start} to {end} were found missing after it had been sealed")
    for day, reason in unsealed.items():
        connection.execute(
            "UPDATE ingest_days SET unsealed_at = now(), unsealed_reason = %s WHERE day = %s", (reason, day)
        )
    return [UnsealedDay(day, reason) for day, reason in unsealed.items()]


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
    sealed = _sealed_since(connection, first)
    days = (first + timedelta(days=offset) for offset in range((newest - first).days))
    return [day for day in days if day not in sealed]


def _sealed_since(connection: psycopg.Connection, first: date) -> set[date]:
    found = connection.execute("SELECT day FROM ingest_days WHERE day >= %s AND unsealed_at IS NULL", (first,))
    return {day for (day,) in found}


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


def _count(connection: psycopg.Connection, day: date, sealed_by: str) -> SealedDay:
    found = connection.execute(_COUNT, {**_bounds(day), "by": sealed_by}).fetchone()
    if found is None:
        raise StoreError(f"sealing {day} changed nothing: look at the rules and triggers on ingest_days")
    return SealedDay(*found)


def _count_late(connection: psycopg.Connection, day: date) -> SealedDay | None:
    """Counts what came for a day after it was dropped; None if it was not dropped."""
    found = connection.execute(_LATE, _bounds(day)).fetchone()
    return SealedDay(*found) if found else None


def _bounds(day: date) -> dict[str, date | int]:
    start, end = day_bounds_ns(day)
    return {"day": day, "start": start, "end": end}


def _start(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
