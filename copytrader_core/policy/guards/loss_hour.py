"""LOSS_HOUR: too much was lost within an hour."""

from __future__ import annotations

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def loss_hour(p: Proposal) -> Check:
    """No new risk until the window has moved on."""
    lost, cap = p.book.loss_hour_lamports, lamports(p.settings.risk.max_loss_per_hour_sol)
    return Check("LOSS_HOUR", lost < cap, {"loss_hour_lamports": lost, "max_loss_hour_lamports": cap})
