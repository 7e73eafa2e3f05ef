"""LEADER_MIN_SIZE: a leader's buy that is too small to mean anything."""

from __future__ import annotations

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def leader_min_size(p: Proposal) -> Check:
    """Dust buys cost a leader nothing, and set every copier in motion."""
    least = lamports(p.settings.risk.min_leader_size_sol)
    return Check("LEADER_MIN_SIZE", p.signal.size_lamports >= least, {"min_leader_size_lamports": least})
