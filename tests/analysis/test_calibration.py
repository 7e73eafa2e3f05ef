"""Expected against realised: drift is found in time, hardly anybody is given up for nothing, tiers move by rule."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from planted_copies import market_returns

from copytrader_assets.analysis.calibration import (
    ALARM,
    FALSE_KILLS,
    OwnCopies,
    Record,
    Yardstick,
    drift,
    kill_line,
    probability_transform,
    record,
    reliability,
    uniformity,
)
from copytrader_assets.analysis.tiers import BENCH_DAYS, Standing, next_standing

DAY = dt.date(2026, 3, 10)


def yardstick_of(returns, caps=(0.1, 0.95)):
    low, high = np.quantile(returns, caps)
    inside = np.clip(returns, low, high)
    return Yardstick(float(low), float(high), float(inside.mean()), float(inside.std()))


@pytest.fixture(scope="module")
def yardstick():
    return yardstick_of(market_returns(np.random.default_rng(0), 200_000))


def scores(yardstick, n_leaders, n, seed=1, shift_at=None, shift=0.0):
    """Scores of leaders as they were replayed; from the copy `shift_at` on each return is lower by `shift`."""
    returns = market_returns(np.random.default_rng(seed), n_leaders * n).reshape(n_leaders, n)
    if shift_at is not None:
        returns[:, shift_at:] -= shift
    return yardstick.scores(returns)


def test_leaders_that_do_not_change_hardly_raise_an_alarm(yardstick):
    alarmed = [(drift(row) > ALARM).any() for row in scores(yardstick, 3_000, 200)]

    assert np.mean(alarmed) <= 0.05


def test_a_drift_is_found_within_fifty_copies(yardstick):
    shift = 0.8 * yardstick.spread / 0.85
    delays = []
    for row in scores(yardstick, 1_000, 160, 2, shift_at=100, shift=shift):
        after = np.flatnonzero(drift(row)[100:] > ALARM)
        delays.append(after[0] + 1 if len(after) else 61)

    assert np.mean(np.array(delays) <= 50) >= 0.95
    assert np.median(delays) < 30


def test_as_many_are_given_up_for_nothing_as_is_said(yardstick):
    rows = scores(yardstick, 2_000, 1_000, 3)
    lines = kill_line(np.arange(1, 1_001))
    killed = (np.cumsum(rows, axis=1) < lines).any(1).mean()

    assert 0.005 < killed <= FALSE_KILLS


def test_a_worthless_leader_is_given_up(yardstick):
    rows = scores(yardstick, 500, 300, 4, shift_at=0, shift=0.08)
    crossed = np.cumsum(rows, axis=1) < kill_line(np.arange(1, 301))

    assert crossed.any(1).mean() > 0.9
    assert np.median(crossed.argmax(1)[crossed.any(1)]) < 150


def test_one_lucky_copy_does_not_hide_a_drift(yardstick):
    rows = market_returns(np.random.default_rng(5), 60) - 0.25
    with_luck = np.append(rows[:10], [50.0, *rows[10:]])

    assert (drift(yardstick.scores(with_luck)) > ALARM).any()


def own(returns, landed=None, leader=0, **given):
    n = len(returns)
    landed = np.ones(n, bool) if landed is None else landed
    fields = dict.fromkeys(OwnCopies.__slots__, None) | {
        "leader": np.full(n, leader),
        "landed": landed,
        "expected_landing": np.full(n, 0.9),
        "expected_slots": np.full(n, 2.0),
        "slots_late": np.where(landed, 3.0, np.nan),
        "entry_premium_bps": np.where(landed, 40.0, np.nan),
        "exit_premium_bps": np.where(landed, -20.0, np.nan),
        "expected_returns": np.full(n, 0.05),
        "returns": np.where(landed, returns, np.nan),
    }
    return OwnCopies(**(fields | given))


def test_a_record_counts_what_was_expected_beside_what_came(yardstick):
    landed = np.array([True, False, True, True])
    found = record(own(np.array([0.1, 0.0, -0.2, np.nan]), landed), yardstick)

    assert (found.decided, found.landed, found.finished) == (4, 3, 2)
    assert (found.expected_landing, found.expected_slots, found.slots_late) == (0.9, 2.0, 3.0)
    assert found.realised_x == pytest.approx(-0.05)
    assert found.score == pytest.approx(yardstick.scores(np.array([0.1, -0.2])).sum())
    assert found.landing_p_value == pytest.approx(1 - 0.9**4)


def test_no_copies_are_no_record_of_anything(yardstick):
    found = record(own(np.zeros(0)), yardstick)

    assert (found.decided, found.finished, found.score, found.drifted, found.killed) == (0, 0, 0.0, False, False)
    assert np.isnan(found.realised_x)


def test_an_alarm_is_not_forgotten(yardstick):
    bad_then_good = np.append(np.full(60, -0.3), np.full(200, 0.4))
    found = record(own(bad_then_good), yardstick)

    assert found.cusum < ALARM
    assert found.drifted


def test_reliability_shows_where_values_are_too_good():
    rng = np.random.default_rng(1)
    expected = rng.uniform(-0.1, 0.3, 20_000)
    honest, boasting = (reliability(expected, slope * expected + rng.normal(0, 0.5, 20_000)) for slope in (1.0, 0.4))

    assert np.mean((honest.low <= honest.expected) & (honest.expected <= honest.high)) >= 0.7
    assert boasting.realised[-1] < boasting.expected[-1] - 0.1
    assert honest.number.sum() == 20_000


def test_reliability_leaves_unknown_pairs_out():
    found = reliability(np.array([0.1, np.nan, 0.3]), np.array([0.2, 0.5, np.nan]))

    assert found.number.sum() == 1
    assert found.realised[0] == 0.2


def test_our_copies_are_drawn_from_what_was_replayed_or_not():
    rng = np.random.default_rng(1)
    replayed = [market_returns(rng, 2_000), market_returns(rng, 2_000) + 0.1]
    leader = rng.integers(0, 2, 400)
    fair = np.array([market_returns(rng, 1)[0] + 0.1 * code for code in leader])

    assert uniformity(probability_transform(fair, leader, replayed)) > 0.01
    assert uniformity(probability_transform(fair - 0.1, leader, replayed)) < 1e-3
    assert uniformity(probability_transform(np.full(3, np.nan), leader[:3], replayed)) == 1.0


GOOD = Record(30, 27, 0.9, 0.6, 2.0, 2.1, 10.0, 20.0, -5.0, 25, 0.05, 0.06, 1.0, -20.0, 0.5, False, False)


def test_a_proven_leader_begins_at_half_the_size():
    standing = next_standing(Standing(), "COPY", None, DAY)

    assert (standing.tier, standing.alpha, standing.beta) == ("PROBATION", 0.5, 1.0)


def test_good_copies_of_our_own_make_it_active():
    probation = Standing("PROBATION")

    assert next_standing(probation, "COPY", GOOD, DAY).tier == "ACTIVE"
    assert next_standing(probation, "COPY", replace(GOOD, finished=19), DAY).tier == "PROBATION"
    assert next_standing(probation, "COPY", replace(GOOD, score=-7.0), DAY).tier == "PROBATION"


def test_staying_takes_less_than_getting_there():
    doubtful = replace(GOOD, score=-1.5 * 5)

    assert next_standing(Standing("ACTIVE"), "COPY", doubtful, DAY).tier == "ACTIVE"
    assert next_standing(Standing("PROBATION"), "COPY", doubtful, DAY).tier == "PROBATION"
    assert next_standing(Standing("ACTIVE"), "COPY", replace(GOOD, score=-2.1 * 5), DAY).tier == "PROBATION"


@pytest.mark.parametrize("trouble", [{"drifted": True}, {"killed": True}])
def test_drift_and_the_kill_line_bench_for_a_week_and_the_record_starts_anew(trouble):
    benched = next_standing(Standing("ACTIVE"), "COPY", replace(GOOD, **trouble), DAY)

    assert (benched.tier, benched.alpha, benched.since) == ("BENCH", 0.0, DAY + dt.timedelta(days=1))
    later = [
        next_standing(benched, "COPY", None, DAY + dt.timedelta(days=n)).tier for n in (1, BENCH_DAYS - 1, BENCH_DAYS)
    ]
    assert later == ["BENCH", "BENCH", "PROBATION"]


@pytest.mark.parametrize("verdict", ["UNPROVEN", "UNCOPYABLE"])
def test_who_is_no_longer_proven_is_benched(verdict):
    assert next_standing(Standing("ACTIVE"), verdict, GOOD, DAY).tier == "BENCH"


def test_scale_and_beta_move_step_by_step_and_within_bounds():
    short = replace(GOOD, score=-1.5 * 5, entry_premium_bps=90.0)
    standing, seen = Standing("ACTIVE"), []
    for _ in range(8):
        standing = next_standing(standing, "COPY", short, DAY)
        seen.append((standing.scale, standing.beta))
    assert seen[:2] == [(0.9, 0.9), (0.8, 0.8)]
    assert seen[-1] == (0.5, 0.5)

    few_land = replace(GOOD, landing_p_value=0.01)
    assert next_standing(standing, "COPY", few_land, DAY).beta == 0.6
    assert next_standing(standing, "COPY", few_land, DAY).scale == 0.6
