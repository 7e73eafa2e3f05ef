"""A trade executed again is what the venue's own arithmetic gives on the moved reserves, to the unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from copytrader_core.errors import QuoteError
from copytrader_core.pump import amm, curve
from copytrader_core.pump.curve import INITIAL_SOL_CURVE, CurveState
from copytrader_core.pump.fees import Fees
from copytrader_core.replay.execution import BUY_IN, BUY_OUT, COMPLETE, CURVE, POOL, RAW, SELL, classify, executed

FEES = st.builds(Fees, st.sampled_from((0, 2, 20)), st.sampled_from((5, 93, 95)), st.sampled_from((0, 5, 30, 95)))
SOL = st.integers(10_000, 400_000_000_000)
COINS = st.integers(1_000, 300_000_000_000_000)
SHIFT = st.tuples(st.integers(-80_000_000_000_000, 80_000_000_000_000), st.integers(-9_000_000_000, 9_000_000_000))


def curve_at(sold: int) -> CurveState:
    """A curve that has sold so many coins for what the program takes."""
    if sold == 0:
        return INITIAL_SOL_CURVE
    return curve.buy_exact_out(INITIAL_SOL_CURVE, Fees(0, 95, 30), sold).after


STATES = st.integers(0, 700_000_000_000_000).map(curve_at)


def moved(state: CurveState, shift: tuple[int, int]) -> CurveState:
    base, quote = shift
    found = CurveState(
        state.virtual_base + base, state.virtual_quote + quote, state.real_base + base, state.real_quote + quote
    )
    assume(found.virtual_quote > 30_000_000_000 and 0 < found.real_base < 793_100_000_000_000)
    return found


def again(
    kind: int, venue: int, row: tuple[int, ...], shift: tuple[int, int], left: int = 0, short: int = 0
) -> tuple[int, int, int]:
    """(shift_base, shift_quote, short_of) afterwards."""
    changed = np.array(shift, np.int64)
    after = executed(kind, venue, np.array(row, np.int64), changed, left, short)
    return int(changed[0]), int(changed[1]), int(after)


def row_of(base: int, quote: int, net: int, fees: Fees, after: tuple[int, int], real_base: int) -> tuple[int, ...]:
    return (base, quote, net, fees.lp_bps, fees.protocol_bps, fees.creator_bps, *after, real_base)


def kind_of(venue: int, row: tuple[int, ...], *, is_buy: bool) -> int:
    found, one = np.full(1, 9, np.int8), np.array(row, np.int64).reshape(9, 1)
    fees = np.ascontiguousarray(one[3:6].T)
    classify(
        np.full(1, venue, np.int8), np.full(1, is_buy), one[0], one[1], one[2], fees, one[6], one[7], one[8], found
    )
    return int(found[0])


def on_curve(quote: curve.CurveQuote, fees: Fees) -> tuple[int, ...]:
    after = quote.after
    return row_of(
        quote.base_raw,
        quote.user_quote,
        quote.quote_net,
        fees,
        (after.virtual_base, after.virtual_quote),
        after.real_base,
    )


@given(STATES, FEES, SOL, SHIFT)
def test_an_exact_in_buy_on_the_curve_spends_the_same(
    state: CurveState, fees: Fees, spend: int, shift: tuple[int, int]
) -> None:
    try:
        was, now = curve.buy_exact_in(state, fees, spend), curve.buy_exact_in(moved(state, shift), fees, spend)
    except QuoteError:
        assume(False)
    row = on_curve(was, fees)
    assert kind_of(CURVE, row, is_buy=True) in (BUY_IN, COMPLETE)
    assume(was.after.real_base > 0)
    base, quote, short = again(BUY_IN, CURVE, row, shift)
    assert (row[6] + base, row[7] + quote) == (now.after.virtual_base, now.after.virtual_quote)
    assert short == was.base_raw - now.base_raw


@given(STATES, FEES, COINS, SHIFT)
def test_an_exact_out_buy_on_the_curve_takes_the_same_coins(
    state: CurveState, fees: Fees, coins: int, shift: tuple[int, int]
) -> None:
    there = moved(state, shift)
    assume(coins < min(state.real_base, there.real_base))
    was, now = curve.buy_exact_out(state, fees, coins), curve.buy_exact_out(there, fees, coins)
    row = on_curve(was, fees)
    assert kind_of(CURVE, row, is_buy=True) in (BUY_OUT, BUY_IN)
    base, quote, short = again(BUY_OUT, CURVE, row, shift)
    assert (row[6] + base, row[7] + quote, short) == (now.after.virtual_base, now.after.virtual_quote, 0)


@given(STATES, FEES, COINS, SHIFT)
def test_a_sale_on_the_curve_gives_the_same_coins(
    state: CurveState, fees: Fees, coins: int, shift: tuple[int, int]
) -> None:
    assume(shift != (0, 0))
    there = moved(state, shift)
    try:
        was, now = curve.sell(state, fees, coins), curve.sell(there, fees, coins)
    except QuoteError:
        assume(False)
    row = on_curve(was, fees)
    assert kind_of(CURVE, row, is_buy=False) == SELL
    base, quote, _ = again(SELL, CURVE, row, shift)
    assert (row[6] + base, row[7] + quote) == (now.after.virtual_base, now.after.virtual_quote)


@given(st.integers(10**11, 10**15), st.integers(10**9, 10**14), FEES, SOL, SHIFT, st.booleans())
def test_a_pools_trade_is_the_pools_arithmetic(
    base: int, quote: int, fees: Fees, spend: int, shift: tuple[int, int], sells: bool
) -> None:
    pool = amm.PoolState(base, quote, 0)
    assume(base + shift[0] > 0 and quote + shift[1] > 10**8)
    there = amm.PoolState(base + shift[0], quote + shift[1], 0)
    try:
        if sells:
            coins = max(1, base // 50)
            was, now = amm.sell(pool, fees, coins), amm.sell(there, fees, coins)
        else:
            was, now = amm.buy_exact_in(pool, fees, spend), amm.buy_exact_in(there, fees, spend)
    except QuoteError:
        assume(False)
    left, right = amm.after_v1(pool, was), amm.after_v1(there, now)
    row = row_of(was.base_raw, was.user_quote, was.quote_net, fees, (left.base, left.effective_quote), left.base)
    kind = SELL if sells else BUY_IN
    assert kind_of(POOL, row, is_buy=not sells) == kind
    found = again(kind, POOL, row, shift)
    assert (left.base + found[0], left.effective_quote + found[1]) == (right.base, right.effective_quote)


@given(STATES, FEES, SOL)
def test_without_our_trades_the_record_stands(state: CurveState, fees: Fees, spend: int) -> None:
    try:
        row = on_curve(curve.buy_exact_in(state, fees, spend), fees)
    except QuoteError:
        assume(False)
    assert again(kind_of(CURVE, row, is_buy=True), CURVE, row, (0, 0)) == (0, 0, 0)


def test_what_no_formula_gives_moves_the_market_by_the_same_amounts() -> None:
    row = row_of(10**12, 5 * 10**8, 4 * 10**8, Fees(0, 95, 30), (10**15, 4 * 10**10), 7 * 10**14)
    assert kind_of(CURVE, row, is_buy=True) == RAW
    assert again(RAW, CURVE, row, (-5, 7), short=3) == (-5, 7, 3)


@pytest.mark.parametrize(("left", "sold"), [(0, 40), (30, 70), (60, 100), (200, 100)])
def test_a_wallet_that_lacks_coins_sells_what_it_has(left: int, sold: int) -> None:
    """It sells 100 and keeps `left` in the record; 60 fewer coins are there, and what it keeps is lacking first."""
    state = curve_at(10**14)
    unit = 10**9
    was = curve.sell(state, Fees(0, 95, 30), 100 * unit)
    row = on_curve(was, Fees(0, 95, 30))
    base, _, short = again(SELL, CURVE, row, (-(10**6), 10), left=left * unit, short=60 * unit)
    assert (row[6] + base) - (state.virtual_base - 10**6) == sold * unit
    assert short == (60 - (100 - sold)) * unit


def test_a_curve_that_we_helped_to_complete_sells_nothing_more() -> None:
    state = curve_at(793_100_000_000_000 - 10**12)
    was = curve.buy_exact_in(state, Fees(0, 95, 30), 10**7)
    row = on_curve(was, Fees(0, 95, 30))
    base, quote, short = again(BUY_IN, CURVE, row, (-(10**12), 4 * 10**8))
    assert short == was.base_raw
    assert (row[6] + base, row[7] + quote) == (state.virtual_base - 10**12, state.virtual_quote + 4 * 10**8)
