"""What the backfill keeps and asks: how far each wallet's history is hydrated, which gaps are open, what is known.

Rows, slots and gaps themselves are landed by `store.ingest`, as the worker's are. No requests to a node here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import date

import psycopg

from copytrader_core.store import clocks, days, ingest, raw_events
from copytrader_core.store.ingest import Batch, Committed

__all__ = [
    "Gap",
    "KnownSlot",
    "Landed",
    "Progress",
    "known_signatures",
    "known_slots",
    "land",
    "last_known_before",
    "open_gaps",
    "progress",
    "try_lock",
]

# Any constant shared by all backfills of one database; "backfill" in ASCII.
_LOCK = 0x6261636B66696C6C
_SECOND_NS = 10**9
_TS_NS, _SIG, _SLOT, _TX_INDEX = (raw_events.COLUMNS.index(name) for name in ("ts_ns", "sig", "slot", "tx_index"))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a wallet's history is hydrated, newest first.

    Everything from `newest_sig` down to `oldest_sig` is landed, and nothing is missing back to the unix time
    `complete_since`. A scan above that which is not finished yet has been through from `head_sig` to `cursor_sig`.
    """

    newest_sig: str | None = None
    newest_slot: int | None = None
    oldest_sig: str | None = None
    complete_since: int | None = None
    head_sig: str | None = None
    head_slot: int | None = None
    cursor_sig: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of slots that is missing, both ends included."""

    from_slot: int
    to_slot: int
    reason: str


@dataclass(frozen=True, slots=True)
class KnownSlot:
    """A landed slot."""

    slot: int
    blockhash: str | None
    block_time: int | None


@dataclass(frozen=True, slots=True)
class Landed:
    """What a batch changed, and the sealed days that it came too late for; their counts have been kept true."""

    committed: Committed
    late_for: tuple[date, ...]


def try_lock(connection: psycopg.Connection) -> bool:
    """Takes the database's one backfill lock for the life of `connection`; False if another backfill holds it."""
    found = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    return bool(found and found[0])


def progress(connection: psycopg.Connection, wallet: str) -> Progress:
    """How far `wallet` is hydrated; nothing known for a new one."""
    found = connection.execute(
        "SELECT newest_sig, newest_slot, oldest_sig, complete_since, head_sig, head_slot, cursor_sig"
        " FROM backfill_progress WHERE wallet = %s",
        (wallet,),
    ).fetchone()
    return Progress(*found) if found else Progress()


def open_gaps(connection: psycopg.Connection) -> list[Gap]:
    """Every gap that is not filled, oldest first."""
    found = connection.execute(
        "SELECT from_slot, to_slot, reason FROM ingest_gaps WHERE filled_at IS NULL ORDER BY from_slot, to_slot"
    )
    return [Gap(*row) for row in found]


def known_slots(connection: psycopg.Connection, first: int, last: int) -> set[int]:
    """The landed slots of first..last."""
    found = connection.execute("SELECT slot FROM ingest_slots WHERE slot BETWEEN %s AND %s", (first, last))
    return {slot for (slot,) in found}


def last_known_before(connection: psycopg.Connection, slot: int) -> KnownSlot | None:
    """The landed slot nearest below `slot`."""
    found = connection.execute(
        "SELECT slot, blockhash, block_time FROM ingest_slots WHERE slot < %s ORDER BY slot DESC LIMIT 1", (slot,)
    ).fetchone()
    return KnownSlot(*found) if found else None


def known_signatures(connection: psycopg.Connection, signatures: Sequence[str]) -> set[str]:
    """Those of `signatures` whose rows are landed with their place in the block."""
    found = connection.execute(
        "SELECT DISTINCT sig FROM raw_events WHERE sig = ANY(%s) AND tx_index IS NOT NULL", (list(signatures),)
    )
    return {sig for (sig,) in found}


def land(
    connection: psycopg.Connection, batch: Batch, wallet: str | None = None, reached: Progress | None = None
) -> Landed:
    """Lands `batch` as the worker does and, in the same transaction, how far `wallet` has come."""
    with connection.transaction():
        committed = ingest.commit(connection, batch)
        clocks.settle(connection, batch.estimated_slots)
        _complete_places(connection, batch.rows)
        late_for = _count_late(connection, batch.rows, committed) if committed.inserted else []
        if wallet is not None and reached is not None:
            _save(connection, wallet, reached)
    return Landed(committed, tuple(late_for))


def _save(connection: psycopg.Connection, wallet: str, reached: Progress) -> None:
    connection.execute(
        "INSERT INTO backfill_progress"
        " (wallet, newest_sig, newest_slot, oldest_sig, complete_since, head_sig, head_slot, cursor_sig)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (wallet) DO UPDATE SET"
        " (newest_sig, newest_slot, oldest_sig, complete_since, head_sig, head_slot, cursor_sig, updated_at) ="
        " (excluded.newest_sig, excluded.newest_slot, excluded.oldest_sig, excluded.complete_since,"
        " excluded.head_sig, excluded.head_slot, excluded.cursor_sig, now())",
        (wallet, *astuple(reached)),
    )


def _complete_places(connection: psycopg.Connection, rows: Sequence[raw_events.Row]) -> None:
    """Gives rows that were landed without their place in the block the place that is known now."""
    places = {row[_SIG]: row[_TX_INDEX] for row in rows if row[_TX_INDEX] is not None}
    if places:
        connection.execute(
            "UPDATE raw_events r SET tx_index = known.tx_index FROM unnest(%s::text[], %s::int[])"
            " AS known (sig, tx_index) WHERE r.sig = known.sig AND r.tx_index IS NULL",
            (list(places), list(places.values())),
        )


def _count_late(connection: psycopg.Connection, rows: Sequence[raw_events.Row], committed: Committed) -> list[date]:
    """Late events for days that are sealed already: their counts tell the truth in the same transaction.

    Counting a whole day takes too long to do it for every batch: what was added is added, unless some of the rows were
    there before, so that it is not known which day they were added to.
    """
    slots_by_day: dict[date, list[int]] = {}
    for row in rows:
        slots_by_day.setdefault(days.day_of(row[_TS_NS] // _SECOND_NS), []).append(row[_SLOT])
    sealed = connection.execute(
        "SELECT day, dropped_at IS NOT NULL FROM ingest_days WHERE day = ANY(%s) AND unsealed_at IS NULL ORDER BY day",
        (sorted(slots_by_day),),
    ).fetchall()
    for day, is_dropped in sealed:
        if is_dropped or committed.duplicates:
            days.recount_sealed(connection, {day})
        else:
            _add_to_sealed(connection, day, slots_by_day[day])
    return [day for day, _ in sealed]


def _add_to_sealed(connection: psycopg.Connection, day: date, slots: Sequence[int]) -> None:
    connection.execute(
        "UPDATE ingest_days SET n_events = n_events + %s, first_slot = least(first_slot, %s),"
        " last_slot = greatest(last_slot, %s), sealed_at = now() WHERE day = %s",
        (len(slots), min(slots), max(slots), day),
    )
