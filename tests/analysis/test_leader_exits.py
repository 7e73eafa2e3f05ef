"""The exit that is chosen for copies of a leader, on planted exit habits; survival of what leaders hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_exits import SIZE, Habit, copy_exit_days, returns_of

from copytrader_assets.analysis.exit_curves import (
    AGES_MS,
    MULTIPLES,
    observed_multiples,
    survival_by_age,
    survival_by_multiple,
)
from copytrader_assets.analysis.exit_rules import (
    NAMES,
    RULES,
    chosen_rules,
    conditions_of,
    joined_rules,
    rule_copies,
    rule_values,
)
from copytrader_assets.analysis.survival import Observed
from copytrader_core.policy.rules import FAMILY, SEED

HABITS = [Habit(f"hold{hold}-{lift}", hold, lift) for hold in (4, 8, 15, 30, 70, 150) for lift in (0.1, 0.3)]


@pytest.fixture(scope="module", params=[1, 2])
def world(request):
    """Returns under every rule of twelve leaders, 160 copies each: the first half is learned from."""
    rng = np.random.default_rng(request.param)
    return {habit.name: returns_of(habit, rng, 160) for habit in HABITS}


def halves(world):
    return ({name: m[:80] for name, m in world.items()}, {name: m[80:] for name, m in world.items()})


def chosen_of(world):
    return chosen_rules(days_of(world, list(world)), list(world))


def days_of(world, leaders):
    return [rule_copies(table, leaders, SIZE) for table in copy_exit_days(world, 10)]


def test_the_chosen_exit_beats_the_seeds_out_of_sample(world):
    before, after = halves(world)
    chosen = chosen_of(before)
    gains = [after[n][:, FAMILY.index(chosen[n])].mean() - after[n][:, -1].mean() for n in world]

    assert np.mean(gains) > 0.03
    assert np.mean(np.array(gains) > 0) >= 0.75


def test_the_chosen_exit_is_near_the_best_that_hindsight_knows(world):
    before, after = halves(world)
    chosen = chosen_of(before)
    lost = [after[n][:, : len(RULES)].mean(0).max() - after[n][:, FAMILY.index(chosen[n])].mean() for n in world]

    assert np.mean(lost) < 0.04


def test_habits_that_differ_get_exits_that_differ(world):
    chosen = chosen_of(world)
    timers = [np.mean([chosen[h.name].timer_ms for h in HABITS if h.hold_s == hold]) for hold in (4, 150)]

    assert timers[0] < timers[1]


def test_the_seed_stands_beside_with_its_paired_difference(world):
    leaders = list(world)
    values = rule_values(joined_rules(days_of(world, leaders)), len(leaders))

    for i, name in enumerate(leaders):
        raw = np.minimum(world[name], np.quantile(np.vstack(list(world.values())), 0.99))
        k = values.chosen[i]
        assert values.over_seed[i, k] == pytest.approx((raw[:, k] - raw[:, -1]).mean(), abs=1e-3)
        assert values.over_seed_error[i, k] == pytest.approx((raw[:, k] - raw[:, -1]).std() / np.sqrt(160), rel=0.3)
    assert values.over_seed[:, -1] == pytest.approx(0)


def test_a_leader_of_few_copies_gets_what_is_best_for_all(world):
    rng = np.random.default_rng(9)
    young = {**world, "young": returns_of(Habit("young", 30), rng, 2)}
    leaders = list(young)
    values = rule_values(joined_rules(days_of(young, leaders)), len(leaders))
    pooled = np.mean([m[:, : len(RULES)].mean(0) - m[:, : len(RULES)].mean() for m in world.values()], axis=0)

    assert values.copies[-1] == 2
    assert pooled.max() - pooled[values.chosen[-1]] < 0.03


def test_one_lucky_copy_chooses_no_rule(world):
    name = "hold8-0.3"
    lucky = {**world, name: world[name].copy()}
    slow = RULES.index("timer=600s")
    lucky[name][3, slow] = 80.0

    assert str(chosen_of(lucky)[name]) == str(chosen_of(world)[name])


def test_where_rules_do_not_differ_the_simplest_is_taken():
    rng = np.random.default_rng(3)
    same = {f"l{i}": np.repeat(rng.normal(0, 0.5, (60, 1)), len(NAMES), axis=1) for i in range(8)}

    assert all(rule.conditions == 1 for rule in chosen_of(same).values())


def test_noise_alone_chooses_few_conditions():
    rng = np.random.default_rng(3)
    fewer = []
    for _ in range(10):
        noise = {f"l{i}": rng.normal(0, 0.1, (60, len(NAMES))) for i in range(4)}
        fewer += [rule.conditions for rule in chosen_of(noise).values()]

    assert np.mean(fewer) < np.mean([rule.conditions for rule in FAMILY]) - 0.3


def test_leaders_without_a_seed_exit_or_without_copies_are_chosen_for_too(world):
    name = "hold8-0.3"
    matrix = world[name].copy()
    matrix[:, -1] = np.nan
    days = copy_exit_days({**world, name: np.nan_to_num(matrix)}, 10)
    without_seed = [
        t.filter(
            [not (n == name and r == SEED) for n, r in zip(t["leader"].to_pylist(), t["rule"].to_pylist(), strict=True)]
        )
        for t in days
    ]
    leaders = [*world, "silent"]
    values = rule_values(joined_rules([rule_copies(t, leaders, SIZE) for t in without_seed]), len(leaders))
    i = leaders.index(name)

    assert np.isnan(values.over_seed[i]).all()
    assert np.isnan(values.raw[i, -1])
    assert np.isfinite(values.mean).all() and np.isfinite(values.behind_error).all()
    assert 0 <= values.chosen[-1] < len(FAMILY)
    assert np.isfinite(values.over_seed[leaders.index("hold15-0.3")]).all()


def test_no_copies_choose_nothing():
    assert chosen_rules([], ["a"]) == {}


def test_the_seeds_exit_counts_as_two_conditions():
    assert conditions_of(SEED) == 2
    assert [conditions_of(name) for name in ("timer=5s", "timer=40s target=2 trail=0.2")] == [1, 3]


def test_open_positions_are_neither_sold_nor_forgotten():
    rng = np.random.default_rng(1)
    n = 4_000
    hold, watched = rng.exponential(60_000, n), rng.exponential(60_000, n)
    ended = hold <= watched
    ages, zeros = np.minimum(hold, watched).astype(np.int64), np.zeros(n, dtype=np.int64)
    with_open = survival_by_age(Observed(zeros, ages, zeros, ended.astype(np.int64)), 2)
    closed_only = survival_by_age(Observed(zeros[ended], ages[ended], zeros[ended], ended[ended].astype(np.int64)), 2)
    at = int(np.searchsorted(AGES_MS, 60_000))
    truth = np.exp(-AGES_MS[at] / 60_000)

    assert with_open[0, at] == pytest.approx(truth, abs=0.03)
    assert closed_only[0, at] < truth - 0.1
    assert np.isnan(with_open[1]).all()


multiples = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 30)), min_size=1, max_size=40)


@given(multiples)
def test_without_open_positions_survival_is_the_share_above(rows):
    codes, values = np.array([c for c, _ in rows]), np.array([v for _, v in rows]).round(4)
    found = survival_by_multiple(observed_multiples(codes, values, np.ones(len(rows), dtype=bool)), 3)

    for code in np.unique(codes):
        shares = [(values[codes == code] > x).mean() for x in MULTIPLES]
        assert found[code] == pytest.approx(shares, abs=1e-9)


def test_a_position_held_at_a_profit_counts_as_sold_above_that():
    codes, ended = np.zeros(4, dtype=np.int64), np.array([True, True, True, False])
    found = survival_by_multiple(observed_multiples(codes, np.array([0.5, 1.2, 4.0, 1.5]), ended), 1)[0]

    assert found[np.searchsorted(MULTIPLES, 1.4)] == pytest.approx(0.5)
    assert found[np.searchsorted(MULTIPLES, 1.6)] == pytest.approx(0.5)
    assert found[-1] == pytest.approx(0.0)
