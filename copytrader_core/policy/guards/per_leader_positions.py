"""PER_LEADER_POSITIONS: how many positions after one leader."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def per_leader_positions(p: Proposal) -> Check:
    """Buys under way count like positions."""
    held, most = p.book.of_leader(p.signal.leader), p.settings.risk.max_positions_per_leader
    return Check("PER_LEADER_POSITIONS", held < most, {"positions_of_leader": held, "max_positions_per_leader": most})
