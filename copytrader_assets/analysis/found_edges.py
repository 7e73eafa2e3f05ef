"""What both methods return: the edges that they accept, before they become rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.chance import bootstrap_quantile
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.pair_counts import PairCounts


@dataclass(frozen=True, slots=True)
class FoundEdges:
    """Accepted pairs with their record, what chance gives within 5 s and 30 s, their p- and q-value."""

    counts: PairCounts
    baseline_5s: Floats
    baseline_30s: Floats
    p_value: Floats
    q_value: Floats

    def take(self, keep: Flags) -> FoundEdges:
        """The edges that `keep` marks."""
        chance = (self.baseline_5s[keep], self.baseline_30s[keep])
        return FoundEdges(self.counts.take(keep), *chance, self.p_value[keep], self.q_value[keep])

    @property
    def excess(self) -> Floats:
        """Share of opportunities followed within 30 s beyond what chance gives."""
        return self.counts.probability(30) - self.baseline_30s

    def excess_quantile(self, level: float) -> Floats:
        """The `level` quantile of the bootstrapped excess."""
        return bootstrap_quantile(self.counts.followed[30], self.counts.opportunities, level) - self.baseline_30s


def testable_pairs(buys: FirstBuys, leaders: Ints, min_followed: int) -> int:
    """Number of (leader, wallet) pairs that could reach `min_followed`: both bought at least that many coins.

    Chosen without looking at any pair, so controlling over these controls over all.
    """
    active = buys.per_wallet >= min_followed
    able = int(np.count_nonzero(active[leaders]))
    return max(able * (int(np.count_nonzero(active)) - 1), 1)
