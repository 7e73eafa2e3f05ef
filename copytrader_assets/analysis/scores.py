"""Two numbers per leader from the validated edges: how much and how fast copiers pile in, and who leads in the end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.found_edges import FoundEdges
from copytrader_assets.analysis.grouped import Floats

LAG_SCALE_MS = 10_000.0
"""A follower this slow counts 1/e of one that comes at once."""
DAMPING = 0.85
SCORE_SCHEMA = pa.schema(
    [
        pa.field("wallet", pa.string(), nullable=False),
        pa.field("followership_score", pa.float64(), nullable=False),
        pa.field("leader_score", pa.float64(), nullable=False),
    ]
)


def scores(edges: FoundEdges, leaders: Mapping[str, int]) -> pa.Table:
    """Both scores of every one of `leaders` (address to code) as SCORE_SCHEMA, by address; 0 where nobody follows.

    Wallets of one actor share a code and so the scores.
    """
    weight = edge_weights(edges)
    rank = page_rank(edges, weight)
    codes = np.unique(np.array(list(leaders.values()), dtype=np.int64))
    followership, lead = np.zeros(len(codes)), np.zeros(len(codes))
    for row, leader in enumerate(codes):
        mine = weight[edges.counts.leader == leader]
        followership[row] = 1 - np.prod(1 - mine)
        lead[row] = rank.get(int(leader), 0.0) if len(mine) else 0.0
    lead = lead / lead.max() if lead.any() else lead
    names = sorted(leaders)
    at = np.searchsorted(codes, [leaders[name] for name in names]).astype(np.int64)
    return pa.table([pa.array(names, pa.string()), followership[at], lead[at]], schema=SCORE_SCHEMA)


def edge_weights(edges: FoundEdges) -> Floats:
    """Excess follow probability within 30 s, discounted by the median lag: p * exp(-lag / 10 s), in 0..1."""
    return np.asarray(np.clip(edges.excess, 0, 1) * np.exp(-edges.counts.lag_p50_ms() / LAG_SCALE_MS))


def page_rank(edges: FoundEdges, weight: Floats) -> dict[int, float]:
    """Weighted PageRank where every follower votes for the leaders that it follows. Source: Page et al. 1999."""
    # Loaded when it is first used, like the parts of SciPy: every process of Dagster imports this module.
    import networkx as nx

    graph = nx.DiGraph()
    rows = zip(edges.counts.follower.tolist(), edges.counts.leader.tolist(), weight.tolist(), strict=True)
    graph.add_weighted_edges_from(rows)
    return dict(nx.pagerank(graph, alpha=DAMPING)) if graph.number_of_nodes() else {}
