"""OPEN_POSITIONS: how many positions at once."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def open_positions(p: Proposal) -> Check:
    """Buys under way count like positions."""
    held, most = p.book.open_positions + p.book.in_flight_buys, p.settings.risk.max_open_positions
    return Check("OPEN_POSITIONS", held < most, {"positions": held, "max_open_positions": most})
