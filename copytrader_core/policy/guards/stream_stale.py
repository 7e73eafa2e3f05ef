"""STREAM_STALE: the stream has been silent for too long."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def stream_stale(p: Proposal) -> Check:
    """Behind a silent stream every price is yesterday's; the quote's own age in slots cannot show that."""
    age, most = p.book.stream_age_ms, p.settings.risk.max_stream_age_ms
    return Check("STREAM_STALE", age <= most, {"stream_age_ms": age, "max_stream_age_ms": most})
