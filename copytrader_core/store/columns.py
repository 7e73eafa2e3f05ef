"""The columns of `raw_events` that the writer of an event fills, in the order in which rows are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Row = tuple[Any, ...]
"""One value per name in COLUMNS."""

# Every column that the writer of an event fills, with the type that binary COPY needs to know.
KINDS: Final[Mapping[str, str]] = {
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
COLUMNS: Final = tuple(KINDS)
