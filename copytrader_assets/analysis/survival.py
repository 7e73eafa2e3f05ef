"""How long coins are held when some are held still: the Kaplan-Meier estimate of many wallets at once.

Positions that are open at the end of the as-of day are right-censored there. Trips that were opened before the
window and are seen only because they ended in it enter late (left truncation), else long holds would count too often.
Source: Kaplan and Meier 1958; delayed entry as in Klein and Moeschberger, Survival Analysis, section 4.6.
"""

from __future__ import annotations

import numpy as np

from copytrader_assets.analysis.grouped import Floats, Ints

_AGE_SPACE = np.int64(1) << 40
"""Ages in ms stay below 2**40 (35 years), so a group code and an age pack into one sortable int64."""


def median_hold_ms(codes: Ints, ages_ms: Ints, entries_ms: Ints, ended: Ints, n_groups: int) -> Floats:
    """The first age at which at most half of each group's positions survive; NaN where more than half always do.

    `ages_ms`: age at the end, or at censoring where `ended` is 0. `entries_ms`: age from which the position was
    under observation. At risk at age a are the positions with entry <= a <= age at the end.
    """
    result = np.full(n_groups, np.nan)
    ends = codes * _AGE_SPACE + np.clip(ages_ms, 0, _AGE_SPACE - 1)
    keys, deaths = np.unique(ends[ended != 0], return_counts=True)
    if not len(keys):
        return result
    group = keys // _AGE_SPACE
    survival = _survival(keys, deaths, np.sort(ends), np.sort(codes * _AGE_SPACE + entries_ms), group)
    below = np.flatnonzero(survival <= 0.5 + 1e-9)
    reached, first = np.unique(group[below], return_index=True)
    result[reached] = (keys % _AGE_SPACE)[below[first]]
    return result


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
