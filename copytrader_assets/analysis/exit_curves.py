"""Survival of a leader's positions: how long they are held, and up to which multiple.

Kaplan-Meier with what is still held censored: by age at its age, by multiple at what it stands at now. Positions that
were opened before the window enter late by age. Not here: the estimator (survival).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.survival import Observed, ages_of, codes_of, curve

AGES_MS: Final = np.round(np.geomspace(500, 86_400_000, 48)).astype(np.int64)
MULTIPLES: Final = np.concatenate([np.arange(0.0, 2.0, 0.1), np.geomspace(2.0, 20.0, 20)]).round(3)
_UNIT: Final = 1_000_000
# A millionfold: what is larger still is as good as that for any curve.
_MOST: Final = 1e6
"""Multiples are counted in millionths, as ages are in milliseconds."""


def observed_multiples(codes: Ints, multiples: Floats, ended: Flags) -> Observed:
    """Positions by multiple: what ended at the one it was sold at, the others censored at their present one."""
    at = np.round(np.clip(np.nan_to_num(multiples), 0.0, _MOST) * _UNIT).astype(np.int64)
    return Observed(codes, at, np.zeros(len(codes), dtype=np.int64), ended.astype(np.int64))


def survival_by_age(observed: Observed, n_groups: int) -> Floats:
    """Share of each group's positions (row) that is held longer than each of AGES_MS (column); NaN without any."""
    return _survival_at(observed, AGES_MS, n_groups)


def survival_by_multiple(observed: Observed, n_groups: int) -> Floats:
    """Share of each group's positions (row) that was sold above each of MULTIPLES (column); NaN without any."""
    return _survival_at(observed, np.round(MULTIPLES * _UNIT).astype(np.int64), n_groups)


def _survival_at(observed: Observed, points: Ints, n_groups: int) -> Floats:
    keys, survival = curve(observed)
    ages, codes = ages_of(keys), codes_of(keys)
    result = np.full((n_groups, len(points)), np.nan)
    result[np.unique(observed.codes)] = 1.0
    for code in np.unique(codes):
        mine = codes == code
        steps = np.append(1.0, survival[mine])
        result[code] = steps[np.searchsorted(ages[mine], points, side="right")]
    return result
