"""Curve quotes against what the deployed program did, and their laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrader_core.errors import QuoteError
from copytrader_core.pump import curve
from copytrader_core.pump.curve import INITIAL_SOL_CURVE, CurveQuote, CurveState
from copytrader_core.pump.fees import CURVE_FEES, NO_FEES, Fees, curve_fees, fee

Trade = dict[str, Any]
LIVE = Fees(0, 95, 30)
SOL = 1_000_000_000


# --- golden trades of the deployed program ---------------------------------------------------------------------------

EARLY = CurveState(1072912147964043, 30002456458, 793012147964043, 2456458)
MIDDLE = CurveState(807264153781562, 39875423502, 527364153781562, 9875423502)
GOLDEN_BUYS = [
    (INITIAL_SOL_CURVE, 5932994, 166, 2, 1),
    (CurveState(809156127161640, 39782186565, 529256127161640, 9782186565), 1684768580, 82832, 787, 249),
]
GOLDEN_EXACT_IN = [
    (EARLY, 8225686, 290446893832, 8124133, 77180, 24373),
    (
        CurveState(809242011352926, 39777964511, 529342011352926, 9777964511),
        3869784,
        77747333481,
        3822007,
        36310,
        11467,
    ),
]
GOLDEN_SELLS = [
    (CurveState(1072883178275371, 30003266575, 792983178275371, 3266575), 28969688672, 810117, 7697, 2431),
    (MIDDLE, 83169809634, 4107812, 39025, 12324),
]


@pytest.mark.parametrize(("state", "base_raw", "net", "protocol_fee", "creator_fee"), GOLDEN_BUYS)
def test_a_golden_exact_out_buy(
    state: CurveState, base_raw: int, net: int, protocol_fee: int, creator_fee: int
) -> None:
    quote = curve.buy_exact_out(state, LIVE, base_raw)
    assert (quote.quote_net, quote.protocol_fee, quote.creator_fee) == (net, protocol_fee, creator_fee)
    assert quote.user_quote == net + protocol_fee + creator_fee
    assert (quote.after.virtual_base, quote.after.real_quote) == (state.virtual_base - base_raw, state.real_quote + net)


@pytest.mark.parametrize(("state", "spend", "base_raw", "net", "protocol_fee", "creator_fee"), GOLDEN_EXACT_IN)
def test_a_golden_exact_in_buy(
    state: CurveState, spend: int, base_raw: int, net: int, protocol_fee: int, creator_fee: int
) -> None:
    quote = curve.buy_exact_in(state, LIVE, spend)
    assert (quote.base_raw, quote.quote_net, quote.protocol_fee) == (base_raw, net, protocol_fee)
    assert (quote.creator_fee, quote.user_quote) == (creator_fee, spend)


@pytest.mark.parametrize(("state", "base_raw", "net", "protocol_fee", "creator_fee"), GOLDEN_SELLS)
def test_a_golden_sell(state: CurveState, base_raw: int, net: int, protocol_fee: int, creator_fee: int) -> None:
    quote = curve.sell(state, LIVE, base_raw)
    assert (quote.quote_net, quote.protocol_fee, quote.creator_fee) == (net, protocol_fee, creator_fee)
    assert quote.user_quote == net - protocol_fee - creator_fee


ALMOST_COMPLETE = CurveState(283184256087904, 113671573571, 3284256087904, 83671573571)


def test_a_golden_completing_buy_has_a_curve_part_and_a_pool_part() -> None:
    quote = curve.buy_exact_out_v3(ALMOST_COMPLETE, LIVE, 14194298030971)
    assert quote.completes
    assert quote.user_quote == 6140698064
    assert (quote.curve.base_raw, quote.curve.quote_net) == (3284256087904, 1333785486)
    assert quote.pool == curve.PoolPart(
        10910041943067, 4731101488, 44945465, 14193305, 4790240258, 195989958056933, 89721460544
    )


def test_a_golden_completing_exact_in_buy_spends_it_all() -> None:
    state = CurveState(281087899770341, 114519337284, 1187899770341, 84519337284)
    quote = curve.buy_exact_in_v3(state, LIVE, 498603394)
    assert (quote.base_raw, quote.user_quote) == (1203542048221, 498603394)


@pytest.mark.parametrize(
    ("spend", "base_raw", "paid"),
    [
        (2_912_042, 6_999_999_394, 2_912_042),
        (2_912_043, 7_000_000_000, 2_912_042),
        (2_912_045, 7_000_000_000, 2_912_042),
        (2_912_046, 7_000_002_434, 2_912_046),
        (2_912_092, 7_000_114_416, 2_912_092),
    ],
)
def test_a_golden_rest_too_small_for_the_pool_stays_with_the_user(spend: int, base_raw: int, paid: int) -> None:
    all_but_7000 = INITIAL_SOL_CURVE.real_base - 7_000_000_000
    quote = curve.buy_exact_in_v3(curve.buy_exact_out(INITIAL_SOL_CURVE, LIVE, all_but_7000).after, LIVE, spend)
    assert (quote.base_raw, quote.user_quote) == (base_raw, paid)
    assert quote.completes == (base_raw >= 7_000_000_000)


def test_the_whole_curve_raises_85_sol_and_ends_at_its_known_reserve() -> None:
    quote = curve.buy_exact_out_v3(INITIAL_SOL_CURVE, LIVE, INITIAL_SOL_CURVE.real_base)
    assert quote.pool is None
    assert quote.curve.after == CurveState(279_900_000_000_000, 115_005_359_057, 0, 85_005_359_057)


# --- every recorded trade --------------------------------------------------------------------------------------------


def state_of(recorded: Trade) -> CurveState:
    names = ("virtual_token_reserves", "virtual_quote_reserves", "real_token_reserves", "real_quote_reserves")
    return CurveState(*(int(recorded[name]) for name in names))


def quote_of(trade: Trade) -> CurveQuote:
    state = state_of(trade["before"])
    fees = curve_fees(CURVE_FEES, "sol", curve.market_cap(state), has_creator=set(trade["creator"]) != {"1"})
    if "exact" in trade["kind"]:
        return curve.buy_exact_in(state, fees, int(trade["arg1"]))
    rule = curve.buy_exact_out if trade["kind"].startswith("buy") else curve.sell
    return rule(state, fees, int(trade["arg1"]))


def bound_of(trade: Trade, quote: CurveQuote) -> int:
    """The slippage bound that just succeeds: coins for exact-in buys, else the user's quote."""
    return quote.base_raw if "exact" in trade["kind"] else quote.user_quote


