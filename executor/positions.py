"""What we hold, what is under way and what was won or lost, in memory: the book that the policy's limits count.

It is a projection of the database: `executor.journal` writes first, then this changes.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from typing import Final

from copytrader_core.policy.values import Book, TradingState
from executor.ledger import Ledger
from executor.orders import Order, Position, position_from

_HOUR_NS: Final = 3_600_000_000_000
_DAY_NS: Final = 24 * _HOUR_NS


class Holdings:
    """Open positions, the balance, and realised results of the last day."""

    def __init__(self, balance_lamports: int) -> None:
        self.balance_lamports = balance_lamports
        self.open: dict[str, Position] = {}
        self._results: list[tuple[int, int]] = []

    def in_mint(self, mint: str) -> list[Position]:
        """Open positions in one coin."""
        return [position for position in self.open.values() if position.mint == mint]

    def realised(self, ts_ns: int, pnl_lamports: int) -> None:
        """Books a closed position's result or the cost of a failed transaction."""
        insort(self._results, (ts_ns, pnl_lamports))
        del self._results[: bisect_right(self._results, (ts_ns - _DAY_NS, 0))]

    def loss(self, now_ns: int, window_ns: int) -> int:
        """What the window up to now lost on balance, 0 if it won."""
        return max(0, -sum(pnl for ts_ns, pnl in self._results if now_ns - window_ns < ts_ns))

    def book(self, state: TradingState, orders: Iterable[Order], now_ns: int) -> Book:
        """The policy's view of all this."""
        buys = [order for order in orders if order.side == "BUY"]
        counted = Counter([p.mint for p in self.open.values()] + [order.mint for order in buys])
        return Book(
            trading_state=state,
            balance_lamports=self.balance_lamports,
            open_positions=len(self.open),
            in_flight_buys=len(buys),
            exposure_lamports=sum(position.cost_lamports for position in self.open.values()),
            in_flight_lamports=sum(order.amount_in for order in buys),
            loss_hour_lamports=self.loss(now_ns, _HOUR_NS),
            loss_day_lamports=self.loss(now_ns, _DAY_NS),
            mint_count=dict(counted),
        )


def holdings_of(ledger: Ledger, opening_lamports: int) -> Holdings:
    """The book that the journal adds up to, on top of what there was before its first line."""
    holdings = Holdings(opening_lamports + ledger.cash_lamports)
    for ts_ns, pnl_lamports in ledger.results:
        holdings.realised(ts_ns, pnl_lamports)
    for row in ledger.positions.values():
        position = position_from(row)
        holdings.open[position.position_id] = position
    return holdings
