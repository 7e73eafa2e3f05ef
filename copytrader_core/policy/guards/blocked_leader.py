"""BLOCKED_LEADER: a leader that the user never follows."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def blocked_leader(p: Proposal) -> Check:
    """By `risk.blocked_leaders`, whatever a release says of it."""
    return Check("BLOCKED_LEADER", p.signal.leader not in p.settings.risk.blocked_leaders, {})
