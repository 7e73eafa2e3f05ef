"""Products of two 63-bit integers compared exactly, so that no quotient of a trade's rules has to be computed."""

from __future__ import annotations

import numpy as np

from copytrader_core.compiled import inner


@inner
def product(a, b):
    """`a * b` of two non-negative int64 as (upper, lower) uint64."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x, y = np.uint64(a), np.uint64(b)
    x_low, x_high, y_low, y_high = x & mask, x >> half, y & mask, y >> half
    low = x_low * y_low
    middle = x_high * y_low + (low >> half)
    other = x_low * y_high + (middle & mask)
    return x_high * y_high + (middle >> half) + (other >> half), (other << half) | (low & mask)


@inner
def at_most(a, b, c, d):
    """Whether `a * b <= c * d`, all of them non-negative int64."""
    high, low = product(a, b)
    other_high, other_low = product(c, d)
    return high < other_high or (high == other_high and low <= other_low)


@inner
def is_floor(a, b, c, quotient):
    """Whether `a * b // c == quotient`, `c` positive, the others non-negative int64."""
    return at_most(quotient, c, a, b) and not at_most(quotient + 1, c, a, b)


@inner
def is_ceiling(a, b, c, quotient):
    """Whether `a * b / c` rounded up is `quotient`, `c` positive, the others non-negative int64."""
    if quotient == 0:
        return a == 0 or b == 0
    return at_most(a, b, quotient, c) and not at_most(a, b, quotient - 1, c)
