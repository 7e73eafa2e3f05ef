"""Every limit: its code, its edge, that in-flight exposure counts, and that no input passes a cap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from policy_inputs import BOOK, EDGES, MARKET, NOW, PATTERN, SIGNAL, SOL, decided, settings

from copytrader_core.policy.decide import decide
from copytrader_core.policy.guards import GUARDS, Proposal, code, guards_named
from copytrader_core.policy.values import Now

COST = 1_105_000
REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("TRADING_STATE", {"book": {"trading_state": "REDUCING"}}),
    ("TRADING_STATE", {"book": {"trading_state": "HALTED"}}),
    ("BLOCKED_MINT", {"risk": {"blocked_mints": ("mint",)}}),
    ("QUOTE_CURRENCY", {"signal": {"quote_mint": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"}}),
    ("NO_MARKET", {"signal": {"market": None}}),
    ("CURVE_COMPLETE", {"signal": {"market": replace(MARKET, complete=True)}}),
    ("QUOTE_AGE", {"now": Now(126, 0)}),
    ("PER_TRADE_CAP", {"risk": {"max_trade_sol": 0.19}}),
    ("OPEN_POSITIONS", {"book": {"open_positions": 19, "in_flight_buys": 1}}),
    ("PER_MINT", {"book": {"mint_count": {"mint": 1}}}),
    ("EXPOSURE", {"book": {"exposure_lamports": 19 * SOL, "in_flight_lamports": 250_000_000}}),
    ("LOSS_HOUR", {"book": {"loss_hour_lamports": 5 * SOL}}),
    ("LOSS_DAY", {"book": {"loss_day_lamports": 10 * SOL}}),
    ("BALANCE", {"book": {"balance_lamports": 750_000_000 + 2 * COST - 1}}),
    ("NO_QUOTE", {"signal": {"market": replace(MARKET, real_base_raw=1_000)}}),
]


@pytest.mark.parametrize(("code", "changes"), REFUSALS)
def test_each_refusal_has_its_code_and_no_plan(code: str, changes: dict[str, Any]) -> None:
    decision = decided(**changes)
    assert (decision.code, decision.entry, decision.exit) == (code, None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"now": Now(125, 0)},
        {"risk": {"max_trade_sol": 0.2}},
        {"book": {"open_positions": 18, "in_flight_buys": 1}},
        {"book": {"mint_count": {"another": 5}}},
        {"book": {"exposure_lamports": 20 * SOL - 750_000_000 - COST}},
        {"book": {"loss_hour_lamports": 5 * SOL - 1}},
        {"book": {"loss_day_lamports": 10 * SOL - 1}},
    ],
)
def test_at_the_limit_it_passes(changes: dict[str, Any]) -> None:
    if "risk" in changes:
        changes["policy"] = {"require_positive_ev": False}
    assert decided(**changes).accepted


def test_a_cap_above_the_smallest_size_trims_the_trade() -> None:
    entry = decided(risk={"max_trade_sol": 0.5}).entry
    assert entry is not None
    assert entry.spend_lamports == SOL // 2


def test_every_guard_has_a_code_of_its_own_and_shows_its_numbers() -> None:
    proposal = Proposal(SIGNAL, PATTERN, BOOK, settings(), NOW, 750_000_000)
    checks = [guard(proposal) for guard in GUARDS]
    assert [check.code for check in checks] == [code(guard) for guard in GUARDS]
    assert len({check.code for check in checks}) == len(GUARDS)
    assert all(check.passed for check in checks)
    shown = decided().numbers
    for check in checks:
        assert check.numbers.items() <= shown.items()


def test_the_first_refusal_is_the_decisions_code() -> None:
    blocked = {"risk": {"blocked_mints": ("mint",), "blocked_leaders": ("leader",)}}
    assert decided(**blocked).code == "BLOCKED_MINT"
    assert decided(book={"trading_state": "HALTED"}, **blocked).code == "TRADING_STATE"


def test_a_balance_of_buy_costs_and_exits_is_payable() -> None:
    (guard,) = guards_named(["BALANCE"])
    book = replace(BOOK, balance_lamports=750_000_000 + 2 * COST)
    assert guard(Proposal(SIGNAL, PATTERN, book, settings(), NOW, 750_000_000)).passed


def test_a_refusal_carries_the_numbers_that_were_compared() -> None:
    numbers = decided(book={"loss_hour_lamports": 6 * SOL}).numbers
    assert (numbers["loss_hour_lamports"], numbers["max_loss_hour_lamports"]) == (6 * SOL, 5 * SOL)


amounts = st.integers(0, 30 * SOL)
books = st.builds(
    replace,
    st.just(BOOK),
    balance_lamports=st.integers(0, 40 * SOL),
    open_positions=st.integers(0, 25),
    in_flight_buys=st.integers(0, 5),
    exposure_lamports=amounts,
    in_flight_lamports=amounts,
    loss_hour_lamports=amounts,
    loss_day_lamports=amounts,
    mint_count=st.dictionaries(st.just("mint"), st.integers(0, 2)),
)
patterns = st.builds(
    replace,
    st.just(PATTERN),
    sample_trades=st.integers(0, 200),
    win_rate=st.floats(0, 1),
    avg_entry_sol=st.floats(0, 1e6),
    p50_target_x=st.floats(0, 100),
    p90_target_x=st.floats(0, 100),
    slippage_pctl_95=st.floats(-1, 10),
    p50_hold_ms=st.integers(0, 10**10),
    p90_hold_ms=st.integers(0, 10**10),
    typical_exit_style=st.sampled_from(["time_stop", "target_x", "panic_dump", "scale_out", "mixed"]),
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(books, patterns)
def test_nothing_accepted_is_above_a_cap(book: Any, pattern: Any) -> None:
    decision = decide(SIGNAL, pattern, EDGES, book, settings(), NOW)
    if decision.entry is None or decision.exit is None:
        assert not decision.accepted
        return
    spend = decision.entry.spend_lamports
    assert SOL // 5 <= spend <= 3 * SOL
    assert book.exposure_lamports + book.in_flight_lamports + spend + COST <= 20 * SOL
    assert book.in_flight_lamports + spend + 2 * COST <= book.balance_lamports
    assert book.open_positions + book.in_flight_buys < 20
    assert book.of_mint("mint") == 0
    assert 300 <= decision.entry.slippage_bps <= 3_000
    assert 0 < decision.entry.min_tokens_raw <= decision.entry.quoted_tokens_raw
    assert decision.exit.kill_ms == pattern.p90_hold_ms
    assert decision.exit.target_x is None or decision.exit.target_x >= 1.05


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0, 1), st.floats(0, 1))
def test_size_and_slippage_grow_with_the_leaders(small: float, large: float, calm: float, wild: float) -> None:
    small, large, calm, wild = *sorted((small, large)), *sorted((calm, wild))
    free = {"require_positive_ev": False}
    lesser = decided(pattern={"avg_entry_sol": small, "slippage_pctl_95": calm}, policy=free).entry
    greater = decided(pattern={"avg_entry_sol": large, "slippage_pctl_95": wild}, policy=free).entry
    assert lesser is not None
    assert greater is not None
    assert lesser.spend_lamports <= greater.spend_lamports
    assert lesser.slippage_bps <= greater.slippage_bps


@hypothesis_settings(max_examples=100, deadline=None)
@given(books, st.integers(0, 5 * SOL))
def test_more_exposure_never_turns_a_refusal_into_a_trade(book: Any, more: int) -> None:
    before = decide(SIGNAL, PATTERN, EDGES, book, settings(), NOW)
    worse = replace(book, exposure_lamports=book.exposure_lamports + more, in_flight_buys=book.in_flight_buys + 1)
    assert before.accepted or not decide(SIGNAL, PATTERN, EDGES, worse, settings(), NOW).accepted
