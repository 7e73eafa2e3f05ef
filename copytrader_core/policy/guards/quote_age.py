"""QUOTE_AGE: a signal that was heard too late."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def quote_age(p: Proposal) -> Check:
    """A buy many slots after the leader's is another trade than the leader's."""
    age, most = max(0, p.now.slot - p.signal.slot), p.settings.risk.max_quote_age_slots
    return Check("QUOTE_AGE", age <= most, {"quote_age_slots": age, "max_quote_age_slots": most})
