"""Exits by the price: the trailing stop, the adverse move, and what comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_inputs import PATTERN, settings

from copytrader_core.policy.exits import due_exit, needs_multiple, peak, seed_exit
from copytrader_core.policy.record import exit_plan
from copytrader_core.policy.values import ExitPlan, ExitReason

TRAILING = ExitPlan(None, None, 40_000, on_leader_sell=False, trailing_fraction=0.25, trailing_from_x=1.5)
STOP = ExitPlan(6_000, None, 40_000, on_leader_sell=True, stop_x=0.5)
multiples = st.floats(0, 50)


def test_a_quarter_below_the_peak_sells_once_the_peak_was_high_enough() -> None:
    assert due_exit(TRAILING, 0, 1.5, leader_sold=False, peak_x=2.0) == "trailing"
    assert due_exit(TRAILING, 0, 1.501, leader_sold=False, peak_x=2.0) is None
    assert due_exit(TRAILING, 0, 0.1, leader_sold=False, peak_x=1.499) is None
    assert due_exit(TRAILING, 0, 1.125, leader_sold=False, peak_x=1.5) == "trailing"


def test_without_a_peak_or_a_price_nothing_trails() -> None:
    assert due_exit(TRAILING, 0, 0.1, leader_sold=False) is None
    assert due_exit(TRAILING, 0, None, leader_sold=False, peak_x=9.0) is None


def test_a_new_high_is_its_own_peak() -> None:
    assert due_exit(TRAILING, 0, 3.0, leader_sold=False, peak_x=2.0) is None
    assert (peak(None, None), peak(None, 2.0), peak(2.0, None), peak(2.0, 3.0), peak(3.0, 2.0)) == (None, 2, 2, 3, 3)


def test_the_price_at_the_stop_sells_before_the_timer_and_after_the_kill() -> None:
    assert due_exit(STOP, 0, 0.5, leader_sold=True) == "adverse"
    assert due_exit(STOP, 6_000, 0.5, leader_sold=False) == "adverse"
    assert due_exit(STOP, 40_000, 0.5, leader_sold=False) == "kill"
    assert due_exit(STOP, 0, 0.501, leader_sold=False) is None
    assert due_exit(STOP, 0, None, leader_sold=False) is None


@given(st.lists(multiples, min_size=1, max_size=20), st.floats(0.01, 0.99), st.floats(0.1, 5))
def test_a_trailing_exit_sells_at_the_first_fall_below_its_peak_and_never_before(
    path: list[float], fraction: float, start: float
) -> None:
    plan = ExitPlan(None, None, 10**9, on_leader_sell=False, trailing_fraction=fraction, trailing_from_x=start)
    highest: float | None = None
    for n, multiple in enumerate(path):
        reason = due_exit(plan, n, multiple, leader_sold=False, peak_x=highest)
        highest = max(path[: n + 1])
        assert (reason == "trailing") == (highest >= start and multiple <= highest * (1 - fraction))
        assert peak(None if n == 0 else max(path[:n]), multiple) == highest


@given(multiples, multiples, st.integers(0, 50_000), st.booleans())
def test_a_plan_without_them_sells_as_it_always_did(
    multiple: float, peak_x: float, open_ms: int, leader_sold: bool
) -> None:
    plan = ExitPlan(6_000, 1.2, 40_000, on_leader_sell=True)
    expected: ExitReason | None = "leader_sold" if leader_sold else None
    expected = "target" if multiple >= 1.2 else expected
    expected = "timer" if open_ms >= 6_000 else expected
    expected = "kill" if open_ms >= 40_000 else expected
    assert due_exit(plan, open_ms, multiple, leader_sold, peak_x) == expected


def test_both_are_off_until_the_settings_say_otherwise() -> None:
    plain = seed_exit(PATTERN, settings().policy)
    assert (plain.trailing_fraction, plain.trailing_from_x, plain.stop_x) == (None, None, None)
    chosen = seed_exit(PATTERN, settings(policy={"trailing_fraction": 0.3, "stop_x": 0.6}).policy)
    assert (chosen.trailing_fraction, chosen.trailing_from_x, chosen.stop_x) == (0.3, 1.2, 0.6)
    assert set(chosen.reasons) - set(plain.reasons) == {"trailing", "adverse"}


@pytest.mark.parametrize(
    ("plan", "needs"),
    [
        (ExitPlan(6_000, None, 40_000, on_leader_sell=True), False),
        (ExitPlan(None, 1.2, 40_000, on_leader_sell=False), True),
        (TRAILING, True),
        (STOP, True),
    ],
)
def test_only_exits_by_the_price_need_a_quote(plan: ExitPlan, needs: bool) -> None:
    assert needs_multiple(plan) == needs


def test_a_plan_written_before_these_exits_loads_without_them() -> None:
    old = {"timer_ms": 6_000, "target_x": None, "kill_ms": 40_000, "on_leader_sell": False, "reasons": {"kill": "p90"}}
    assert exit_plan(old) == ExitPlan(6_000, None, 40_000, on_leader_sell=False, reasons={"kill": "p90"})
