"""BLOCKED_MINT: a coin that the user never wants."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def blocked_mint(p: Proposal) -> Check:
    """By `risk.blocked_mints`; a lock does the same for a while and without a change of settings."""
    return Check("BLOCKED_MINT", p.signal.mint not in p.settings.risk.blocked_mints, {})
