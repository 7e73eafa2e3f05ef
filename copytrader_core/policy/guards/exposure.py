"""EXPOSURE: what may be at stake at once."""

from __future__ import annotations

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def exposure(p: Proposal) -> Check:
    """The cost of everything held, under way and proposed."""
    staked, cap = p.book.exposure_lamports + p.book.in_flight_lamports, lamports(p.settings.risk.max_exposure_sol)
    after = staked + p.cost_lamports
    return Check("EXPOSURE", after <= cap, {"exposure_after_lamports": after, "max_exposure_lamports": cap})
