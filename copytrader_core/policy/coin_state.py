"""The states of a coin at a signal that a copy's value is told apart by: how far its curve is filled, or its pool."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from copytrader_core.policy.market import MarketState
from copytrader_core.records import LAMPORTS_PER_SOL

STATE_EDGES_SOL: Final = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Real SOL on the curve between which the states lie; a curve completes near 85."""
STATE_NAMES: Final = ("curve < 2", "2-5", "5-10", "10-20", "20-40", "40-60", "curve > 60", "pool")
_EDGES: Final = tuple(int(sol * LAMPORTS_PER_SOL) for sol in STATE_EDGES_SOL)


def state_of(market: MarketState) -> int:
    """The index of a coin's state in STATE_NAMES."""
    return len(_EDGES) + 1 if market.venue == "amm" else bisect_right(_EDGES, market.real_quote_raw)
