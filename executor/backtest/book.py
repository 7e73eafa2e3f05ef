"""The market book of a backtest: coins stand where the tape has them, with our trades in it. Nothing is fed to it.

It is asked as of a place on the tape. A coin's rows are followed only when somebody asks for the coin, so that coins
that no leader touches cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from copytrader_core.policy.market import MarketState
from copytrader_core.records import Event
from copytrader_core.replay.execution import NO_VENUE, POOL
from copytrader_core.replay.follow import NOTHING, follow, look_ahead
from copytrader_core.replay.tape import Tape
from executor.broker import Landed
from executor.market_book import MarketBook, pool_of
from executor.orders import Order, Position
from executor.what_if import moved_by, shifted

__all__ = ["TapeBook", "Watch"]

_NEVER_X: Final = float("inf")


@dataclass(slots=True)
class _Coin:
    """Where a coin has been followed to: the governing row, the next one, and our shift (base and quote, by venue).

    `sums` (2, pairs of the coin): what wallets have bought more than sold since the shift began, and what they lack.
    """

    at: int
    following: int
    shift: NDArray[np.int64]
    sums: NDArray[np.int64]
    first_pair: int
    is_moved: bool = False
    version: int = 0
    seen: tuple[int, int, int] = (NOTHING, NOTHING, NOTHING)
    market: MarketState | None = None
    """The market as it was asked for last, when the coin stood at `seen`."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a position waits for: multiples at which it is sold, and what it has cost."""

    coins: int
    cost_lamports: int
    tx_cost_lamports: int
    target_x: float | None
    stop_x: float | None
    trailing_fraction: float | None
    trailing_from_x: float | None
    peak_x: float
    any_quote: bool


