"""The queue of a leader's followers: read at our place in it, and worth what the curve says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from policy_inputs import BOOK, EDGES, MARKET, NOW, PATTERN, SIGNAL, SOL, settings

from copytrader_core.policy.decide import decide
from copytrader_core.policy.inflow import NOBODY, Queue, queue_at, queue_value
from copytrader_core.policy.market import after_buy, quote_buy, quote_sell
from copytrader_core.policy.record import decision_document, inputs_document, replay, settings_document
from copytrader_core.records import Inflow

INFLOW = Inflow("leader", 3, (0, 2, 10, 75), (0.0, 1.0, 3.0, 4.0), (4.0, 3.0, 1.0, 0.0), (0.0, 1.0, 2.0, 3.0))


@pytest.mark.parametrize(("slots", "ahead", "behind"), [(0, 0, 4), (1, 0.5, 3.5), (2, 1, 3), (6, 2, 2), (999, 4, 0)])
def test_the_queue_is_read_at_our_place(slots: int, ahead: float, behind: float) -> None:
    queue = queue_at(INFLOW, slots)

    assert (queue.ahead_lamports, queue.behind_lamports) == (int(ahead * SOL), int(behind * SOL))


def test_a_leader_without_a_forecast_has_nobody_around() -> None:
    assert queue_at(None, 2) == NOBODY


def test_a_round_trip_with_nobody_around_costs_the_fees() -> None:
    value = queue_value(MARKET, NOBODY, SOL, 1_000_000)

    assert value is not None
    assert -0.03 * SOL < value < -2_000_000


@given(st.integers(0, 5 * SOL), st.integers(0, 5 * SOL), st.integers(SOL // 10, SOL))
@example(ahead=0, behind=2, more=SOL)
def test_who_is_ahead_costs_and_who_is_behind_pays(ahead: int, behind: int, more: int) -> None:
    value = queue_value(MARKET, Queue(ahead, behind, 1.0), SOL, 0)

    assert queue_value(MARKET, Queue(ahead, behind + more, 1.0), SOL, 0) > value
    assert queue_value(MARKET, Queue(ahead + more, behind, 1.0), SOL, 0) <= value


def test_buying_twice_is_buying_into_the_market_after_the_first() -> None:
    first, after = quote_buy(MARKET, SOL), after_buy(MARKET, SOL)

    assert after.real_base_raw == MARKET.real_base_raw - first.tokens_raw
    assert quote_buy(after, SOL).tokens_raw < first.tokens_raw
    assert quote_sell(after, first.tokens_raw).proceeds_lamports < SOL


def test_a_curve_that_the_others_empty_has_no_value_to_give() -> None:
    assert queue_value(MARKET, Queue(0, 500 * SOL, 1.0), SOL, 0) is None


def test_the_seed_rule_decides_as_before_and_notes_the_queue() -> None:
    before, now = (decide(SIGNAL, PATTERN, EDGES, BOOK, settings(), NOW, inflow) for inflow in (None, INFLOW))

    assert (before.code, before.entry, before.exit) == (now.code, now.entry, now.exit)
    assert now.numbers["inflow_ahead_lamports"] == SOL


@pytest.mark.parametrize(("behind", "code"), [(0.0, "EXPECTED_VALUE"), (20.0, "ACCEPTED")])
def test_by_inflow_a_buy_needs_followers_behind_it(behind: float, code: str) -> None:
    inflow = replace(INFLOW, behind_sol=(behind,) * 4)
    by_inflow = settings(policy={"expected_value": "inflow"})

    assert decide(SIGNAL, PATTERN, EDGES, BOOK, by_inflow, NOW, inflow).code == code


def test_a_journalled_decision_replays_with_its_forecast() -> None:
    chosen = settings(policy={"expected_value": "inflow"})
    decision = decide(SIGNAL, PATTERN, EDGES, BOOK, chosen, NOW, INFLOW)
    inputs = json.loads(json.dumps(inputs_document(SIGNAL, PATTERN, EDGES, BOOK, NOW, INFLOW)))

    assert decision_document(replay(inputs, settings_document(chosen))) == decision_document(decision)
