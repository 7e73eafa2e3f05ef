"""PRICE_IMPACT: our own buy would move the price too far."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.market import price_impact_bps
from copytrader_core.policy.values import Check, Number


def price_impact(p: Proposal) -> Check:
    """Basis points, before fees, rounded up, exact from the quote on the market after the leader. Where the venue gives
    no quote there is nothing to compare, and the decision is NO_QUOTE.
    """
    most = p.settings.risk.max_price_impact_bps
    impact = price_impact_bps(p.signal.market, p.spend_lamports) if p.signal.market is not None else None
    numbers: dict[str, Number] = {"price_impact_bps": impact, "max_price_impact_bps": most}
    return Check("PRICE_IMPACT", impact is None or impact <= most, numbers)
