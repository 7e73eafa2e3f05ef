"""The market as it would be with our paper trades in it: what the stream shows is done again on moved reserves.

While an order of ours has gone through in a coin and anything of it is held or under way, every later trade of it is
done again by those who did it (`copytrader_core.replay.execution`), so that a round trip on paper pays its own price
impact once, as a real one does. After our last sale the recorded market stands again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from copytrader_core.policy.market import MarketState
from copytrader_core.pump.addresses import AMM_PROGRAM
from copytrader_core.pump.fees import fee
from copytrader_core.records import Event
from copytrader_core.replay.execution import CURVE, POOL, RAW, classify, executed
from executor.broker import Landed
from executor.market_book import MarketBook
from executor.orders import Order, Position

_AMM: Final = str(AMM_PROGRAM)
_EARLY: Final = (0, 100, 0)


@dataclass(slots=True)
class Shift:
    """How far a coin's market is from the recorded one: (base, quote) by venue, and what wallets lack by our doing."""

    by_venue: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    left: dict[str, int] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)

    def at(self, market: MarketState) -> MarketState:
        """The market with the shift in it."""
        base, quote = (int(value) for value in self.by_venue[POOL if market.venue == "amm" else CURVE])
        return shifted(market, base, quote)

    def insert(self, market: MarketState, order: Order, landed: Landed) -> None:
        """Takes a trade of ours that went through on `market`."""
        base, quote = moved_by(market, order.side == "BUY", landed)
        self.by_venue[POOL if market.venue == "amm" else CURVE] += (base, quote)


def shifted(market: MarketState, base: int, quote: int) -> MarketState:
    """`market` with so many raw units more on its two sides."""
    if base == 0 and quote == 0:
        return market
    real_base = market.real_base_raw + base
    # In the order of the record: `replace` takes five times as long, and a backtest does little else.
    return MarketState(
        market.venue,
        market.pool,
        market.slot,
        market.tx_index,
        market.base_raw + base,
        market.quote_raw + quote,
        real_base,
        market.real_quote_raw + quote,
        market.lp_fee_bps,
        market.protocol_fee_bps,
        market.creator_fee_bps,
        market.venue == "curve" and real_base <= 0,
    )


def moved_by(market: MarketState, is_buy: bool, landed: Landed) -> tuple[int, int]:
    """What a trade of ours adds to the reserves of its venue: (base, quote). A pool keeps the LP's fee."""
    net = landed.quote_lamports + (-landed.swap_fee_lamports if is_buy else landed.swap_fee_lamports)
    stays = fee(net, market.lp_fee_bps) if market.venue == "amm" else 0
    return (-landed.base_raw, net + stays) if is_buy else (landed.base_raw, stays - net)


class WhatIfBook(MarketBook):
    """A market book with our paper trades in it."""

    def __init__(self) -> None:
        super().__init__()
        self._shifts: dict[str, Shift] = {}

    def state(self, mint: str) -> MarketState | None:
        """Where the coin would trade now."""
        market, shift = super().state(mint), self._shifts.get(mint)
        return market if market is None or shift is None else shift.at(market)

    def hear(self, event: Event) -> MarketState | None:
        """Takes one event; returns the market that it would have left."""
        market, shift = super().hear(event), self._shifts.get(event.mint)
        if market is None or shift is None:
            return market
        if event.action in ("BUY", "SELL"):
            _again(event, market, shift)
        return shift.at(market)

    def insert(self, order: Order, landed: Landed) -> None:
        """A trade of ours has gone through, after everything that was heard."""
        market = super().state(order.mint)
        if market is not None:
            self._shifts.setdefault(order.mint, Shift()).insert(market, order, landed)

    def restore(self, position: Position) -> None:
        """A position of an earlier run: its coins are missing, what was paid for them is there."""
        market = super().state(position.mint)
        place = POOL if market is not None and market.venue == "amm" else CURVE
        shift = self._shifts.setdefault(position.mint, Shift())
        shift.by_venue[place] += (-position.qty_raw, position.paid_in_lamports)

    def leave(self, mint: str) -> None:
        """Nothing of ours is in the coin any more."""
        self._shifts.pop(mint, None)


def _again(event: Event, market: MarketState, shift: Shift) -> None:
    """Executes a trade of somebody else again."""
    venue = POOL if market.venue == "amm" else CURVE
    row, is_buy = _row(event, market), event.action == "BUY"
    kind = np.full(1, RAW, np.int8)
    one = row.reshape(9, 1)
    classify(
        np.full(1, venue, np.int8), np.full(1, is_buy), one[0], one[1], one[2],
        np.ascontiguousarray(one[3:6].T), one[6], one[7], one[8], kind,
    )  # fmt: skip
    left = shift.left.get(event.wallet, 0) + (int(row[0]) if is_buy else -int(row[0]))
    short = executed(int(kind[0]), venue, row, shift.by_venue[venue], left, shift.short.get(event.wallet, 0))
    shift.left[event.wallet], shift.short[event.wallet] = left, int(short)


def _row(event: Event, market: MarketState) -> NDArray[np.int64]:
    paid = int(event.swap_fee_raw or 0)
    quote = int(event.quote_raw or 0)
    net = quote - paid if event.action == "BUY" else quote + paid
    fees = own_fees(event.meta, market, paid)
    return np.array(
        [int(event.base_raw or 0), quote, net, *fees, market.base_raw, market.quote_raw, market.real_base_raw], np.int64
    )


def own_fees(meta: Mapping[str, Any], market: MarketState, paid: int) -> tuple[int, int, int]:
    """The basis points that this event's own trader paid: `copytrader_core.replay.rows.own_fees`."""
    if paid <= 0:
        return (0, 0, 0)
    if not meta.get("protocol_fee_bps") and market.venue == "curve":
        return _EARLY
    return market.lp_fee_bps, market.protocol_fee_bps, market.creator_fee_bps
