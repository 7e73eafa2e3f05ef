"""What we hold, what is under way and what was won or lost, in memory: the book that the policy's limits count.

It is a projection of the database: `executor.journal` writes first, then this changes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Final, Literal

from copytrader_core.policy.exits import first_deadline_ms
from copytrader_core.policy.values import Book, LeaderBuy, Lock, TradingState
from executor.ledger import Ledger
from executor.orders import Order, Position, position_from

_HOUR_NS: Final = 3_600_000_000_000
_DAY_NS: Final = 24 * _HOUR_NS
_NS_PER_MS: Final = 1_000_000
_MOST: Final = 1 << 127
"""More than any result has lamports."""

_Part = tuple[str, str, int, int]
"""Coin, leader, lamports at stake, and when it traded."""


class Holdings:
    """Open positions, the balance, and realised results of the last day.

    What is asked between a signal and its order is kept up to date here, so that it costs the same with 200 positions.
    """

    def __init__(self, balance_lamports: int) -> None:
        self.balance_lamports = balance_lamports
        self._open: dict[str, Position] = {}
        self.open: Mapping[str, Position] = MappingProxyType(self._open)
        """By identity, first opened first."""
        self._number = 0
        self._exposure = 0
        self._in_mint: dict[str, dict[str, tuple[int, Position]]] = {}
        self._after: dict[str, dict[str, Position]] = {}
        self._deadlines: list[tuple[int, int, Position]] = []
        self.deadlines: Sequence[tuple[int, int, Position]] = self._deadlines
        """When the clock alone sells in ns, number in the order of opening, position; first deadline first."""
        self._results: list[tuple[int, int]] = []
        self._sums: list[int] = [0]
        self._swept_ns = 0
        self._exits: dict[str, int] = {}
        self._losses: dict[str, int] = {}

    def hold(self, position: Position) -> None:
        """Takes a new position. Its coin, leader, cost, opening and plan stay what they are."""
        identity = position.position_id
        if identity in self._open:
            self.drop(identity)
        self._number += 1
        self._open[identity] = position
        self._exposure += position.cost_lamports
        self._in_mint.setdefault(position.mint, {})[identity] = (self._number, position)
        self._after.setdefault(position.leader, {})[identity] = position
        insort(self._deadlines, (deadline_ns(position), self._number, position))

    def drop(self, position_id: str) -> None:
        """A position has ended. Raises KeyError where there is none."""
        position = self._open.pop(position_id)
        self._exposure -= position.cost_lamports
        number, _ = self._in_mint[position.mint].pop(position_id)
        del self._after[position.leader][position_id]
        if not self._in_mint[position.mint]:
            del self._in_mint[position.mint]
        if not self._after[position.leader]:
            del self._after[position.leader]
        del self._deadlines[bisect_left(self._deadlines, (deadline_ns(position), number))]

    @property
    def mints(self) -> set[str]:
        """The coins that are held."""
        return set(self._in_mint)

    def in_mint(self, mint: str) -> list[Position]:
        """Open positions in one coin."""
        return [position for _, position in self._in_mint.get(mint, {}).values()]

    def pressing(self, mints: Iterable[str], now_ns: int) -> list[Position]:
        """Positions in these coins, and those whose time is up, first opened first."""
        found = {number: position for mint in mints for number, position in self._in_mint.get(mint, {}).values()}
        for at_ns, number, position in self._deadlines:
            if at_ns > now_ns:
                break
            found[number] = position
        return [found[number] for number in sorted(found)]

    def realised(self, ts_ns: int, pnl_lamports: int, *, mint: str | None = None, leader: str | None = None) -> None:
        """Books a closed position's result, or a failed transaction's cost; of an exit also its coin and leader.

        What is older than a day is forgotten in time: no window and no cool-down is longer.
        """
        if not self._results or self._results[-1] <= (ts_ns, pnl_lamports):
            self._results.append((ts_ns, pnl_lamports))
            self._sums.append(self._sums[-1] + pnl_lamports)
        else:
            insort(self._results, (ts_ns, pnl_lamports))
            self._sums = [0, *accumulate(pnl for _, pnl in self._results)]
        if ts_ns - self._swept_ns > _HOUR_NS:
            self._sweep(ts_ns)
        if mint is not None:
            _later(self._exits, mint, ts_ns)
        if leader is not None and pnl_lamports < 0:
            _later(self._losses, leader, ts_ns)

    def _sweep(self, ts_ns: int) -> None:
        """Forgets what is older than a day."""
        self._swept_ns = ts_ns
        del self._results[: bisect_right(self._results, (ts_ns - _DAY_NS, 0))]
        self._sums = [0, *accumulate(pnl for _, pnl in self._results)]
        for times in (self._exits, self._losses):
            for key in [key for key, at_ns in times.items() if at_ns <= ts_ns - _DAY_NS]:
                del times[key]

    def loss(self, now_ns: int, window_ns: int) -> int:
        """What the window up to now lost on balance, 0 if it won."""
        if not self._results:
            return 0
        first = bisect_right(self._results, (now_ns - window_ns, _MOST))
        return max(0, self._sums[first] - self._sums[-1])

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
        # A coin that is held was traded when its position was opened, one that is being bought trades this moment.
        under_way: list[_Part] = []
        stray: dict[str, int] = {}
        selling: set[str] = set()
        for order in orders:
            if order.side == "BUY":
                under_way.append((order.mint, order.leader, order.amount_in, now_ns))
            elif order.side == "SELL":
                if order.position_id not in self._open or order.position_id in selling:
                    stray[order.mint] = stray.get(order.mint, 0) + 1
                selling.add(order.position_id)
        if signal is not None:
            of_mint, of_leader = self._about(signal, under_way)
            traded, lost = _only(self._exits, signal.mint), _only(self._losses, signal.leader)
        else:
            of_mint = of_leader = [_part(position) for position in self._open.values()] + under_way
            traded, lost = dict(self._exits), dict(self._losses)
        for mint, _, _, at_ns in of_mint:
            _later(traded, mint, at_ns)
        mint_count, mint_exposure = _added(of_mint, 0)
        leader_count, leader_exposure = _added(of_leader, 1)
        return Book(
            trading_state=state,
            balance_lamports=self.balance_lamports,
            open_positions=len(self._open),
            in_flight_buys=len(under_way),
            exposure_lamports=self._exposure,
            in_flight_lamports=sum([part[2] for part in under_way]),
            loss_hour_lamports=self.loss(now_ns, _HOUR_NS),
            loss_day_lamports=self.loss(now_ns, _DAY_NS),
            mint_count=mint_count,
            leader_count=leader_count,
            mint_exposure_lamports=mint_exposure,
            leader_exposure_lamports=leader_exposure,
            last_trade_ns=traded,
            last_loss_ns=lost,
            stray_sales=stray,
            stream_age_ms=stream_age_ms,
            drift=drift,
            locks=locks,
            first_trade=first_trade,
        )

    def _about(self, signal: LeaderBuy, under_way: Sequence[_Part]) -> tuple[list[_Part], list[_Part]]:
        """What is at stake in a signal's coin, and after its leader."""
        of_mint = [_part(position) for position in self.in_mint(signal.mint)]
        of_leader = [_part(position) for position in self._after.get(signal.leader, {}).values()]
        of_mint += [part for part in under_way if part[0] == signal.mint]
        of_leader += [part for part in under_way if part[1] == signal.leader]
        return of_mint, of_leader


