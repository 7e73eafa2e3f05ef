"""One sweep over every leader's first buys: who came after, how often, and how often by chance.

Co-occurrences are looked at leader by leader and never kept: only the counts leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Floats, Ints
from copytrader_assets.analysis.habits import Habits

DEVOTED_SHARE = 0.4
ALWAYS = 0.95


@dataclass(frozen=True, slots=True)
class Sweep:
    """Pairs with at least `min_followed` co-occurrences: their number, and its mean under the null of `habits`."""

    leader: Ints
    follower: Ints
    followed: Ints
    expected: Floats


def _devotion(n_coins: int, n_mints: int) -> float:
    """The share of its buys that a wallet makes in a leader's windows from which on it is no part of the crowd.

    The followers of a popular leader may be most of those who buy so early: judged by each other none would stand out.
    Far above the share of all coins that the leader buys, so that snipers stay in the crowd.
    """
    return min(max(DEVOTED_SHARE, 3 * n_coins / n_mints), ALWAYS)


def sweep(buys: FirstBuys, habits: Habits, leaders: Ints, slots: int, min_followed: int) -> Sweep:
    """Count every wallet's first buys within `slots` slots after each leader's, on the same coin."""
    pairs: list[Sweep] = []
    for leader in leaders:
        own = buys.of_wallet(int(leader))
        near = buys.followers(own, slots)
        counts = np.bincount(buys.wallet[near], minlength=len(buys.wallets))
        often = np.flatnonzero(counts >= min_followed)
        devoted = often[counts[often] >= _devotion(len(own), buys.n_mints) * buys.per_wallet[often]]
        others = near[~np.isin(buys.wallet[near], devoted)] if len(devoted) else near
        crowd = habits.without(buys.of_wallets(devoted))
        expected = crowd.expected(buys, often, crowd.within(others))
        pairs.append(Sweep(np.full(len(often), leader), often, counts[often], expected))
    empty = np.zeros(0, dtype=np.int64)

    def joined(name: str) -> Ints:
        return np.concatenate([empty, *(getattr(pair, name) for pair in pairs)])

    return Sweep(joined("leader"), joined("follower"), joined("followed"), joined("expected").astype(np.float64))
