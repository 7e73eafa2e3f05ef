"""The script of a market day: which coins are launched when, what becomes of them, and which leader enters which.

Carrying it out, with every reaction to prices, is `simnet.market`'s.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from simnet.traders import Leader

Fate = Literal["up", "down", "moon"]

COINS_PER_ENTRY: Final = 0.25
_MOON_EVERY: Final = 20
_FIRST_ENTRY_S: Final = (24.0, 42.0)
# Longer than any follower's lag: one leader's entry must not look like a copy of another's.
_BETWEEN_ENTRIES_S: Final = (33.0, 48.0)
_TAIL_S: Final = (60.0, 80.0)
_AFTER_POOL_S: Final = 215.0


@dataclass(frozen=True, slots=True)
class Session:
    """One market day's hours: from `start` (unix seconds) for `minutes` of chain time."""

    start: int
    minutes: float

    @property
    def end(self) -> int:
        """Unix seconds after which nobody acts any more."""
        return self.start + round(self.minutes * 60)


@dataclass(slots=True)
class CoinPlan:
    """One coin's script. Times in seconds after the session's start, offsets after the launch."""

    number: int
    launch_s: float
    fate: Fate
    entries: list[tuple[Leader, float]] = field(default_factory=list)
    flow_ends_s: float = 0.0


@dataclass(slots=True)
class Planner:
    """Plans days. Keeps each leader's share of good entries exact over the days, not only on average."""

    rng: random.Random
    n_coins: int = 0
    _owed: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def day(self, session: Session, leaders: Sequence[Leader], entries: int) -> list[CoinPlan]:
        """One session's coins, in order of launch, with `entries` entries of every leader spread over them."""
        rising = {leader.name: self._rising(leader, entries) for leader in leaders}
        total, up = entries * len(leaders), sum(rising.values())
        n_up = max(round(up * COINS_PER_ENTRY), *rising.values())
        n_down = max(round((total - up) * COINS_PER_ENTRY), *(entries - n for n in rising.values()))
        coins = self._coins(session, n_up, n_down)
        for leader in leaders:
            self._assign(leader, [coin for coin in coins if coin.fate != "down"], rising[leader.name])
            self._assign(leader, [coin for coin in coins if coin.fate == "down"], entries - rising[leader.name])
        for coin in coins:
            self._time(coin)
        return coins

    def _rising(self, leader: Leader, entries: int) -> int:
        exact = leader.skill * entries + self._owed[leader.name]
        self._owed[leader.name] = exact - round(exact)
        return round(exact)

    def _coins(self, session: Session, n_up: int, n_down: int) -> list[CoinPlan]:
        n_moon = max(1, round((n_up + n_down) / _MOON_EVERY))
        counts: tuple[tuple[Fate, int], ...] = (("moon", n_moon), ("up", n_up - n_moon), ("down", n_down))
        fates = [fate for fate, count in counts for _ in range(count)]
        self.rng.shuffle(fates)
        # The last coins still need their minutes before the session ends.
        step = (session.minutes * 60 - 420) / len(fates)
        coins = []
        for place, fate in enumerate(fates):
            self.n_coins += 1
            coins.append(CoinPlan(self.n_coins, 5 + step * (place + self.rng.random() * 0.8), fate))
        return coins

    def _assign(self, leader: Leader, coins: list[CoinPlan], count: int) -> None:
        """Gives the leader `count` different coins, those with the fewest entries first."""
        self.rng.shuffle(coins)
        for coin in sorted(coins, key=lambda c: len(c.entries))[:count]:
            coin.entries.append((leader, 0.0))

    def _time(self, coin: CoinPlan) -> None:
        self.rng.shuffle(coin.entries)
        offset, timed = self.rng.uniform(*_FIRST_ENTRY_S), []
        for place, (leader, _) in enumerate(coin.entries):
            late = coin.fate == "moon" and place and place == len(coin.entries) - 1
            timed.append((leader, max(offset, _AFTER_POOL_S) if late else offset))
            offset = timed[-1][1] + self.rng.uniform(*_BETWEEN_ENTRIES_S)
        coin.entries = timed
        last = timed[-1][1] if timed else self.rng.uniform(*_FIRST_ENTRY_S)
        coin.flow_ends_s = last + self.rng.uniform(*_TAIL_S)
