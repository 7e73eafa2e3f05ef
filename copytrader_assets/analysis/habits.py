"""The null of the copy network: what a wallet's habits and the coin's crowd make of a pair without any following.

Every first buy falls into a stratum by the coin's age (time since the first buy seen of it) and the clock. In stratum
s, N_s first buys were made, n_Ws of them by wallet W, and N_Ls of them by anybody within the horizon after leader L
bought that coin. If W does not follow L, its buys fall among the N_s at random, so the number that lands in L's windows
is a sum of hypergeometric counts with mean sum_s n_Ws N_Ls / N_s. That conditions on the coin's buy intensity (a busy
coin has more buys in the window), on W's participation, and on W's own profile of time since launch: a sniper that buys
everything at launch is expected in every early window. The upper tail is bounded by the Poisson tail of that mean
(a hypergeometric count is less spread). Sources: Tumminello et al. 2011 (hypergeometric null of co-occurrence),
Curme et al. 2015 (lagged links under many tests).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Floats, Ints, weighed

AGE_SECONDS = (1.0, 3.0, 10.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0)
"""Borders of the age strata; the last stratum has no end."""
N_AGES = len(AGE_SECONDS) + 1
WHOLE_WEIGHT = 300.0
AGE_WEIGHT = 30.0
BLOCK_HOURS = 2.0
"""Length of the time strata: wallets trade in sessions, and two that are awake together meet more often."""


@dataclass(frozen=True, slots=True)
class Habits:
    """The stratum of every first buy, and how many first buys of everybody each stratum holds."""

    stratum: Ints
    everybody: Ints

    @classmethod
    def of(cls, buys: FirstBuys, slot_ms: float) -> Habits:
        """Count every first buy into its stratum."""
        launch = np.searchsorted(buys.mint, np.arange(buys.n_mints))
        age_ms = (buys.slot - buys.slot[launch[buys.mint]]) * slot_ms
        age = np.searchsorted(np.array(AGE_SECONDS) * 1000, age_ms, side="right")
        block = np.floor(buys.slot * slot_ms / (BLOCK_HOURS * 3_600_000)).astype(np.int64)
        stratum = block * N_AGES + age
        return cls(stratum, np.bincount(stratum, minlength=N_AGES))

    def within(self, near: Ints) -> Ints:
        """How many of the elements `near` fall into each stratum."""
        return np.bincount(self.stratum[near], minlength=len(self.everybody))

    def without(self, elements: Ints) -> Habits:
        """The habits of everybody but those who made the buys `elements`."""
        return replace(self, everybody=self.everybody - self.within(elements)) if len(elements) else self

    def share(self, inside: Ints) -> Floats:
        """The share of each stratum that lies inside windows which hold `inside` of everybody's first buys.

        A stratum with few buys says little, and may hold nobody but the followers themselves. So its share is drawn
        towards that of its age at all times, and that towards the share of all buys (weights of so many buys).
        """
        whole = inside.sum() / max(self.everybody.sum(), 1)
        of_age = np.arange(len(inside)) % N_AGES
        by_age = (np.bincount(of_age, inside) + WHOLE_WEIGHT * whole) / (
            np.bincount(of_age, self.everybody) + WHOLE_WEIGHT
        )
        return np.asarray((inside + AGE_WEIGHT * by_age[of_age]) / (self.everybody + AGE_WEIGHT))

    def expected(self, buys: FirstBuys, followers: Ints, inside: Ints) -> Floats:
        """Mean number of each follower's first buys in windows that hold `inside` of everybody's, by stratum."""
        share = self.share(inside)
        at = buys.of_wallets(followers)
        row = np.repeat(np.arange(len(followers)), buys.per_wallet[followers])
        return weighed(row, share[self.stratum[at]], len(followers))
