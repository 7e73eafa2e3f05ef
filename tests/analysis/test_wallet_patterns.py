"""Fingerprints against round trips that can be counted by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from measured import fingerprints
from planted_trips import AS_OF, DAY_NS, END_NS, Planted, event, events_table, open_trip, trip, trips_table

from copytrader_assets.analysis.activity import preferred_hours
from copytrader_assets.pattern_schemas import WALLET_PATTERNS
from copytrader_core.settings import PatternSettings

HOUR_NS = DAY_NS // 24
MIDNIGHT_NS = END_NS - DAY_NS


def patterns(
    rows, *, held=(), events=(), wallets=("w",), as_of=AS_OF, scores=None, days=None, **settings
) -> list[dict]:
    table = fingerprints(
        trips_table(list(rows)), trips_table(list(held)), events_table(list(events)),
        {name: f"{name} by name" for name in wallets}, as_of=as_of,
        settings=PatternSettings(**settings), scores=scores, days=days,
    )  # fmt: skip
    assert WALLET_PATTERNS.violations(WALLET_PATTERNS.conform(table)) == ()
    return table.to_pylist()


def dead(wallet: str, n: int, *, opened_ns: int, died_ns: int, **changes) -> dict:
    gone = dict.fromkeys(("close_sig", "close_ts_ns", "close_slot", "hold_ms"))
    row = trip(wallet, n, opened_ns=opened_ns, hold_s=1, x=0.0, **changes) | gone
    return row | {"status": "DEAD", "was_win": False, "meta_json": json.dumps({"died_ts_ns": died_ns, "legs": []})}


def four_trips() -> list[dict]:
    at = MIDNIGHT_NS + 13 * HOUR_NS
    return [
        trip("w", 0, opened_ns=at - DAY_NS, hold_s=10, x=1.5, cost_sol=1.0),
        trip("w", 1, opened_ns=at, hold_s=20, x=0.5, cost_sol=2.0),
        trip("w", 2, opened_ns=at + HOUR_NS, hold_s=40, x=3.0, cost_sol=0.5),
        dead("w", 3, opened_ns=at - 5 * DAY_NS, died_ns=END_NS, cost_sol=0.5),
    ]


def test_a_fingerprint_counts_what_can_be_counted_by_hand():
    (row,) = patterns(four_trips(), days=4)

    assert (row["wallet"], row["alias"], row["as_of"]) == ("w", "w by name", AS_OF)
    assert (row["sample_trades"], row["sample_days"], row["avg_daily_trades"]) == (4, 2, 1.0)
    assert row["win_rate"] == 2 / 4
    assert (row["avg_entry_sol"], row["p50_entry_sol"]) == (1.0, 0.75)
    assert row["p90_entry_sol"] == pytest.approx(np.quantile([0.5, 0.5, 1, 2], 0.9))
    assert (row["p50_hold_ms"], row["p90_hold_ms"]) == (20_000, 36_000)
    assert (row["p50_target_x"], row["p90_target_x"]) == (1.5, pytest.approx(np.quantile([0.5, 1.5, 3], 0.9)))
    assert row["pnl_sol"] == 0.5 - 1.0 + 1.0 - 0.5
    assert row["avg_pnl_sol"] == 0.0
    assert row["pnl_volatility_sol"] == pytest.approx(np.std([0.5, -1.0, 1.0, -0.5], ddof=1))
    assert row["preferred_time_window"] == "13-14"
    assert row["typical_exit_style"] == "mixed"


def test_a_dead_bag_is_a_loss_even_if_it_had_sold_at_a_profit():
    rich = dead("w", 9, opened_ns=MIDNIGHT_NS, died_ns=END_NS) | {"pnl_raw": Decimal(5), "pnl_lamports": 5}

    assert patterns([rich])[0]["win_rate"] == 0.0
    assert patterns([rich])[0]["p50_hold_ms"] is None


def test_incomplete_trips_and_other_wallets_count_nowhere():
    noise = [
        trip("w", 20, opened_ns=MIDNIGHT_NS, hold_s=5, x=9.0) | {"basis": "INCOMPLETE"},
        trip("stranger", 21, opened_ns=MIDNIGHT_NS, hold_s=5, x=9.0),
        open_trip("w", 22, opened_ns=MIDNIGHT_NS),
    ]

    assert patterns(four_trips() + noise, days=4) == patterns(four_trips(), days=4)


def test_coins_that_are_not_quoted_in_sol_count_as_trips_but_not_as_money():
    names = (
        "open_cost_sol",
        "open_cost_lamports",
        "close_proceeds_lamports",
        "close_proceeds_sol",
        "pnl_lamports",
        "pnl_sol",
    )
    dollars = trip("w", 30, opened_ns=MIDNIGHT_NS, hold_s=30, x=2.0, cost_sol=50) | dict.fromkeys(names)
    (row,), (plain,) = patterns([*four_trips(), dollars], days=4), patterns(four_trips(), days=4)

    assert (row["sample_trades"], row["win_rate"]) == (5, 3 / 5)
    assert (row["p50_hold_ms"], row["p50_target_x"]) == (25_000, 1.75)
    money = ("avg_entry_sol", "p90_entry_sol", "pnl_sol", "avg_pnl_sol", "pnl_volatility_sol")
    assert {name: row[name] for name in money} == {name: plain[name] for name in money}
    (only,) = patterns([dollars])
    assert {only[name] for name in money} == {None}


def test_only_what_ended_in_the_window_counts():
    edge = MIDNIGHT_NS - 2 * DAY_NS
    before = trip("w", 0, opened_ns=edge - 10**10, hold_s=9.999, x=2)
    first = trip("w", 1, opened_ns=edge - 10**10, hold_s=10, x=2)
    last = trip("w", 2, opened_ns=END_NS - 10**10, hold_s=9.999, x=2)
    after = trip("w", 3, opened_ns=END_NS - 10**10, hold_s=10, x=2)

    assert patterns([before, first, last, after], window_days=3)[0]["sample_trades"] == 2
    assert patterns([first, last, after, before], as_of=AS_OF + timedelta(days=9), window_days=3) == []


def test_the_last_trips_of_each_wallet_can_be_chosen():
    rows = [trip(w, n, opened_ns=END_NS - (n + 1) * HOUR_NS, hold_s=10 + n, x=2) for w in "ab" for n in range(9)]
    one, two = patterns(rows, wallets=("a", "b"), last_trades=3)

    assert (one["sample_trades"], one["p50_hold_ms"]) == (3, 11_000)
    assert two["sample_trades"] == 3


def test_holds_are_the_linear_quantiles_of_the_sample():
    world = Planted(np.random.default_rng(3), n_trips=200)
    for style in ("time_stop", "mixed"):
        world.add(style)

    for row in patterns(world.trips, wallets=world.styles):
        holds = [t["hold_ms"] for t in world.trips if t["wallet"] == row["wallet"]]
        assert row["p50_hold_ms"] == round(np.quantile(holds, 0.5))
        assert row["p90_hold_ms"] == round(np.quantile(holds, 0.9))


def test_the_order_of_the_rows_does_not_matter():
    world = Planted(np.random.default_rng(4), n_trips=40)
    for style in ("scale_out", "panic_dump"):
        world.add(style)
    shuffle = np.random.default_rng(5).permutation
    trips, events = list(shuffle(world.trips)), list(shuffle(world.events))

    assert patterns(trips, events=events, wallets=world.styles) == patterns(
        world.trips, events=world.events, wallets=world.styles
    )


def test_slippage_is_what_a_buy_paid_above_the_reserves_before_it():
    base, quote = 1_073_000_000_000_000, 30_000_000_000
    net, fee = 1_000_000_000, 12_500_000
    got = base - base * quote // (quote + net) - 1
    buy = event("w", "BUY", "m", MIDNIGHT_NS, "s", base_raw=got, quote_raw=net + fee, swap_fee_raw=fee,
                reserve_base_raw=base - got, reserve_quote_raw=quote + net)  # fmt: skip
    sell, unknown = buy | {"action": "SELL"}, buy | {"reserve_base_raw": None}
    inverted, other = buy | {"swap_fee_raw": None}, buy | {"wallet": "x"}
    later = buy | {"ts_ns": END_NS}
    (row,) = patterns(four_trips(), events=[buy, sell, unknown, inverted, other, later])

    assert row["slippage_pctl_95"] == pytest.approx((1 + net / quote) * (1 + fee / net) - 1, rel=1e-6)
    assert patterns(four_trips(), events=[sell, unknown, inverted, other])[0]["slippage_pctl_95"] is None


def test_the_median_hold_knows_of_what_is_held_still():
    quick = [trip("w", n, opened_ns=END_NS - DAY_NS + n * HOUR_NS, hold_s=60, x=2) for n in range(4)]
    kept = [open_trip("w", 50 + n, opened_ns=END_NS - DAY_NS) for n in range(6)]

    assert patterns(quick)[0]["km_p50_hold_ms"] == 60_000
    assert patterns(quick, held=kept)[0]["km_p50_hold_ms"] is None
    assert patterns(quick, held=kept[:4])[0]["km_p50_hold_ms"] == 60_000
    assert patterns(quick, held=kept)[0]["p50_hold_ms"] == 60_000


def test_scores_are_joined_and_zero_where_nobody_follows():
    scores = pa.table({"wallet": ["w", "x"], "followership_score": [0.25, 0.9], "leader_score": [0.5, 1.0]})
    rows = [*four_trips(), trip("v", 0, opened_ns=MIDNIGHT_NS, hold_s=5, x=2)]
    v, w = patterns(rows, wallets=("w", "v"), scores=scores)

    assert (w["followership_score"], w["leader_score"]) == (0.25, 0.5)
    assert (v["followership_score"], v["leader_score"]) == (0.0, 0.0)
    assert patterns(four_trips())[0]["leader_score"] is None


@pytest.mark.parametrize(
    ("hours", "window"),
    [([13, 13, 14, 16, 2], "13-15"), ([23, 0, 0, 1, 12], "00-02"), ([23, 0], "00-01"), (list(range(24)), "00-12")],
)
def test_the_preferred_hours_are_the_shortest_run_with_half_of_the_opens(hours, window):
    assert preferred_hours(np.bincount(hours, minlength=24)[None, :]).tolist() == [window]


def test_the_preferred_hours_may_pass_midnight():
    opens = np.bincount([22, 23, 0, 1, 8, 12, 16], minlength=24)[None, :]

    assert preferred_hours(opens).tolist() == ["22-02"]


def test_no_trips_give_no_rows():
    assert patterns([]) == []
    assert patterns(four_trips(), wallets=()) == []
