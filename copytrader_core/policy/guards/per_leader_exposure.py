"""PER_LEADER_EXPOSURE: what may be at stake after one leader at once."""

from __future__ import annotations

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check, Number


def per_leader_exposure(p: Proposal) -> Check:
    """The cost of what is held, under way and proposed."""
    staked = p.book.leader_exposure_lamports.get(p.signal.leader, 0)
    after, cap = staked + p.cost_lamports, lamports(p.settings.risk.max_exposure_per_leader_sol)
    numbers: dict[str, Number] = {"leader_exposure_after_lamports": after, "max_leader_exposure_lamports": cap}
    return Check("PER_LEADER_EXPOSURE", after <= cap, numbers)
