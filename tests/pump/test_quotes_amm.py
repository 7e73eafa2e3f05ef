"""PumpSwap quotes against what the deployed program did, and their laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrader_core.errors import QuoteError
from copytrader_core.pump import amm
from copytrader_core.pump.amm import PoolQuote, PoolState
from copytrader_core.pump.fees import POOL_FEES, Fees, buyback_share, pool_fees

Trade = dict[str, Any]
SOL = 1_000_000_000
BELOW_420_SOL, ABOVE_420_SOL = Fees(2, 93, 30), Fees(20, 5, 95)


# --- golden trades of the deployed program ---------------------------------------------------------------------------


def test_a_golden_v1_exact_out_buy() -> None:
    state = PoolState(206899990431121, 67405857731, 17584505257)
    quote = amm.buy_exact_out(state, BELOW_420_SOL, 3911745651342)
    assert (quote.user_quote, quote.lp_fee, quote.protocol_fee) == (1658305101, 327567, 15231840)
    assert amm.after_v1(state, quote) == PoolState(202988244779779, 69044017495, 17584505257)


def test_a_golden_v2_exact_out_buy_keeps_fees_outside_of_the_price() -> None:
    state = PoolState(818668424916912, 5505386484, 16277766755)
    quote = amm.buy_exact_out(state, BELOW_420_SOL, 170584597341)
    assert (quote.user_quote, quote.lp_fee, quote.protocol_fee, quote.creator_fee) == (4596615, 908, 42221, 13620)
    assert amm.after_v2(state, quote) == PoolState(818497840319571, 5509961989, 16277732024)


def test_a_golden_v1_exact_in_buy() -> None:
    state = PoolState(173751000018662, 83770582154, 17497279627)
    quote = amm.buy_exact_in(state, ABOVE_420_SOL, 108534357)
    assert (quote.base_raw, quote.lp_fee, quote.protocol_fee, quote.creator_fee) == (
        183815738597,
        214495,
        53624,
        1018851,
    )
    assert amm.after_v1(state, quote) == PoolState(173567184280065, 83878044036, 17497279627)


def test_a_golden_exact_in_buy_books_the_odd_unit_as_protocol_fee() -> None:
    state = PoolState(846263617162761, 4317757396, 16493996460)
    quote = amm.buy_exact_in(state, BELOW_420_SOL, 117274767823)
    assert (quote.base_raw, quote.user_quote) == (717367250127032, 117274767823)
    assert (quote.lp_fee, quote.protocol_fee, quote.creator_fee) == (23165387, 1077190461, 347480794)
    assert amm.after_v1(state, quote) == PoolState(128896367035729, 120167853964, 16493996460)


def test_a_golden_v1_sell() -> None:
    state = PoolState(173551674875932, 83887209833, 17497191334)
    quote = amm.sell(state, ABOVE_420_SOL, 7884842303886)
    assert (quote.user_quote, quote.lp_fee, quote.protocol_fee) == (4353077467, 8811898, 2202975)
    assert amm.after_v1(state, quote) == PoolState(181436517179818, 79490072876, 17497191334)


def test_a_golden_v2_sell() -> None:
    state = PoolState(170021576775017, 85942421151, 17518187669)
    quote = amm.sell(state, ABOVE_420_SOL, 121972731460)
    assert (quote.user_quote, quote.creator_fee) == (73278948, 704606)
    assert amm.after_v2(state, quote) == PoolState(170143549506477, 85869123661, 17517464520)


# --- every recorded trade --------------------------------------------------------------------------------------------


def state_of(recorded: Trade) -> PoolState:
    return PoolState(int(recorded["base"]), int(recorded["quote"]), int(recorded["virtual_quote_reserves"]))


def fees_of(trade: Trade) -> Fees:
    market_cap = amm.market_cap(state_of(trade["before"]), int(trade["before"]["base_mint_supply"]))
    return pool_fees(POOL_FEES, "sol", market_cap)


def quote_of(trade: Trade) -> PoolQuote:
    state, amount = state_of(trade["before"]), int(trade["arg1"])
    if "exact" in trade["kind"]:
        return amm.buy_exact_in(state, fees_of(trade), amount)
    return (amm.buy_exact_out if trade["kind"].startswith("buy") else amm.sell)(state, fees_of(trade), amount)


def test_every_recorded_trade_moved_what_the_quote_says_and_left_the_pool_as_quoted(shared: Path) -> None:
    trades = [one for one in _trades(shared) if one["ok"]]
    assert len(trades) > 180
    for trade in trades:
        quote, event = quote_of(trade), trade["event"]
        assert abs(int(trade["user_wsol_delta"])) == quote.user_quote
        assert abs(int(trade["user_token_delta"])) == quote.base_raw
        charged = (quote.lp_fee, quote.protocol_fee, quote.creator_fee)
        assert charged == tuple(int(event[name]) for name in ("lp_fee", "protocol_fee", "coin_creator_fee"))
        after = (amm.after_v2 if trade["kind"].endswith("_v2") else amm.after_v1)(state_of(trade["before"]), quote)
        assert after == state_of(trade["after"])


def test_every_recorded_trade_was_charged_by_its_tier(shared: Path) -> None:
    seen = set()
    for trade in _trades(shared):
        fees = fees_of(trade)
        seen.add(fees)
        assert [fees.lp_bps, fees.protocol_bps, fees.creator_bps] == trade["fees_bps"]
    assert len(seen) >= 4


def test_every_recorded_bound_succeeded_exactly_at_the_quote_and_failed_one_unit_tighter(shared: Path) -> None:
    modes = {"limit": 0, "limit_fail": 0}
    for trade in _trades(shared):
        if trade["mode"] in modes:
            modes[trade["mode"]] += 1
            exact_in, quote = "exact" in trade["kind"], quote_of(trade)
            bound = quote.base_raw if exact_in else quote.user_quote
            is_maximum = quote.is_buy and not exact_in
            tighter = bound - 1 if is_maximum else bound + 1
            assert int(trade["arg2"]) == (bound if trade["mode"] == "limit" else tighter)
    assert min(modes.values()) > 40


def test_the_only_recorded_sells_that_failed_otherwise_were_dust_for_nothing(shared: Path) -> None:
    dust = [one for one in _trades(shared) if not one["ok"] and one["mode"] != "limit_fail"]
    assert {one["err"] for one in dust} == {6053}
    assert {quote_of(one).user_quote for one in dust} == {0}


def _trades(shared: Path) -> list[Trade]:
    trades: list[Trade] = json.loads((shared / "vectors/svm_amm_trades.json").read_text())["trades"]
    return trades


# --- laws ------------------------------------------------------------------------------------------------------------

FEES = st.builds(Fees, st.integers(0, 100), st.integers(0, 100), st.integers(0, 300))
SPENDS = st.integers(10_000, 1_000 * SOL)
VAULTS = st.integers(25 * SOL, 100_000 * SOL)
POOLS = st.builds(PoolState, st.integers(10**12, 10**15), VAULTS, st.integers(-5 * SOL, 20 * SOL))


@given(POOLS, FEES, SPENDS, st.booleans())
def test_buying_and_selling_back_never_gains(state: PoolState, fees: Fees, spend: int, v2: bool) -> None:
    bought = amm.buy_exact_in(state, fees, spend)
    after = (amm.after_v2 if v2 else amm.after_v1)(state, bought)
    assert amm.sell(after, fees, bought.base_raw).user_quote <= spend


@given(POOLS, FEES, SPENDS)
def test_an_exact_in_buy_pays_its_spend_and_never_less_than_its_exact_out_twin(
    state: PoolState, fees: Fees, spend: int
) -> None:
    quote = amm.buy_exact_in(state, fees, spend)
    assert quote.user_quote == spend
    assert quote.quote_net + quote.lp_fee + quote.protocol_fee + quote.creator_fee == spend
    assert amm.buy_exact_out(state, fees, quote.base_raw).user_quote <= spend


@given(POOLS, FEES, SPENDS, st.integers(1, SOL))
def test_more_money_never_buys_fewer_coins(state: PoolState, fees: Fees, spend: int, more: int) -> None:
    less = amm.buy_exact_in(state, fees, spend)
    assert amm.buy_exact_in(state, fees, spend + more).base_raw >= less.base_raw


@given(POOLS, FEES, st.data())
def test_v1_and_v2_leave_the_same_price_and_v2_keeps_all_but_the_buyback_share(
    state: PoolState, fees: Fees, data: st.DataObject
) -> None:
    quote = amm.buy_exact_out(state, fees, data.draw(st.integers(1, state.base // 2)))
    one, two = amm.after_v1(state, quote), amm.after_v2(state, quote)
    assert one.effective_quote == two.effective_quote
    assert two.quote_vault - state.quote_vault == quote.user_quote - buyback_share(quote.protocol_fee)


@given(POOLS, FEES, st.data())
def test_a_trade_never_lowers_the_product_of_the_reserves(state: PoolState, fees: Fees, data: st.DataObject) -> None:
    quote = amm.buy_exact_out(state, fees, data.draw(st.integers(1, state.base // 2)))
    bought = amm.after_v2(state, quote)
    assert bought.base * bought.effective_quote >= state.base * state.effective_quote
    sold = amm.after_v2(state, amm.sell(state, fees, data.draw(st.integers(state.base // 1000, state.base))))
    assert sold.base * sold.effective_quote >= state.base * state.effective_quote


@given(POOLS, FEES, st.data())
def test_selling_more_never_brings_less(state: PoolState, fees: Fees, data: st.DataObject) -> None:
    fewer, more = sorted(data.draw(st.integers(state.base // 1000, state.base)) for _ in range(2))
    assert amm.sell(state, fees, fewer).user_quote <= amm.sell(state, fees, more).user_quote


# --- refusals and readings -------------------------------------------------------------------------------------------

POOL = PoolState(206_900_000_000_000, 67_405_853_768, 17_584_505_288)


@pytest.mark.parametrize("rule", [amm.buy_exact_out, amm.buy_exact_in, amm.sell])
def test_an_empty_pool_and_a_zero_amount_are_refused(rule: Any) -> None:
    for empty in (PoolState(0, 1, 1), PoolState(1, 5, -5)):
        with pytest.raises(QuoteError, match="empty"):
            rule(empty, ABOVE_420_SOL, 1)
    with pytest.raises(QuoteError, match="above 0"):
        rule(POOL, ABOVE_420_SOL, 0)


def test_asking_for_more_than_the_pool_holds_is_refused() -> None:
    with pytest.raises(QuoteError, match="the pool holds"):
        amm.buy_exact_out(POOL, ABOVE_420_SOL, POOL.base)
    with pytest.raises(QuoteError, match="the vault holds"):
        amm.sell(PoolState(10**12, SOL, 500 * SOL), ABOVE_420_SOL, 10**12)


def test_dust_that_buys_nothing_or_costs_more_in_fees_than_it_brings_is_refused() -> None:
    with pytest.raises(QuoteError, match="not even one"):
        amm.buy_exact_in(POOL, ABOVE_420_SOL, 4)
    with pytest.raises(QuoteError, match="less than its fees"):
        amm.sell(POOL, ABOVE_420_SOL, 5_000)
    assert amm.sell(POOL, ABOVE_420_SOL, 1).user_quote == 0


def test_price_cap_and_impact_come_from_the_effective_reserve() -> None:
    assert POOL.effective_quote == 84_990_359_056
    assert amm.spot_price(POOL) == pytest.approx(84_990_359_056 / 206_900_000_000_000)
    assert amm.market_cap(POOL) == 410_779_889_105
    quote = amm.buy_exact_in(POOL, BELOW_420_SOL, SOL)
    assert amm.price_impact_bps(POOL, quote) == 117
    with pytest.raises(QuoteError, match="no price"):
        amm.market_cap(PoolState(0, 1, 1))
