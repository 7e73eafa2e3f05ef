"""Decisions by copy value: who is followed, how large, at which price, and that all of it is written down."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_inputs import BOOK, COPY_POLICY, EDGES, MARKET, NOW, PATTERN, SIGNAL, SOL, VALUE, settings

from copytrader_core.policy.coin_state import STATE_NAMES, state_of
from copytrader_core.policy.copy_terms import copy_terms, headroom_x, worth
from copytrader_core.policy.decide import decide
from copytrader_core.policy.entry import network_fee
from copytrader_core.policy.market import after_buy, quote_buy, quote_sell
from copytrader_core.policy.record import canonical, decision_document, inputs_document, replay, settings_document
from copytrader_core.records import Inflow

COPY = settings(policy=COPY_POLICY)
NO_CAPS = settings(policy=COPY_POLICY | {"max_size_sol": 50}, risk={"max_trade_sol": 50})
FLAT = replace(VALUE, state_x=(0.0,) * 8, state_half_x=(0.0,) * 8)
POOL = replace(MARKET, venue="amm", pool="pool", lp_fee_bps=20)


def taken(value=VALUE, signal=None, chosen=COPY, inflow=None, pattern=PATTERN):
    return decide(replace(SIGNAL, **signal or {}), pattern, EDGES, BOOK, chosen, NOW, inflow, value=value)


def valued(**changes):
    return replace(VALUE, **changes)


@pytest.mark.parametrize(
    "value",
    [
        None,
        valued(verdict="UNPROVEN"),
        valued(verdict="UNCOPYABLE"),
        valued(tier="BENCH"),
        valued(lower_x=tuple((-0.01,) * 4 for _ in range(3))),
        valued(capacity_sol=0.1),
        valued(latencies=(), mean_x=(), lower_x=(), landing=()),
    ],
)
def test_who_is_not_proven_is_not_followed(value):
    decision = taken(value)

    assert decision.code == "COPY_VALUE"
    assert "copy_verdict" in decision.numbers


def test_the_seeds_gate_does_not_stand_beside_it():
    loser = replace(PATTERN, win_rate=0.2, sample_trades=3)

    assert taken(pattern=loser).accepted
    assert decide(SIGNAL, loser, EDGES, BOOK, settings(), NOW, value=VALUE).code == "GATE_SAMPLE"


def test_without_the_switch_a_value_changes_nothing():
    with_value, without = (decide(SIGNAL, PATTERN, EDGES, BOOK, settings(), NOW, value=v) for v in (VALUE, None))

    assert with_value == without
    assert with_value.accepted


def test_a_latency_beyond_the_grid_is_nobodys_value():
    late = settings(policy=COPY_POLICY, executor={"paper_latency_slots": 5})

    assert taken(chosen=late).code == "COPY_VALUE"


def test_every_number_of_a_copy_is_written_down():
    numbers = taken().numbers

    assert numbers["copy_verdict"] == "COPY"
    assert numbers["copy_state"] == "2-5"
    assert numbers["copy_state_x"] == -0.02
    assert numbers["copy_landing"] == 0.9
    assert numbers["copy_rule"] == "timer=40s target=1.4"
    for name in ("best_lamports", "capacity_sol", "alpha", "beta", "tier", "mean_x", "lower_x", "headroom_x"):
        assert numbers[f"copy_{name}"] is not None
    for name in ("expected_value_lamports", "lower_value_lamports", "slippage_bps", "min_tokens_raw", "fee_bps"):
        assert numbers[name] is not None


def test_expected_value_counts_what_does_not_land():
    decision = taken()
    spend, mean = decision.entry.spend_lamports, decision.numbers["copy_mean_x"]
    fee = network_fee(COPY.executor)

    assert decision.numbers["expected_value_lamports"] == pytest.approx(0.9 * spend * mean - 0.1 * fee)


def test_latency_between_two_of_the_grid_is_in_between():
    market = replace(MARKET, real_quote_raw=30 * SOL)
    at = [
        taken(signal={"market": market}, chosen=settings(policy=COPY_POLICY, executor={"paper_latency_slots": slots}))
        for slots in (1, 2)
    ]
    three = copy_terms(FLAT, 0, settings(policy=COPY_POLICY, executor={"paper_latency_slots": 3}))

    assert at[0].numbers["copy_mean_x"] > at[1].numbers["copy_mean_x"]
    assert three.landing == pytest.approx(0.85)


lowers = st.lists(st.floats(-0.3, 0.5), min_size=4, max_size=4)


@given(lowers, st.floats(0.3, 6.0))
def test_no_size_is_worth_more_than_the_one_that_is_taken(lower, capacity):
    value = replace(
        FLAT, lower_x=(tuple(lower),) * 3, mean_x=(tuple(x + 0.01 for x in lower),) * 3, capacity_sol=capacity
    )
    terms = copy_terms(value, 0, NO_CAPS)
    sizes = [SOL // 5 + (int(min(capacity, 5) * SOL) - SOL // 5) * i // 60 for i in range(61)]

    def lower_value(size):
        at = copy_terms(replace(value, capacity_sol=size / SOL, alpha=1.0), 0, settings(
            policy=COPY_POLICY | {"min_size_sol": size / SOL, "max_size_sol": size / SOL}, risk={"max_trade_sol": 9}
        ))  # fmt: skip
        return worth(at, at.lower_x, NO_CAPS)

    assert worth(terms, terms.lower_x, NO_CAPS) >= max(map(lower_value, sizes[::10])) - 1_000


def test_caps_and_tier_make_it_smaller():
    rich = replace(FLAT, mean_x=((0.6,) * 4,) * 3, lower_x=((0.5, 0.4, 0.3, 0.2),) * 3)
    free, half = copy_terms(rich, 0, NO_CAPS), copy_terms(replace(rich, alpha=0.5), 0, NO_CAPS)
    capped = copy_terms(FLAT, 0, settings(policy=COPY_POLICY, risk={"max_trade_sol": 0.4}))

    assert free.spend_lamports == 3 * SOL
    assert half.spend_lamports == 3 * SOL // 2
    assert capped.spend_lamports <= 400_000_000


def test_a_small_tier_never_goes_below_the_least_size():
    terms = copy_terms(replace(FLAT, alpha=0.0), 0, COPY)

    assert terms.spend_lamports == SOL // 5


def test_the_bound_is_the_price_at_which_nothing_is_left():
    decision = taken(FLAT)
    entry, mean = decision.entry, decision.numbers["copy_mean_x"]
    # Paying 1 + mean times the quoted price for the same coins leaves nothing of the mean return.
    assert (1 + mean) / (1 + entry.slippage_bps / 10_000) - 1 == pytest.approx(0, abs=1e-4)
    assert entry.min_tokens_raw < entry.quoted_tokens_raw


def test_followers_ahead_are_paid_for_and_the_settings_bound_stands():
    inflow = Inflow("leader", 3, (0, 2, 10), (0.0, 0.5, 1.0), (3.0, 2.0, 0.1), (0.0, 1.0, 2.0))
    alone, behind = (taken(FLAT, inflow=given) for given in (None, inflow))
    tight = taken(FLAT, inflow=inflow, chosen=settings(policy=COPY_POLICY | {"max_slippage_bps": 150}))
    ahead = after_buy(MARKET, 500_000_000)
    price = MARKET.quote_raw * ahead.base_raw / (MARKET.base_raw * ahead.quote_raw)

    assert behind.entry.slippage_bps > alone.entry.slippage_bps
    assert (1 + alone.entry.slippage_bps / 1e4) / price == pytest.approx(1 + behind.entry.slippage_bps / 1e4, rel=0.01)
    assert tight.entry.slippage_bps == 150


def test_beta_gives_away_less_of_the_value():
    whole, half = (taken(replace(FLAT, beta=beta)).entry.slippage_bps for beta in (1.0, 0.5))

    assert half == pytest.approx(whole / 2, abs=1)


def test_nothing_can_return_more_than_the_curve_has_room_for():
    nearly_full = replace(
        MARKET, base_raw=287 * 10**12, real_base_raw=7 * 10**12, quote_raw=112 * SOL, real_quote_raw=82 * SOL
    )
    room = headroom_x(nearly_full)
    # Bought now with next to nothing, sold when the others have bought the curve empty but for a trifle.
    bought = quote_buy(nearly_full, 1_000_000)
    full = after_buy(after_buy(nearly_full, 1_000_000), 2_800_000_000)
    rich = replace(FLAT, mean_x=((0.5,) * 4,) * 3, lower_x=((0.4,) * 4,) * 3)

    assert not full.complete
    assert quote_sell(full, bought.tokens_raw).proceeds_lamports / bought.paid_lamports - 1 <= room + 1e-6
    assert taken(rich, {"market": nearly_full}).numbers["copy_mean_x"] == room < 0.05
    assert headroom_x(POOL) is None


def test_the_coins_state_decides_too():
    assert taken(VALUE, {"market": POOL}).code == "COPY_VALUE"
    assert taken(FLAT, {"market": POOL}).accepted


@pytest.mark.parametrize(
    ("sol", "name"), [(0, "curve < 2"), (1.99, "curve < 2"), (2, "2-5"), (59, "40-60"), (84, "curve > 60")]
)
def test_states_are_told_by_real_sol(sol, name):
    assert STATE_NAMES[state_of(replace(MARKET, real_quote_raw=int(sol * SOL)))] == name
    assert STATE_NAMES[state_of(POOL)] == "pool"


def test_copies_need_a_value_even_behind_the_seeds_gate():
    chosen = settings(policy=COPY_POLICY | {"gate": "seed"})

    assert taken(None, chosen=chosen).code == "EXPECTED_VALUE"
    assert taken(None, chosen=chosen).numbers["expected_value_lamports"] is None
    assert taken(valued(verdict="UNPROVEN", tier="BENCH"), chosen=chosen).accepted


def test_a_journalled_copy_is_decided_again_identically():
    decision = taken()
    inputs = json.loads(canonical(inputs_document(SIGNAL, PATTERN, EDGES, BOOK, NOW, None, VALUE)))
    again = replay(inputs, json.loads(canonical(settings_document(COPY))))

    assert again == decision
    assert canonical(decision_document(again)) == canonical(decision_document(decision))


def test_the_horizon_of_the_copies_is_part_of_a_decisions_settings():
    short = settings(policy=COPY_POLICY, copies={"horizon_seconds": 60})
    inputs = json.loads(canonical(inputs_document(SIGNAL, PATTERN, EDGES, BOOK, NOW, None, VALUE)))

    assert replay(inputs, json.loads(canonical(settings_document(short)))).exit.kill_ms == 60_000