def one_tighter(trade: Trade, bound: int) -> int:
    is_maximum = trade["kind"].startswith("buy") and "exact" not in trade["kind"]
    return bound - 1 if is_maximum else bound + 1


def test_every_recorded_trade_moved_what_the_quote_says_and_left_the_curve_as_quoted(shared: Path) -> None:
    trades = [one for one in _trades(shared) if one["ok"]]
    assert len(trades) > 200
    for trade in trades:
        quote, event = quote_of(trade), trade["event"]
        assert quote.base_raw == int(event["token_amount"])
        assert quote.quote_net == int(event["sol_amount"])
        assert (quote.protocol_fee, quote.creator_fee) == (int(event["fee"]), int(event["creator_fee"]))
        assert quote.after == state_of(trade["after"])


def test_every_recorded_bound_succeeded_exactly_at_the_quote_and_failed_one_unit_tighter(shared: Path) -> None:
    modes = {"limit": 0, "limit_fail": 0}
    for trade in _trades(shared):
        if trade["mode"] in modes:
            modes[trade["mode"]] += 1
            bound = bound_of(trade, quote_of(trade))
            assert int(trade["arg2"]) == (bound if trade["ok"] else one_tighter(trade, bound))
    assert min(modes.values()) > 50


def _trades(shared: Path) -> list[Trade]:
    trades: list[Trade] = json.loads((shared / "vectors/svm_pump_trades.json").read_text())["trades"]
    return trades


def test_every_recorded_completing_buy_filled_both_parts_as_quoted(shared: Path) -> None:
    cases = json.loads((shared / "vectors/svm_synthetic_migration.json").read_text())["cases"]
    assert len(cases) >= 30
    for case in cases:
        quote, exact_in = _completing(case), "exact" in case["kind"]
        bound = quote.base_raw if exact_in else quote.user_quote
        assert int(case["arg2"]) == (bound if case["ok"] else bound + 1 if exact_in else bound - 1)
        if case["ok"]:
            _assert_parts(quote, case["trade"], case["post"])


