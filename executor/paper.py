"""The paper broker: orders land some slots later on the reserves that the stream then shows. No clock, no database.

What it models: the delay and its spread, transactions that never land, the revert when the price has moved beyond the
order's bound (the network fee is lost, the tip is not paid), swap fees, network and priority fee, tip. That fills move
the market is `executor.what_if`'s.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final

from copytrader_core.errors import QuoteError
from copytrader_core.policy.entry import BASE_FEE_LAMPORTS
from copytrader_core.policy.market import MarketState, quote_buy, quote_sell
from copytrader_core.policy.values import LeaderBuy
from copytrader_core.settings import ExecutorSettings
from executor.broker import Landed, Reverted
from executor.orders import Order, Signed

# A transaction that nobody takes is known to be void when its blockhash is.
_LIFETIME_SLOTS: Final = 151
_SCALE: Final = 1 << 32


class PaperBroker:
    """Orders under way, in the order of landing."""

    signs = False

    def __init__(self, settings: ExecutorSettings) -> None:
        self._settings = settings
        self._orders: dict[str, Order] = {}

    @property
    def orders(self) -> tuple[Order, ...]:
        """What is under way, first to land first."""
        return tuple(sorted(self._orders.values(), key=lambda order: (order.due_slot, order.decided_slot)))

    def adopt(self, settings: ExecutorSettings) -> None:
        """Goes by other settings from now on."""
        self._settings = settings

    def is_first_trade(self, signal: LeaderBuy) -> bool:
        """No rent is paid on paper."""
        return False

    def rehearse(self, order: Order) -> None:
        """Paper signs nothing."""

    def sign(self, order: Order) -> Signed | None:
        """Nothing is signed on paper."""
        return None

    def submit(self, order: Order, signed: Signed | None) -> None:
        """Takes an order with the slot in which it lands, or is known to be lost."""
        if order.restored:
            self._orders.setdefault(order.intent_id, order)
            return
        late, lost = _draws(order.intent_id)
        if lost < self._settings.paper_lost_share:
            due = order.decided_slot + _LIFETIME_SLOTS
        else:
            due = order.due_slot + int(late * (self._settings.paper_jitter_slots + 1))
        self._orders.setdefault(order.intent_id, replace(order, due_slot=due))

    def forget(self, order: Order) -> None:
        """An order that has come to its end."""
        self._orders.pop(order.intent_id, None)

    def routes_of(self, order: Order) -> dict[str, Any]:
        """Paper has one route and it takes everything."""
        return {"paper": {"result": "sent", "ms": 0.0}}

    def is_exclusive(self, position_id: str) -> bool:
        """Every attempt on paper goes through by itself."""
        return False

    def next_due(self, last_slot: int) -> Order | None:
        """The first order that lands in `last_slot` or before."""
        due = [order for order in self._orders.values() if order.due_slot <= last_slot]
        return min(due, key=lambda order: (order.due_slot, order.decided_slot)) if due else None

    def land(self, order: Order, market: MarketState | None) -> Landed | Reverted | None:
        """What happens to `order` on `market`, as it is at the end of the slot in which the order lands."""
        if _draws(order.intent_id)[1] < self._settings.paper_lost_share:
            return None
        cost = BASE_FEE_LAMPORTS + order.priority_fee_lamports
        if market is None:
            return Reverted("NO_MARKET", cost)
        try:
            base, quote, fee = self._swap(order, market)
        except QuoteError as error:
            return Reverted(f"NO_QUOTE: {error}", cost)
        out = base if order.side == "BUY" else quote
        if out < order.min_out:
            return Reverted(f"SLIPPAGE: {out} is below the order's least of {order.min_out}", cost)
        return Landed(base, quote, fee, cost, order.tip_lamports)

    def _swap(self, order: Order, market: MarketState) -> tuple[int, int, int]:
        """Coins, lamports and the fees among them."""
        if order.side == "BUY":
            bought = quote_buy(market, order.amount_in)
            return bought.tokens_raw, bought.paid_lamports, bought.fee_lamports
        sold = quote_sell(market, order.amount_in)
        return order.amount_in, sold.proceeds_lamports, sold.fee_lamports


def _draws(intent_id: str) -> tuple[float, float]:
    """Two numbers in [0, 1) that follow from the intent, so that a run on paper can be repeated."""
    digest = hashlib.sha256(intent_id.encode()).digest()
    return int.from_bytes(digest[:4], "big") / _SCALE, int.from_bytes(digest[4:8], "big") / _SCALE
