"""COPY_VALUE: copies of this leader are not proven to be worth it, at my latency and with the coin as it is."""

from __future__ import annotations

from copytrader_core.policy.copy_terms import capped, headroom_x
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check, Number


def copy_value(p: Proposal) -> Check:
    """The verdict is COPY, the tier is not BENCH, and the lower bound of what a copy returns here is above zero.

    Asked with `gate = "copy_value"`; the seed's gate has its own two guards.
    """
    value, terms, market = p.value, p.terms, p.signal.market
    if p.settings.policy.gate != "copy_value":
        return Check("COPY_VALUE", True, {})
    if value is None or terms is None or market is None:
        verdict, capacity = (value.verdict, value.capacity_sol) if value else (None, None)
        return Check(
            "COPY_VALUE", False, {"copy_verdict": verdict, "copy_capacity_sol": capacity, "copy_lower_x": None}
        )
    lower = capped(terms.lower_x, headroom_x(market))
    numbers: dict[str, Number] = {"copy_verdict": value.verdict, "copy_tier": value.tier, "copy_lower_x": lower}
    return Check("COPY_VALUE", value.verdict == "COPY" and value.tier != "BENCH" and lower > 0, numbers)
