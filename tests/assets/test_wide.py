"""The 128-bit arithmetic of the kernels against Python's integers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from copytrader_assets.analysis import wide_columns
from copytrader_core import wide

EXACT = settings(deadline=None)
ALL = 2**64 - 1
EDGES = st.sampled_from([0, 1, 2, 2**32 - 1, 2**32, 2**63, ALL - 1, ALL])
WORD = st.one_of(st.integers(0, ALL), EDGES, st.integers(0, 2**33))
WIDE = st.one_of(st.integers(0, 2**66), WORD)


def words(value: int) -> tuple[np.uint64, np.uint64]:
    value &= 2**128 - 1
    return np.uint64(value >> 64), np.uint64(value & ALL)


def number(high: np.uint64, low: np.uint64) -> int:
    value = (int(high) << 64) | int(low)
    return value - 2**128 if value >> 127 else value


@EXACT
@given(WORD, WORD)
def test_products_are_exact(a: int, b: int) -> None:
    high, low = wide.product(np.uint64(a), np.uint64(b))
    assert (int(high) << 64) + int(low) == a * b


@EXACT
@given(WORD, WORD, WORD.filter(bool))
def test_quotients_and_remainders_are_exact(high: int, low: int, d: int) -> None:
    found = wide.divided(np.uint64(high % d), np.uint64(low), np.uint64(d))
    assert tuple(map(int, found)) == divmod((high % d << 64) + low, d)


@EXACT
@given(WIDE, WORD, WORD.filter(bool))
def test_shares_are_rounded_down_and_say_what_is_left(value: int, part: int, whole: int) -> None:
    part %= whole + 1
    high, low, rest = wide.share(*words(value), np.uint64(part), np.uint64(whole))
    assert (number(high, low), int(rest)) == divmod(value * part, whole)
    assert number(*wide.signed_share(*words(-value), np.uint64(part), np.uint64(whole))) == -value * part // whole


@EXACT
@given(WORD, WORD, st.integers(0, 2**80))
def test_sell_quotes_are_exact_however_large_the_bag_is(base: int, quote: int, held: int) -> None:
    expected = quote * held // (base + held) if base + held else 0
    assert int(wide.sell_quote(np.uint64(base), np.uint64(quote), *words(held))) == expected


@EXACT
@given(st.lists(st.integers(-(2**100), 2**100), max_size=20))
def test_columns_and_sums_keep_every_digit(values: list[int]) -> None:
    column = pa.array(values, pa.decimal128(38, 0))
    there = wide_columns.wide_words(column)
    assert wide_columns.wide_array(there, column.type).equals(column)
    assert wide.total(there) == sum(values)
