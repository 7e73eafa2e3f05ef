"""A day of events as the tape that a backtest replays: every trade with what it takes to execute it again.

What a market is, and which pool a coin has, is the rule of the executor's market book. Not here: replaying.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray
from solders.pubkey import Pubkey

from copytrader_assets.analysis.columns import ints, places
from copytrader_core.pump.addresses import AMM_PROGRAM, canonical_pool
from copytrader_core.pump.curve import INITIAL_SOL_CURVE
from copytrader_core.records import WSOL
from copytrader_core.replay.execution import CURVE, NO_VENUE, POOL
from copytrader_core.replay.rows import LARGEST, kinds, next_fees, own_fees, usual_pool_fees
from copytrader_core.replay.tape import FEES, NEXT_FEES

EVENT_COLUMNS: Final = (
    "slot",
    "tx_index",
    "outer_ix",
    "inner_ix",
    "event_seq",
    "ts_ns",
    "sig",
    "wallet",
    "program",
    "action",
    "mint",
    "quote_mint",
    "base_raw",
    "quote_raw",
    "swap_fee_raw",
    "reserve_base_raw",
    "reserve_quote_raw",
    "meta_json",
)
_META: Final = pa.schema(
    [
        ("venue", pa.string()),
        ("pool", pa.string()),
        ("ix", pa.string()),
        ("vault_quote_raw", pa.uint64()),
        ("real_base_raw", pa.uint64()),
        ("real_quote_raw", pa.uint64()),
        ("cashback_raw", pa.uint64()),
        ("lp_fee_bps", pa.int64()),
        ("protocol_fee_bps", pa.int64()),
        ("creator_fee_bps", pa.int64()),
    ]
)
_TRADES: Final = ("BUY", "SELL")
_BASE_LIMIT: Final = 1 << 62


@dataclass(slots=True)
class Known:
    """What one part of a day leaves to the next: the last transaction, and what each coin's pool charged."""

    tx: int = -1
    sig: str = ""
    fees: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def pool_fees(self, mints: pa.Array) -> NDArray[np.int16]:
        """(n, 3) basis points of the coins' pools so far."""
        found = usual_pool_fees(max(1, len(mints)))
        for place, mint in enumerate(mints.to_pylist() if self.fees else ()):
            if mint in self.fees:
                found[place] = self.fees[mint]
        return found

    def keep(self, mints: pa.Array, fees: NDArray[np.int16]) -> None:
        """Takes what the coins' pools charge now, where it is not the usual."""
        unusual = (fees != usual_pool_fees(len(fees))).any(axis=1)
        for place, mint in enumerate(mints.to_pylist()):
            if unusual[place] or mint in self.fees:
                self.fees[mint] = tuple(fees[place].tolist())


def tape_rows(events: pa.Table, known: Known | None = None) -> pa.Table:
    """The `tape` of some events (EVENT_COLUMNS, chain order); `known` goes from one part of a day to the next."""
    known = Known() if known is None else known
    events = events.filter(pc.is_in(events["action"], pa.array(["BUY", "SELL", "ADD", "REMOVE"])))
    meta = _meta(events["meta_json"])
    is_trade = _flags(pc.is_in(events["action"], pa.array(_TRADES)))
    is_buy = _flags(pc.equal(events["action"], "BUY"))
    amounts, fits = _amounts(events, meta)
    # Nobody pays more in fees than he pays in all: what says so is not executed again.
    fits &= ~is_buy | (amounts["fee"] <= amounts["quote_raw"])
    venue = _venues(events, meta, fits)
    # Only trades count for whom they were; of a market's liquidity its reserves do.
    rows = np.flatnonzero(is_trade | (venue != NO_VENUE))
    events, meta = events.take(pa.array(rows)), meta.take(pa.array(rows))
    venue, is_trade, is_buy = venue[rows], is_trade[rows], is_buy[rows]
    amounts = {name: values[rows] for name, values in amounts.items()}
    columns = _reserves(amounts, meta, venue)
    columns |= {name: np.where(is_trade, amounts[name], 0) for name in ("base_raw", "quote_raw")}
    fee = np.where(is_trade, amounts["fee"], 0)
    net = amounts["quote_raw"] + np.where(is_buy, -fee, fee)
    columns["net_raw"] = np.where(is_trade, np.maximum(net, 0), 0)
    columns |= _fee_columns(events, meta, venue, fee, known)
    trade = tuple(
        columns[name] for name in ("base_raw", "quote_raw", "net_raw", "reserve_base_raw", "reserve_quote_raw")
    )
    own = np.stack([columns[name] for name in FEES], axis=1)
    columns["kind"] = kinds(venue, is_trade, is_buy, (*trade, columns["real_base_raw"]), own)
    return _table(events, columns | {"venue": venue, "is_buy": is_buy}, known)


