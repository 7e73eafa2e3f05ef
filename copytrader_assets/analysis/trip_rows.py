"""Round trips as published rows: FINISHED as `trades`, HELD as `open_positions`. Pure and by the column.

Rows may be given in parts of any size: a row depends on nothing but itself. Not here: how trips come about
(ledger.py), their order (trip_order.py), and the files (lake.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis.day_end import executable
from copytrader_assets.analysis.moves import text_buffers
from copytrader_assets.analysis.trip_json import (
    CoinColumns,
    EndColumns,
    LegColumns,
    LotColumns,
    TripColumns,
    finished_json,
    open_json,
    path_texts,
    text_column,
)
from copytrader_assets.analysis.trip_tables import Flat, laid_flat
from copytrader_assets.analysis.wide_columns import wide_array, wide_words
from copytrader_assets.schemas import AMOUNT, OPEN_POSITIONS, TRADES
from copytrader_core.records import LAMPORTS_PER_SOL, WSOL
from copytrader_core.wide import ONE, Words, to_floats

_PATH = ("outer_ix", "inner_ix", "event_seq")
_NS_PER_MS = 1_000_000


def trades_rows(finished: pa.Table, day_end_ns: int) -> pa.Table:
    """FINISHED rows of the day that ends with `day_end_ns`, as rows of `trades`, in their order."""
    finished = _whole(finished)
    legs = laid_flat(finished["legs"])
    dead = np.asarray(finished["is_dead"].to_numpy())
    last = pa.array(np.maximum(legs.offsets[1:] - 1, 0), mask=dead)
    ends = {name: legs.children[child].take(last) for name, child in (("close_sig", "sig"), ("close_ts_ns", "ts_ns"))}
    columns = _columns(finished, legs) | ends
    columns |= {
        "close_slot": finished["close_slot"],
        "hold_ms": pc.divide(pc.subtract(ends["close_ts_ns"], finished["open_ts_ns"]), _NS_PER_MS),
        "was_win": pc.and_(pc.invert(finished["is_dead"]), pc.greater(columns["pnl_raw"], pa.scalar(0, AMOUNT))),
        "status": pc.if_else(finished["is_dead"], "DEAD", "CLOSED"),
        "basis": _basis(legs, np.asarray(finished["unbacked_qty_raw"].to_numpy())),
        "meta_json": finished_json(_trip_columns(finished, legs), _end_columns(finished, day_end_ns)),
    }
    return TRADES.conform(pa.table(columns))


def open_rows(held: pa.Table, default_fee_ppm: int) -> pa.Table:
    """HELD rows as rows of `open_positions`, in their order.

    `mark_quote_raw` in meta_json is what the bag would bring after the swap fee; `default_fee_ppm` is that fee where no
    trade has shown it.
    """
    held = _whole(held)
    legs = laid_flat(held["legs"])
    nothing = {name: pa.nulls(held.num_rows, OPEN_POSITIONS.arrow.field(name).type) for name in _OF_THE_END}
    meta = open_json(_trip_columns(held, legs), _coin_columns(held, default_fee_ppm))
    columns = _columns(held, legs) | nothing | {"status": _repeated("OPEN", held.num_rows), "meta_json": meta}
    return OPEN_POSITIONS.conform(pa.table(columns | {"basis": _basis(legs, np.zeros(held.num_rows, np.uint64))}))


_OF_THE_END = ("close_sig", "close_ts_ns", "close_slot", "hold_ms", "was_win")


def _whole(trips: pa.Table) -> pa.Table:
    return trips.unify_dictionaries().combine_chunks()


def _columns(trips: pa.Table, legs: Flat) -> dict[str, pa.Array | pa.ChunkedArray]:
    """What a finished and an open trip have in common."""
    sums = {name: wide_words(trips[f"{name}_raw"]) for name in ("bought", "sold", "cost", "proceeds", "matched")}
    pnl = _difference(sums["proceeds"], sums["matched"])
    scale = 10.0 ** trips["decimals"].to_numpy()
    in_sol = np.asarray(pc.equal(trips["quote_mint"].cast(pa.string()), WSOL).to_numpy())
    same = ("wallet", "alias", "mint", "quote_mint", "open_sig", "open_ts_ns", "open_slot", "n_buys")
    return {
        **{name: trips[name] for name in same},
        "open_path": path_texts(*(trips[f"open_{name}"].to_numpy() for name in _PATH)),
        "open_qty": pa.array(to_floats(sums["bought"]) / scale),
        "open_qty_raw": trips["bought_raw"],
        "close_qty": pa.array(to_floats(sums["sold"]) / scale),
        "close_qty_raw": trips["sold_raw"],
        "pnl_x": _ratio(sums["proceeds"], sums["matched"]),
        "n_sells": pa.array(np.diff(legs.offsets)),
        **_money("open_cost", sums["cost"], in_sol),
        **_money("close_proceeds", sums["proceeds"], in_sol),
        **_money("pnl", pnl, in_sol),
    }


def _difference(a: Words, b: Words) -> Words:
    low = a[:, 0] - b[:, 0]
    return np.stack([low, a[:, 1] - b[:, 1] - np.where(a[:, 0] < b[:, 0], ONE, np.uint64(0))], axis=1)


def _ratio(proceeds: Words, matched: Words) -> pa.Array:
    costs = to_floats(matched)
    return pa.array(np.divide(to_floats(proceeds), costs, out=np.zeros_like(costs), where=costs != 0), mask=costs == 0)


def _money(name: str, words: Words, in_sol: NDArray[np.bool_]) -> dict[str, pa.Array]:
    raw = wide_array(words, AMOUNT)
    return {
        f"{name}_raw": raw,
        f"{name}_lamports": pc.if_else(pa.array(in_sol), raw, pa.scalar(None, AMOUNT)),
        f"{name}_sol": pa.array(to_floats(words) / LAMPORTS_PER_SOL, mask=~in_sol),
    }


def _basis(legs: Flat, unbacked: NDArray[np.uint64]) -> pa.Array:
    """INCOMPLETE where more was sold than seen bought, or coins were sold for another quote."""
    others = np.concatenate([[0], np.cumsum(legs.children["other_quote"].is_valid().to_numpy(zero_copy_only=False))])
    incomplete = (unbacked > 0) | (others[legs.offsets[1:]] > others[legs.offsets[:-1]])
    return pc.if_else(pa.array(incomplete), "INCOMPLETE", "COMPLETE")


def _repeated(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows)


def _trip_columns(trips: pa.Table, legs: Flat) -> TripColumns:
    quotes = legs.children["other_quote"].dictionary_encode()
    return TripColumns(
        np.asarray(trips["decimals"].to_numpy()),
        wide_words(trips["fee_lamports"]),
        _leg_columns(legs.offsets, legs.children, quotes),
        text_column(*text_buffers(quotes.dictionary)),
    )


def _leg_columns(offsets: NDArray[np.int64], legs: Mapping[str, pa.Array], quotes: pa.DictionaryArray) -> LegColumns:
    paid_in = pc.fill_null(quotes.indices, -1).to_numpy().astype(np.int32)
    return LegColumns(
        offsets,
        text_column(*text_buffers(legs["sig"])),
        legs["outer_ix"].to_numpy(),
        legs["inner_ix"].to_numpy(),
        legs["event_seq"].to_numpy(),
        legs["ts_ns"].to_numpy(),
        legs["qty_raw"].to_numpy(),
        wide_words(legs["proceeds_raw"]),
        wide_words(legs["cost_raw"]),
        paid_in,
    )


def _end_columns(finished: pa.Table, day_end_ns: int) -> EndColumns:
    return EndColumns(
        wide_words(finished["held_raw"]),
        np.asarray(finished["is_dead"].to_numpy()),
        day_end_ns,
        np.asarray(finished["unbacked_qty_raw"].to_numpy()),
        wide_words(finished["unbacked_proceeds_raw"]),
    )


def _coin_columns(held: pa.Table, default_fee_ppm: int) -> CoinColumns:
    flat = laid_flat(held["lots"])
    lots = LotColumns(
        flat.offsets,
        flat.children["qty_raw"].to_numpy(),
        wide_words(flat.children["cost_raw"]),
        flat.children["left_raw"].to_numpy(),
    )
    base, reserve = (pc.fill_null(held[f"reserve_{side}_raw"], 0).to_numpy() for side in ("base", "quote"))
    fee = pc.fill_null(held["fee_ppm"], default_fee_ppm).to_numpy()
    mark = executable(wide_words(held["held_raw"]), base, reserve, fee)
    marked = np.asarray(held["reserve_base_raw"].is_valid().to_numpy())
    return CoinColumns(np.asarray(held["last_trade_ts_ns"].to_numpy()), base, reserve, mark, marked, lots)
