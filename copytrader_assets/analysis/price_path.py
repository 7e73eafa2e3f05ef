"""The price of a coin over time, as its trades left the reserves, and where a wallet's own trades stand in it.

What belongs here: order, look-up by place and by time. What is read off a path stands in exit_context, excursion and
slippage. A path is kept by (coin, quote mint): prices in different monies are different paths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import floats, ints, places
from copytrader_assets.analysis.grouped import Flags, Floats, Ints

_SLOT_SPACE = np.int64(1) << 40
"""Slots stay below 2**40, so a pair code and a slot pack into one sortable int64."""
EVENT_COLUMNS = (
    "slot",
    "tx_index",
    "outer_ix",
    "inner_ix",
    "event_seq",
    "ts_ns",
    "wallet",
    "mint",
    "quote_mint",
    "quote_raw",
    "sig",
    "action",
    "base_raw",
    "swap_fee_raw",
    "reserve_base_raw",
    "reserve_quote_raw",
)
"""The columns of `events` that a path is made of. `wallet` and `sig` may be NULL but for the wallets of interest."""


@dataclass(frozen=True, slots=True)
class OwnTrades:
    """The rows of a path that are BUY or SELL of the wallets of interest, by (wallet, pair) and chain order."""

    at: Ints
    """Their places in the path."""
    key: Ints
    """(wallet, pair) code."""
    rows: pa.Table


@dataclass(frozen=True, slots=True)
class PricePath:
    """Every BUY and SELL of some coins by pair and chain order, with the effective reserves that stood after it."""

    pair: Ints
    slot: Ints
    base: Floats
    quote: Floats
    """Where an event has no reserves, those of the event before; NaN before the first that has."""
    order_key: Ints
    """Pair and slot in one sortable number."""
    own: OwnTrades
    wallets: pa.Array
    mints: pa.Array
    quote_mints: pa.Array

    @classmethod
    def of(cls, events: pa.Table, wallets: pa.Array) -> PricePath:
        """The paths of all coins in `events` (EVENT_COLUMNS, any order)."""
        mints, quote_mints = (pc.unique(events[name]).drop_null() for name in ("mint", "quote_mint"))
        mint, quote_mint = places(events["mint"], mints), places(events["quote_mint"], quote_mints)
        swaps = places(events["action"], pa.array(["BUY", "SELL"])) >= 0
        rows = np.flatnonzero(swaps & (mint >= 0) & (quote_mint >= 0))
        pair = mint * len(quote_mints) + quote_mint
        rows = rows[_chain_order(events, rows, pair[rows])]
        pair = pair[rows]
        reserves = (floats(events, f"reserve_{side}_raw")[rows] for side in ("base", "quote"))
        slot = ints(events, "slot")[rows]
        wallet = places(events["wallet"], wallets)[rows]
        own = _own(events, rows, wallet * len(mints) * len(quote_mints) + pair, wallet >= 0)
        key = pair * _SLOT_SPACE + slot
        return cls(pair, slot, *_standing(pair, *reserves), key, own, wallets, mints, quote_mints)

    @property
    def spot(self) -> Floats:
        """Raw quote per raw coin after each event, before fees."""
        return self.quote / self.base

    def pairs_of(self, trips: pa.Table) -> Ints:
        """The pair code of each trip, -1 where the path has none."""
        mint, quote = places(trips["mint"], self.mints), places(trips["quote_mint"], self.quote_mints)
        return np.where((mint >= 0) & (quote >= 0), mint * len(self.quote_mints) + quote, -1)

    def keys_of(self, trips: pa.Table) -> Ints:
        """The (wallet, pair) code of each trip, -1 where the path has none."""
        wallet, pair = places(trips["wallet"], self.wallets), self.pairs_of(trips)
        n_pairs = len(self.mints) * len(self.quote_mints)
        return np.where((wallet >= 0) & (pair >= 0), wallet * n_pairs + pair, -1)

    def first_at(self, pair: Ints, slot: Ints) -> Ints:
        """The place of the first event of each pair at or after a slot (where there is none, that of what follows)."""
        return np.searchsorted(self.order_key, pair * _SLOT_SPACE + np.clip(slot, 0, _SLOT_SPACE - 1))

    def first_of(self, pair: Ints) -> Ints:
        """The place of each pair's first event."""
        return np.searchsorted(self.pair, pair)

    def end_of(self, pair: Ints) -> Ints:
        """The place after each pair's last event."""
        return np.searchsorted(self.pair, pair, side="right")