def deadline_ns(position: Position) -> int:
    """When the clock alone sells."""
    return position.opened_ts_ns + first_deadline_ms(position.plan) * _NS_PER_MS


def holdings_of(ledger: Ledger, opening_lamports: int) -> Holdings:
    """The book that the journal adds up to, on top of what there was before its first line."""
    holdings = Holdings(opening_lamports + ledger.cash_lamports)
    for ts_ns, pnl_lamports, mint, leader in ledger.results:
        holdings.realised(ts_ns, pnl_lamports, mint=mint, leader=leader)
    for row in ledger.positions.values():
        position = position_from(row)
        holdings.hold(position)
    return holdings


def _part(position: Position) -> _Part:
    return position.mint, position.leader, position.cost_lamports, position.opened_ts_ns


def _only(times: Mapping[str, int], key: str) -> dict[str, int]:
    return {key: times[key]} if key in times else {}


def _later(times: dict[str, int], key: str, ts_ns: int) -> None:
    times[key] = max(ts_ns, times.get(key, ts_ns))


def _added(parts: Iterable[_Part], place: Literal[0, 1]) -> tuple[dict[str, int], dict[str, int]]:
    """How many parts there are and what is at stake in them, by coin (place 0) or leader (place 1)."""
    counts: dict[str, int] = {}
    sums: dict[str, int] = {}
    for part in parts:
        key = part[place]
        counts[key] = counts.get(key, 0) + 1
        sums[key] = sums.get(key, 0) + part[2]
    return counts, sums
