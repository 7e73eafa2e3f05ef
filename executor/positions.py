"""What we hold, what is under way and what was won or lost, in memory: the book that the policy's limits count.

It is a projection of the database: `executor.journal` writes first, then this changes.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable
from typing import Final

from copytrader_core.policy.values import Book, LeaderBuy, Lock, TradingState
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
        self._exits: dict[str, int] = {}
        self._losses: dict[str, int] = {}

    def in_mint(self, mint: str) -> list[Position]:
        """Open positions in one coin."""
        return [position for position in self.open.values() if position.mint == mint]

    def realised(self, ts_ns: int, pnl_lamports: int, *, mint: str | None = None, leader: str | None = None) -> None:
        """Books a closed position's result, or a failed transaction's cost; of an exit also its coin and leader.

        What is older than a day is forgotten: no window and no cool-down is longer.
        """
        insort(self._results, (ts_ns, pnl_lamports))
        del self._results[: bisect_right(self._results, (ts_ns - _DAY_NS, 0))]
        for times in (self._exits, self._losses):
            for key in [key for key, at_ns in times.items() if at_ns <= ts_ns - _DAY_NS]:
                del times[key]
        if mint is not None:
            _later(self._exits, mint, ts_ns)
        if leader is not None and pnl_lamports < 0:
            _later(self._losses, leader, ts_ns)

    def loss(self, now_ns: int, window_ns: int) -> int:
        """What the window up to now lost on balance, 0 if it won."""
        return max(0, -sum(pnl for ts_ns, pnl in self._results if now_ns - window_ns < ts_ns))

    def book(
        self,
        state: TradingState,
        orders: Iterable[Order],
        now_ns: int,
        *,
        stream_age_ms: int = 0,
        drift: str | None = None,
        locks: tuple[Lock, ...] = (),
        first_trade: bool = False,
        signal: LeaderBuy | None = None,
    ) -> Book:
        """The policy's view of all this, and of what only others know: the stream, the programs, the locks.

        For a `signal` what stands by coin and by leader is whole for its own only, which is all that it is decided by.
        """
        orders = list(orders)
        buys = [order for order in orders if order.side == "BUY"]
        # A coin that is held was traded when its position was opened, one that is being bought trades this moment.
        held = [(p.mint, p.leader, p.cost_lamports, p.opened_ts_ns) for p in self.open.values()]
        under_way = [(order.mint, order.leader, order.amount_in, now_ns) for order in buys]
        # A sale of what has been sold already may land yet, and would sell what was bought meanwhile: the coin waits.
        left = [o for o in orders if o.side == "SELL" and o.position_id not in self.open]
        staked = held + under_way + [(order.mint, order.leader, 0, now_ns) for order in left]
        if signal is not None:
            staked = [part for part in staked if part[0] == signal.mint or part[1] == signal.leader]
        traded = dict(self._exits)
        for mint, _, _, at_ns in staked:
            _later(traded, mint, at_ns)
        return Book(
            trading_state=state,
            balance_lamports=self.balance_lamports,
            open_positions=len(held),
            in_flight_buys=len(buys),
            exposure_lamports=sum([part[2] for part in held]),
            in_flight_lamports=sum([part[2] for part in under_way]),
            loss_hour_lamports=self.loss(now_ns, _HOUR_NS),
            loss_day_lamports=self.loss(now_ns, _DAY_NS),
            mint_count=dict(Counter([part[0] for part in staked])),
            leader_count=dict(Counter([part[1] for part in staked])),
            mint_exposure_lamports=_summed([(part[0], part[2]) for part in staked]),
            leader_exposure_lamports=_summed([(part[1], part[2]) for part in staked]),
            last_trade_ns=traded,
            last_loss_ns=dict(self._losses),
            stream_age_ms=stream_age_ms,
            drift=drift,
            locks=locks,
            first_trade=first_trade,
        )


def holdings_of(ledger: Ledger, opening_lamports: int) -> Holdings:
    """The book that the journal adds up to, on top of what there was before its first line."""
    holdings = Holdings(opening_lamports + ledger.cash_lamports)
    for ts_ns, pnl_lamports, mint, leader in ledger.results:
        holdings.realised(ts_ns, pnl_lamports, mint=mint, leader=leader)
    for row in ledger.positions.values():
        position = position_from(row)
        holdings.open[position.position_id] = position
    return holdings


def _later(times: dict[str, int], key: str, ts_ns: int) -> None:
    times[key] = max(ts_ns, times.get(key, ts_ns))


def _summed(parts: list[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for key, lamports in parts:
        sums[key] = sums.get(key, 0) + lamports
    return sums
