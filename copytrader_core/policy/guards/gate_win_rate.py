"""GATE_WIN_RATE: the seed's quality gate, second half."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def gate_win_rate(p: Proposal) -> Check:
    """The leader wins often enough; asked with `gate = "seed"` only."""
    rate, least = p.pattern.win_rate, p.settings.policy.min_win_rate
    passed = p.settings.policy.gate == "copy_value" or rate >= least
    return Check("GATE_WIN_RATE", passed, {"win_rate": rate, "min_win_rate": least})
