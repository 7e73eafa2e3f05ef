"""Followers by a null conditional on the coin and on the follower's habits, then explaining-away.

Steps: sweep the windows after every leader's first buys; test each pair against `habits`; control the false discovery
rate over all pairs (Benjamini-Hochberg); ask for an effect size; ask that it is a reaction and not one actor buying in
the same slot; then let the remaining leaders of each follower compete (`explain`), untracked ones included.
"""

from __future__ import annotations

import numpy as np

from copytrader_assets.analysis.baseline import by_chance
from copytrader_assets.analysis.chance import benjamini_hochberg, binomial_tail, poisson_tail
from copytrader_assets.analysis.explain import surviving
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.follow_sweep import sweep
from copytrader_assets.analysis.found_edges import FoundEdges, testable_pairs
from copytrader_assets.analysis.grouped import Flags, Ints
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.pair_counts import PairCounts, count_pairs
from copytrader_core.settings import NetworkSettings

MAX_TOSS = 0.05
SAME_SLOT_SHARE = 0.8
"""Above this share of follows in the leader's own slot two wallets are one actor: nobody reacts so fast so often."""


def conditional_edges(buys: FirstBuys, leaders: Ints, settings: NetworkSettings, slot_ms: float) -> FoundEdges:
    """The validated edges of `leaders` (wallet codes, ascending)."""
    habits = Habits.of(buys, slot_ms)
    horizon = int(settings.horizon_seconds * 1000 / slot_ms)
    swept = sweep(buys, habits, leaders, horizon, settings.min_followed)
    p = poisson_tail(swept.followed, swept.expected)
    q = benjamini_hochberg(p, testable_pairs(buys, leaders, settings.min_followed))
    found = q <= settings.max_q_value
    counts = count_pairs(buys, swept.leader[found], swept.follower[found], slot_ms)
    chance = by_chance(buys, habits, counts.leader, counts.follower, (5, 30), slot_ms)
    edges = FoundEdges(counts, chance[5], chance[30], p[found], q[found])
    edges = edges.take(_is_reaction(edges, settings))
    return edges.take(surviving(buys, habits, edges, settings, slot_ms))


def _is_reaction(edges: FoundEdges, settings: NetworkSettings) -> Flags:
    """Edges whose excess over chance is large enough, certain enough, and not the work of one actor."""
    counts = edges.counts
    low = edges.excess_quantile(0.025)
    apart = counts.same_slot <= SAME_SLOT_SHARE * counts.followed[30]
    often = counts.followed[30] >= settings.min_followed
    return (edges.excess >= settings.min_excess) & (low >= settings.min_excess / 2) & often & apart & _leads(counts)


def _leads(counts: PairCounts) -> Flags:
    """Pairs whose leader is first: at least three times as often as the other way round, and not by a coin's toss.

    Wallets of one circle buy the same coins within seconds in any order; none of them leads.
    """
    first, second = counts.followed[30], counts.preceded
    toss = binomial_tail(first, first + second, np.full(len(first), 0.5))
    return (first >= 3 * second) & (toss <= MAX_TOSS)
