"""Values between known points."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def between(points: Sequence[int], values: Sequence[float], at: float) -> float:
    """`values` at `at` by linear interpolation between `points`, which ascend; the nearest end outside of them."""
    place = bisect_right(points, at)
    if place == 0:
        return values[0]
    if place == len(points):
        return values[-1]
    share = (at - points[place - 1]) / (points[place] - points[place - 1])
    return values[place - 1] + share * (values[place] - values[place - 1])
