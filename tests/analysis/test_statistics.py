"""The estimators by themselves, against definitions, references and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_network import SLOT_MS, World
from scipy import stats

from copytrader_assets.analysis.chance import benjamini_hochberg, binomial_tail, bootstrap_quantile, poisson_tail
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Groups
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.shrinkage import shrink
from copytrader_assets.analysis.survival import Observed, hold_quantiles_ms


def median_hold_ms(codes, ages_ms, entries_ms, ended, n_groups):
    return hold_quantiles_ms(Observed(codes, ages_ms, entries_ms, ended), (0.5,), n_groups)[0]


samples = st.lists(st.tuples(st.integers(0, 3), st.floats(-1e6, 1e6)), max_size=40)


@given(samples, st.floats(0, 1))
def test_quantiles_are_numpys(pairs, q):
    codes, values = np.array([c for c, _ in pairs], dtype=np.int64), np.array([v for _, v in pairs], dtype=np.float64)
    got = Groups.of(codes, values, 4).quantile(q)

    for group in range(4):
        mine = values[codes == group]
        assert np.isnan(got[group]) if not len(mine) else got[group] == pytest.approx(np.quantile(mine, q), abs=1e-6)


@given(samples, st.sampled_from([0.3, 0.5, 0.65, 1.0]))
def test_the_shorth_is_the_shortest_interval_with_enough_values(pairs, share):
    codes, values = np.array([c for c, _ in pairs], dtype=np.int64), np.array([v for _, v in pairs], dtype=np.float64)
    length, middle = Groups.of(codes, values, 4).shorth(share)

    for group in np.unique(codes):
        mine = np.sort(values[codes == group])
        need = int(np.ceil(len(mine) * share - 1e-9))
        assert length[group] == min(mine[i + need - 1] - mine[i] for i in range(len(mine) - need + 1))
        inside = np.abs(mine - middle[group]) <= length[group] / 2 * (1 + 1e-9) + 1e-6
        assert inside.sum() >= need


def test_kaplan_meier_is_the_textbook_estimate():
    ages, ended = np.array([1, 3, 4, 5, 5, 7, 9, 11]), np.array([1, 0, 1, 1, 0, 1, 1, 0])
    zeros = np.zeros(8, dtype=np.int64)
    reference = stats.ecdf(stats.CensoredData.right_censored(ages, ended == 0)).sf
    expected = reference.quantiles[np.flatnonzero(reference.probabilities <= 0.5)[0]]

    assert median_hold_ms(zeros, ages, zeros, ended, 1).tolist() == [expected]


def test_holds_that_began_before_the_window_do_not_count_too_often():
    rng = np.random.default_rng(1)
    opened, hold = rng.uniform(-400_000, 100_000, 60_000), rng.exponential(30_000, 60_000)
    seen = opened + hold > 0
    opened, hold = opened[seen], hold[seen]
    ended = opened + hold <= 100_000
    age = np.where(ended, hold, 100_000 - opened).astype(np.int64)
    entry = np.maximum(-opened, 0).astype(np.int64)
    zeros, truth = np.zeros(len(age), dtype=np.int64), 30_000 * np.log(2)

    assert median_hold_ms(zeros, age, entry, ended.astype(np.int64), 1)[0] == pytest.approx(truth, rel=0.02)
    assert median_hold_ms(zeros, age, zeros, ended.astype(np.int64), 1)[0] > truth * 1.1


def test_wallets_without_an_edge_are_not_told_apart_by_luck():
    trials = np.full(318, 50)
    admitted = []
    for seed in range(5):
        wins = np.random.default_rng(seed).binomial(50, 0.5, 318)
        rates = shrink(wins, trials)
        assert np.mean(wins / 50 >= 0.52) > 0.35
        admitted.append(np.mean(rates.low > 0.5))

    assert np.mean(admitted) < 0.02


def test_shrunken_rates_are_nearer_to_the_truth_and_their_intervals_hold():
    rng = np.random.default_rng(2)
    truth, trials = rng.beta(12, 18, 400), rng.integers(5, 120, 400)
    wins = rng.binomial(trials, truth)
    rates = shrink(wins, trials)

    assert np.mean((rates.mean - truth) ** 2) < 0.7 * np.mean((wins / trials - truth) ** 2)
    assert np.mean((rates.low <= truth) & (truth <= rates.high)) == pytest.approx(0.9, abs=0.05)
    assert rates.prior_alpha / (rates.prior_alpha + rates.prior_beta) == pytest.approx(0.4, abs=0.02)
    above = rates.probability_above(0.4, wins, trials)
    assert above[rates.low > 0.4].min() >= 0.95


def test_one_wallet_alone_is_never_certain():
    rates = shrink(np.array([9]), np.array([10]))

    assert 0.5 < rates.mean[0] < 0.9
    assert rates.high[0] - rates.low[0] > 0.15


def test_q_values_are_those_of_benjamini_and_hochberg():
    p = np.random.default_rng(3).uniform(0, 1, 40) ** 3
    every = np.concatenate([p, np.ones(60)])

    assert benjamini_hochberg(p, 100) == pytest.approx(stats.false_discovery_control(every)[:40])
    assert benjamini_hochberg(np.zeros(0), 10).tolist() == []


def test_tails_are_exact():
    k, n, p = np.array([0, 1, 5, 10]), np.array([10, 10, 10, 10]), np.array([0.1, 0.1, 0.3, 0.5])

    assert binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p))
    assert poisson_tail(k, np.full(4, 2.5)) == pytest.approx(stats.poisson.sf(k - 1, 2.5))


def test_the_bootstrap_needs_no_drawing():
    rng = np.random.default_rng(4)
    outcomes = np.array([1] * 12 + [0] * 28)
    drawn = rng.choice(outcomes, (20_000, 40)).mean(axis=1)

    assert bootstrap_quantile(np.array([12]), np.array([40]), 0.025)[0] == pytest.approx(
        np.quantile(drawn, 0.025), abs=0.0125
    )


def after_leader(buys: FirstBuys, leader: int, slots: int) -> np.ndarray:
    """The buys of anybody within `slots` slots after the leader bought the same coin."""
    found = []
    for own in buys.of_wallet(leader):
        coin = np.searchsorted(buys.mint_starts, own, side="right") - 1
        among = np.arange(buys.mint_starts[coin], buys.mint_starts[coin + 1])
        found.append(among[buys.is_later(among, own) & (buys.slot[among] - buys.slot[own] <= slots)])
    return np.concatenate(found)


def test_the_expected_co_occurrences_are_those_of_shuffled_wallets():
    """Shuffling the wallets within every stratum keeps crowds, hours and habits, and unties whoever is tied."""
    buys = FirstBuys.of(World(seed=9, days=1).table())
    habits = Habits.of(buys, SLOT_MS)
    leader = int(buys.codes_of(["leader-3"])[0])
    watched = np.argsort(-buys.per_wallet, kind="stable")[:60]
    inside = habits.after(buys, buys.of_wallet(leader), 75) / np.maximum(habits.everybody, 1)
    expected = sum((table @ inside).sum() for _, table in habits.profiles(buys, watched))
    near = after_leader(buys, leader, 75)
    rng, order = np.random.default_rng(10), np.argsort(habits.stratum, kind="stable")
    totals = np.zeros(len(buys.per_wallet))
    for _ in range(200):
        shuffled = np.empty_like(buys.wallet)
        shuffled[order] = buys.wallet[order[np.lexsort((rng.random(len(order)), habits.stratum[order]))]]
        totals += np.bincount(shuffled[near], minlength=len(totals))

    assert expected == pytest.approx(totals[watched].sum() / 200, rel=0.05)
