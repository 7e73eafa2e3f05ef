"""A second market with known followers, made by other mechanisms than `planted_network` and sharing nothing with it.

Coins live: popularity follows a power law, and a coin's buyers come in a decaying stream that big leaders, hypes and
bursts on launch day push up again. Wallets keep diurnal hours. Followers react with constant, lognormal or two-mode
lags, skip coins that are too old or buys that are too small, copy two leaders or a copier of a copier; some leaders
have more than ten followers. Bundles trade like one actor, some with one fee payer. A terminal pays for hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa

AS_OF = date(2026, 5, 20)
END_NS = int(datetime(2026, 5, 21, tzinfo=UTC).timestamp()) * 1_000_000_000
SLOT_MS = 400.0
DAY_S = 86_400.0
WSOL = "So11111111111111111111111111111111111111112"
TERMINAL = "terminal-fee-payer"


class Buy(NamedTuple):
    at: float
    sol: float


class Link(NamedTuple):
    leader: str
    follower: str
    prob: float


@dataclass
class Market:
    """`book[wallet][coin]` is the wallet's first buy; `links` are the true edges; `bundles` are one actor each."""

    seed: int = 0
    days: int = 3
    coins_a_day: int = 700
    n_wallets: int = 1200
    n_leaders: int = 40
    n_links: int = 90
    n_stars: int = 2
    n_chains: int = 6
    n_doubles: int = 10
    n_snipers: int = 25
    n_bundles: int = 20
    n_tracked: int = 170
    n_strangers: int = 5
    follows: bool = True
    book: dict[str, dict[int, Buy]] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    tracked: list[str] = field(default_factory=list)
    bundles: list[list[str]] = field(default_factory=list)
    payers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(90_000 + self.seed)
        self.span = self.days * DAY_S
        self.n_coins = self.days * self.coins_a_day
        self.launch = np.sort(self.rng.uniform(0, self.span, self.n_coins))
        self.fame = (1 - self.rng.random(self.n_coins)) ** (-1 / 1.6)
        self.life = self.rng.lognormal(np.log(240), 1.1, self.n_coins)
        self.leaders = [f"L{i}" for i in range(self.n_leaders)]
        self.strangers = [f"X{i}" for i in range(self.n_strangers)]
        self.followers: list[str] = []
        self._habits()
        self._leaders()
        self._snipers()
        self._bundled()
        self._copiers()
        self._crowd()
        self._hype()
        self._choose_tracked()

    # who buys what ----------------------------------------------------------------------------------------------

    def buy(self, wallet: str, coin: int, at: float, sol: float) -> None:
        book = self.book.setdefault(wallet, {})
        if 0 <= at < self.span and (coin not in book or at < book[coin].at):
            book[coin] = Buy(at, sol)

    def _awake(self, wallet: str, at: np.ndarray) -> np.ndarray:
        """A soft day: busiest around one hour, nearly asleep half a day later."""
        noon, depth = self.hours[hash_of(wallet) % len(self.hours)]
        return 1 + depth * np.cos((at / 3600 - noon) * 2 * np.pi / 24)

    def _habits(self) -> None:
        self.hours = list(zip(self.rng.uniform(0, 24, 997), self.rng.uniform(0, 0.98, 997), strict=True))

    def _roam(self, wallet: str, n: float, patience_s: float, size: float, pull: float = 1.0) -> None:
        """About n coins of one's own choice, famous ones more, at an age around `patience_s`."""
        weight = self.fame**pull * self._awake(wallet, self.launch)
        coins = np.flatnonzero(self.rng.random(self.n_coins) < n * weight / weight.sum())
        ages = patience_s * self.rng.weibull(0.8, len(coins))
        for coin, age, sol in zip(coins, ages, size * self.rng.lognormal(0, 0.5, len(coins)), strict=True):
            self.buy(wallet, int(coin), self.launch[coin] + age, sol)

    def _leaders(self) -> None:
        for name in [*self.leaders, *self.strangers]:
            rate = self.rng.uniform(25, 80) * self.days
            self._roam(name, rate, np.exp(self.rng.uniform(np.log(3), np.log(600))), self.rng.uniform(0.3, 4), 0.7)

    def _snipers(self) -> None:
        for i in range(self.n_snipers):
            share, floor = self.rng.uniform(0.15, 0.7), self.rng.uniform(0.0, 1.2)
            for coin in np.flatnonzero(self.rng.random(self.n_coins) < share):
                self.buy(f"S{i}", int(coin), self.launch[coin] + floor + self.rng.gamma(1.5, 0.4), 0.2)

    def _bundled(self) -> None:
        """Three to six wallets that land in one slot, sometimes right at launch, in shuffled order."""
        for i in range(self.n_bundles):
            team = [f"B{i}-{j}" for j in range(self.rng.integers(3, 7))]
            self.bundles.append(team)
            if i % 2:
                self.payers.update(dict.fromkeys(team, f"payer-{i}"))
            for coin in np.flatnonzero(self.rng.random(self.n_coins) < 9 * self.days / self.n_coins):
                slot = np.floor((self.launch[coin] + self.rng.choice([0.0, self.rng.exponential(4)])) * 1000 / SLOT_MS)
                present = [w for w in team if self.rng.random() < 0.93]
                for place, wallet in enumerate(self.rng.permutation(present)):
                    self.buy(str(wallet), int(coin), (slot + 0.2 + 0.02 * place) * SLOT_MS / 1000, 0.4)

    # who follows whom -------------------------------------------------------------------------------------------

    def _copiers(self) -> None:
        if not self.follows:
            return
        popular = self.leaders[: self.n_leaders * 2 // 3]
        pairs: list[tuple[str, str]] = []
        for star in popular[: self.n_stars]:
            pairs += [(star, self._new_follower()) for _ in range(12)]
        for _ in range(self.n_chains):
            first, second, third = (self._new_follower() for _ in range(3))
            pairs += [(str(self.rng.choice(popular)), first), (first, second), (second, third)]
        for _ in range(self.n_doubles):
            wallet = self._new_follower()
            pairs += [(str(leader), wallet) for leader in self.rng.choice(popular, 2, replace=False)]
        while len(pairs) < self.n_links:
            pairs.append((str(self.rng.choice(popular)), self._new_follower()))
        pairs += [(stranger, self._new_follower()) for stranger in self.strangers for _ in range(3)]
        for follower in self.followers:
            self._roam(follower, self.rng.uniform(3, 15) * self.days, self.rng.uniform(5, 400), 0.3)
        for leader, follower in pairs:
            self._copy(leader, follower)

    def _new_follower(self) -> str:
        self.followers.append(f"F{len(self.followers)}")
        return self.followers[-1]

    def _copy(self, leader: str, follower: str) -> None:
        """Follows a share of the buys that are to its taste: young enough a coin, large enough a buy."""
        led = list(self.book[leader].items())
        taste = self.rng.choice(["any", "young", "large"])
        ages = np.array([buy.at - self.launch[coin] for coin, buy in led])
        sizes = np.array([buy.sol for _, buy in led])
        liked = np.ones(len(led), dtype=bool)
        if taste == "young":
            liked = ages <= np.quantile(ages, 0.7)
        if taste == "large":
            liked = sizes >= np.quantile(sizes, 0.3)
        share = self.rng.uniform(0.25, 0.9)
        self.links.append(Link(leader, follower, float(share * liked.mean())))
        lags = self._lags(len(led))
        for (coin, buy), lag, like in zip(led, lags, liked, strict=True):
            if like and self.rng.random() < share:
                self.buy(follower, coin, buy.at + lag, 0.1 + 0.3 * buy.sol * self.rng.random())

    def _lags(self, n: int) -> np.ndarray:
        kind = self.rng.choice(["constant", "lognormal", "two modes"])
        typical = np.exp(self.rng.uniform(np.log(0.5), np.log(7)))
        if kind == "constant":
            return typical + self.rng.normal(0, 0.08, n).clip(-0.3, 0.3)
        if kind == "lognormal":
            return typical * self.rng.lognormal(0, self.rng.uniform(0.15, 0.7), n)
        slow = self.rng.random(n) < 0.3
        return np.where(slow, self.rng.uniform(8, 14, n), typical * self.rng.lognormal(0, 0.2, n))

    # everybody else ---------------------------------------------------------------------------------------------

    def _crowd(self) -> None:
        taken = len(self.book)
        self.crowd = [f"C{i}" for i in range(max(self.n_wallets - taken, 50))]
        for i, name in enumerate(self.crowd):
            if i % 3 == 0:
                self.payers[name] = TERMINAL
            rate = self.days * self.rng.pareto(1.5) * 3 + 1
            self._roam(name, min(rate, 60 * self.days), np.exp(self.rng.uniform(np.log(4), np.log(3000))), 0.3)

    def _hype(self) -> None:
        """Common causes: waves that hit the crowd and some leaders alike, and a crowd that runs after big buys."""
        everybody = [*self.crowd, *self.leaders]
        for coin in np.flatnonzero(self.rng.random(self.n_coins) < 0.1):
            at = self.launch[coin] + self.rng.exponential(900)
            for who in self.rng.choice(len(everybody), self.rng.integers(8, 70), replace=False):
                self.buy(everybody[who], int(coin), at + self.rng.gamma(2, 4), 0.3)
        for leader in self.leaders[::4]:
            for coin, buy in list(self.book[leader].items()):
                for who in self.rng.choice(len(self.crowd), self.rng.poisson(6), replace=False):
                    self.buy(self.crowd[who], coin, buy.at + self.rng.uniform(0.5, 45), 0.2)

    def _choose_tracked(self) -> None:
        """Leaders, most copiers that are followed themselves, snipers, bundled wallets, some copiers, and crowd."""
        followed = {link.leader for link in self.links} - set(self.strangers)
        chosen = dict.fromkeys([*self.leaders, *sorted(followed), *(f"S{i}" for i in range(6))])
        chosen |= dict.fromkeys([team[0] for team in self.bundles[:8]] + [team[1] for team in self.bundles[:3]])
        chosen |= dict.fromkeys(self.followers[::2])
        busy = sorted(self.crowd, key=lambda name: -len(self.book.get(name, {})))
        self.tracked = [*chosen, *busy][: self.n_tracked]

    @property
    def truth(self) -> set[tuple[str, str]]:
        tracked = set(self.tracked)
        return {(link.leader, link.follower) for link in self.links if link.leader in tracked}

    def table(self) -> pa.Table:
        """The buys as BUY rows of the lake's events, in chain order."""
        rows = [(buy.at, coin, wallet, buy.sol) for wallet, book in self.book.items() for coin, buy in book.items()]
        at = np.array([row[0] for row in rows])
        order = np.argsort(at, kind="stable")
        slot = np.floor(at[order] * 1000 / SLOT_MS).astype(np.int64)
        first = np.maximum.accumulate(np.where(np.append(True, np.diff(slot) > 0), np.arange(len(slot)), 0))
        zero = np.zeros(len(rows), dtype=np.int32)
        wallets = [rows[i][2] for i in order]
        return pa.table(
            {
                "slot": slot + 310_000_000,
                "tx_index": (5 * (np.arange(len(slot)) - first) + 2).astype(np.int32),
                "outer_ix": zero, "inner_ix": zero - 1, "event_seq": zero,
                "ts_ns": END_NS - int(self.span) * 1_000_000_000 + np.floor(at[order]).astype(np.int64) * 1_000_000_000,
                "sig": [f"{rows[i][2]}-{rows[i][1]}" for i in order],
                "wallet": wallets,
                "fee_payer": [self.payers.get(w, w) for w in wallets],
                "action": ["BUY"] * len(rows),
                "mint": [f"coin-{rows[i][1]}" for i in order],
                "quote_mint": [WSOL] * len(rows),
                "quote_raw": pa.array([int(rows[i][3] * 1e9) for i in order], pa.uint64()),
            }
        )  # fmt: skip


def hash_of(name: str) -> int:
    """A number for a name that does not change from run to run."""
    return int.from_bytes(name.encode(), "little") % 1_000_003
