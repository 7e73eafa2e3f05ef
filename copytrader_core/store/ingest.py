"""What the worker has landed: closed slots, the checkpoint, gaps, dead letters, all in one transaction with the rows.

The invariant that `commit` keeps: every known slot but the lowest either has its parent among the known slots, or the
hole before it stands in `ingest_gaps`. It is read off the tables themselves, so that no crash can lose it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from copytrader_core.store import drift, raw_events
from copytrader_core.store.encoded import EncodedRows

if TYPE_CHECKING:
    from copytrader_core.pump.drift import Drift

__all__ = [
    "UNSTORABLE",
    "Batch",
    "Checkpoint",
    "Committed",
    "DeadLetter",
    "LandedSlot",
    "checkpoint",
    "commit",
    "count_open_gaps",
    "fill_gaps",
    "recent_slots",
    "set_aside_bad_rows",
    "try_lock",
]

STREAM = "confirmed"
MISSING_PARENT = "missing parent"
# What one row that no column can hold raises, on this side of the wire or on the other.
UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError, ValueError, TypeError, OverflowError)
# Any constant shared by all workers of one database; "ingest_w" in ASCII.
_LOCK = 0x696E676573745F77
_OPEN_GAPS = """
WITH landed AS (SELECT unnest(%(slots)s::bigint[]) AS slot),
looked_at AS (
    SELECT slot FROM landed
    UNION SELECT (SELECT min(k.slot) FROM ingest_slots k WHERE k.slot > landed.slot) FROM landed
),
orphans AS (
    SELECT s.parent_slot AS last, (SELECT max(k.slot) FROM ingest_slots k WHERE k.slot < s.parent_slot) AS known
    FROM ingest_slots s JOIN looked_at USING (slot)
    WHERE NOT EXISTS (SELECT 1 FROM ingest_slots p WHERE p.slot = s.parent_slot)
    AND NOT EXISTS (SELECT 1 FROM ingest_gaps g WHERE s.parent_slot BETWEEN g.from_slot AND g.to_slot)
)
INSERT INTO ingest_gaps (from_slot, to_slot, reason)
SELECT DISTINCT known + 1, last, %(reason)s FROM orphans WHERE known IS NOT NULL
ON CONFLICT DO NOTHING RETURNING from_slot, to_slot
"""
_DAY_NS = 86_400 * 10**9
_TS_NS, _SLOT, _SIG = (raw_events.COLUMNS.index(name) for name in ("ts_ns", "slot", "sig"))


@dataclass(frozen=True, slots=True)
class LandedSlot:
    """A slot of which everything has come. `parent_slot` is the last slot that has a block before it.

    `recv_ts_ns`: local time of the message that closed it, `created_at_ns` the provider's stamp on that; None: unknown.
    `scope`: which of its events were kept (all, touched, tracked).
    """

    slot: int
    parent_slot: int
    blockhash: str
    block_time: int | None
    n_txs: int
    n_events: int
    recv_ts_ns: int | None = None
    created_at_ns: int | None = None
    scope: str = "all"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Bytes that could not be turned into rows. `raw` can be decoded again: a whole SubscribeUpdate, or, where a node
    gave it, a getTransaction result as JSON."""

    sig: str | None
    slot: int | None
    reason: str
    raw: bytes


