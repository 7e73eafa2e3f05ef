"""GATE_SAMPLE: the seed's quality gate, first half."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def gate_sample(p: Proposal) -> Check:
    """Enough round trips to speak of a fingerprint; asked with `gate = "seed"` only."""
    sample, least = p.pattern.sample_trades, p.settings.policy.min_sample_trades
    passed = p.settings.policy.gate == "copy_value" or sample >= least
    return Check("GATE_SAMPLE", passed, {"sample_trades": sample, "min_sample_trades": least})
