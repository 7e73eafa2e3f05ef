"""How late orders land: measured where enough is known, drawn towards the settings, and told in the decision."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from policy_inputs import BOOK, COPY_POLICY, EDGES, NOW, PATTERN, SIGNAL, VALUE, settings

from copytrader_core.policy.copy_terms import copy_terms
from copytrader_core.policy.decide import decide
from copytrader_core.policy.inflow import queue_at
from copytrader_core.policy.landing import (
    LOST,
    draws,
    lateness,
    model_name,
    slots_late,
    with_landings,
    with_our_latency,
)
from copytrader_core.policy.record import canonical, decision_document, inputs_document, replay, settings_document
from copytrader_core.policy.resolved import resolved
from copytrader_core.records import Inflow, LandingCount, Release
from copytrader_core.settings import Settings

DAY = "2026-10-11"
PLANTED = (
    *(LandingCount("BUY", slots, n) for slots, n in ((LOST, 40), (1, 100), (2, 40), (4, 20))),
    *(LandingCount("SELL", slots, n) for slots, n in ((3, 150), (9, 50))),
)
FLAT = replace(VALUE, state_x=(0.0,) * 8, state_half_x=(0.0,) * 8)


def measured(counts=PLANTED, **executor) -> Settings:
    """Without a prior, so that shares are those of the counts."""
    given = settings(policy=COPY_POLICY, executor={"landing_prior_orders": 0} | executor)
    return with_landings(given, counts, DAY)


def test_orders_are_drawn_as_ours_have_landed():
    buys, sales = (lateness(measured().executor, side) for side in ("BUY", "SELL"))
    drawn = [draws(f"order {n}") for n in range(20_000)]
    bought = Counter(slots_late(buys, late) for late, _ in drawn)

    assert (buys.lost_share, buys.n_orders, sales.lost_share, sales.n_orders) == (0.2, 200, 0.0, 200)
    assert sum(lost < buys.lost_share for _, lost in drawn) / 20_000 == pytest.approx(0.2, abs=0.01)
    assert {slots: n / 20_000 for slots, n in bought.items()} == pytest.approx({1: 0.625, 2: 0.25, 4: 0.125}, abs=0.01)
    assert {slots_late(sales, late) for late, _ in drawn} == {3, 9}
    assert buys.mean_slots == pytest.approx(1.625)


def test_the_settings_draw_what_they_always_have():
    late = lateness(settings(executor={"paper_latency_slots": 3, "paper_jitter_slots": 4}).executor, "SELL")
    for n in range(2_000):
        drawn, _ = draws(f"order {n}")
        assert slots_late(late, drawn) == 3 + int(drawn * 5)


def test_the_settings_weigh_as_so_many_orders():
    chosen = measured(landing_prior_orders=50, paper_latency_slots=2, paper_lost_share=0.1)
    buys = lateness(chosen.executor, "BUY")

    assert buys.lost_share == pytest.approx((50 * 0.1 + 40) / 250)
    assert dict(zip(buys.slots, buys.shares, strict=True)) == pytest.approx(
        {1: 100 / 205, 2: (40 + 45) / 205, 4: 20 / 205}
    )


@pytest.mark.parametrize("counts", [(), (LandingCount("BUY", 7, 49),), (LandingCount("SELL", LOST, 500),)])
def test_too_few_orders_leave_the_settings_as_they_are(counts):
    given = settings()

    assert with_landings(given, counts, DAY) is given
    assert resolved(given, Release("r", DAY, {}, (), landings=counts)).executor.measured is None


def test_a_side_with_too_few_orders_keeps_the_settings():
    chosen = measured((LandingCount("BUY", 5, 50), LandingCount("SELL", 30, 49)), paper_latency_slots=3)

    assert lateness(chosen.executor, "BUY").slots == (5,)
    assert lateness(chosen.executor, "SELL").slots == (3,)


def test_who_wants_the_settings_gets_them():
    given = settings(executor={"landing": "settings"})

    assert with_our_latency(given, PLANTED, DAY) is given
    assert model_name(given.executor) == "settings"


def test_a_later_release_without_orders_takes_the_model_back():
    assert with_landings(measured(), (), "2026-10-12").executor.measured is None


def test_another_day_or_count_is_another_model():
    fewer = (*PLANTED[:-1], LandingCount("SELL", 9, 49))
    names = [model_name(with_landings(settings(), c, d).executor) for c, d in ((PLANTED, DAY), (fewer, DAY))]
    names.append(model_name(with_landings(settings(), PLANTED, "2026-10-12").executor))

    assert len({*names}) == 3
    assert all(name.startswith("measured-2026-10-1") for name in names)


def test_a_copys_value_is_the_expectation_over_when_it_lands():
    """At 1, 2 and 4 slots a copy of 1 SOL returns 11, 9 and -1 %, and 95, 90 and 80 % land."""
    sol = {name: tuple((row[2],) for row in getattr(FLAT, name)) for name in ("mean_x", "lower_x", "landing")}
    terms = copy_terms(replace(FLAT, sizes_lamports=(1_000_000_000,), **sol), 0, measured())
    landing = 0.625 * 0.95 + 0.25 * 0.9 + 0.125 * 0.8

    assert terms.landing == pytest.approx(0.8 * landing)
    assert terms.mean_x == pytest.approx((0.625 * 0.95 * 0.11 + 0.25 * 0.9 * 0.09 - 0.125 * 0.8 * 0.01) / landing)
    assert terms.lower_x == pytest.approx((0.625 * 0.95 * 0.05 + 0.25 * 0.9 * 0.03 - 0.125 * 0.8 * 0.07) / landing)


@pytest.mark.parametrize(("beyond", "is_valued"), [(5, True), (30, False)])
def test_a_few_may_land_later_than_the_grid_reaches(beyond, is_valued):
    chosen = measured((LandingCount("BUY", 1, 100 - beyond), LandingCount("BUY", 40, beyond)))

    assert (copy_terms(FLAT, 0, chosen) is not None) == is_valued


def test_the_queue_is_read_at_the_mean_latency():
    inflow = Inflow("leader", 3, (0, 2, 10), (0.0, 0.5, 1.0), (3.0, 2.0, 0.1), (0.0, 1.0, 2.0))
    decision = decide(SIGNAL, PATTERN, EDGES, BOOK, measured(), NOW, inflow, value=VALUE)

    assert decision.numbers["inflow_ahead_lamports"] == queue_at(inflow, 1.625).ahead_lamports > 0


def test_a_decision_names_the_model_and_is_the_same_again_from_the_journal():
    chosen = measured()
    decision = decide(SIGNAL, PATTERN, EDGES, BOOK, chosen, NOW, value=VALUE)
    inputs = json.loads(json.dumps(inputs_document(SIGNAL, PATTERN, EDGES, BOOK, NOW, None, VALUE)))
    kept = json.loads(json.dumps(settings_document(chosen)))

    assert decision.accepted
    assert decision.numbers["landing_model"] == model_name(chosen.executor) != "settings"
    assert decision.numbers["copy_latency_slots"] == 1.625
    assert canonical(decision_document(replay(inputs, kept))) == canonical(decision_document(decision))
    parts = {name: part for name, part in kept.items() if name != "guards"}
    assert Settings(**parts).executor == chosen.executor


@pytest.mark.parametrize(("slots", "reference"), [(1, 1), (3, 4), (7, 8), (100, 16)])
def test_leaders_are_compared_at_the_latency_nearest_to_ours(slots, reference):
    ours = (LandingCount("BUY", slots, 1_000),)
    given = settings(executor={"landing_prior_orders": 0})

    assert with_our_latency(given, ours, DAY).copies.reference_latency == reference
    fixed = settings(copies={"our_latency": "settings"})
    assert with_our_latency(fixed, ours, DAY).copies.reference_latency == 2
