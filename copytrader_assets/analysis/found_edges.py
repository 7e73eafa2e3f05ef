"""What both methods return: the edges that they accept, before they become rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.pair_counts import PairCounts


@dataclass(frozen=True, slots=True)
class FoundEdges:
    """Accepted pairs with their record, what chance gives within 5 s and 30 s, and their q-value."""

    counts: PairCounts
    baseline_5s: Floats
    baseline_30s: Floats
    q_value: Floats

    def take(self, keep: Flags) -> FoundEdges:
        """The edges that `keep` marks."""
        return FoundEdges(self.counts.take(keep), self.baseline_5s[keep], self.baseline_30s[keep], self.q_value[keep])


def testable_pairs(buys: FirstBuys, leaders: Ints, min_followed: int) -> int:
    """Number of (leader, wallet) pairs that could reach `min_followed`: both bought at least that many coins.

    Chosen without looking at any pair, so controlling over these controls over all.
    """
    active = buys.per_wallet >= min_followed
    able = int(np.count_nonzero(active[leaders]))
    return max(able * (int(np.count_nonzero(active)) - 1), 1)
