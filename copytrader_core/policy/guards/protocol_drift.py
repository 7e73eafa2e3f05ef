"""PROTOCOL_DRIFT: the programs on chain are no longer those that this version knows."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def protocol_drift(p: Proposal) -> Check:
    """What may be laid out otherwise is neither read nor bought until somebody has looked."""
    return Check("PROTOCOL_DRIFT", p.book.drift is None, {} if p.book.drift is None else {"drift": p.book.drift})
