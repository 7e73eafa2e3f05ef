"""Landing events in `raw_events`: the column list, one row, and the idempotent bulk insert. No slots, no checkpoint."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import set_json_dumps

from copytrader_core.records import Event
from copytrader_core.store.columns import COLUMNS, KINDS, Row
from copytrader_core.store.encoded import HEADER, TRAILER, EncodedRows

__all__ = ["COLUMNS", "KINDS", "Row", "insert", "row"]

# json.dumps would build this encoder again for every value.
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

_DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = dt.date(1970, 1, 1)
_TS_NS, _SLOT = COLUMNS.index("ts_ns"), COLUMNS.index("slot")

_NAMES: Final = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_STAGE: Final = sql.SQL(
    "CREATE TEMP TABLE IF NOT EXISTS incoming_events AS SELECT {} FROM raw_events WITH NO DATA"
).format(_NAMES)
_COPY: Final = sql.SQL("COPY incoming_events ({}) FROM STDIN (FORMAT BINARY)").format(_NAMES)
_COPY_STRAIGHT: Final = sql.SQL("COPY raw_events ({}) FROM STDIN (FORMAT BINARY)").format(_NAMES)
# Slots that nobody has landed anything of.
_CLAIM_NEW: Final = (
    "INSERT INTO raw_event_slots (slot, day)"
    " SELECT * FROM unnest(%s::bigint[], %s::date[]) AS claimed (slot, day) ORDER BY slot ON CONFLICT (slot) DO NOTHING"
)
_MERGE: Final = sql.SQL("INSERT INTO raw_events ({0}) SELECT {0} FROM incoming_events ON CONFLICT DO NOTHING").format(
    _NAMES
)
# A scalar subquery, which Postgres never turns into a scan of whole partitions.
_CAREFUL_MERGE: Final = sql.SQL(
    "INSERT INTO raw_events ({0}) SELECT DISTINCT ON (sig, outer_ix, inner_ix, event_seq) {0} FROM incoming_events i"
    " WHERE (SELECT 1 FROM raw_events r WHERE (r.sig, r.outer_ix, r.inner_ix, r.event_seq)"
    " = (i.sig, i.outer_ix, i.inner_ix, i.event_seq) LIMIT 1) IS NULL"
    " ON CONFLICT DO NOTHING"
).format(_NAMES)
# A name that was imported a moment ago is on the next row: `alias` is the wallet's name at the time of writing.
_NAME_WALLETS: Final = (
    "UPDATE incoming_events i SET alias = w.alias FROM wallets w"
    " WHERE w.wallet = i.wallet AND w.alias IS DISTINCT FROM i.alias AND w.alias IS NOT NULL"
)
# Writers of the same slot take turns here, in the order of slots, so that none misses the other's rows.
_CLAIM: Final = """
WITH seen AS (
    SELECT slot, min(ts_ns) / 86400000000000 AS first, max(ts_ns) / 86400000000000 AS last
    FROM incoming_events GROUP BY slot
), claimed AS (
    INSERT INTO raw_event_slots AS known (slot, day)
    SELECT slot, CASE WHEN first = last THEN DATE '1970-01-01' + first::int END FROM seen ORDER BY slot
    ON CONFLICT (slot) DO UPDATE SET day = CASE WHEN known.day = excluded.day THEN known.day END
    RETURNING day
) SELECT bool_or(day IS NULL) FROM claimed
"""


def row(event: Event, *, ts_ns: int, recv_ts_ns: int | None, alias: str | None) -> Row:
    """The row of `event`, one value per name in COLUMNS. The two JSON columns hold plain lists and dicts, or None."""
    return (
        ts_ns,
        recv_ts_ns,
        event.slot,
        event.tx_index,
        event.sig,
        event.outer_ix,
        event.inner_ix,
        event.event_seq,
        event.wallet,
        alias,
        event.fee_payer,
        event.program,
        event.action,
        event.mint,
        event.base_mint,
        event.quote_mint,
        event.base_raw,
        event.quote_raw,
        event.swap_fee_raw,
        event.tx_fee_lamports,
        event.tip_lamports,
        event.reserve_base_raw,
        event.reserve_quote_raw,
        event.amount_in,
        event.amount_out,
        event.price_est,
        event.fee_sol,
        list(event.ix_accounts) or None,
        dict(event.meta) or None,
    )


def insert(
    connection: psycopg.Connection,
    rows: Sequence[Row],
    encoded: Sequence[EncodedRows] = (),
    names_version: int | None = None,
) -> int:
    """Inserts the rows whose key is new and returns how many; known keys are left as they are.

    Joins the transaction that is open on `connection`. A key is new only if no partition has it: a replay may carry
    another clock, even another day's. A wallet that the wallets table names by now gets that name, whatever its row
    says; `names_version` is that of the names in the rows (None: unknown).

    Rows of slots of which nothing was landed yet go straight into the table if their names are still right. All others
    go through a temporary table and one INSERT ... SELECT.
    """
    if not rows and not encoded:
        return 0
    may_be_new = names_version is not None
    while True:
        try:
            with connection.transaction(), connection.cursor() as cursor:
                if may_be_new and _are_new(cursor, rows, encoded, names_version):
                    _copy(cursor, _COPY_STRAIGHT, rows, encoded)
                    return len(rows) + sum(map(len, encoded))
                cursor.execute(_STAGE)
                _copy(cursor, _COPY, rows, encoded)
                return _merge(cursor)
        except psycopg.errors.UniqueViolation:
            # A key twice in these rows, or rows that came by a plain COPY: only a merge can tell them apart.
            if not may_be_new:
                raise
            may_be_new = False
        except psycopg.errors.CheckViolation as error:
            # The day got its partition after Postgres had chosen the default one; a rule of a column has a name.
            if error.diag.constraint_name is not None:
                raise


def _are_new(
    cursor: psycopg.Cursor[Any], rows: Sequence[Row], encoded: Sequence[EncodedRows], names_version: int | None
) -> bool:
    """Whether no row of these slots was landed before, by anybody, and the wallets still have the names of then."""
    days: dict[int, int] = {part.slot: part.ts_ns // _DAY_NS for part in encoded}
    for values in rows:
        if days.setdefault(values[_SLOT], values[_TS_NS] // _DAY_NS) != values[_TS_NS] // _DAY_NS:
            return False
    if cursor.execute("SELECT version FROM wallet_names").fetchone() != (names_version,):
        return False
    dates = [_EPOCH + dt.timedelta(days=day) for day in days.values()]
    return cursor.execute(_CLAIM_NEW, (list(days), dates)).rowcount == len(days)


def _copy(
    cursor: psycopg.Cursor[Any], statement: sql.Composed, rows: Sequence[Row], encoded: Sequence[EncodedRows]
) -> None:
    if encoded:
        with cursor.copy(statement) as copy:
            copy.write(b"".join([HEADER, *[part.data for part in encoded], TRAILER]))
    if rows:
        set_json_dumps(_dumps, cursor)
        with cursor.copy(statement) as copy:
            copy.set_types(list(KINDS.values()))
            for values in rows:
                copy.write_row(values)


def _merge(cursor: psycopg.Cursor[Any]) -> int:
    cursor.execute(_NAME_WALLETS)
    several_days = cursor.execute(_CLAIM).fetchone() == (True,)
    inserted = cursor.execute(_CAREFUL_MERGE if several_days else _MERGE).rowcount
    cursor.execute("TRUNCATE incoming_events")
    return inserted


def _dumps(value: Any) -> bytes:
    """Compact JSON that jsonb accepts: NUL characters, which it refuses and token names do hold, are left out."""
    text = _ENCODE(value)
    if "\\u0000" in text:
        text = _ENCODE(_without_nul(value))
    return text.encode(errors="replace")


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, Mapping):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(inner) for inner in value]
    return value
