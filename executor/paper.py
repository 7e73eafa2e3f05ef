"""The paper broker: orders land some slots later on the reserves that the stream then shows. No clock, no database.

What it models: the delay and its spread, transactions that never land (`policy.landing`), the revert when the price
has moved beyond the order's bound (the network fee is lost, the tip is not paid), swap fees, network and priority fee,
tip. That fills move the market is `executor.what_if`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from copytrader_core.errors import QuoteError
from copytrader_core.policy.entry import BASE_FEE_LAMPORTS
from copytrader_core.policy.landing import draws, lateness, slots_late
from copytrader_core.policy.market import MarketState, quote_buy, quote_sell
from copytrader_core.policy.values import LeaderBuy
from copytrader_core.settings import ExecutorSettings
from executor.broker import Landed, Reverted
from executor.orders import Likely, Order, Presigned, Signed

# A transaction that nobody takes is known to be void when its blockhash is.
_LIFETIME_SLOTS: Final = 151


class PaperBroker:
    """Orders under way, in the order of landing."""

    signs = False

    def __init__(self, settings: ExecutorSettings) -> None:
        self._orders: dict[str, Order] = {}
        self._lost: set[str] = set()
        self.adopt(settings)

    @property
    def orders(self) -> tuple[Order, ...]:
        """What is under way, first to land first."""
        return tuple(sorted(self._orders.values(), key=lambda order: (order.due_slot, order.decided_slot)))

    def adopt(self, settings: ExecutorSettings) -> None:
        """Goes by other settings from now on; what is under way lands as it was drawn."""
        self._buys, self._sales = lateness(settings, "BUY"), lateness(settings, "SELL")

    def is_first_trade(self, signal: LeaderBuy) -> bool:
        """No rent is paid on paper."""
        return False

    def presign(self, likely: Likely) -> Presigned | None:
        """Nothing is signed on paper."""
        return None

    def sign(self, order: Order, early: Presigned | None = None) -> Signed | None:
        """Nothing is signed on paper."""
        return None

    def submit(self, order: Order, signed: Signed | None) -> None:
        """Takes an order with the slot in which it lands, or is known to be lost."""
        if order.intent_id in self._orders:
            return
        model = self._buys if order.side == "BUY" else self._sales
        late, lost = draws(order.intent_id)
        if lost < model.lost_share:
            self._lost.add(order.intent_id)
            slots = _LIFETIME_SLOTS
        else:
            slots = slots_late(model, late)
        self._orders[order.intent_id] = replace(order, due_slot=order.decided_slot + slots)

    def forget(self, order: Order) -> None:
        """An order that has come to its end."""
        self._orders.pop(order.intent_id, None)
        self._lost.discard(order.intent_id)

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
        if order.intent_id in self._lost:
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
