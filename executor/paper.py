"""The paper broker: orders land some slots later on the reserves that the stream then shows. No clock, no database.

What it models: the delay, the revert when the price has moved beyond the order's bound (the network fee is lost, the
tip is not paid), swap fees, network and priority fee, tip. What it does not: every transaction is included, and paper
fills do not move the market, neither for others nor for our own later sell, so that a round trip pays its own price
impact twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from copytrader_core.errors import QuoteError
from copytrader_core.policy.entry import network_fee
from copytrader_core.policy.market import MarketState, SellQuote, quote_buy, quote_sell
from copytrader_core.settings import ExecutorSettings
from executor.orders import Order


@dataclass(frozen=True, slots=True)
class Landed:
    """An order that went through: coins and lamports of the swap (fees included), and what the transaction cost."""

    base_raw: int
    quote_lamports: int
    swap_fee_lamports: int
    tx_fee_lamports: int
    tip_lamports: int


@dataclass(frozen=True, slots=True)
class Reverted:
    """An order that landed with an error: why, and the network fee that it cost all the same."""

    error: str
    cost_lamports: int


class PaperBroker:
    """Orders under way, in the order of landing."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self._settings = settings
        self._orders: dict[str, Order] = {}

    @property
    def orders(self) -> tuple[Order, ...]:
        """What is under way, first to land first."""
        return tuple(sorted(self._orders.values(), key=lambda order: (order.due_slot, order.decided_slot)))

    def submit(self, order: Order) -> None:
        """Sends an order. The same intent is under way at most once."""
        self._orders.setdefault(order.intent_id, order)

    def forget(self, order: Order) -> None:
        """An order that has come to its end."""
        self._orders.pop(order.intent_id, None)

    def next_due(self, last_slot: int) -> Order | None:
        """The first order that lands in `last_slot` or before."""
        due = [order for order in self._orders.values() if order.due_slot <= last_slot]
        return min(due, key=lambda order: (order.due_slot, order.decided_slot)) if due else None

    def quote_sell(self, market: MarketState, tokens_raw: int, paid_in_lamports: int) -> SellQuote:
        """What our coins bring. Raises QuoteError where the venue gives no quote.

        The stream's reserves lack what our paper buy would have put in. The price is theirs all the same, but the SOL
        to pay it with must count, or a coin that everybody else has left could never be sold.
        """
        own = replace(market, real_quote_raw=market.real_quote_raw + paid_in_lamports)
        return quote_sell(own, tokens_raw)

    def land(self, order: Order, market: MarketState | None) -> Landed | Reverted:
        """What happens to `order` on `market`, as it is at the end of the slot in which the order lands."""
        cost = network_fee(self._settings)
        if market is None:
            return Reverted("NO_MARKET", cost)
        try:
            base, quote, fee = self._swap(order, market)
        except QuoteError as error:
            return Reverted(f"NO_QUOTE: {error}", cost)
        out = base if order.side == "BUY" else quote
        if out < order.min_out:
            return Reverted(f"SLIPPAGE: {out} is below the order's least of {order.min_out}", cost)
        return Landed(base, quote, fee, cost, self._settings.tip_lamports)

    def _swap(self, order: Order, market: MarketState) -> tuple[int, int, int]:
        """Coins, lamports and the fees among them."""
        if order.side == "BUY":
            bought = quote_buy(market, order.amount_in)
            return bought.tokens_raw, bought.paid_lamports, bought.fee_lamports
        sold = self.quote_sell(market, order.amount_in, order.paid_in_lamports)
        return order.amount_in, sold.proceeds_lamports, sold.fee_lamports
