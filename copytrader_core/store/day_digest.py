"""What a day of `raw_events` contains, as numbers that do not depend on the order of its rows. No Parquet here.

The content of a row is a text: every column but `leader_wallet` (the one that is filled later), joined by commas.
NULL is "-", a number its decimal digits, a float the signed integer of its 64 bits, a time its microseconds since 1970,
a text its length in bytes, a colon and itself - so that no two rows have the same text. The 128 bits of the text's MD5
are two numbers, and a set of rows has the sums of them modulo 2**64. Whoever can compute MD5 can check it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import psycopg

from copytrader_core.store.partitions import day_bounds_ns
from copytrader_core.store.raw_events import KINDS

__all__ = ["COLUMNS", "SLOTS_PER_BLOCK", "Digest", "Digests", "content_hash", "day_digests", "digests_of", "row_hashes"]

# The columns of the text in order, with the kind of each.
COLUMNS: Final[Mapping[str, str]] = {**KINDS, "created_at": "timestamptz"}
# Digests are kept for so many slots apart, so that a difference is found without comparing every row.
SLOTS_PER_BLOCK: Final = 1_000
_MODULUS: Final = 2**64


@dataclass(frozen=True, slots=True)
class Digest:
    """The number of rows and the two sums."""

    rows: int
    high: int
    low: int


# By slot / SLOTS_PER_BLOCK.
Digests = dict[int, Digest]


def digests_of(rows: Iterable[tuple[int, int, int, int]]) -> Digests:
    """Digests from (block, rows, sum, sum) as a database adds them up, signed or not."""
    return {block: Digest(count, int(high) % _MODULUS, int(low) % _MODULUS) for block, count, high, low in rows}


def content_hash(digests: Digests) -> str:
    """The whole day's rows as one text: number, high sum, low sum."""
    high = sum(d.high for d in digests.values()) % _MODULUS
    low = sum(d.low for d in digests.values()) % _MODULUS
    return f"{sum(d.rows for d in digests.values())}:{high:016x}{low:016x}"


def day_digests(connection: psycopg.Connection, day: date, block: int | None = None) -> Digests:
    """The digests of what Postgres holds of `day`, or of one block of it, computed by Postgres from its own values.

    Hashing costs Postgres 30 us a row: a whole day is better hashed by its reader (copytrader_assets/bulk/content.py).
    """
    start, end = day_bounds_ns(day)
    first, behind = (-(2**63), 2**63 - 1) if block is None else (block * SLOTS_PER_BLOCK, (block + 1) * SLOTS_PER_BLOCK)
    found = connection.execute(
        f"SELECT slot / {SLOTS_PER_BLOCK}, count(*), sum(('x' || left(hash, 16))::bit(64)::bigint),"  # noqa: S608
        " sum(('x' || right(hash, 16))::bit(64)::bigint)"
        f" FROM (SELECT slot, {_HASH} AS hash FROM raw_events WHERE ts_ns >= %s AND ts_ns < %s"
        " AND slot >= %s AND slot < %s) AS rows GROUP BY 1",
        (start, end, first, behind),
    )
    return digests_of(found)


def row_hashes(connection: psycopg.Connection, day: date, block: int) -> dict[str, str]:
    """The MD5 of each row of a block of slots by its key, as sig/outer_ix/inner_ix/event_seq."""
    start, end = day_bounds_ns(day)
    first = block * SLOTS_PER_BLOCK
    found = connection.execute(
        f"SELECT concat_ws('/', sig, outer_ix, inner_ix, event_seq), {_HASH} FROM raw_events"  # noqa: S608
        " WHERE ts_ns >= %s AND ts_ns < %s AND slot >= %s AND slot < %s",
        (start, end, first, first + SLOTS_PER_BLOCK),
    )
    return dict(found.fetchall())


def _text(column: str, kind: str) -> str:
    if kind in ("text", "jsonb"):
        return f"coalesce(octet_length({column}::text) || ':' || {column}::text, '-')"
    if kind == "float8":
        return f"coalesce(('x' || encode(float8send({column}), 'hex'))::bit(64)::bigint::text, '-')"
    if kind == "timestamptz":
        return f"coalesce((extract(epoch FROM {column}) * 1000000)::bigint::text, '-')"
    return f"coalesce({column}::text, '-')"


_HASH: Final = f"md5(convert_to(concat_ws(',', {', '.join(_text(*one) for one in COLUMNS.items())}), 'UTF8'))"