def _completing(case: Trade) -> curve.V3BuyQuote:
    remaining, virtual_quote = int(case["remaining"]), int(case["vq"])
    state = CurveState(int(case["vt"]), virtual_quote, remaining, virtual_quote - 30 * SOL)
    rule = curve.buy_exact_in_v3 if "exact" in case["kind"] else curve.buy_exact_out_v3
    return rule(
        state,
        LIVE,
        int(case["arg1"]),
        pool_base=int(case["curve_base_balance"]) - remaining,
        migration_fee=int(case["pool_migration_fee"]),
    )


def _assert_parts(quote: curve.V3BuyQuote, trade: Trade, post: Trade) -> None:
    one, pool = quote.curve, quote.pool
    assert (one.base_raw, one.quote_net) == (int(trade["token_amount"]), int(trade["sol_amount"]))
    assert (one.protocol_fee, one.creator_fee) == (int(trade["fee"]), int(trade["creator_fee"]))
    assert one.after.virtual_quote == int(trade["virtual_sol_reserves"])
    assert pool is not None
    assert (pool.base_raw, pool.quote_net) == (int(post["base_out"]), int(post["quote_in"]))
    assert (pool.protocol_fee, pool.creator_fee) == (int(post["fee"]), int(post["creator_fee"]))
    after = (pool.pool_base_after, pool.pool_quote_after)
    assert after == (int(post["pool_base_reserves_after"]), int(post["pool_quote_reserves_after"]))


# --- laws ------------------------------------------------------------------------------------------------------------

FEES = st.builds(Fees, st.just(0), st.integers(0, 300), st.integers(0, 300))
DUST_RAW, DUST_LAMPORTS = 10**9, 10_000


@st.composite
def curves(draw: st.DrawFn) -> CurveState:
    """A SOL curve anywhere between its first coin and the last thousand coins."""
    sold = draw(st.integers(0, INITIAL_SOL_CURVE.real_base - DUST_RAW))
    return INITIAL_SOL_CURVE if sold == 0 else curve.buy_exact_out(INITIAL_SOL_CURVE, NO_FEES, sold).after


@st.composite
def asks(draw: st.DrawFn) -> tuple[CurveState, Fees, int, int]:
    """A curve, fees, and two spends in ascending order that the curve can serve."""
    state, fees = draw(curves()), draw(FEES)
    most = curve.buy_exact_out(state, fees, state.real_base).user_quote
    spends = st.integers(DUST_LAMPORTS, most)
    less, more = sorted((draw(spends), draw(spends)))
    return state, fees, less, more


@given(asks())
def test_buying_and_selling_back_never_gains(ask: tuple[CurveState, Fees, int, int]) -> None:
    state, fees, spend, _ = ask
    bought = curve.buy_exact_in(state, fees, spend)
    if bought.after.real_base:
        assert curve.sell(bought.after, fees, bought.base_raw).user_quote <= spend


@given(asks())
def test_an_exact_in_buy_pays_its_spend_and_never_less_than_its_fees(ask: tuple[CurveState, Fees, int, int]) -> None:
    state, fees, spend, _ = ask
    quote = curve.buy_exact_in(state, fees, spend)
    assert quote.user_quote == spend == quote.quote_net + quote.protocol_fee + quote.creator_fee
    assert quote.protocol_fee >= fee(quote.quote_net, fees.protocol_bps)
    assert curve.buy_exact_out(state, fees, quote.base_raw).user_quote <= spend


@given(asks())
def test_more_money_never_buys_fewer_coins(ask: tuple[CurveState, Fees, int, int]) -> None:
    state, fees, less, more = ask
    assert curve.buy_exact_in(state, fees, less).base_raw <= curve.buy_exact_in(state, fees, more).base_raw


@given(curves(), FEES, st.data())
def test_more_coins_never_cost_less(state: CurveState, fees: Fees, data: st.DataObject) -> None:
    fewer, more = sorted(data.draw(st.integers(1, state.real_base)) for _ in range(2))
    assert curve.buy_exact_out(state, fees, fewer).user_quote <= curve.buy_exact_out(state, fees, more).user_quote


