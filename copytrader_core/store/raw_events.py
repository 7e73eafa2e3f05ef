"""Landing events in `raw_events`: the column list, one row, and the idempotent bulk insert. No slots, no checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import set_json_dumps

from copytrader_core.records import Event

__all__ = ["COLUMNS", "insert", "row"]

Row = tuple[Any, ...]

# Every column that the writer of an event fills, with the type that binary COPY needs to know.
_TYPES: Final[Mapping[str, str]] = {
    "ts_ns": "int8",
    "recv_ts_ns": "int8",
    "slot": "int8",
    "tx_index": "int4",
    "sig": "text",
    "outer_ix": "int4",
    "inner_ix": "int4",
    "event_seq": "int4",
    "wallet": "text",
    "alias": "text",
    "fee_payer": "text",
    "program": "text",
    "action": "text",
    "mint": "text",
    "base_mint": "text",
    "quote_mint": "text",
    "base_raw": "numeric",
    "quote_raw": "numeric",
    "swap_fee_raw": "numeric",
    "tx_fee_lamports": "int8",
    "tip_lamports": "int8",
    "reserve_base_raw": "numeric",
    "reserve_quote_raw": "numeric",
    "amount_in": "float8",
    "amount_out": "float8",
    "price_est": "float8",
    "fee_sol": "float8",
    "ix_accounts_json": "jsonb",
    "meta_json": "jsonb",
}
COLUMNS: Final = tuple(_TYPES)

_NAMES: Final = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_STAGE: Final = sql.SQL(
    "CREATE TEMP TABLE IF NOT EXISTS incoming_events AS SELECT {} FROM raw_events WITH NO DATA"
).format(_NAMES)
_COPY: Final = sql.SQL("COPY incoming_events ({}) FROM STDIN (FORMAT BINARY)").format(_NAMES)
_MERGE: Final = sql.SQL(
    "INSERT INTO raw_events ({0}) SELECT {0} FROM incoming_events"
    " ON CONFLICT (sig, outer_ix, inner_ix, event_seq) DO NOTHING"
).format(_NAMES)


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


def insert(connection: psycopg.Connection, rows: Sequence[Row]) -> int:
    """Inserts the rows whose key is new and returns how many; known keys are left as they are.

    One COPY into a temporary table and one INSERT ... SELECT. Joins the transaction that is open on `connection`.
    """
    if not rows:
        return 0
    with connection.transaction(), connection.cursor() as cursor:
        set_json_dumps(_dumps, cursor)
        cursor.execute(_STAGE)
        with cursor.copy(_COPY) as copy:
            copy.set_types(list(_TYPES.values()))
            for values in rows:
                copy.write_row(values)
        inserted = cursor.execute(_MERGE).rowcount
        cursor.execute("TRUNCATE incoming_events")
        return inserted


def _dumps(value: Any) -> bytes:
    """Compact JSON that jsonb accepts: NUL characters, which it refuses and token names do hold, are left out."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if "\\u0000" in text:
        text = json.dumps(_without_nul(value), separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="replace")


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, Mapping):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(inner) for inner in value]
    return value
