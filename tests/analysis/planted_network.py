"""Markets in which it is known who follows whom: leaders, copiers, siblings, chains, snipers, bundles and bursts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa

AS_OF = date(2026, 3, 10)
END_NS = int(datetime(2026, 3, 11, tzinfo=UTC).timestamp()) * 1_000_000_000
SLOT_MS = 400.0
DAY_MS = 86_400_000.0
WSOL = "So11111111111111111111111111111111111111112"


@dataclass(frozen=True)
class Edge:
    leader: str
    follower: str
    prob: float
    lag_ms: float
    spread: float


@dataclass
class World:
    """`first[wallet]` maps a coin to the time of the wallet's first buy of it; `edges` is the truth."""

    seed: int = 0
    days: int = 3
    n_coins_a_day: int = 570
    n_crowd: int = 950
    n_snipers: int = 30
    n_bundles: int = 25
    n_leaders: int = 60
    n_copiers: int = 60
    n_two_leaders: int = 8
    n_chained: int = 14
    n_idle_tracked: int = 30
    burst_share: float = 0.15
    min_prob: float = 0.15
    untracked_leaders: int = 0
    sessions: bool = False
    tastes: int = 1
    mood: float = 0.0
    edges: list[Edge] = field(default_factory=list)
    first: dict[str, dict[int, float]] = field(default_factory=dict)
    tracked: list[str] = field(default_factory=list)
    hidden_leaders: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.span = self.days * DAY_MS
        n = self.days * self.n_coins_a_day
        self.launch = np.sort(self.rng.uniform(0, self.span * 0.98, n))
        self.heat = self.rng.lognormal(0, 1.0, n)
        self.heat /= self.heat.mean()
        self.kind = self.rng.integers(0, self.tastes, n)
        self.appeal = self.rng.random(n)
        self._crowd()
        self._snipers()
        self._bundles()
        self._tracked()
        self._bursts()
        self._copying()

    def buy(self, wallet: str, coin: int, at: float) -> None:
        mine = self.first.setdefault(wallet, {})
        if at < self.span:
            mine[coin] = min(mine.get(coin, np.inf), at)

    def _pick(self, n: float, taste: float = 1.0) -> np.ndarray:
        """About n coins, hot ones more often; with tastes mostly of one kind, with sessions in eight hours a day."""
        weight = self.heat**taste
        if self.tastes > 1:
            weight = weight * np.where(self.kind == self.rng.integers(self.tastes), 4.0, 1.0)
        if self.sessions:
            weight = weight * ((self.launch / 3_600_000 - self.rng.uniform(0, 24)) % 24 < 8)
        chance = n * weight / weight.sum()
        return np.flatnonzero(self.rng.random(len(chance)) < np.minimum(chance, 0.9))

    def _ages(self, n: int, median_s: float, spread: float) -> np.ndarray:
        return self.rng.lognormal(np.log(median_s * 1000), spread, n)

    def _wander(self, wallet: str, n: float, median_s: float, spread: float) -> None:
        coins = self._pick(n)
        for coin, age in zip(coins, self._ages(len(coins), median_s, spread), strict=True):
            self.buy(wallet, coin, self.launch[coin] + age)

    def _crowd(self) -> None:
        for i in range(self.n_crowd):
            rate = self.rng.lognormal(np.log(5.0), 1.0) * self.days
            self._wander(f"crowd-{i}", rate, np.exp(self.rng.uniform(np.log(10), np.log(2000))), 1.2)

    def _snipers(self) -> None:
        for i in range(self.n_snipers):
            share, speed = self.rng.uniform(0.25, 0.6), self.rng.uniform(300, 3000)
            for coin in np.flatnonzero(self.rng.random(len(self.launch)) < share):
                self.buy(f"sniper-{i}", coin, self.launch[coin] + self.rng.exponential(speed))

    def _bundles(self) -> None:
        for i in range(self.n_bundles):
            for coin in self._pick(8 * self.days, 0):
                at = np.floor((self.launch[coin] + self.rng.exponential(2000)) / SLOT_MS) * SLOT_MS
                for j in range(5):
                    self.buy(f"bundle-{i}-{j}", coin, at + 10 * j + 1)

    def _tracked(self) -> None:
        for i in range(self.n_leaders):
            name = f"leader-{i}"
            self._wander(name, self.rng.uniform(18, 60) * self.days, self.rng.uniform(5, 300), 1.0)
            (self.hidden_leaders if i >= self.n_leaders - self.untracked_leaders else self.tracked).append(name)
        for i in range(self.n_idle_tracked):
            self.tracked.append(f"idle-{i}")
            self._wander(f"idle-{i}", self.rng.uniform(15, 60) * self.days, self.rng.uniform(5, 300), 1.0)
        self.tracked += [f"sniper-{i}" for i in range(min(5, self.n_snipers))]
        self.tracked += [f"bundle-{i}-{i % 5}" for i in range(min(5, self.n_bundles))]

    def _bursts(self) -> None:
        """Common causes: many wallets, tracked ones too, pile into one coin within seconds and follow nobody."""
        everybody = list(self.first)
        for coin in np.flatnonzero(self.rng.random(len(self.launch)) < self.burst_share):
            at = self.launch[coin] + self.rng.uniform(0, 1_800_000)
            for who in self.rng.choice(len(everybody), self.rng.integers(10, 60), replace=False):
                self.buy(everybody[who], coin, at + self.rng.exponential(8000))

    def _copying(self) -> None:
        """Every tracked copier is a sibling of the other copiers of its leader; a chained one follows a copier."""
        leaders = [f"leader-{i}" for i in range(self.n_leaders)]
        copiers = [f"copier-{i}" for i in range(self.n_copiers)]
        for i, name in enumerate(copiers):
            self._wander(name, self.rng.uniform(2, 12) * self.days, self.rng.uniform(5, 300), 1.0)
            n = 2 if i < self.n_two_leaders else 1
            for leader in self.rng.choice(leaders[: max(3, self.n_leaders * 2 // 3)], n, replace=False):
                self._follow(leader, name)
        for i in range(self.n_chained):
            self._wander(f"second-{i}", self.rng.uniform(2, 12) * self.days, self.rng.uniform(5, 300), 1.0)
            self._follow(copiers[self.n_copiers - 1 - i], f"second-{i}")
        for leader in self.hidden_leaders:
            for j in range(3):
                self._follow(leader, f"orphan-{leader}-{j}")
                self.tracked.append(f"orphan-{leader}-{j}")
        self.tracked += copiers[self.n_copiers // 2 :]

    def _follow(self, leader: str, follower: str) -> None:
        edge = Edge(leader, follower, self.rng.uniform(self.min_prob, 0.8),
                    np.exp(self.rng.uniform(np.log(800), np.log(8000))), self.rng.uniform(0.2, 0.6))  # fmt: skip
        self.edges.append(edge)
        for coin, at in list(self.first[leader].items()):
            blended = self.mood * self.appeal[coin] + (1 - self.mood) * self.rng.random()
            if blended < np.quantile(self._blend(), edge.prob):
                self.buy(follower, coin, at + self.rng.lognormal(np.log(edge.lag_ms), edge.spread))

    def _blend(self) -> np.ndarray:
        """What a copier's whim is compared with: with a mood, all copiers like the same of their leader's buys."""
        return self.mood * self.rng.random(400) + (1 - self.mood) * self.rng.random(400)

    @property
    def truth(self) -> set[tuple[str, str]]:
        tracked = set(self.tracked)
        return {(e.leader, e.follower) for e in self.edges if e.leader in tracked}

    def table(self) -> pa.Table:
        """The buys as lake events, in chain order."""
        rows = [(at, coin, wallet) for wallet, coins in self.first.items() for coin, at in coins.items()]
        at = np.array([row[0] for row in rows])
        order = np.argsort(at)
        slot = np.floor(at[order] / SLOT_MS).astype(np.int64)
        new = np.append(True, slot[1:] != slot[:-1])
        start = np.maximum.accumulate(np.where(new, np.arange(len(slot)), 0))
        zero = np.zeros(len(rows), dtype=np.int32)
        return pa.table(
            {
                "slot": slot + 400_000_000,
                "tx_index": (3 * (np.arange(len(slot)) - start)).astype(np.int32),
                "outer_ix": zero, "inner_ix": zero - 1, "event_seq": zero,
                "ts_ns": END_NS - int(self.span * 1e6) + np.floor(at[order] / 1000).astype(np.int64) * 1_000_000_000,
                "wallet": [rows[i][2] for i in order],
                "mint": [f"coin-{rows[i][1]}" for i in order],
                "quote_mint": [WSOL] * len(rows),
                "quote_raw": pa.array(self.rng.integers(10**8, 10**9, len(rows)), pa.uint64()),
            }
        )  # fmt: skip


def nobody_follows(seed: int, days: int = 3) -> World:
    """The same market without any copier."""
    return World(seed=seed, days=days, n_copiers=0, n_two_leaders=0, n_chained=0, n_idle_tracked=80)