@given(FEES, st.integers(DUST_RAW, 10**14), st.integers(DUST_RAW, 10**14))
def test_more_coins_never_sell_for_less(fees: Fees, one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert curve.sell(MIDDLE, fees, fewer).user_quote <= curve.sell(MIDDLE, fees, more).user_quote


@given(curves(), FEES, st.data())
def test_a_trade_keeps_the_virtual_offsets_and_never_lowers_the_product(
    state: CurveState, fees: Fees, data: st.DataObject
) -> None:
    bought = curve.buy_exact_out(state, fees, data.draw(st.integers(DUST_RAW, state.real_base)))
    _assert_invariants(state, bought.after)
    if bought.after.real_base:
        _assert_invariants(bought.after, curve.sell(bought.after, fees, bought.base_raw).after)


def _assert_invariants(before: CurveState, after: CurveState) -> None:
    assert before.virtual_base - before.real_base == after.virtual_base - after.real_base
    assert before.virtual_quote - before.real_quote == after.virtual_quote - after.real_quote
    assert after.virtual_base * after.virtual_quote >= before.virtual_base * before.virtual_quote
    assert after.real_base >= 0
    assert after.real_quote >= 0


@given(curves(), FEES, st.integers(DUST_LAMPORTS, 500 * SOL))
def test_a_v3_buy_never_spends_more_than_given_and_agrees_with_its_exact_out_twin(
    state: CurveState, fees: Fees, spend: int
) -> None:
    quote = curve.buy_exact_in_v3(state, fees, spend)
    assert quote.user_quote <= spend
    assert curve.buy_exact_out_v3(state, fees, quote.base_raw).user_quote <= spend


# --- refusals and readings -------------------------------------------------------------------------------------------

COMPLETE = CurveState(279_900_000_000_000, 115_005_359_057, 0, 85_005_359_057)


@pytest.mark.parametrize(
    "rule", [curve.buy_exact_out, curve.buy_exact_in, curve.sell, curve.buy_exact_out_v3, curve.buy_exact_in_v3]
)
def test_a_complete_curve_and_a_zero_amount_are_refused(rule: Any) -> None:
    with pytest.raises(QuoteError, match="complete"):
        rule(COMPLETE, LIVE, 1_000_000)
    with pytest.raises(QuoteError, match="above 0"):
        rule(INITIAL_SOL_CURVE, LIVE, 0)


def test_buying_more_than_the_curve_has_is_refused_outside_of_v3() -> None:
    with pytest.raises(QuoteError, match="left on the curve"):
        curve.buy_exact_out(ALMOST_COMPLETE, LIVE, ALMOST_COMPLETE.real_base + 1)
    with pytest.raises(QuoteError, match="left on the curve"):
        curve.buy_exact_in(ALMOST_COMPLETE, LIVE, 10 * SOL)
    with pytest.raises(QuoteError, match="beyond the curve"):
        curve.buy_exact_out_v3(ALMOST_COMPLETE, LIVE, ALMOST_COMPLETE.real_base + curve.POOL_BASE_RAW)


def test_dust_that_buys_nothing_or_costs_more_in_fees_than_it_brings_is_refused() -> None:
    with pytest.raises(QuoteError, match="not even one"):
        curve.buy_exact_in(INITIAL_SOL_CURVE, LIVE, 3)
    with pytest.raises(QuoteError, match="less than its fees"):
        curve.sell(MIDDLE, LIVE, 40_000)
    assert curve.sell(MIDDLE, LIVE, 1).user_quote == 0


def test_selling_more_than_the_curve_ever_sold_is_refused() -> None:
    with pytest.raises(QuoteError, match="the curve holds"):
        curve.sell(EARLY, LIVE, 10**12)


def test_price_cap_impact_and_what_is_left_are_read_off_the_reserves() -> None:
    assert curve.spot_price(INITIAL_SOL_CURVE) == pytest.approx(2.7959e-5, rel=1e-4)
    assert curve.market_cap(INITIAL_SOL_CURVE) == 27_958_993_476
    assert curve.max_multiple(INITIAL_SOL_CURVE) == pytest.approx((1073 / 279.9) ** 2)
    assert curve.max_multiple(COMPLETE) == 1
    one_sol = curve.buy_exact_in(INITIAL_SOL_CURVE, LIVE, SOL)
    assert curve.price_impact_bps(INITIAL_SOL_CURVE, one_sol) == 330
    with pytest.raises(QuoteError, match="no price"):
        curve.market_cap(CurveState(0, 1, 0, 1))