def _table(events: pa.Table, columns: dict[str, NDArray[Any]], known: Known) -> pa.Table:
    kept = ("slot", "tx_index", "outer_ix", "inner_ix", "event_seq", "ts_ns", "sig", "wallet", "mint", "quote_mint")
    table = events.select(kept).append_column("tx", pa.array(_transactions(events, known)))
    table = table.set_column(1, "tx_index", pc.fill_null(table["tx_index"], -1))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def _transactions(events: pa.Table, known: Known) -> NDArray[np.int32]:
    """Which transaction of the day each row belongs to, counted from 0."""
    if not events.num_rows:
        return np.zeros(0, np.int32)
    sig = events["sig"].combine_chunks()
    new = _flags(pc.not_equal(sig.slice(1), sig.slice(0, len(sig) - 1)))
    first = known.tx + (sig[0].as_py() != known.sig)
    numbers = np.append(0, np.cumsum(new)).astype(np.int32) + np.int32(first)
    known.tx, known.sig = int(numbers[-1]), sig[-1].as_py()
    return numbers


def _meta(texts: pa.ChunkedArray) -> pa.Table:
    """The fields of `meta_json` that a market needs."""
    filled = pc.fill_null(texts, "{}")
    if not len(filled):
        return _META.empty_table()
    lines = pc.binary_join(pa.array([filled.to_pylist()]), "\n")[0].as_py() + "\n"
    try:
        options = pyarrow.json.ParseOptions(explicit_schema=_META, unexpected_field_behavior="ignore")
        reading = pyarrow.json.ReadOptions(block_size=1 << 24)
        return pyarrow.json.read_json(pa.BufferReader(lines.encode()), reading, options).select(_META.names)
    except pa.ArrowInvalid:
        # One number of another type fails the whole; row by row it is only that one that is lost.
        return pa.Table.from_pylist([_tolerant(text) for text in filled.to_pylist()], _META)


def _tolerant(text: str) -> dict[str, Any]:
    found = json.loads(text)
    kept: dict[str, Any] = {}
    for wanted in _META:
        value = found.get(wanted.name) if isinstance(found, dict) else None
        is_text = pa.types.is_string(wanted.type)
        if isinstance(value, str) if is_text else (isinstance(value, int) and 0 <= value < 1 << 63):
            kept[wanted.name] = value
    return kept


def _amounts(events: pa.Table, meta: pa.Table) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.bool_]]:
    """Amounts as int64 (0 where there are none), and whether a row's amounts all fit what is executed again."""
    names = {
        "base_raw": events["base_raw"],
        "quote_raw": events["quote_raw"],
        "fee": events["swap_fee_raw"],
        "reserve_base_raw": events["reserve_base_raw"],
        "reserve_quote_raw": events["reserve_quote_raw"],
        "vault": meta["vault_quote_raw"],
        "real_base": meta["real_base_raw"],
        "real_quote": meta["real_quote_raw"],
    }
    found: dict[str, NDArray[np.int64]] = {}
    fits = np.ones(events.num_rows, np.bool_)
    for name, column in names.items():
        values = np.asarray(pc.fill_null(column, 0).to_numpy(), np.uint64)
        small = values < np.uint64(_BASE_LIMIT if "base" in name else LARGEST)
        fits &= small
        found[name] = np.where(small, values, 0).astype(np.int64)
    return found, fits


