"""LOCKED: somebody has locked this leader, this coin, or all buys."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def locked(p: Proposal) -> Check:
    """The first lock that holds now refuses, with its own reason."""
    signal, now_ns = p.signal, p.now.ts_ns
    held = next((lock for lock in p.book.locks if lock.holds(signal.leader, signal.mint, now_ns)), None)
    if held is None:
        return Check("LOCKED", True, {})
    return Check("LOCKED", False, {"lock": held.scope, "lock_reason": held.reason, "lock_until_ns": held.until_ns})
