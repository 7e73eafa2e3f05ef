"""The measures beside the raw ones, each against a case that can be counted by hand or a planted truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import fingerprints
from planted_trips import DAY_NS, END_NS, event, events_table, open_trip, trip, trips_table
from test_wallet_patterns import dead

from copytrader_assets.analysis.activity import burstiness
from copytrader_assets.analysis.outcomes import MOST_ROI
from copytrader_assets.analysis.shrinkage import shrink_means
from copytrader_assets.analysis.stability import steadiness
from copytrader_assets.analysis.window import TripWindow
from copytrader_core.settings import PatternSettings

HOUR_NS = DAY_NS // 24
WAY_BACK = END_NS - 20 * HOUR_NS


def row_of(trips, *, held=(), events=(), window=None, **settings) -> dict:
    (row,) = fingerprints(
        trips_table(list(trips)), trips_table(list(held)), events_table(list(events)), {"w": None},
        settings=PatternSettings(**settings), window=window,
    ).to_pylist()  # fmt: skip
    return row


def held(n: int, *, worth_sol: float, **changes) -> dict:
    """An open position that cost 1 SOL and would fetch `worth_sol` after fees."""
    lots, reserve = [{"left_raw": 10**12}], round(worth_sol * 1e9 / 0.9875 * 1001)
    coin = {"reserve_base_raw": 10**15, "reserve_quote_raw": reserve}
    return open_trip("w", n, opened_ns=WAY_BACK) | {
        "meta_json": json.dumps({"lots": lots, "coin": coin}), "close_proceeds_raw": 0, **changes,
    }  # fmt: skip


def coin_path(row: dict, prices: list[tuple[float, float]], sells: list[tuple[float, float, float]]) -> list[dict]:
    """The buy at price 1, a crowd's prices (seconds, price), the wallet's sells (seconds, share, price); no fees."""
    at, mint = row["open_ts_ns"], row["mint"]

    def one(who, action, seconds, sig, base, price, quote=None, **place):
        reserves = {"reserve_base_raw": 10**18, "reserve_quote_raw": round(price * 10**15)}
        amounts = {"base_raw": base, "quote_raw": quote or round(base * price / 1000), "swap_fee_raw": 0}
        return event(who, action, mint, at + round(seconds * 1e9), sig, **reserves, **amounts, **place)

    events = [one("w", "BUY", 0, row["open_sig"], 10**12, 1.0)]
    events += [one("x", "BUY", s, f"{mint}-{s}", 1, price) for s, price in prices]
    legs = [leg["sig"] for leg in json.loads(row["meta_json"])["legs"]]
    return events + [
        one("w", "SELL", s, sig, round(1e12 * share), price) for sig, (s, share, price) in zip(legs, sells, strict=True)
    ]


def test_open_bags_count_as_what_they_would_fetch_and_dead_ones_as_lost():
    trips = [trip("w", n, opened_ns=WAY_BACK, hold_s=9, x=2) for n in range(3)]
    trips.append(dead("w", 3, opened_ns=WAY_BACK - DAY_NS, died_ns=END_NS))
    bags = [held(10, worth_sol=0.25), held(11, worth_sol=1.5), held(12, worth_sol=1, meta_json="{}")]
    row = row_of(trips, held=bags)

    assert (row["win_rate_closed"], row["win_rate"], row["win_rate_all"]) == (1.0, 3 / 4, 4 / 6)
    assert (row["closed_trades"], row["dead_trades"], row["open_trades"], row["marked_trades"]) == (3, 1, 3, 2)
    assert row["open_pnl_sol"] == pytest.approx(-0.25)
    assert row["win_rate_all_lo"] < row["win_rate_all_shrunk"] < row["win_rate_all_hi"]


def test_a_mark_of_the_position_itself_goes_before_its_reserves():
    bag = held(10, worth_sol=9.0)
    bag["meta_json"] = json.dumps(json.loads(bag["meta_json"]) | {"mark_quote_raw": 500_000_000})

    assert row_of([trip("w", 0, opened_ns=WAY_BACK, hold_s=9, x=2)], held=[bag])["open_pnl_sol"] == pytest.approx(-0.5)


def test_the_best_multiple_is_the_highest_that_the_bag_could_have_fetched_while_it_was_held():
    row = trip("w", 0, opened_ns=WAY_BACK, hold_s=60, x=0.8)
    path = coin_path(row, [(10, 3.0), (30, 0.5), (59, 0.8), (61, 50.0)], [(60, 1.0, 0.8)])

    assert row_of([row], events=path)["p50_best_x"] == pytest.approx(3.0, rel=1e-3)
    assert row_of([row], events=path[::-1])["p50_best_x"] == pytest.approx(3.0, rel=1e-3)
    assert row_of([row], events=path[1:])["best_x_trades"] == 0
    assert row_of([row])["p50_best_x"] is None


def test_after_a_partial_sale_its_proceeds_stay_in_the_best_multiple():
    row = trip("w", 0, opened_ns=WAY_BACK, hold_s=60, x=1.25, legs=(0.5, 0.5))
    path = coin_path(row, [(10, 2.0), (30, 3.0), (50, 0.5)], [(20, 0.5, 2.0), (60, 0.5, 0.5)])

    # At most half sold at 2 and half standing at 3.
    assert row_of([row], events=path)["p50_best_x"] == pytest.approx(2.5, rel=1e-3)


def test_a_multiple_that_nobody_would_have_paid_is_not_reached():
    row = trip("w", 0, opened_ns=WAY_BACK, hold_s=60, x=0.5)
    path = coin_path(row, [(10, 2.0)], [(60, 1.0, 0.5)])
    for one in path:
        one["reserve_base_raw"], one["reserve_quote_raw"] = 10**12, one["reserve_quote_raw"] // 10**6

    # The bag is as large as the pool: selling it halves the price.
    assert row_of([row], events=path)["p50_best_x"] == pytest.approx(1.0, rel=1e-3)


def test_the_best_multiple_is_never_below_the_realised_one():
    row = trip("w", 0, opened_ns=WAY_BACK, hold_s=60, x=4.0)

    assert row_of([row], events=coin_path(row, [], [(60, 1.0, 1.0)]))["p50_best_x"] == 4.0


def test_another_quote_of_the_coin_is_another_price():
    row = trip("w", 0, opened_ns=WAY_BACK, hold_s=60, x=0.8)
    path = coin_path(row, [(10, 3.0)], [(60, 1.0, 0.8)])
    path[1]["quote_mint"] = "dollars"

    assert row_of([row], events=path)["p50_best_x"] == pytest.approx(1.0, rel=1e-3)


def test_the_delay_is_what_the_price_moved_since_the_last_slot_before_the_buy():
    def one(who, seconds, sig, price, **place):
        reserves = {"reserve_base_raw": 10**15, "reserve_quote_raw": round(price * 1e12)}
        amounts = {"base_raw": 1, "quote_raw": 1000, "swap_fee_raw": 0}
        return event(who, "BUY", "m", WAY_BACK + round(seconds * 1e9), sig, **reserves, **amounts, **place)

    market = [one("x", 0, "a", 1.0), one("x", 4, "b", 1.2, tx_index=1), one("w", 4, "c", 1.2, tx_index=2)]
    row = row_of([trip("w", 0, opened_ns=WAY_BACK, hold_s=9, x=2)], events=market)
    alone = row_of([trip("w", 0, opened_ns=WAY_BACK, hold_s=9, x=2)], events=market[1:])

    assert row["slippage_delay_p50"] == pytest.approx(0.2, rel=1e-6)
    assert (row["slippage_buys"], row["slippage_delay_buys"]) == (1, 1)
    assert (alone["slippage_buys"], alone["slippage_delay_buys"], alone["slippage_delay_p50"]) == (1, 0, None)


def test_profits_by_day_hold_the_marks_and_their_worst_fall():
    trips = [
        trip("w", 0, opened_ns=END_NS - 3 * DAY_NS + HOUR_NS, hold_s=60, x=4),
        trip("w", 1, opened_ns=END_NS - 2 * DAY_NS + HOUR_NS, hold_s=60, x=0),
        trip("w", 2, opened_ns=END_NS - 2 * DAY_NS + 2 * HOUR_NS, hold_s=60, x=0),
    ]
    row = row_of(trips, held=[held(9, worth_sol=0.5)], window=TripWindow("3d", 3))

    # +3, then -2, then the bag stands at -0.5.
    assert row["max_drawdown_sol"] == pytest.approx(2.5)
    assert row["avg_daily_pnl_sol"] == pytest.approx(0.5 / 3)
    assert row["daily_pnl_volatility_sol"] == pytest.approx(np.std([3, -2, -0.5], ddof=1))


def test_a_hold_over_a_time_is_known_of_what_is_older_already():
    trips = [trip("w", n, opened_ns=WAY_BACK, hold_s=hold, x=2) for n, hold in enumerate([2, 4, 9])]
    young = held(8, worth_sol=1, open_ts_ns=END_NS - 3 * 10**9)
    row = row_of(trips, held=[held(7, worth_sol=1), young], hold_over_seconds=5)

    assert (row["hold_over_ms"], row["hold_over_trials"], row["hold_over"]) == (5000, 4, 2 / 4)
    assert row["censored_holds"] == 2


def test_a_windows_last_trips_are_each_wallets_own():
    trips = [trip("w", n, opened_ns=END_NS - (40 - n) * DAY_NS, hold_s=10 + n, x=2) for n in range(39)]
    last = row_of(trips, window=TripWindow.parse("last5"))

    assert (last["sample_trades"], last["p50_hold_ms"]) == (5, 46_000)
    assert row_of(trips, window=TripWindow.parse("7d"))["sample_trades"] == 6


@pytest.mark.parametrize("name", ["", "0d", "last0", "7", "d7", "lifetimes", "-3d"])
def test_a_window_without_a_meaning_is_refused(name):
    with pytest.raises(ValueError, match="7d, last50 or lifetime"):
        TripWindow.parse(name)


def test_burstiness_is_minus_one_for_a_clock_about_zero_by_chance_and_high_in_bursts():
    rng = np.random.default_rng(1)
    chance = [burstiness(np.zeros(n, np.int64), np.sort(rng.integers(0, 10**9, n)), 1)[0][0] for n in [12] * 400]
    bursts = np.concatenate([start + rng.integers(0, 50, 10) for start in range(0, 10**6, 10**5)])

    assert burstiness(np.zeros(9, np.int64), np.arange(9) * 100, 1)[0].tolist() == [-1.0]
    assert np.mean(chance) == pytest.approx(0, abs=0.03)
    assert burstiness(np.zeros(100, np.int64), bursts, 1)[0][0] > 0.5
    assert math.isnan(burstiness(np.zeros(2, np.int64), np.array([1, 5]), 1)[0][0])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**6)), max_size=40))
def test_burstiness_keeps_its_bounds(pairs):
    codes, times = (np.array([p[i] for p in pairs], dtype=np.int64) for i in range(2))
    values, gaps = burstiness(codes, times, 3)

    assert np.all((np.abs(values) <= 1) | np.isnan(values)) and gaps.sum() <= len(pairs)


def test_weeks_that_differ_by_chance_are_stable_and_weeks_that_decide_are_not():
    rng = np.random.default_rng(2)
    codes, week = np.repeat(np.arange(300), 80), np.tile(np.repeat(np.arange(4), 20), 300)
    noise = rng.normal(0, 1, len(codes))
    steady = steadiness(codes, week, noise, 300)
    moved = steadiness(codes, week, noise + np.array([0, 3, -3, 1])[week], 300)

    assert np.median(steady) > 0.95 and steady.min() > 0.6
    assert moved.max() < 0.4
    assert np.isnan(steadiness(codes, np.zeros_like(week), noise, 300)).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1e6, 1e6)), max_size=60))
def test_stability_keeps_its_bounds(pairs):
    week, values = np.array([p[0] for p in pairs], dtype=np.int64), np.array([p[1] for p in pairs], dtype=np.float64)
    score = steadiness(np.zeros(len(week), np.int64), week, values, 1)[0]

    assert math.isnan(score) or 0 <= score <= 1


def test_shrunken_returns_are_nearer_to_the_truth_and_their_intervals_hold():
    rng = np.random.default_rng(3)
    truth, sizes = rng.normal(-0.05, 0.15, 500), rng.integers(2, 90, 500)
    values = [rng.normal(mean, 0.8, size) for mean, size in zip(truth, sizes, strict=True)]
    means, variances = (np.array([f(v) for v in values]) for f in (np.mean, lambda v: np.var(v, ddof=1)))
    shrunk = shrink_means(means, variances, sizes)

    assert np.mean((shrunk.mean - truth) ** 2) < 0.5 * np.mean((means - truth) ** 2)
    assert np.mean((shrunk.low <= truth) & (truth <= shrunk.high)) == pytest.approx(0.9, abs=0.04)


def test_one_lucky_coin_makes_no_leader():
    trips = [trip("w", n, opened_ns=WAY_BACK + n, hold_s=9, x=0.7) for n in range(40)]
    lucky = row_of([*trips, trip("w", 99, opened_ns=WAY_BACK, hold_s=9, x=500)])

    assert lucky["roi_mean"] > 10
    assert lucky["roi_shrunk"] < 0 and lucky["roi_hi"] <= MOST_ROI
