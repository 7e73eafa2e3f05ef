"""STRAY_SALE: a sale of the coin that is under way could sell what is bought now."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def stray_sale(p: Proposal) -> Check:
    """Passes where every sale under way has a position of its own to sell."""
    n_stray = p.book.stray_sales.get(p.signal.mint, 0)
    return Check("STRAY_SALE", n_stray == 0, {"stray_sales_of_mint": n_stray})
