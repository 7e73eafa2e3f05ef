"""LOSS_DAY: too much was lost within a day."""

from __future__ import annotations

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def loss_day(p: Proposal) -> Check:
    """No new risk until the window has moved on."""
    lost, cap = p.book.loss_day_lamports, lamports(p.settings.risk.max_loss_per_day_sol)
    return Check("LOSS_DAY", lost < cap, {"loss_day_lamports": lost, "max_loss_day_lamports": cap})
