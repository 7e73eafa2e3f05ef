"""Reaction times finer than a slot, from whole numbers of slots.

A leader's buy falls anywhere within its slot, so a reaction of L slots is seen as floor(L) or floor(L) + 1 slots, the
more often as the latter the larger its fraction: P(d | L) = 1 - |d - L|. The distribution of L that makes the seen
numbers likeliest is found by expectation-maximisation from a flat start (deconvolution after Richardson 1972 and Lucy
1974); stopping early keeps it smooth. Its median is what one clock on both wallets would have shown.
"""

from __future__ import annotations

import numpy as np

from copytrader_assets.analysis.grouped import Floats, Ints

_CELLS_A_SLOT = 8
_ROUNDS = 20
_ROWS_AT_ONCE = 2048


def median_slots(seen: Ints) -> Floats:
    """The median reaction of each row of `seen`: how often 0, 1, 2, ... slots passed. NaN for a row without any."""
    middle = np.full(len(seen), np.nan)
    some = np.flatnonzero(seen.sum(axis=1))
    for start in range(0, len(some), _ROWS_AT_ONCE):
        rows = some[start : start + _ROWS_AT_ONCE]
        middle[rows] = _medians(_reactions(seen[rows] / seen[rows].sum(axis=1, keepdims=True)))
    return middle


def _reactions(shares: Floats) -> Floats:
    """The likeliest distribution over the cells of a fine grid, row by row."""
    n = shares.shape[1]
    grid = (np.arange(n * _CELLS_A_SLOT) + 0.5) / _CELLS_A_SLOT
    blur = np.maximum(0.0, 1 - np.abs(np.arange(n)[None, :] - grid[:, None]))
    blur /= blur.sum(axis=1, keepdims=True)
    found = shares @ blur.T
    found /= found.sum(axis=1, keepdims=True)
    for _ in range(_ROUNDS):
        found = found * ((shares / np.maximum(found @ blur, 1e-12)) @ blur.T)
    return np.asarray(found)


def _medians(found: Floats) -> Floats:
    """Where each row's sum reaches one half, evenly within a cell."""
    sums = np.cumsum(found / found.sum(axis=1, keepdims=True), axis=1)
    cell = (sums < 0.5).sum(axis=1)
    row = np.arange(len(found))
    below = np.where(cell > 0, sums[row, np.maximum(cell - 1, 0)], 0.0)
    return np.asarray((cell + (0.5 - below) / (sums[row, cell] - below)) / _CELLS_A_SLOT)
