"""PER_MINT: how many positions in one coin."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def per_mint(p: Proposal) -> Check:
    """Buys under way count like positions."""
    held, most = p.book.of_mint(p.signal.mint), p.settings.risk.max_positions_per_mint
    return Check("PER_MINT", held < most, {"positions_of_mint": held, "max_positions_per_mint": most})