@dataclass(slots=True)
class Batch:
    """What goes into one transaction: `rows`, and `encoded` ones of the kernels. The rows of `estimated_slots` carry an
    estimated clock, not a block time. `names_version`: see `raw_events.insert`.

    `late_slots` got transactions after they had been closed. `gap_reason` explains a hole that the batch may reveal,
    `expected_from` is the first slot that was asked for when nothing had been landed yet, and `complete_start` declares
    that nothing came before the first slot. `drift` holds (slot, what the programs would not have done).
    """

    rows: list[raw_events.Row] = field(default_factory=list)
    slots: list[LandedSlot] = field(default_factory=list)
    late_slots: set[int] = field(default_factory=set)
    estimated_slots: set[int] = field(default_factory=set)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    drift: list[tuple[int, Drift]] = field(default_factory=list)
    gap_reason: str = MISSING_PARENT
    expected_from: int | None = None
    complete_start: bool = False
    encoded: list[EncodedRows] = field(default_factory=list)
    names_version: int | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.rows or self.encoded or self.slots or self.dead_letters or self.drift)

    @property
    def n_rows(self) -> int:
        """Rows of both kinds."""
        return len(self.rows) + sum([len(part) for part in self.encoded])

    def times(self) -> Iterator[tuple[int, str, int]]:
        """Slot, signature and ts_ns of each row."""
        for part in self.encoded:
            yield from [(part.slot, values[_SIG], part.ts_ns) for values in part.rows()]
        yield from [(values[_SLOT], values[_SIG], values[_TS_NS]) for values in self.rows]

    def days(self) -> set[int]:
        """The days of the rows, counted from 1970-01-01 (UTC)."""
        return {ts_ns // _DAY_NS for ts_ns in [p.ts_ns for p in self.encoded] + [v[_TS_NS] for v in self.rows]}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The newest slot that is landed, with its clock."""

    slot: int
    block_time: int | None


@dataclass(frozen=True, slots=True)
class Committed:
    """What a batch changed. `gaps` are the (from, to) ranges that it opened, `filled` those that it closed."""

    inserted: int
    duplicates: int
    dead_letters: int
    gaps: tuple[tuple[int, int], ...]
    filled: tuple[tuple[int, int], ...]


def try_lock(connection: psycopg.Connection) -> bool:
    """Takes the database's one worker lock for the life of `connection`; False if another worker holds it."""
    found = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    return bool(found and found[0])


def checkpoint(connection: psycopg.Connection) -> Checkpoint | None:
    """Where to resume, None in a fresh database."""
    found = connection.execute("SELECT slot, block_time FROM ingest_checkpoint WHERE stream = %s", (STREAM,)).fetchone()
    return Checkpoint(*found) if found else None


def recent_slots(connection: psycopg.Connection, from_slot: int, limit: int = 5000) -> set[int]:
    """Known slots from `from_slot` on."""
    found = connection.execute(
        "SELECT slot FROM ingest_slots WHERE slot >= %s ORDER BY slot LIMIT %s", (from_slot, limit)
    )
    return {slot for (slot,) in found}


def commit(connection: psycopg.Connection, batch: Batch) -> Committed:
    """Lands `batch`, all or nothing: rows, slots, checkpoint, gaps and dead letters. Twice is the same as once."""
    with connection.transaction():
        n_rows = batch.n_rows
        inserted = raw_events.insert(connection, batch.rows, batch.encoded, batch.names_version)
        if inserted < n_rows:
            _correct_times(connection, batch)
        fresh = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM ingest_slots)").fetchone() == (True,)
        _land_slots(connection, batch)
        _recount(connection, batch.late_slots)
        letters = _keep_dead_letters(connection, batch.dead_letters)
        drift.record(connection, batch.drift)
        if not batch.slots:
            return Committed(inserted, n_rows - inserted, letters, (), ())
        gaps = _gaps_before_start(connection, batch) if fresh else []
        gaps += _open_gaps(connection, [slot.slot for slot in batch.slots], batch.gap_reason)
        _advance(connection, batch, fresh)
        filled = fill_gaps(connection, among=[slot.slot for slot in batch.slots])
    return Committed(inserted, n_rows - inserted, letters, tuple(gaps), tuple(filled))


def count_open_gaps(connection: psycopg.Connection) -> int:
    """Rows of ingest_gaps that are not filled."""
    found = connection.execute("SELECT count(*) FROM ingest_gaps WHERE filled_at IS NULL").fetchone()
    return int(found[0]) if found else 0


def set_aside_bad_rows(connection: psycopg.Connection, batch: Batch) -> None:
    """Moves the rows that the database refuses from `batch.rows` to its dead letters, so that the others can land."""
    good: list[raw_events.Row] = []
    batch.rows.extend([row for part in batch.encoded for row in part.rows()])
    batch.encoded.clear()
    for row in batch.rows:
        try:
            with connection.transaction(force_rollback=True):
                raw_events.insert(connection, [row])
            good.append(row)
        except UNSTORABLE as error:
            reason = f"the row cannot be stored: {error}"
            batch.dead_letters.append(DeadLetter(row[_SIG], row[_SLOT], reason, repr(row).encode()))
    batch.rows[:] = good


