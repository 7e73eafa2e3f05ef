"""Copy value on planted worlds: who is let in, who is not, how much fits, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from planted_copies import KINDS, SETTINGS, USUAL, CopyWorld, Kind, Leader, market_returns, mean_of
from scipy import stats

from copytrader_assets.analysis.adaptive_shrinkage import shrink_adaptively
from copytrader_assets.analysis.copy_returns import joined_cells, means_of
from copytrader_assets.analysis.copy_value import cells_of_day, copy_values, last_crossing
from copytrader_assets.analysis.state_offsets import state_offsets
from copytrader_core.policy.coin_state import STATE_NAMES

SEEDS = (1, 2, 3, 4)
REFERENCE = (SETTINGS.reference_latency, round(SETTINGS.reference_size_sol * 1e9))
GRID = tuple((latency, size) for latency in SETTINGS.latencies for size in SETTINGS.sizes_sol)


def values_of(leaders, seed=1, inflow=None, **world):
    days = days_of(CopyWorld(leaders, seed=seed, **world).rows, leaders)
    return copy_values(days, [x.name for x in leaders], SETTINGS, inflow)


def days_of(tables, leaders):
    return [cells_of_day(table, [x.name for x in leaders]) for table in tables]


def copies_of(world):
    (copies,) = joined_cells(days_of(world.rows, world.leaders)).values()
    return copies


def crowd(n_good, edge, n, other=0.0):
    good = [Leader(f"good{i}", edge) for i in range(n_good)]
    return good + [Leader(f"none{i}", other) for i in range(n - n_good)]


def admitted(values):
    return np.array([verdict == "COPY" for verdict in values.verdicts.verdict])


def auc(good, rest):
    return stats.mannwhitneyu(good, rest).statistic / (len(good) * len(rest))


def test_the_planted_returns_are_as_wild_as_those_of_memecoins():
    returns = market_returns(np.random.default_rng(5), 31_800)

    assert 0.5 < returns.std() < 1.0
    assert returns.max() > 15
    assert np.median(returns) < -0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_leaders_with_an_edge_are_told_from_those_without(seed):
    values = values_of(crowd(60, 0.08, 318), seed)
    cell = values.cells[REFERENCE]

    assert auc(cell.mean[:60], cell.mean[60:]) >= 0.95
    assert auc(cell.means.raw[:60], cell.means.raw[60:]) < 0.9
    assert admitted(values)[:60].mean() > 0.6
    assert admitted(values)[60:].mean() < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_of_leaders_without_any_edge_hardly_one_is_let_in(seed):
    assert admitted(values_of(crowd(0, 0, 318), seed)).mean() < 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_of_leaders_that_lose_a_little_none_is_let_in(seed):
    assert not admitted(values_of(crowd(0, 0, 318, other=-0.03), seed)).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_leaders_of_different_kinds_without_any_edge_are_not_let_in_either(seed):
    rng = np.random.default_rng(seed)
    leaders = [Leader(f"l{i}", 0.0, returns=market_returns(rng, 100, KINDS[i % 4])) for i in range(318)]

    assert admitted(values_of(leaders, seed)).mean() < 0.02


def test_an_edge_of_rare_multiples_is_ranked_better_than_by_means():
    rng, lucky = np.random.default_rng(1), Kind(won=0.07)
    often = [lucky.multiples(rng, 100) / mean_of(USUAL) - 1 for _ in range(60)]
    good = [Leader(f"good{i}", 0.0, returns=returns) for i, returns in enumerate(often)]
    cell = values_of([*good, *crowd(0, 0, 258)]).cells[REFERENCE]

    assert auc(cell.mean[:60], cell.mean[60:]) > max(0.8, auc(cell.means.raw[:60], cell.means.raw[60:]))


def test_a_common_mean_above_zero_by_luck_lets_nobody_in():
    values = values_of(crowd(0, 0, 318, other=0.01), 1)

    assert values.cells[REFERENCE].p_positive.min() > 0.5
    assert admitted(values).mean() < 0.02


@pytest.mark.parametrize("multiple", [50.0, 1_000.0])
def test_one_lucky_copy_lets_nobody_in(multiple):
    lucky = np.full(100, -0.02) + np.random.default_rng(1).normal(0, 0.2, 100)
    lucky[17] = multiple
    leaders = [Leader("lucky", 0.0, returns=lucky), *crowd(30, 0.08, 317)]
    values = values_of(leaders)

    assert values.cells[REFERENCE].means.raw[0] > 0.4
    assert values.cells[REFERENCE].mean[0] < 0.05
    assert not admitted(values)[0]


def test_lucky_copies_of_one_coin_on_one_day_are_one_piece_of_luck():
    lucky = np.random.default_rng(1).normal(-0.02, 0.2, 100)
    lucky[40:60] = 4.0
    leaders = [Leader("lucky", 0.0, returns=lucky), *crowd(30, 0.08, 317)]

    assert not admitted(values_of(leaders, per_coin=20))[0]


def test_copies_of_one_coin_make_the_error_larger():
    leaders = crowd(0, 0, 50)
    together = Leader("together", 0.0, returns=np.repeat(market_returns(np.random.default_rng(2), 20), 5))
    apart, bound = (values_of([together, *leaders], per_coin=n).cells[REFERENCE].means for n in (1, 5))

    assert bound.clusters[0] * 5 == apart.clusters[0] == 100
    assert bound.error[0] > 1.5 * apart.error[0]


def test_posteriors_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(4)
    edges = np.where(rng.random(300) < 0.2, rng.normal(0.06, 0.04, 300), rng.normal(-0.03, 0.02, 300))
    inside = []
    for seed in SEEDS:
        cell = values_of([Leader(f"l{i}", float(e)) for i, e in enumerate(edges)], seed).cells[REFERENCE]
        inside.append((cell.low <= edges) & (edges <= cell.high))

    assert 0.85 < np.mean(inside) < 0.98


def test_few_copies_prove_nothing_however_good():
    values = values_of([Leader("young", 0.8, trades=12), *crowd(30, 0.08, 100)])

    assert values.verdicts.verdict[0] == "UNPROVEN"
    assert values.verdicts.reason[0] == "12 landed copies of 12 coin-days; needed: 20 of 10"


def test_a_certain_loss_is_uncopyable_and_says_so():
    values = values_of([Leader("bad", -0.3, trades=400), *crowd(30, 0.08, 100)])

    assert values.verdicts.verdict[0] == "UNCOPYABLE"
    assert values.verdicts.reason[0].startswith("2 slots late a copy loses at every size, -")


def test_capacity_is_the_size_at_which_nothing_is_left():
    impacts = np.array([0.08, 0.1, 0.15, 0.25])
    deep = [Leader(f"deep{i}", 0.25, trades=4_000, impact_per_sol=impact) for i, impact in enumerate(impacts)]
    cells, truth, inside = tuple((2, size) for size in SETTINGS.sizes_sol), 0.5 + 0.25 / impacts, []
    for seed in SEEDS:
        found = values_of([*deep, *crowd(30, 0.08, 100)], seed, cells=cells).verdicts
        low, capacity, high = (x[:4] for x in (found.capacity_low_sol, found.capacity_sol, found.capacity_high_sol))
        assert capacity == pytest.approx(truth, rel=0.15)
        assert ((low <= capacity) & (capacity <= high)).all()
        inside.append((low <= truth) & (truth <= high))

    assert np.mean(inside) >= 0.75


def test_break_even_is_the_slot_at_which_nothing_is_left():
    fast = Leader("fast", 0.2, trades=4_000, decay_per_slot=0.05)
    found = values_of([fast, *crowd(30, 0.08, 100)], cells=GRID).verdicts

    assert found.break_even_slots[0] == pytest.approx(6.0, rel=0.15)


def test_what_does_not_land_costs_its_fee():
    leader = Leader("shy", 0.2, trades=2_000, landed=0.5)
    cell = values_of([leader, *crowd(30, 0.08, 100)]).cells[REFERENCE]

    assert cell.landed[0] == pytest.approx(0.5, abs=0.05)
    assert cell.revert == pytest.approx(105_000 / 5e8)
    assert cell.per_signal(cell.mean)[0] == pytest.approx(cell.landed[0] * cell.mean[0] - 0.5 * cell.revert, abs=1e-4)


def test_a_forecast_of_inflow_helps_to_rank():
    leaders = crowd(60, 0.05, 200)
    rng = np.random.default_rng(3)
    inflow = {x.name: float(np.exp(rng.normal(1.0 if x.edge else 0.0, 0.7))) for x in leaders}
    told, blind = (values_of(leaders, 2, given).cells[REFERENCE].mean for given in (inflow, None))

    assert auc(told[:60], told[60:]) > auc(blind[:60], blind[60:])


def test_values_depend_on_the_coins_state():
    rng = np.random.default_rng(6)
    leaders = [Leader(f"l{i}", 0.0, returns=rng.normal(0, 0.3, 200)) for i in range(80)]
    copies = copies_of(CopyWorld(leaders))
    copies.returns[copies.bucket == 5] += 0.1
    # A leader that buys in one state only must not lend its own value to that state.
    copies.returns[copies.leader == 0] += 5.0
    copies.bucket[copies.leader == 0] = 2
    found = state_offsets(copies, len(leaders), len(STATE_NAMES))

    assert found.mean[5] - found.mean[2] == pytest.approx(0.1, abs=0.03)
    assert abs(found.mean[2] - found.mean[3]) < 0.04
    assert found.copies[7] == 0 == found.half[7]


def test_states_that_do_not_matter_get_no_offset():
    leaders = crowd(0, 0, 100)
    copies = copies_of(CopyWorld(leaders, seed=9))

    assert np.abs(state_offsets(copies, 100, len(STATE_NAMES)).mean).max() < 0.015


def test_leaders_without_copies_get_the_prior():
    values = values_of([Leader("silent", 0.0, trades=0), *crowd(30, 0.08, 100)])
    cell = values.cells[REFERENCE]

    assert cell.means.signals[0] == 0
    assert np.isfinite(cell.mean[0])
    assert values.verdicts.verdict[0] == "UNPROVEN"


def test_no_copies_at_all_say_nothing():
    values = copy_values([], ["a", "b"], SETTINGS)

    assert values.verdicts.verdict == ["UNPROVEN", "UNPROVEN"]
    assert np.isnan(values.verdicts.capacity_sol).all()


def test_shrinkage_leaves_alone_what_stands_far_out():
    rng = np.random.default_rng(1)
    truth = np.zeros(200)
    truth[0] = 1.0
    posterior = shrink_adaptively(truth + rng.normal(0, 0.05, 200), np.full(200, 0.05))

    assert posterior.mean[0] > 0.9
    assert np.abs(posterior.mean[1:]).max() < 0.05


def test_two_leaders_do_not_know_their_centre():
    posterior = shrink_adaptively(np.array([0.1, -0.1]), np.array([0.1, 0.1]))

    assert (posterior.spread > 0.05).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 0.5, -0.5], 1.5), ([-1, 1, -1], 1.5), ([1, 1, 1], 2.0), ([-1, -2, -3], 0.0)],
)
def test_the_last_crossing_is_where_values_fall_below_zero_for_good(values, expected):
    assert last_crossing(np.array([0.0, 1.0, 2.0]), np.array(values, dtype=float)) == expected


def test_the_order_of_rows_changes_nothing():
    leaders = crowd(10, 0.08, 40)
    rows = CopyWorld(leaders).rows
    shuffled = [table.take(np.random.default_rng(2).permutation(table.num_rows)) for table in rows]
    one, other = (
        copy_values(days_of(tables, leaders), [x.name for x in leaders], SETTINGS) for tables in (rows, shuffled)
    )

    np.testing.assert_allclose(one.cells[REFERENCE].mean, other.cells[REFERENCE].mean, atol=1e-9)
    assert one.verdicts.verdict == other.verdicts.verdict


def test_means_keep_their_level():
    leaders = crowd(0, 0, 200)
    copies = copies_of(CopyWorld(leaders, seed=3))
    means = means_of(copies, 200)

    assert (means.own + means.tail).mean() == pytest.approx(copies.returns.mean(), abs=0.004)


def test_what_was_replayed_outside_of_the_grid_is_left_out():
    leaders = crowd(3, 0.08, 30)
    values = values_of(leaders, cells=((2, 0.5), (3, 0.5), (2, 0.7)))

    assert set(values.cells) == {(2, 500_000_000)}


def test_our_own_copies_are_held_against_the_replayed_ones():
    leaders = [*crowd(3, 0.08, 60), Leader("silent", 0.0, trades=0)]
    values = values_of(leaders)
    stick = values.yardstick(1, SETTINGS)
    mine = values.reference.returns[values.reference.leader == 1]

    assert stick.low < -0.1 < 0.1 < stick.high
    assert stick.scores(mine).std() == pytest.approx(1.0, abs=0.25)
    assert values.yardstick(60, SETTINGS) is None
