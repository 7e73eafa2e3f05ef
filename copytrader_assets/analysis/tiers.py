"""How a leader is traded: its tier, the factor alpha on size and beta on price, moved by rule and within bounds.

    BENCH      nothing is bought, signals are only followed on paper
    PROBATION  half the size
    ACTIVE     the whole size

A leader whose copies are proven starts on PROBATION and becomes ACTIVE after PROVEN_COPIES finished copies of ours
without a shortfall. One that has drifted or crossed its kill line goes to the BENCH for BENCH_DAYS at least, and its
record starts anew: what it did before is what it was benched for. One that is no longer proven is benched until it is.
Going up takes more than staying: an ACTIVE leader falls back to PROBATION only at a shortfall of FALL_BACK errors.

Scale and beta move by one STEP a day at most, between LEAST and 1. Scale falls with a shortfall and rises without.
Beta falls where we pay more above the quote than expected, and rises where fewer land than expected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import numpy as np

from copytrader_assets.analysis.calibration import Record
from copytrader_core.records import Tier, Verdict

PROVEN_COPIES: Final = 20
BENCH_DAYS: Final = 7
FALL_BACK: Final = 2.0
STEP: Final = 0.1
LEAST: Final = 0.5
_NOTICE: Final = 1.0
_RARE: Final = 0.1
_TIER_FACTOR: Final[dict[Tier, float]] = {"BENCH": 0.0, "PROBATION": 0.5, "ACTIVE": 1.0}


@dataclass(frozen=True, slots=True)
class Standing:
    """A leader's tier as of a day. `since`: from when on its record counts; `benched`: when that last benched it."""

    tier: Tier = "BENCH"
    scale: float = 1.0
    beta: float = 1.0
    since: date | None = None
    benched: date | None = None

    @property
    def alpha(self) -> float:
        """Our size as a share of the best one."""
        return _TIER_FACTOR[self.tier] * self.scale


def next_standing(before: Standing, verdict: Verdict, record: Record | None, as_of: date) -> Standing:
    """The standing as of the end of `as_of`. `record` is of the copies since `before.since`, None without any."""
    if before.tier != "BENCH" and record is not None and (record.drifted or record.killed):
        return replace(before, tier="BENCH", since=as_of + timedelta(days=1), benched=as_of)
    if verdict != "COPY" or _is_waiting(before, as_of):
        return replace(before, tier="BENCH")
    moved = before if record is None else _moved(before, record)
    return replace(moved, tier=_tier(before.tier, record))


def _is_waiting(before: Standing, as_of: date) -> bool:
    return before.benched is not None and as_of < before.benched + timedelta(days=BENCH_DAYS)


def _tier(before: Tier, record: Record | None) -> Tier:
    if record is None or record.finished < PROVEN_COPIES:
        return "ACTIVE" if before == "ACTIVE" else "PROBATION"
    bound = FALL_BACK if before == "ACTIVE" else _NOTICE
    return "ACTIVE" if record.shortfall < bound else "PROBATION"


def _moved(before: Standing, record: Record) -> Standing:
    scale = before.scale
    if record.finished:
        scale += STEP if record.shortfall < _NOTICE else -STEP
    beta = before.beta
    if record.entry_premium_bps > 2 * np.nan_to_num(record.entry_premium_se_bps, nan=np.inf):
        beta -= STEP
    elif record.landing_p_value < _RARE:
        beta += STEP
    return replace(before, scale=_bounded(scale), beta=_bounded(beta))


def _bounded(factor: float) -> float:
    return round(min(1.0, max(LEAST, factor)), 3)