def fill_gaps(connection: psycopg.Connection, among: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """Marks as filled every open gap whose chain of parents is known from end to end, and returns them.

    `among` limits the work to gaps that hold one of these slots.
    """
    open_gaps = connection.execute(
        "SELECT from_slot, to_slot FROM ingest_gaps WHERE filled_at IS NULL AND (%(all)s OR EXISTS ("
        " SELECT 1 FROM unnest(%(among)s::bigint[]) AS s WHERE s BETWEEN from_slot AND to_slot))",
        {"all": among is None, "among": list(among or ())},
    ).fetchall()
    filled = [(start, end) for start, end in open_gaps if _is_connected(connection, start, end)]
    for gap in filled:
        connection.execute("UPDATE ingest_gaps SET filled_at = now() WHERE (from_slot, to_slot) = (%s, %s)", gap)
    return filled


def _is_connected(connection: psycopg.Connection, start: int, end: int) -> bool:
    """Whether parents lead from the known slot `end` through known slots to a parent before `start`.

    That parent itself need not be known: before the first slot that was ever asked for nothing is.
    """
    found = connection.execute(
        "WITH RECURSIVE chain AS ("
        " SELECT slot, parent_slot FROM ingest_slots WHERE slot = %(end)s"
        " UNION ALL SELECT s.slot, s.parent_slot FROM chain c JOIN ingest_slots s ON s.slot = c.parent_slot"
        " WHERE c.parent_slot >= %(start)s)"
        " SELECT min(parent_slot) < %(start)s FROM chain",
        {"start": start, "end": end},
    ).fetchone()
    return bool(found and found[0])


def _land_slots(connection: psycopg.Connection, batch: Batch) -> None:
    """Inserts the slots; of one that is known already only what was missing is added."""
    if not batch.slots:
        return
    unique = {slot.slot: slot for slot in batch.slots}.values()
    columns = _columns(
        (s.slot, s.parent_slot, s.blockhash, s.block_time, s.n_txs, s.n_events, s.recv_ts_ns, s.created_at_ns, s.scope)
        for s in unique
    )
    connection.execute(
        "INSERT INTO ingest_slots AS old"
        " (slot, parent_slot, blockhash, block_time, n_txs, n_events, recv_ts_ns, created_at_ns, scope)"
        " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::int[], %s::int[],"
        " %s::bigint[], %s::bigint[], %s::text[])"
        " ON CONFLICT (slot) DO UPDATE SET block_time = coalesce(old.block_time, excluded.block_time),"
        " n_txs = greatest(old.n_txs, excluded.n_txs), n_events = greatest(old.n_events, excluded.n_events),"
        # Landed again under a wider scope, the slot has all that the wider one keeps.
        " scope = least(old.scope, excluded.scope)",
        columns,
    )


def _columns(rows: Any) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


def _recount(connection: psycopg.Connection, late_slots: set[int]) -> None:
    if late_slots:
        connection.execute(
            "UPDATE ingest_slots s SET (n_txs, n_events) = (SELECT greatest(s.n_txs, count(DISTINCT sig)), count(*)"
            " FROM raw_events r WHERE r.slot = s.slot) WHERE s.slot = ANY(%s)",
            (sorted(late_slots),),
        )


def _correct_times(connection: psycopg.Connection, batch: Batch) -> None:
    """Gives rows that were landed on an estimated clock the block time that is known now."""
    known = {sig: ts_ns for slot, sig, ts_ns in batch.times() if slot not in batch.estimated_slots}
    if known:
        connection.execute(
            "UPDATE raw_events r SET ts_ns = known.ts_ns"
            " FROM unnest(%s::text[], %s::bigint[]) AS known (sig, ts_ns)"
            " WHERE r.sig = known.sig AND r.ts_ns <> known.ts_ns",
            (list(known), list(known.values())),
        )


def _open_gaps(connection: psycopg.Connection, slots: list[int], reason: str) -> list[tuple[int, int]]:
    """Writes down the hole before each of `slots`, and before the known slot that follows it, where there is one."""
    return connection.execute(_OPEN_GAPS, {"slots": slots, "reason": reason}).fetchall()


def _gaps_before_start(connection: psycopg.Connection, batch: Batch) -> list[tuple[int, int]]:
    """In a fresh database: the hole between the slot that was asked for and the first one that came."""
    first = min(batch.slots, key=lambda slot: slot.slot)
    if batch.expected_from is None or first.parent_slot < batch.expected_from:
        return []
    gap = (batch.expected_from, first.parent_slot)
    connection.execute(
        "INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (%s, %s, %s)", (*gap, batch.gap_reason)
    )
    return [gap]


def _advance(connection: psycopg.Connection, batch: Batch, fresh: bool) -> None:
    """Moves the checkpoint to the batch's newest slot; never backwards."""
    newest = max(batch.slots, key=lambda slot: slot.slot)
    first = min(slot.slot for slot in batch.slots)
    connection.execute(
        "INSERT INTO ingest_checkpoint AS old (stream, slot, blockhash, block_time, complete_from)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (stream) DO UPDATE"
        " SET slot = excluded.slot, blockhash = excluded.blockhash, block_time = excluded.block_time,"
        " updated_at = now()"
        " WHERE excluded.slot >= old.slot",
        (STREAM, newest.slot, newest.blockhash, newest.block_time, first if fresh and batch.complete_start else None),
    )


def _keep_dead_letters(connection: psycopg.Connection, letters: Sequence[DeadLetter]) -> int:
    """Stores what could not be decoded; the same letter again is not stored twice. Returns how many were new."""
    if not letters:
        return 0
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ingest_dead_letters (sig, slot, reason, raw) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(letter.sig, letter.slot, letter.reason, letter.raw) for letter in letters],
        )
        return cursor.rowcount