class TapeBook(MarketBook):
    """Coins as of a place on a tape. `until` is the place behind the last row that has happened."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.until = 0
        self._carried: dict[str, tuple[MarketState, NDArray[np.int64], bool]] = {}
        self.take(tape)

    def take(self, tape: Tape) -> None:
        """Goes on with the next day. Coins that are held keep their market and our trades in it."""
        if hasattr(self, "tape"):
            self._carry()
        self.tape = tape
        self.until = 0
        self._codes = {mint: code for code, mint in enumerate(tape.mints)}
        self._coins: dict[str, _Coin] = {}
        self._heard: dict[str, int] = {}
        """Where a coin was seen last: it need not be followed from its beginning."""
        self._kept = np.zeros(max(1, len(tape)), np.int64)

    def state(self, mint: str) -> MarketState | None:
        """Where the coin trades at this place of the tape."""
        coin = self._followed(mint)
        if coin is None or coin.at < 0:
            before = self._carried.get(mint)
            return None if before is None else self._moved(before[0], before[1])
        seen = (coin.at, coin.following, coin.version)
        if coin.market is None or coin.seen != seen:
            coin.seen, coin.market = seen, self._moved(self._recorded(coin.at, mint), coin.shift)
        return coin.market

    def hear(self, event: Event) -> MarketState | None:
        """The market as this event (made from a row of the tape) leaves it."""
        row = event.meta["row"]
        if self.tape.venue[row] == NO_VENUE:
            return None
        coin = self._coins.get(event.mint)
        if coin is None or not coin.is_moved:
            self._heard[event.mint] = row
            return self._recorded(row, event.mint)
        return self.state(event.mint)

    def insert(self, order: Order, landed: Landed) -> None:
        """A trade of ours goes through, after every row before `until`."""
        coin = self._followed(order.mint)
        market = self.state(order.mint)
        if coin is None or market is None:
            return
        place = 2 if market.venue == "amm" else 0
        coin.shift[place : place + 2] += moved_by(market, order.side == "BUY", landed)
        coin.is_moved = True
        coin.version += 1

    def leave(self, mint: str) -> None:
        """Nothing of ours is in the coin any more."""
        self._carried.pop(mint, None)
        self._coins.pop(mint, None)

    def restore(self, position: Position) -> None:
        """A backtest has no earlier run."""

    def version(self, mint: str) -> int:
        """Changes with every trade of ours in the coin."""
        coin = self._coins.get(mint)
        return -1 if coin is None else coin.version

    def due(self, mint: str, watch: Watch, until: int) -> tuple[int, float]:
        """(row, peak before it) of the transaction after which `watch` has to be sold; -1 if none is before `until`."""
        coin, tape = self._followed(mint), self.tape
        if coin is None:
            return NOTHING, watch.peak_x
        found, peak = look_ahead(
            *(tape.tx, tape.pair, tape.is_buy, tape.venue, tape.kind, tape.base, tape.quote, tape.net),
            *(tape.after_base, tape.after_quote, tape.real_base, tape.real_quote, tape.fees, tape.next_fees),
            *(tape.following, coin.at, coin.following, until, coin.shift, coin.sums[0], coin.sums[1], coin.first_pair),
            *(watch.coins, watch.cost_lamports, watch.tx_cost_lamports),
            _NEVER_X if watch.target_x is None else watch.target_x,
            -_NEVER_X if watch.stop_x is None else watch.stop_x,
            watch.trailing_fraction or 0.0,
            watch.trailing_from_x or 0.0,
            *(watch.peak_x, watch.any_quote, self._kept),
        )
        return int(found), float(peak)

    def _followed(self, mint: str) -> _Coin | None:
        """The coin, followed to `until`; None where the tape does not have it."""
        coin = self._coins.get(mint) or self._taken(mint)
        if coin is not None and 0 <= coin.following < self.until:
            tape = self.tape
            coin.at, coin.following = follow(
                *(tape.pair, tape.is_buy, tape.venue, tape.kind, tape.base, tape.quote, tape.net),
                *(tape.after_base, tape.after_quote, tape.real_base, tape.fees, tape.following),
                *(coin.at, coin.following, self.until, coin.is_moved, coin.shift),
                *(coin.sums[0], coin.sums[1], coin.first_pair),
            )
        return coin

    def _taken(self, mint: str) -> _Coin | None:
        """The coin where it was seen last, or at its beginning."""
        code = self._codes.get(mint)
        if code is None:
            return None
        before = self._carried.get(mint)
        shift = np.zeros(4, np.int64) if before is None else before[1].copy()
        at = self._heard.get(mint, NOTHING) if before is None else NOTHING
        following = self.tape.first[code] if at == NOTHING else self.tape.following[at]
        is_moved = before is not None and before[2]
        first_pair, end = self.tape.first_pair[code : code + 2].tolist()
        sums = np.zeros((2, end - first_pair), np.int64)
        coin = _Coin(at, int(following), shift, sums, first_pair, is_moved)
        self._coins[mint] = coin
        return coin

    def _carry(self) -> None:
        """What the next day has to know of coins that our trades are in."""
        self.until = len(self.tape)
        carried = {}
        for mint in {*self._carried, *(mint for mint, coin in self._coins.items() if coin.is_moved)}:
            coin = self._followed(mint)
            if coin is not None and coin.at >= 0:
                carried[mint] = (self._recorded(coin.at, mint), coin.shift, coin.is_moved)
            elif mint in self._carried:
                carried[mint] = self._carried[mint]
        self._carried = carried

    def _recorded(self, row: int, mint: str) -> MarketState:
        tape = self.tape
        is_pool = tape.venue[row] == POOL
        lp, protocol, creator = tape.next_fees[row].tolist()
        real_base = int(tape.real_base[row])
        return MarketState(
            "amm" if is_pool else "curve",
            pool_of(mint) if is_pool else None,
            int(tape.slot[row]),
            int(tape.tx_index[row]),
            int(tape.after_base[row]),
            int(tape.after_quote[row]),
            real_base,
            int(tape.real_quote[row]),
            lp,
            protocol,
            creator,
            not is_pool and real_base <= 0,
        )

    @staticmethod
    def _moved(market: MarketState, shift: NDArray[np.int64]) -> MarketState:
        place = 2 if market.venue == "amm" else 0
        return shifted(market, int(shift[place]), int(shift[place + 1]))
