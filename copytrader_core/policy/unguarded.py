"""What would have been bought if nothing had refused it: plans for those who follow what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from copytrader_core.policy.record import replay_with
from copytrader_core.policy.values import Plans
from copytrader_core.settings import Settings


def unguarded(inputs: Mapping[str, Any], settings: Settings) -> Plans | None:
    """The plans for journalled inputs under `settings`, asked by no guard and worth whatever; None without any.

    There are none for a leader without a fingerprint, and where the venue gave no quote.
    """
    free = settings.model_copy(update={"policy": settings.policy.model_copy(update={"require_positive_ev": False})})
    decision = replay_with(inputs, free, ())
    if decision.entry is None or decision.exit is None:
        return None
    return Plans(decision.entry, decision.exit)
