"""Exact integers of 128 bits inside compiled kernels: two's complement in two words, the low one first.

An array of `n` of them has the shape (n, 2) and uint64, the memory of an Arrow decimal128 column. A sum of u64 amounts
fits no 64-bit type. Not here: what is summed, and Arrow.
Division is Knuth's algorithm D for two digits (The Art of Computer Programming, volume 2, section 4.3.1).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from copytrader_core.compiled import uncounted

Words: TypeAlias = NDArray[np.uint64]
Wide: TypeAlias = tuple[np.uint64, np.uint64]

ZERO = np.uint64(0)
ONE = np.uint64(1)
_HALF = np.uint64(0xFFFFFFFF)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_32 = np.uint64(32)
_63 = np.uint64(63)
_64 = np.uint64(64)


def to_floats(words: Words) -> NDArray[np.float64]:
    """The nearest floats; within one unit in the last place above 2**53."""
    high = words[:, 1].astype(np.int64).astype(np.float64)
    return np.asarray(np.where((words[:, 1] == 0), words[:, 0].astype(np.float64), high * 2.0**64 + words[:, 0]))


def total(words: Words) -> int:
    """The exact sum, which may be of more than 128 bits."""
    halves = [(words[:, 0] & _HALF).sum(), (words[:, 0] >> _32).sum()]
    high = words[:, 1].astype(np.int64)
    return int(halves[0]) + (int(halves[1]) << 32) + (int(high.sum()) << 64)


@uncounted
def product(a: np.uint64, b: np.uint64) -> Wide:
    """(high, low) of a * b."""
    a_low, a_high, b_low, b_high = a & _HALF, a >> _32, b & _HALF, b >> _32
    low, cross_1, cross_2 = a_low * b_low, a_low * b_high, a_high * b_low
    middle = (low >> _32) + (cross_1 & _HALF) + (cross_2 & _HALF)
    high = a_high * b_high + (cross_1 >> _32) + (cross_2 >> _32) + (middle >> _32)
    return high, (low & _HALF) | (middle << _32)


@uncounted
def _leading_zeros(value: np.uint64) -> np.uint64:
    count = ZERO
    for step in (np.uint64(32), np.uint64(16), np.uint64(8), np.uint64(4), np.uint64(2), np.uint64(1)):
        if value >> (_64 - step) == ZERO:
            count += step
            value <<= step
    return count


@uncounted
def _digit(rest: np.uint64, next_half: np.uint64, d: np.uint64) -> Wide:
    """One 32-bit digit of the quotient and what is left; `d` has its highest bit set."""
    digit, left = rest // (d >> _32), rest % (d >> _32)
    while digit > _HALF or digit * (d & _HALF) > ((left << _32) | next_half):
        digit -= ONE
        left += d >> _32
        if left > _HALF:
            break
    return digit, ((rest << _32) | next_half) - digit * d


@uncounted
def divided(high: np.uint64, low: np.uint64, d: np.uint64) -> Wide:
    """(quotient, remainder) of high:low / d, where high < d."""
    if high == ZERO:
        return low // d, low % d
    shift = _leading_zeros(d)
    d <<= shift
    rest = (high << shift) | ((low >> (_63 - shift)) >> ONE)
    low <<= shift
    first, rest = _digit(rest, low >> _32, d)
    second, rest = _digit(rest, low & _HALF, d)
    return (first << _32) | second, rest >> shift


@uncounted
def share(high: np.uint64, low: np.uint64, part: np.uint64, whole: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64]:
    """(high, low, remainder) of high:low * part / whole; the quotient must fit 128 bits."""
    if high == ZERO:
        top, bottom = product(low, part)
        if top < whole:
            quotient, rest = divided(top, bottom, whole)
            return ZERO, quotient, rest
        middle = top
        top = ZERO
    else:
        carry, bottom = product(low, part)
        top, middle = product(high, part)
        middle += carry
        if middle < carry:
            top += ONE
    q_high, rest = divided(top % whole, middle, whole)
    q_low, rest = divided(rest, bottom, whole)
    return q_high, q_low, rest


@uncounted
def add(words: Words, i: int, at: int, low: np.uint64) -> None:
    """The number in columns `at` and `at + 1` of row i += low."""
    words[i, at] += low
    if words[i, at] < low:
        words[i, at + 1] += ONE


@uncounted
def subtract(words: Words, i: int, at: int, low: np.uint64) -> None:
    """The same with -=; the number may become negative."""
    if words[i, at] < low:
        words[i, at + 1] -= ONE
    words[i, at] -= low


@uncounted
def add_wide(words: Words, i: int, at: int, high: np.uint64, low: np.uint64) -> None:
    """The same with += high:low, which may be negative."""
    add(words, i, at, low)
    words[i, at + 1] += high


@uncounted
def difference(a_high: np.uint64, a_low: np.uint64, b_high: np.uint64, b_low: np.uint64) -> Wide:
    """(high, low) of a - b."""
    return a_high - b_high - (ONE if a_low < b_low else ZERO), a_low - b_low


@uncounted
def at_most(a_high: np.uint64, a_low: np.uint64, b_high: np.uint64, b_low: np.uint64) -> bool:
    """a <= b, both not negative."""
    return bool(a_high < b_high or (a_high == b_high and a_low <= b_low))


@uncounted
def signed_share(high: np.uint64, low: np.uint64, part: np.uint64, whole: np.uint64) -> Wide:
    """high:low * part / whole, rounded towards minus infinity; high:low may be negative, part <= whole."""
    if high >> _63 == ZERO:
        q_high, q_low, _ = share(high, low, part, whole)
        return q_high, q_low
    high, low = difference(ZERO, ZERO, high, low)
    q_high, q_low, rest = share(high, low, part, whole)
    high, low = difference(ZERO, ZERO, q_high, q_low)
    return difference(high, low, ZERO, ONE) if rest else (high, low)


@uncounted
def bits_quotient(n_high: np.uint64, n_low: np.uint64, d_high: np.uint64, d_low: np.uint64) -> Wide:
    """(quotient, 1 if anything is left) for divisors of more than 64 bits, below 2**127. Slow and rare."""
    quotient, r_high, r_low = ZERO, ZERO, ZERO
    for step in range(127, -1, -1):
        place = np.uint64(step)
        bit = (n_high >> (place - _64)) & ONE if step >= 64 else (n_low >> place) & ONE
        r_high = (r_high << ONE) | (r_low >> _63)
        r_low = (r_low << ONE) | bit
        quotient <<= ONE
        if at_most(d_high, d_low, r_high, r_low):
            r_high, r_low = difference(r_high, r_low, d_high, d_low)
            quotient |= ONE
    return quotient, ONE if (r_high | r_low) else ZERO


@uncounted
def sell_quote(base: np.uint64, quote: np.uint64, held_high: np.uint64, held_low: np.uint64) -> np.uint64:
    """What `held` coins fetch from reserves of `base` and `quote`, before fees: quote * held // (base + held)."""
    total_low = base + held_low
    total_high = held_high + (ONE if total_low < base else ZERO)
    if total_high == ZERO:
        return share(ZERO, held_low, quote, total_low)[1] if total_low else ZERO
    # quote - ceil(quote * base / total) keeps the numerator within 128 bits.
    top, bottom = product(quote, base)
    kept, rest = bits_quotient(top, bottom, total_high, total_low)
    return quote - kept - rest
