"""The ladder of an exit: every attempt accepts less and pays more, no attempt passes a cap, the last takes anything."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_inputs import SOL, settings

from copytrader_core.policy.escalation import ExitTerms, dearest_exit, exit_terms, is_urgent, min_out
from copytrader_core.policy.values import ExitReason

lamports = st.integers(0, SOL)
bps = st.integers(0, 10_000)
ladders = st.fixed_dictionaries(
    {
        "priority_fee_lamports": lamports,
        "tip_lamports": lamports,
        "exit_slippage_bps": bps,
        "exit_slippage_step_bps": bps,
        "max_exit_slippage_bps": bps,
        "exit_any_price_attempt": st.integers(1, 12),
        "exit_priority_fee_step_lamports": lamports,
        "max_exit_priority_fee_lamports": lamports,
        "exit_tip_step_lamports": lamports,
        "max_exit_tip_lamports": lamports,
        "exit_urgent_steps": st.integers(0, 5),
    }
)


def allowed(terms: ExitTerms) -> int:
    """What an attempt may lose to its quote in bps; more than all where it takes anything."""
    return 10_001 if terms.slippage_bps is None else terms.slippage_bps


def test_the_default_ladder() -> None:
    found = [exit_terms(attempt, settings()) for attempt in (1, 2, 3, 4, 99)]
    assert found == [
        ExitTerms(300, 100_000, 1_000_000),
        ExitTerms(600, 300_000, 2_000_000),
        ExitTerms(900, 500_000, 3_000_000),
        ExitTerms(None, 700_000, 4_000_000),
        ExitTerms(None, 2_000_000, 10_000_000),
    ]
    assert exit_terms(1, settings(), urgent=True) == found[2]


@given(ladders, st.integers(1, 50))
def test_each_attempt_gives_way_and_none_passes_a_cap(executor: dict[str, Any], attempt: int) -> None:
    chosen = settings(executor=executor)
    for urgent in (False, True):
        now, then = exit_terms(attempt, chosen, urgent), exit_terms(attempt + 1, chosen, urgent)
        assert allowed(now) <= allowed(then)
        assert now.priority_fee_lamports <= then.priority_fee_lamports <= executor["max_exit_priority_fee_lamports"]
        assert now.tip_lamports <= then.tip_lamports <= executor["max_exit_tip_lamports"]
        assert now.slippage_bps is None or now.slippage_bps <= executor["max_exit_slippage_bps"]
        assert 5_000 + then.priority_fee_lamports + then.tip_lamports <= dearest_exit(chosen.executor)


@given(ladders, st.integers(1, 50))
def test_an_urgent_exit_is_never_behind_and_everybody_takes_anything_in_the_end(
    executor: dict[str, Any], attempt: int
) -> None:
    chosen = settings(executor=executor)
    patient, urgent = exit_terms(attempt, chosen), exit_terms(attempt, chosen, urgent=True)
    assert allowed(patient) <= allowed(urgent)
    assert patient.priority_fee_lamports <= urgent.priority_fee_lamports
    assert patient.tip_lamports <= urgent.tip_lamports
    assert (patient.slippage_bps is None) == (attempt >= executor["exit_any_price_attempt"])


@given(st.integers(0, 10**15), ladders, st.integers(1, 20))
def test_the_bound_is_the_slippage_below_the_quote_to_the_lamport(
    quoted: int, executor: dict[str, Any], attempt: int
) -> None:
    terms = exit_terms(attempt, settings(executor=executor))
    least = min_out(quoted, terms)
    assert 1 <= least <= max(1, quoted)
    if terms.slippage_bps is None:
        assert least == 1
    elif least > 1:
        assert (least - 1) * 10_000 < quoted * (10_000 - terms.slippage_bps) <= least * 10_000
    assert min_out(quoted, exit_terms(attempt + 1, settings(executor=executor))) <= least


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        exit_terms(0, settings())


def test_what_may_not_wait_is_urgent() -> None:
    assert {reason for reason in get_args(ExitReason) if is_urgent(reason)} == {"kill", "flatten", "adverse"}
