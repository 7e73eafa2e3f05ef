"""TRADING_STATE: buys need trading to be ACTIVE."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def trading_state(p: Proposal) -> Check:
    """REDUCING and HALTED buy nothing; exits pass no guard."""
    return Check("TRADING_STATE", p.book.trading_state == "ACTIVE", {"trading_state": p.book.trading_state})