@dataclass(frozen=True, slots=True)
class Spans:
    """Where trips stand among their wallet's own trades: indices into `PricePath.own`, -1 where unknown.

    `opened`: the first buy. `left` and `closed`: the first and last trade of the closing transaction; for a DEAD trip
    -1 and its wallet's last trade of the coin.
    """

    opened: Ints
    left: Ints
    closed: Ints

    @classmethod
    def of(cls, path: PricePath, trips: pa.Table) -> Spans:
        """The spans of `trips` (lake columns)."""
        own, key = path.own, path.keys_of(trips)
        signatures = pa.concat_arrays(
            [pc.unique(trips[name].combine_chunks()).cast(pa.string()) for name in ("open_sig", "close_sig")]
        ).drop_null()
        signatures = pc.unique(signatures)
        signature = places(own.rows["sig"], signatures)
        where = [ints(own.rows, name) for name in ("outer_ix", "inner_ix", "event_seq")]
        opened = _first([signature, own.key, *where], [places(trips["open_sig"], signatures), key, *_paths(trips)])
        ends = places(trips["close_sig"], signatures)
        left = _first([signature, own.key], [ends, key])
        last = len(own.key) - 1 - _first([signature[::-1], own.key[::-1]], [ends, key])
        is_closed = np.asarray(pc.equal(trips["status"], "CLOSED").to_numpy(), dtype=np.bool_)
        closed = np.where(left >= 0, last, -1)
        closed = np.where(is_closed, closed, np.searchsorted(own.key, key, side="right") - 1)
        return cls(opened, np.where(is_closed, left, -1), closed)

    @property
    def known(self) -> Flags:
        """Trips whose first buy and end are both in the path."""
        return (self.opened >= 0) & (self.closed >= self.opened)


def _chain_order(events: pa.Table, rows: Ints, pair: Ints) -> Ints:
    """Places of `rows` by pair and chain order; an unknown tx_index comes first, its transactions by signature."""
    keys = [ints(events, name)[rows] for name in ("event_seq", "inner_ix", "outer_ix")]
    if events["tx_index"].null_count:
        signature = pc.rank(pc.fill_null(events["sig"], ""), tiebreaker="dense")
        keys.append(np.asarray(signature, dtype=np.int64)[rows])
    return np.lexsort((*keys, ints(events, "tx_index", null=-1)[rows], ints(events, "slot")[rows], pair))


def _standing(pair: Ints, base: Floats, quote: Floats) -> tuple[Floats, Floats]:
    """Reserves after each event, those of the pair's event before where it has none."""
    priced = (base > 0) & np.isfinite(quote)
    latest = np.maximum.accumulate(np.where(priced, np.arange(len(pair)), -1)) if len(pair) else np.zeros(0, np.int64)
    known = (latest >= 0) & (pair[np.maximum(latest, 0)] == pair)
    latest = np.maximum(latest, 0)
    return np.where(known, base[latest], np.nan), np.where(known, quote[latest], np.nan)


def _own(events: pa.Table, rows: Ints, key: Ints, mine: Flags) -> OwnTrades:
    """The own trades among `rows`, the places of the path's events in `events`; `key` are (wallet, pair) codes."""
    at = np.flatnonzero(mine)
    at = at[np.argsort(key[at], kind="stable")]
    return OwnTrades(at, key[at], events.select(EVENT_COLUMNS).take(pa.array(rows[at])))


def _paths(trips: pa.Table) -> list[Ints]:
    """outer, inner and seq of `open_path`; -2, which no event has, where it is not of that form."""
    text = trips["open_path"]
    parts = pc.extract_regex(text, r"^(?P<outer>-?\d+)\.(?P<inner>-?\d+)\.(?P<seq>-?\d+)$")
    return [
        np.asarray(pc.fill_null(pc.cast(pc.struct_field(parts, name), pa.int64()), -2).to_numpy(), dtype=np.int64)
        for name in ("outer", "inner", "seq")
    ]


def _first(rows: list[Ints], wanted: list[Ints]) -> Ints:
    """The first place in `rows` (columns) of each tuple of `wanted`, -1 where there is none or it holds a -1 code."""
    n = len(rows[0])
    result = np.full(len(wanted[0]), -1, dtype=np.int64)
    codes = np.zeros(n + len(result), dtype=np.int64)
    for have, want in zip(rows, wanted, strict=True):
        column = np.unique(np.concatenate([have, want]), return_inverse=True)[1]
        codes = np.unique(codes * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    first = np.full(int(codes.max(initial=-1)) + 1, -1, dtype=np.int64)
    first[codes[:n][::-1]] = np.arange(n)[::-1]
    valid = (wanted[0] >= 0) & (wanted[1] >= 0)
    result[valid] = first[codes[n:][valid]]
    return result
