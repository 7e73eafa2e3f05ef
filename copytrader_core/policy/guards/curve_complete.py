"""CURVE_COMPLETE: a completed curve whose pool has not traded yet."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def curve_complete(p: Proposal) -> Check:
    """It trades nothing until its pool exists."""
    market = p.signal.market
    return Check("CURVE_COMPLETE", market is None or not market.complete, {})
