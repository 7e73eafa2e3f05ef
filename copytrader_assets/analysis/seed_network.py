"""The seed's rule for followers: co-occurrence within 5 s above a global base rate.

Kept for comparison: its base rate knows nothing of the coin, so siblings, snipers and common causes pass it.
"""

from __future__ import annotations

import numpy as np

from copytrader_assets.analysis.chance import benjamini_hochberg, binomial_tail, bootstrap_quantile
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.follow_sweep import sweep
from copytrader_assets.analysis.found_edges import FoundEdges, testable_pairs
from copytrader_assets.analysis.grouped import Ints
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.pair_counts import count_pairs
from copytrader_core.settings import NetworkSettings

SECONDS = 5


def seed_edges(buys: FirstBuys, leaders: Ints, settings: NetworkSettings, slot_ms: float) -> FoundEdges:
    """Pairs with P(follow within 5 s) - P(follower buys anything in 5 s) >= min_follow_prob and K co-occurrences.

    The difference must also stay above 0 at the lower end of its 95 % bootstrap interval. q is the
    Benjamini-Hochberg value of the binomial tail under the global base rate.
    """
    habits = Habits.of(buys, slot_ms)
    swept = sweep(buys, habits, leaders, int(SECONDS * 1000 / slot_ms), settings.min_followed)
    counts = count_pairs(buys, swept.leader, swept.follower, slot_ms)
    rate = buys.per_wallet[counts.follower] * 1000 / (buys.n_slots * slot_ms)
    baseline, within_30s = -np.expm1(-SECONDS * rate), -np.expm1(-30 * rate)
    followed = counts.followed[SECONDS]
    p = binomial_tail(followed, counts.opportunities, baseline)
    q = benjamini_hochberg(p, testable_pairs(buys, leaders, settings.min_followed))
    keep = counts.probability(SECONDS) - baseline >= settings.min_follow_prob
    keep &= bootstrap_quantile(followed, counts.opportunities, 0.025) - baseline > 0
    return FoundEdges(counts, baseline, within_30s, p, q).take(keep)
