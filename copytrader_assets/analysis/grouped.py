"""Statistics of many groups at once: NumPy on values sorted by an integer group code.

What belongs here: reductions that know nothing of wallets or coins. No Arrow tables, no units, no rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Groups:
    """Values sorted within their groups: group g owns `values[starts[g]:starts[g] + sizes[g]]`, ascending."""

    values: Floats
    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, codes: Ints, values: Floats, n_groups: int) -> Groups:
        """Sort `values` within the groups 0..n_groups-1 that `codes` names; values that are not finite are left out."""
        finite = np.isfinite(values)
        codes, values = codes[finite], values[finite]
        order = np.lexsort((values, codes))
        sizes = np.bincount(codes, minlength=n_groups).astype(np.int64)
        return cls(values[order], np.cumsum(sizes) - sizes, sizes)

    def quantile(self, q: float) -> Floats:
        """The q-quantile of each group by linear interpolation between order statistics at (n - 1) q; NaN if empty.

        It is the default of `numpy.quantile` (Hyndman and Fan 1996, type 7).
        """
        result = np.full(len(self.sizes), np.nan)
        some = self.sizes > 0
        position = (self.sizes[some] - 1) * q
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, self.sizes[some] - 1)
        low, high = self.values[self.starts[some] + below], self.values[self.starts[some] + above]
        result[some] = low + (high - low) * (position - below)
        return result

    def shorth(self, share: float) -> tuple[Floats, Floats]:
        """Length and middle of the shortest interval that holds `share` of each group's values; NaN if empty.

        A measure of concentration that a minority of outliers cannot move (Gruebel 1988, "The length of the shorth").
        """
        length, middle = np.full(len(self.sizes), np.nan), np.full(len(self.sizes), np.nan)
        span = np.maximum(np.ceil(self.sizes * share - 1e-9).astype(np.int64) - 1, 0)
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        first = np.arange(len(self.values))
        last = first + span[group]
        inside = last < (self.starts + self.sizes)[group]
        first, last, group = first[inside], last[inside], group[inside]
        gap = self.values[last] - self.values[first]
        order = np.lexsort((first, gap, group))
        best = order[np.unique(group[order], return_index=True)[1]]
        length[group[best]] = gap[best]
        middle[group[best]] = (self.values[first[best]] + self.values[last[best]]) / 2
        return length, middle


def count(codes: Ints, flags: Flags, n_groups: int) -> Ints:
    """How many of each group's flags are set."""
    return np.bincount(codes[flags], minlength=n_groups).astype(np.int64)


def weighed(codes: Ints, values: Floats, n_groups: int) -> Floats:
    """Sum of each group's values; NaN counts through."""
    return np.asarray(np.bincount(codes, weights=values, minlength=n_groups), dtype=np.float64)


def total(codes: Ints, values: Floats, n_groups: int) -> Floats:
    """Sum of each group's finite values; 0 for an empty group."""
    finite = np.isfinite(values)
    return weighed(codes[finite], values[finite], n_groups)


def ratio(numerator: Floats | Ints, denominator: Floats | Ints) -> Floats:
    """Elementwise quotient, NaN where the denominator is 0."""
    result = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) != 0)
    return result


def distinct(codes: Ints, values: Ints, n_groups: int) -> Ints:
    """Number of different values in each group."""
    if not len(codes):
        return np.zeros(n_groups, dtype=np.int64)
    order = np.lexsort((values, codes))
    codes, values = codes[order], values[order]
    new = np.ones(len(codes), dtype=np.bool_)
    new[1:] = (codes[1:] != codes[:-1]) | (values[1:] != values[:-1])
    return np.bincount(codes[new], minlength=n_groups).astype(np.int64)


def ranges(starts: Ints, ends: Ints) -> Ints:
    """The integers of all half-open intervals [start, end), one interval after the other."""
    sizes = ends - starts
    offsets = np.cumsum(sizes) - sizes
    return np.asarray(np.arange(int(sizes.sum())) + np.repeat(starts - offsets, sizes), dtype=np.int64)
