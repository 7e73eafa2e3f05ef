"""How late our orders land, and how many never do: as our own live orders did, else as the settings say.

The measured model is the posterior mean of a Dirichlet prior: the settings' model counts as `landing_prior_orders`
orders, our own count as themselves, by slots late and "never" (`docs/methods.md`). Draws follow from a key, so that
whoever asks twice gets the same answer. Not here: how our orders are counted (`store.own_landings`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from copytrader_core.records import LandingCount, LandingModel, Lateness, OrderSide
from copytrader_core.settings import ExecutorSettings, Settings

__all__ = [
    "LOST",
    "SIDES",
    "draws",
    "expected_slots",
    "landing_model",
    "lateness",
    "likely_slots",
    "model_name",
    "slots_late",
    "with_landings",
    "with_our_latency",
]

LOST: Final = -1
"""As slots late: it never landed."""
_SCALE: Final = 1 << 32
SIDES: Final[tuple[OrderSide, ...]] = ("BUY", "SELL")


def draws(key: str) -> tuple[float, float]:
    """Two numbers in [0, 1) that follow from `key`: when it lands, and whether at all."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:4], "big") / _SCALE, int.from_bytes(digest[4:8], "big") / _SCALE


def slots_late(late: Lateness, drawn: float) -> int:
    """The slots after which an order lands, for a number in [0, 1)."""
    reached = 0.0
    for slots, share in zip(late.slots, late.shares, strict=True):
        reached += share
        if drawn < reached:
            return slots
    return late.slots[-1]


def lateness(executor: ExecutorSettings, side: OrderSide) -> Lateness:
    """How orders of `side` land: measured where that is known, else `paper_latency_slots` and what is drawn to it."""
    model = executor.measured
    if model is not None:
        return model.buy if side == "BUY" else model.sell
    first, n = executor.paper_latency_slots, executor.paper_jitter_slots + 1
    return Lateness(tuple(range(first, first + n)), (1 / n,) * n, executor.paper_lost_share, first + (n - 1) / 2, 0)


def expected_slots(executor: ExecutorSettings) -> float:
    """Our latency as one number: the mean of the measured one, or the settings'."""
    return executor.paper_latency_slots if executor.measured is None else executor.measured.buy.mean_slots


def likely_slots(executor: ExecutorSettings, side: OrderSide) -> int:
    """The same of either side in whole slots."""
    model = executor.measured
    if model is None:
        return executor.paper_latency_slots
    return round(model.buy.mean_slots if side == "BUY" else model.sell.mean_slots)


def model_name(executor: ExecutorSettings) -> str:
    """Which model orders are drawn from."""
    return "settings" if executor.measured is None else executor.measured.name


def with_landings(settings: Settings, counts: Sequence[LandingCount], as_of: str) -> Settings:
    """`settings` that expect landings as measured up to `as_of`; the very same where that changes nothing."""
    executor = settings.executor
    model = landing_model(counts, as_of, executor) if executor.landing == "auto" else None
    if model == executor.measured:
        return settings
    return settings.model_copy(update={"executor": executor.model_copy(update={"measured": model})})


def with_our_latency(settings: Settings, counts: Sequence[LandingCount], as_of: str) -> Settings:
    """The same, and leaders are compared at the latency of the grid that is nearest to the mean of the measured one.

    A verdict needs one sample of copies; of two that are equally near the later one counts.
    """
    found = with_landings(settings, counts, as_of)
    if found.executor.measured is None or found.copies.our_latency != "auto":
        return found
    mean = found.executor.measured.buy.mean_slots
    nearest = min(found.copies.latencies, key=lambda slots: (abs(slots - mean), -slots))
    return found.model_copy(update={"copies": found.copies.model_copy(update={"reference_latency": nearest})})


def landing_model(counts: Sequence[LandingCount], as_of: str, executor: ExecutorSettings) -> LandingModel | None:
    """The model of these orders. A side with fewer than `landing_min_orders` keeps the settings'; None if both do."""
    prior = executor.model_copy(update={"measured": None})
    sides = [_posterior([one for one in counts if one.side == side], lateness(prior, side), prior) for side in SIDES]
    buy, sell = sides
    if buy.n_orders == sell.n_orders == 0:
        return None
    text = json.dumps([as_of, asdict(buy), asdict(sell)], sort_keys=True)
    return LandingModel(f"measured-{as_of}-{hashlib.sha256(text.encode()).hexdigest()[:12]}", as_of, buy, sell)


def _posterior(counts: Sequence[LandingCount], prior: Lateness, executor: ExecutorSettings) -> Lateness:
    n_orders = sum(one.n_orders for one in counts)
    n_landed = sum(one.n_orders for one in counts if one.slots_late != LOST)
    if n_orders < executor.landing_min_orders or n_landed == 0:
        return prior
    weight = float(executor.landing_prior_orders)
    lost = (weight * prior.lost_share + n_orders - n_landed) / (weight + n_orders)
    by_slot = {
        slots: weight * (1 - prior.lost_share) * share
        for slots, share in zip(prior.slots, prior.shares, strict=True)
        if weight
    }
    for one in counts:
        if one.slots_late != LOST:
            by_slot[one.slots_late] = by_slot.get(one.slots_late, 0.0) + one.n_orders
    slots = tuple(sorted(by_slot))
    total = sum(by_slot[at] for at in slots)
    shares = tuple(by_slot[at] / total for at in slots)
    mean = sum(at * share for at, share in zip(slots, shares, strict=True))
    return Lateness(slots, shares, lost, mean, n_orders)
