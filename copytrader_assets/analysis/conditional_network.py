"""Followers by a null conditional on the coin and on the follower's habits, then explaining-away.

Steps: sweep the windows after every leader's first buys; test each pair against `habits`; control the false discovery
rate over all pairs (Benjamini-Hochberg); ask for an effect size; ask that it is a reaction and not one actor buying in
the same slot; then let the remaining leaders of each follower compete (`explain`), untracked ones included.
"""

from __future__ import annotations

from copytrader_assets.analysis.baseline import by_chance
from copytrader_assets.analysis.chance import benjamini_hochberg, bootstrap_low, poisson_tail
from copytrader_assets.analysis.explain import surviving
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.follow_sweep import sweep
from copytrader_assets.analysis.found_edges import FoundEdges, testable_pairs
from copytrader_assets.analysis.grouped import Flags, Ints
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.pair_counts import count_pairs
from copytrader_core.settings import NetworkSettings

SAME_SLOT_SHARE = 0.8
"""Above this share of follows in the leader's own slot two wallets are one actor: nobody reacts that fast that often."""


def conditional_edges(buys: FirstBuys, leaders: Ints, settings: NetworkSettings, slot_ms: float) -> FoundEdges:
    """The validated edges of `leaders` (wallet codes, ascending)."""
    habits = Habits.of(buys, slot_ms)
    horizon = int(settings.horizon_seconds * 1000 / slot_ms)
    swept = sweep(buys, habits, leaders, horizon, settings.min_followed)
    expected = habits.expected(swept.follower, swept.exposure_of(swept.leader))
    p = poisson_tail(swept.followed, expected)
    q = benjamini_hochberg(p, testable_pairs(buys, leaders, settings.min_followed))
    found = q <= settings.max_q_value
    counts = count_pairs(buys, swept.leader[found], swept.follower[found], slot_ms)
    chance = by_chance(buys, habits, counts.leader, counts.follower, (5, 30), slot_ms)
    edges = FoundEdges(counts, chance[5], chance[30], q[found])
    edges = edges.take(_is_reaction(edges, settings))
    return edges.take(surviving(buys, habits, edges, settings, slot_ms))


def _is_reaction(edges: FoundEdges, settings: NetworkSettings) -> Flags:
    """Edges whose excess over chance is large enough, certain enough, and not the work of one actor."""
    counts = edges.counts
    excess = counts.probability(30) - edges.baseline_30s
    low = bootstrap_low(counts.followed[30], counts.opportunities) - edges.baseline_30s
    alone = counts.same_slot <= SAME_SLOT_SHARE * counts.followed[30]
    return (excess >= settings.min_excess) & (low > 0) & alone & (counts.followed[30] >= settings.min_followed)
