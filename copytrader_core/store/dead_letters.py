"""Reading `ingest_dead_letters`, and striking out what could be decoded after all. `store.ingest` writes new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

__all__ = ["Letter", "LetterGroup", "SlotFacts", "groups", "letters", "slot_facts", "strike"]

_NEWEST = (
    "SELECT id, sig, slot, reason, raw, (extract(epoch FROM created_at) * 1000000)::bigint FROM ingest_dead_letters"
)
# Numbers differ from letter to letter where the trouble is the same.
_GROUPS = """
SELECT regexp_replace(reason, '[0-9a-f]{16,}|[0-9]+', '#', 'g') AS kind, count(*), min(slot), max(slot), max(id)
FROM ingest_dead_letters GROUP BY kind ORDER BY count(*) DESC, kind
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. `raw` is a SubscribeUpdate, a getTransaction result as JSON, or what a message was instead.

    `kept_us`: when it was kept, in unix microseconds.
    """

    id: int
    sig: str | None
    slot: int | None
    reason: str
    raw: bytes
    kept_us: int


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Letters whose reasons differ in numbers only; `newest_id` is one to look at."""

    reason: str
    n: int
    first_slot: int | None
    last_slot: int | None
    newest_id: int


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """What is known of a landed slot: chain time in unix seconds, local receive time, which events were kept."""

    block_time: int | None
    recv_ts_ns: int | None
    scope: str


def groups(connection: psycopg.Connection) -> list[LetterGroup]:
    """All letters by what is wrong with them, the most frequent first."""
    return [LetterGroup(*row) for row in connection.execute(_GROUPS)]


def letters(connection: psycopg.Connection, ids: Sequence[int] | None = None) -> Iterator[Letter]:
    """The letters with these ids, or all that there are now, oldest first; never many in memory at once."""
    wanted = ids
    if wanted is None:
        wanted = [number for (number,) in connection.execute("SELECT id FROM ingest_dead_letters ORDER BY id")]
    for number in wanted:
        found = connection.execute(f"{_NEWEST} WHERE id = %s", (number,)).fetchone()
        if found is not None:
            number, sig, slot, reason, raw, kept_us = found
            yield Letter(number, sig, slot, reason, bytes(raw or b""), kept_us)


def slot_facts(connection: psycopg.Connection, slot: int) -> SlotFacts | None:
    """The landed slot, None where it is not landed."""
    found = connection.execute(
        "SELECT block_time, recv_ts_ns, scope FROM ingest_slots WHERE slot = %s", (slot,)
    ).fetchone()
    return SlotFacts(*found) if found else None


def strike(connection: psycopg.Connection, letter: Letter) -> None:
    """Takes a letter off the table: all that it holds is landed now."""
    connection.execute("DELETE FROM ingest_dead_letters WHERE id = %s", (letter.id,))
