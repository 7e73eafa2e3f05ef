"""The seed's rule, number by number as its pseudocode has them."""

from __future__ import annotations

import json

import pytest
from policy_inputs import BOOK, EDGES, MARKET, NOW, PATTERN, SIGNAL, SOL, decided, settings

from copytrader_core.policy.decide import decide
from copytrader_core.policy.entry import lamports, min_tokens
from copytrader_core.policy.exits import due_exit, seed_exit
from copytrader_core.policy.expected_value import expected_value, price_multiple
from copytrader_core.policy.market import quote_buy
from copytrader_core.policy.record import (
    canonical,
    decision_document,
    inputs_document,
    replay,
    settings_document,
)
from copytrader_core.policy.values import ExitPlan


def test_the_gate_lets_exactly_50_trades_and_52_percent_pass() -> None:
    assert decided().code == "ACCEPTED"
    assert decided(pattern={"sample_trades": 49}).code == "GATE_SAMPLE"
    assert decided(pattern={"win_rate": 0.5199}).code == "GATE_WIN_RATE"


@pytest.mark.parametrize(
    ("average", "spend"), [(1.0, 750_000_000), (0.1, 200_000_000), (9.0, 3 * SOL), (0.4, 300_000_000), (4.0, 3 * SOL)]
)
def test_size_is_three_quarters_of_the_leaders_mean_entry_between_the_limits(average: float, spend: int) -> None:
    entry = decided(pattern={"avg_entry_sol": average}).entry
    assert entry is not None
    assert entry.spend_lamports == spend


@pytest.mark.parametrize(
    ("p95", "bps"), [(0.0, 300), (0.02, 300), (0.025, 300), (0.05, 600), (0.0501, 601), (0.9, 3000)]
)
def test_slippage_is_the_larger_of_base_and_p95_times_beta(p95: float, bps: int) -> None:
    entry = decided(pattern={"slippage_pctl_95": p95}, policy={"require_positive_ev": False}).entry
    assert entry is not None
    assert entry.slippage_bps == bps


@pytest.mark.parametrize(
    ("p50", "p90", "target"), [(1.5, 3.0, 1.2), (2.0, 2.4, 1.2), (1.1, 1.3, 1.05), (0.7, 0.9, 1.05), (3.0, 10.0, 2.4)]
)
def test_target_is_the_lesser_of_80_percent_p50_and_half_p90_at_least_1_05(
    p50: float, p90: float, target: float
) -> None:
    plan = decided(pattern={"p50_target_x": p50, "p90_target_x": p90}, policy={"require_positive_ev": False}).exit
    assert plan is not None
    assert plan.target_x == pytest.approx(target)


@pytest.mark.parametrize(
    ("style", "timer", "target"),
    [
        ("time_stop", 6_000, None),
        ("target_x", None, 1.2),
        ("panic_dump", 6_000, 1.2),
        ("scale_out", 6_000, 1.2),
        ("mixed", 6_000, 1.2),
    ],
)
def test_each_style_has_its_exit_and_always_the_kill(style: str, timer: int | None, target: float | None) -> None:
    plan = decided(pattern={"typical_exit_style": style}).exit
    assert plan is not None
    assert plan.timer_ms == timer
    assert plan.target_x == (None if target is None else pytest.approx(target))
    assert plan.kill_ms == 40_000
    assert set(plan.reasons) == {"kill"} | ({"timer"} if timer else set()) | ({"target"} if target else set())


def test_a_timer_does_not_lose_a_millisecond_to_binary_fractions() -> None:
    plan = decided(pattern={"typical_exit_style": "time_stop", "p50_hold_ms": 5_005}).exit
    assert plan is not None
    assert plan.timer_ms == 3_003