def _venues(events: pa.Table, meta: pa.Table, fits: NDArray[np.bool_]) -> NDArray[np.int8]:
    """CURVE, POOL for the coin's own pool, NO_VENUE for what tells no market of ours."""
    known = fits & _flags(pc.equal(events["quote_mint"], WSOL)) & ~_flags(pc.equal(meta["ix"], "multi_hop_swap"))
    known &= _flags(pc.greater(events["reserve_base_raw"], pa.scalar(0, pa.uint64()))) & _flags(
        pc.is_valid(events["reserve_quote_raw"])
    )
    is_pool = _flags(pc.equal(events["program"], str(AMM_PROGRAM))) | _flags(pc.equal(meta["venue"], "amm"))
    own = np.zeros(events.num_rows, np.bool_)
    rows = np.flatnonzero(known & is_pool)
    if len(rows):
        pairs = pa.table({"mint": events["mint"], "pool": meta["pool"]}).take(pa.array(rows))
        texts = pc.binary_join_element_wise(
            pc.cast(pairs["mint"], pa.string()), pc.fill_null(pairs["pool"], ""), " "
        ).combine_chunks()
        distinct = texts.dictionary_encode()
        is_own = np.array([_is_own(*text.split(" ")) for text in distinct.dictionary.to_pylist()], np.bool_)
        own[rows] = is_own[distinct.indices.to_numpy()]
    return np.where(known & ~is_pool, CURVE, np.where(own, POOL, NO_VENUE)).astype(np.int8)


def _is_own(mint: str, pool: str) -> bool:
    return bool(pool) and pool == str(canonical_pool(Pubkey.from_string(mint)))


def _reserves(
    amounts: dict[str, NDArray[np.int64]], meta: pa.Table, venue: NDArray[np.int8]
) -> dict[str, NDArray[Any]]:
    """Effective and real reserves after each row; 0 without a venue."""
    base, quote = amounts["reserve_base_raw"], amounts["reserve_quote_raw"]
    start = INITIAL_SOL_CURVE
    told = _flags(pc.is_valid(meta["real_base_raw"])) & _flags(pc.is_valid(meta["real_quote_raw"]))
    # A SOL curve starts from fixed reserves: what it has sold and taken follows from the virtual ones.
    real_base = np.where(told, amounts["real_base"], base - (start.virtual_base - start.real_base))
    real_quote = np.where(told, amounts["real_quote"], quote - start.virtual_quote)
    vault = np.where(amounts["vault"] > 0, amounts["vault"], quote)
    traded, is_pool = venue != NO_VENUE, venue == POOL
    return {
        "reserve_base_raw": np.where(traded, base, 0),
        "reserve_quote_raw": np.where(traded, quote, 0),
        "real_base_raw": np.where(traded, np.where(is_pool, base, real_base), 0),
        "real_quote_raw": np.where(traded, np.where(is_pool, vault, real_quote), 0),
    }


def _fee_columns(
    events: pa.Table, meta: pa.Table, venue: NDArray[np.int8], fee: NDArray[np.int64], known: Known
) -> dict[str, NDArray[Any]]:
    mints = pc.unique(events["mint"])
    coin = places(events["mint"], mints).astype(np.int32)
    told = np.stack(
        [ints(meta, name, null=-1) for name in ("lp_fee_bps", "protocol_fee_bps", "creator_fee_bps")], axis=1
    )
    cashback = np.asarray(pc.fill_null(meta["cashback_raw"], 0).to_numpy(), np.uint64).astype(np.int64)
    charged = known.pool_fees(mints)
    following = next_fees(venue, coin, told, cashback, charged)
    known.keep(mints, charged)
    own = own_fees(venue, told, following, fee)
    named = {name: following[:, i] for i, name in enumerate(NEXT_FEES)}
    return named | {name: own[:, i] for i, name in enumerate(FEES)}


def _flags(column: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), np.bool_)
