"""The limits on one buy, one coin, one leader and the wallet: at the limit passes, one tighter fails, monotone.

Each case is the number that a guard compares, how to bring it about, and where its limit lies by the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from policy_inputs import BOOK, MARKET, NOW, PATTERN, SIGNAL, SOL, decided, settings

from copytrader_core.policy.entry import lamports, transaction_cost
from copytrader_core.policy.guards import Proposal, guards_named
from copytrader_core.policy.market import quote_buy
from copytrader_core.policy.values import Check, Lock
from copytrader_core.settings import Settings

SPEND = 750_000_000
COST = 1_105_000
DEAREST_EXIT = 12_005_000
RENT = 2_074_080
FIRST_RENT = 1_844_400
MS = 1_000_000


def asked(
    code: str,
    book: dict[str, Any] | None = None,
    signal: dict[str, Any] | None = None,
    spend: int = SPEND,
    **sections: dict[str, Any],
) -> Check:
    """What the guard of this code says of the ordinary proposal with these fields changed."""
    (guard,) = guards_named([code])
    held, heard = replace(BOOK, **book or {}), replace(SIGNAL, **signal or {})
    return guard(Proposal(heard, PATTERN, held, settings(**sections), NOW, spend))


def ago(ms: int) -> int:
    return NOW.ts_ns - ms * MS


def risk(**values: Any) -> dict[str, Any]:
    return {"risk": values}


# Each takes (measured, limit) and asks with them; a limit allows what is measured up to itself.
Ask = Callable[[int, int], Check]
AT_MOST: dict[str, tuple[Ask, st.SearchStrategy[int]]] = {
    "STREAM_STALE": (
        lambda seen, most: asked("STREAM_STALE", {"stream_age_ms": seen}, **risk(max_stream_age_ms=most)),
        st.integers(0, 100_000),
    ),
    "QUOTE_AGE": (
        lambda seen, most: asked("QUOTE_AGE", signal={"slot": NOW.slot - seen}, **risk(max_quote_age_slots=most)),
        st.integers(0, 100_000),
    ),
    "MAX_TIP in lamports": (
        lambda seen, most: asked(
            "MAX_TIP",
            executor={"tip_lamports": seen // 2, "priority_fee_lamports": seen - seen // 2},
            **risk(max_tip_lamports=most, max_tip_share_bps=10_000),
        ),
        st.integers(0, SPEND),
    ),
    "MAX_TIP as a share": (
        lambda seen, most: asked(
            "MAX_TIP",
            spend=10_000 * SOL,
            executor={"tip_lamports": seen * SOL, "priority_fee_lamports": 0},
            **risk(max_tip_lamports=10**15, max_tip_share_bps=most),
        ),
        st.integers(0, 10_000),
    ),
    "PER_MINT_EXPOSURE": (
        lambda seen, most: asked(
            "PER_MINT_EXPOSURE",
            {"mint_exposure_lamports": {"mint": seen, "another": 99 * SOL}},
            **risk(max_exposure_per_mint_sol=(most + SPEND + COST) / SOL),
        ),
        st.integers(0, 100 * SOL),
    ),
    "PER_LEADER_EXPOSURE": (
        lambda seen, most: asked(
            "PER_LEADER_EXPOSURE",
            {"leader_exposure_lamports": {"leader": seen, "another": 99 * SOL}},
            **risk(max_exposure_per_leader_sol=(most + SPEND + COST) / SOL),
        ),
        st.integers(0, 100 * SOL),
    ),
    "PER_LEADER_POSITIONS": (
        lambda seen, most: asked(
            "PER_LEADER_POSITIONS",
            {"leader_count": {"leader": seen, "another": 99}},
            **risk(max_positions_per_leader=most + 1),
        ),
        st.integers(0, 1_000),
    ),
}
# The other way round: what is measured has to reach the limit.
AT_LEAST: dict[str, tuple[Ask, st.SearchStrategy[int]]] = {
    "LEADER_MIN_SIZE": (
        lambda seen, least: asked(
            "LEADER_MIN_SIZE", signal={"size_lamports": seen}, **risk(min_leader_size_sol=least / SOL)
        ),
        st.integers(0, 100 * SOL),
    ),
    "COOL_DOWN of a coin": (
        lambda seen, least: asked("COOL_DOWN", {"last_trade_ns": {"mint": ago(seen)}}, **risk(mint_cool_down_ms=least)),
        st.integers(0, 86_400_000),
    ),
    "COOL_DOWN of a leader": (
        lambda seen, least: asked(
            "COOL_DOWN", {"last_loss_ns": {"leader": ago(seen)}}, **risk(leader_cool_down_ms=least)
        ),
        st.integers(0, 86_400_000),
    ),
    "SOL_FLOOR": (
        lambda seen, least: asked(
            "SOL_FLOOR",
            {"balance_lamports": SPEND + COST + RENT + DEAREST_EXIT + seen},
            **risk(sol_floor=least / SOL),
        ),
        st.integers(0, 100 * SOL),
    ),
}


@pytest.mark.parametrize("name", AT_MOST)
@hypothesis_settings(max_examples=40, deadline=None)
@given(st.data())
def test_at_the_limit_passes_one_tighter_fails_and_more_never_helps(name: str, data: st.DataObject) -> None:
    ask, numbers = AT_MOST[name]
    limit, seen, more = data.draw(numbers), data.draw(numbers), data.draw(numbers)
    assert ask(limit, limit).passed
    assert not ask(limit + 1, limit).passed
    assert ask(seen, limit).passed == (seen <= limit)
    assert ask(seen, limit).passed or not ask(seen + more, limit).passed
    assert ask(seen, limit).code == name.split()[0]


@pytest.mark.parametrize("name", AT_LEAST)
@hypothesis_settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_must_be_reached_passes_when_reached_exactly(name: str, data: st.DataObject) -> None:
    ask, numbers = AT_LEAST[name]
    limit, seen, more = data.draw(numbers), data.draw(numbers), data.draw(numbers)
    assert ask(limit, limit).passed
    assert limit == 0 or not ask(limit - 1, limit).passed
    assert ask(seen, limit).passed == (seen >= limit)
    assert not ask(seen, limit).passed or ask(seen + more, limit).passed
    assert ask(seen, limit).code == name.split()[0]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("LOCKED", {"book": {"locks": (Lock("all", "", "audit"),)}}),
        ("LOCKED", {"book": {"locks": (Lock("leader", "leader", "sold to himself"),)}}),
        ("LOCKED", {"book": {"locks": (Lock("mint", "mint", "honeypot", NOW.ts_ns + 1),)}}),
        ("PROTOCOL_DRIFT", {"book": {"drift": "pump has a new event"}}),
        ("STREAM_STALE", {"book": {"stream_age_ms": 3_001}}),
        ("BLOCKED_LEADER", {"risk": {"blocked_leaders": ("leader",)}}),
        ("LEADER_MIN_SIZE", {"risk": {"min_leader_size_sol": 1.1}}),
        ("COOL_DOWN", {"book": {"last_trade_ns": {"mint": ago(999)}}, "risk": {"mint_cool_down_ms": 1_000}}),
        ("COOL_DOWN", {"book": {"last_loss_ns": {"leader": ago(999)}}, "risk": {"leader_cool_down_ms": 1_000}}),
        ("MAX_TIP", {"executor": {"tip_lamports": 9_900_001}}),
        ("PER_LEADER_POSITIONS", {"book": {"leader_count": {"leader": 10}}}),
        ("STRAY_SALE", {"book": {"stray_sales": {"mint": 1}}, "risk": {"max_positions_per_mint": 9}}),
        ("PER_MINT_EXPOSURE", {"book": {"mint_exposure_lamports": {"mint": 2_800_000_000}}}),
        ("PER_LEADER_EXPOSURE", {"book": {"leader_exposure_lamports": {"leader": 9_250_000_000}}}),
        ("SOL_FLOOR", {"book": {"balance_lamports": SPEND + COST + RENT + DEAREST_EXIT + SOL // 20 - 1}}),
        ("PRICE_IMPACT", {"risk": {"max_price_impact_bps": 230}}),
    ],
)
def test_a_decision_carries_the_refusals_code_and_numbers(code: str, changes: dict[str, Any]) -> None:
    decision = decided(**changes)
    assert (decision.code, decision.entry, decision.exit) == (code, None, None)
    check = asked(code, changes.get("book"), **{name: part for name, part in changes.items() if name != "book"})
    assert not check.passed
    assert check.numbers.items() <= decision.numbers.items()


@given(st.sampled_from(["all", "leader", "mint"]), st.booleans(), st.integers(-3, 3))
def test_a_lock_refuses_what_it_names_until_its_end(scope: Any, is_ours: bool, end: int) -> None:
    key = {"all": "", "leader": "leader", "mint": "mint"}[scope] if is_ours else "another"
    lock = Lock(scope, key, "test", NOW.ts_ns + end)
    concerns = is_ours or scope == "all"
    assert asked("LOCKED", {"locks": (lock,)}).passed == (not concerns or end <= 0)
    assert asked("LOCKED", {"locks": (replace(lock, until_ns=None),)}).passed == (not concerns)


def test_a_lock_on_a_leader_is_none_on_a_coin_of_the_same_address() -> None:
    assert asked("LOCKED", {"locks": (Lock("leader", "mint", "test"), Lock("mint", "leader", "test"))}).passed


def test_a_trade_by_a_clock_ahead_of_ours_cools_down_like_one_of_now() -> None:
    check = asked("COOL_DOWN", {"last_trade_ns": {"mint": NOW.ts_ns + 5_000 * MS}}, **risk(mint_cool_down_ms=1))
    assert not check.passed
    assert check.numbers["since_mint_trade_ms"] == 0


def test_what_was_never_traded_or_lost_needs_no_rest() -> None:
    assert asked("COOL_DOWN", {"last_trade_ns": {"another": ago(0)}}, **risk(mint_cool_down_ms=86_400_000)).passed


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 10 * SOL), st.booleans(), st.integers(-1, 1))
def test_the_floor_stands_after_every_buy_rent_and_dearest_exit(
    held: int, under_way: int, staked: int, first: bool, off: int
) -> None:
    exits = (held + under_way + 1) * DEAREST_EXIT
    buys = staked + under_way * (COST + RENT) + SPEND + COST + RENT + (FIRST_RENT if first else 0)
    book = {
        "balance_lamports": SOL // 20 + exits + buys + off,
        "open_positions": held,
        "in_flight_buys": under_way,
        "in_flight_lamports": staked,
        "first_trade": first,
    }
    assert asked("SOL_FLOOR", book).passed == (off >= 0)


@given(st.sampled_from(["open_positions", "in_flight_buys", "in_flight_lamports"]), st.integers(0, 50))
def test_more_held_or_under_way_never_leaves_more(name: str, more: int) -> None:
    fewer, greater = (asked("SOL_FLOOR", {name: count}).numbers["left_lamports"] for count in (more, more + 1))
    assert greater < fewer


@given(st.integers(SOL // 100, 20 * SOL), st.integers(1, 5 * SOL))
def test_price_impact_is_the_quotes_and_grows_with_the_spend(spend: int, more: int) -> None:
    impact = asked("PRICE_IMPACT", spend=spend).numbers["price_impact_bps"]
    assert isinstance(impact, int)
    bought = quote_buy(MARKET, spend)
    paid, at_price = bought.paid_lamports - bought.fee_lamports, bought.tokens_raw * MARKET.quote_raw / MARKET.base_raw
    assert impact - 1 <= (paid / at_price - 1) * 10_000 <= impact + 1e-6
    assert asked("PRICE_IMPACT", spend=spend, **risk(max_price_impact_bps=impact)).passed
    assert not asked("PRICE_IMPACT", spend=spend, **risk(max_price_impact_bps=impact - 1)).passed
    wider = asked("PRICE_IMPACT", spend=spend + more).numbers["price_impact_bps"]
    assert wider is None or wider >= impact


def test_by_default_the_largest_trade_into_a_new_curve_passes() -> None:
    fresh = replace(MARKET, base_raw=1_073 * 10**12, quote_raw=30 * SOL, real_base_raw=793_100 * 10**9)
    check = asked("PRICE_IMPACT", signal={"market": fresh}, spend=3 * SOL)
    assert check.passed
    assert check.numbers["price_impact_bps"] == 988


def test_where_the_venue_gives_no_quote_the_decision_says_so() -> None:
    assert decided(signal={"market": replace(MARKET, real_base_raw=1_000)}).code == "NO_QUOTE"


def test_by_default_the_limits_of_a_leader_are_half_of_the_whole() -> None:
    whole = Settings().risk
    assert whole.max_positions_per_leader * 2 == whole.max_open_positions
    assert whole.max_exposure_per_leader_sol * 2 == whole.max_exposure_sol
    largest = lamports(whole.max_trade_sol) + transaction_cost(Settings().executor)
    assert largest <= lamports(whole.max_exposure_per_mint_sol)
