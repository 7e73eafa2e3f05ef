"""MAX_TIP: tip and priority fee of the buy are above their caps."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check, Number


def max_tip(p: Proposal) -> Check:
    """Both caps hold: lamports against a wrong setting, the share against small buys that only feed the validators."""
    fees, risk = p.settings.executor.tip_lamports + p.settings.executor.priority_fee_lamports, p.settings.risk
    within = fees <= risk.max_tip_lamports and fees * 10_000 <= p.spend_lamports * risk.max_tip_share_bps
    numbers: dict[str, Number] = {"tip_and_priority_lamports": fees, "max_tip_lamports": risk.max_tip_lamports}
    return Check("MAX_TIP", within, {**numbers, "max_tip_share_bps": risk.max_tip_share_bps})
