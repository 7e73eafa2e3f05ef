"""QUOTE_CURRENCY: only coins that are paid in SOL."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check
from copytrader_core.records import WSOL


def quote_currency(p: Proposal) -> Check:
    """Every limit is in SOL."""
    return Check("QUOTE_CURRENCY", p.signal.quote_mint == WSOL, {"quote_mint": p.signal.quote_mint})
