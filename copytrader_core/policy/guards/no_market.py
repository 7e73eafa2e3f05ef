"""NO_MARKET: a coin without known reserves."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def no_market(p: Proposal) -> Check:
    """It cannot be priced."""
    return Check("NO_MARKET", p.signal.market is not None, {})
