"""How long coins are held when some are held still: the Kaplan-Meier estimate of many wallets at once.

Positions that are open at the end of the as-of day are right-censored there. Trips that were opened before the
window and are seen only because they ended in it enter late (left truncation), else long holds would count too often.
Source: Kaplan and Meier 1958; delayed entry as in Klein and Moeschberger, Survival Analysis, section 4.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.grouped import Floats, Ints

_AGE_SPACE = np.int64(1) << 40
"""Ages in ms stay below 2**40 (35 years), so a group code and an age pack into one sortable int64."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Positions, one element each: group code, age at the end or at censoring, age since when it is observed, ended."""

    codes: Ints
    ages_ms: Ints
    entries_ms: Ints
    ended: Ints


def hold_quantiles_ms(observed: Observed, quantiles: Sequence[float], n_groups: int) -> list[Floats]:
    """For each quantile q, the first age at which at most 1 - q of each group's positions survive; NaN where more do.

    At risk at age a are the positions with entry <= a <= age at the end.
    """
    results = [np.full(n_groups, np.nan) for _ in quantiles]
    keys, survival = curve(observed)
    group = keys // _AGE_SPACE
    for q, result in zip(quantiles, results, strict=True):
        below = np.flatnonzero(survival <= 1 - q + 1e-9)
        reached, first = np.unique(group[below], return_index=True)
        result[reached] = (keys % _AGE_SPACE)[below[first]]
    return results


def curve(observed: Observed) -> tuple[Ints, Floats]:
    """The steps of every group's estimate: (group, age) in one number (see `ages_of`) and the survival after it."""
    ends = observed.codes * _AGE_SPACE + np.clip(observed.ages_ms, 0, _AGE_SPACE - 1)
    keys, deaths = np.unique(ends[observed.ended != 0], return_counts=True)
    if not len(keys):
        return keys, np.zeros(0)
    entries = np.sort(observed.codes * _AGE_SPACE + observed.entries_ms)
    return keys, _survival(keys, deaths, np.sort(ends), entries, keys // _AGE_SPACE)


def ages_of(keys: Ints) -> Ints:
    """The ages in ms of the steps of `curve`."""
    return np.asarray(keys % _AGE_SPACE)


def codes_of(keys: Ints) -> Ints:
    """The groups of the steps of `curve`."""
    return np.asarray(keys // _AGE_SPACE)


def _survival(keys: Ints, deaths: Ints, ends: Ints, entries: Ints, group: Ints) -> Floats:
    """The product-limit estimate just after each key, restarted at 1 in every group."""
    entered = np.searchsorted(entries, keys, side="right")
    left = np.searchsorted(ends, keys, side="left")
    at_risk = entered - left
    factor = np.log(np.maximum(1 - deaths / np.maximum(at_risk, 1), 1e-20))
    running = np.cumsum(factor)
    firsts = np.unique(group, return_index=True)[1]
    sizes = np.diff(np.append(firsts, len(group)))
    return np.asarray(np.exp(running - np.repeat(running[firsts] - factor[firsts], sizes)))