def test_the_bound_is_a_price_at_most_the_slippage_above_the_quoted_one() -> None:
    entry = decided().entry
    assert entry is not None
    assert entry.quoted_tokens_raw == quote_buy(MARKET, 750_000_000).tokens_raw
    assert entry.min_tokens_raw * 10_600 >= entry.quoted_tokens_raw * 10_000
    assert (entry.min_tokens_raw - 1) * 10_600 < entry.quoted_tokens_raw * 10_000
    assert min_tokens(10_000, 0) == 10_000


def test_expected_value_charges_fees_once_and_the_network_twice() -> None:
    assert expected_value(price_multiple(1.0, 125), 0, 125, SOL, 0) == pytest.approx(0, abs=1)
    assert expected_value(1.0, 0, 125, SOL, 0) == pytest.approx(SOL * (0.9875 / 1.0125 - 1))
    assert expected_value(price_multiple(1.2, 125), 600, 125, SOL, 1_105_000) == pytest.approx(
        SOL * (1.2 / 1.06 - 1) - 2_210_000
    )


def test_a_leader_whose_gain_does_not_pay_our_costs_is_refused() -> None:
    poor = decided(pattern={"p50_target_x": 1.2, "p90_target_x": 2.0})
    assert poor.code == "EXPECTED_VALUE"
    assert poor.numbers["expected_value_lamports"] < 0
    assert decided(pattern={"p50_target_x": 1.2, "p90_target_x": 2.0}, policy={"require_positive_ev": False}).accepted


def test_a_time_stop_leader_is_valued_at_what_it_typically_reaches() -> None:
    decision = decided(pattern={"typical_exit_style": "time_stop"})
    assert decision.numbers["expected_x"] == 1.5


def test_without_a_usable_pattern_there_is_no_trade() -> None:
    assert decide(SIGNAL, None, (), BOOK, settings(), NOW).code == "NO_PATTERN"
    for hole in ({"avg_entry_sol": 0.0}, {"p50_hold_ms": 0}, {"p90_hold_ms": 0}, {"slippage_pctl_95": float("nan")}):
        assert decided(pattern=hole).code == "PATTERN_INCOMPLETE"


def test_exits_come_due_in_their_order() -> None:
    plan = ExitPlan(timer_ms=6_000, target_x=1.2, kill_ms=40_000, on_leader_sell=False)
    assert due_exit(plan, 5_999, 1.19, leader_sold=True) is None
    assert due_exit(plan, 0, 1.2, leader_sold=False) == "target"
    assert due_exit(plan, 6_000, None, leader_sold=False) == "timer"
    assert due_exit(plan, 40_000, 9.0, leader_sold=False) == "kill"
    follows = ExitPlan(None, None, 40_000, on_leader_sell=True)
    assert due_exit(follows, 10, None, leader_sold=True) == "leader_sold"


def test_following_the_leaders_sell_is_a_setting() -> None:
    assert not seed_exit(PATTERN, settings().policy).on_leader_sell
    assert seed_exit(PATTERN, settings(policy={"exit_on_leader_sell": True}).policy).on_leader_sell


def test_the_same_inputs_give_the_same_bytes() -> None:
    texts = {canonical(decision_document(decided())) for _ in range(3)}
    assert len(texts) == 1


def test_a_decision_is_taken_again_from_its_record() -> None:
    for changed in ({}, {"win_rate": 0.1}, {"typical_exit_style": "mixed"}):
        decision = decided(pattern=changed)
        pattern = type(PATTERN)(**{name: getattr(PATTERN, name) for name in PATTERN.__slots__} | changed)
        kept = json.loads(canonical(inputs_document(SIGNAL, pattern, EDGES, BOOK, NOW)))
        again = replay(kept, json.loads(canonical(settings_document(settings()))))
        assert again == decision


def test_sol_becomes_lamports_without_binary_rounding() -> None:
    assert [lamports(sol) for sol in (0.1, 0.2, 0.3, 1.1, 2.3)] == [
        10**8,
        2 * 10**8,
        3 * 10**8,
        1_100_000_000,
        2_300_000_000,
    ]
