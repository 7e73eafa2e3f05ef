"""PER_TRADE_CAP: the size of one trade."""

from __future__ import annotations

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check, Number


def per_trade_cap(p: Proposal) -> Check:
    """The cap trims a size; where it is below the smallest size there is no trade."""
    cap, least = lamports(p.settings.risk.max_trade_sol), lamports(p.settings.policy.min_size_sol)
    numbers: dict[str, Number] = {"spend_lamports": p.spend_lamports, "max_trade_lamports": cap}
    return Check("PER_TRADE_CAP", p.spend_lamports <= cap and cap >= least, {**numbers, "min_size_lamports": least})
