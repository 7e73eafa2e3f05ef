"""One sweep over every leader's first buys: who came after, how often, and how much of the market fell into the windows.

Co-occurrences are looked at leader by leader and never kept: only the counts leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Ints
from copytrader_assets.analysis.habits import N_STRATA, Habits


@dataclass(frozen=True, slots=True)
class Sweep:
    """Pairs with at least `min_followed` co-occurrences, and each leader's windows by stratum (leaders x strata)."""

    leaders: Ints
    leader: Ints
    follower: Ints
    followed: Ints
    exposure: Ints

    def exposure_of(self, leader: Ints) -> Ints:
        """The strata of the windows of each of `leader` (codes that are in `leaders`)."""
        return self.exposure[np.searchsorted(self.leaders, leader)]


def sweep(buys: FirstBuys, habits: Habits, leaders: Ints, slots: int, min_followed: int) -> Sweep:
    """Count every wallet's first buys within `slots` slots after each leader's, on the same coin."""
    pairs: list[tuple[Ints, Ints, Ints]] = []
    exposure = np.zeros((len(leaders), N_STRATA), dtype=np.int64)
    for row, leader in enumerate(leaders):
        near = buys.followers(buys.of_wallet(leader), slots)
        exposure[row] = np.bincount(habits.stratum[near], minlength=N_STRATA)
        counts = np.bincount(buys.wallet[near], minlength=1)
        often = np.flatnonzero(counts >= min_followed)
        pairs.append((np.full(len(often), leader), often, counts[often]))
    empty = np.zeros(0, dtype=np.int64)
    leader, follower, followed = (np.concatenate([empty, *column]) for column in zip(*pairs, strict=True)) if pairs else (
        empty, empty, empty)  # fmt: skip
    return Sweep(leaders, leader, follower, followed, exposure)
