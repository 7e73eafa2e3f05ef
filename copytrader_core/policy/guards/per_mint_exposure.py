"""PER_MINT_EXPOSURE: what may be at stake in one coin at once."""

from __future__ import annotations

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check, Number


def per_mint_exposure(p: Proposal) -> Check:
    """The cost of what is held, under way and proposed."""
    staked = p.book.mint_exposure_lamports.get(p.signal.mint, 0)
    after, cap = staked + p.cost_lamports, lamports(p.settings.risk.max_exposure_per_mint_sol)
    numbers: dict[str, Number] = {"mint_exposure_after_lamports": after, "max_mint_exposure_lamports": cap}
    return Check("PER_MINT_EXPOSURE", after <= cap, numbers)
