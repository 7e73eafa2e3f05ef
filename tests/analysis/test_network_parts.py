"""The parts of the copy network by themselves: days put together, lags, inflow, links, the layout of the picture."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from handmade_buys import buy, table
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_network import World

from copytrader_assets.analysis.day_buys import DayBuys, reduced
from copytrader_assets.analysis.first_buys import FirstBuys, Held
from copytrader_assets.analysis.inflow import inflow_rows
from copytrader_assets.analysis.lags import median_slots
from copytrader_assets.analysis.leader_links import leader_links
from copytrader_assets.analysis.star_layout import Arrow, packed, stars
from copytrader_assets.network_picture import drawn_network

ROWS = st.lists(
    st.builds(buy, st.sampled_from("abcd"), st.integers(0, 4), st.integers(0, 60), st.integers(0, 3)), max_size=60
)


def listed(buys: FirstBuys, mints: list[str]) -> list[tuple]:
    names = buys.wallets.to_pylist()
    columns = (buys.mint, buys.wallet, buys.slot + buys.base_slot, buys.tx_index)
    return sorted((mints[m], names[w], s, t) for m, w, s, t in zip(*(c.tolist() for c in columns), strict=True))


@given(ROWS, st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_days_put_together_are_the_whole(rows, cut):
    whole = reduced(pa.Table.from_pylist(rows, schema=table([]).schema))
    days = [reduced(pa.Table.from_pylist([r for r in rows if (r["slot"] < cut) is early], schema=table([]).schema))
            for early in (True, False)]  # fmt: skip
    joined = FirstBuys.of_days([Held(day) for day in days])
    mints = list(dict.fromkeys([*days[0].mints.to_pylist(), *days[1].mints.to_pylist()]))

    assert listed(joined, mints) == listed(FirstBuys.of_days([Held(whole)]), whole.mints.to_pylist())


def test_a_reduced_day_comes_back_from_its_rows():
    day = reduced(World(seed=70, days=1, n_coins_a_day=60).table())
    again = DayBuys.of_rows(day.rows(), day.mints, day.wallets)

    for name in ("mint", "wallet", "slot", "tx_index"):
        assert np.array_equal(getattr(again, name), getattr(day, name))
    assert np.allclose(again.size_sol, day.size_sol, atol=1e-9)


@pytest.mark.parametrize("lag_slots", [0.6, 1.25, 1.7, 4.5, 20.3])
def test_a_constant_lag_is_found_between_the_slots(lag_slots):
    begins = np.random.default_rng(5).random(4000)
    seen = np.bincount(np.floor(begins + lag_slots).astype(int), minlength=76)[None, :]

    assert median_slots(seen)[0] == pytest.approx(lag_slots, rel=0.08)
    assert math.isnan(median_slots(np.zeros((1, 76), dtype=np.int64))[0])


def test_inflow_counts_what_followers_pay_before_and_after_each_slot():
    rows = [buy("lead", coin, 1000 * coin) for coin in range(4)]
    rows += [buy("fast", coin, 1000 * coin + 2) | {"quote_raw": 2 * 10**9} for coin in (0, 1)]
    rows += [buy("slow", coin, 1000 * coin + 30) for coin in range(4)] + [buy("late", 0, 200)]
    buys = FirstBuys.of(table(rows))
    codes = {name: int(buys.codes_of([name])[0]) for name in ("lead", "fast", "slow", "late")}
    edges = (np.full(3, codes["lead"]), np.array([codes["fast"], codes["slow"], codes["late"]]))
    found = inflow_rows(buys, *edges, 75, {codes["lead"]: ["lead", "twin"]}, date(2026, 3, 10)).to_pylist()
    at = {row["slots"]: row for row in found if row["leader"] == "lead"}

    assert [(at[k]["ahead_sol"], at[k]["behind_sol"]) for k in (1, 2, 30, 75)] == [(0, 2), (1, 1), (2, 0), (2, 0)]
    assert (at[2]["followers_ahead"], at[2]["followers_behind"], at[2]["n_leader_buys"]) == (0.5, 1, 4)
    assert {row["leader"] for row in found} == {"lead", "twin"}


def test_a_buy_is_linked_to_the_last_of_its_leaders_within_the_horizon():
    rows = [buy("lead", 1, 100), buy("other", 1, 110), buy("tail", 1, 120), buy("tail", 1, 190), buy("tail", 2, 120)]
    rows += [buy("lead", 3, 100, 7), buy("tail", 3, 100, 9), buy("lead", 4, 100, 9), buy("tail", 4, 100, 7)]
    swaps = pa.Table.from_pylist([row | {"sig": f"{row['wallet']}{row['mint']}{row['slot']}"} for row in rows])
    edges = pa.table({"leader": ["lead", "other", "x"], "follower": ["tail", "tail", "lead"]})
    found = {(r["sig"], r["leader_wallet"], r["lag_slots"]) for r in leader_links(swaps, edges, 75).to_pylist()}

    assert found == {("tailcoin-1120", "other", 10), ("tailcoin-3100", "lead", 0)}


def arrows(n_leaders: int, n_followers: int, seed: int = 1) -> list[Arrow]:
    rng = np.random.default_rng(seed)
    return [Arrow(f"L{a}", f"F{b}", f"Leader {a}", f"F{b}", float(rng.random()), float(rng.uniform(300, 20_000)))
            for b in range(n_followers) for a in rng.choice(n_leaders, 1 + (b % 20 == 0), replace=False)]  # fmt: skip


def test_every_edge_is_drawn_once_and_every_wallet_has_one_place_of_its_own():
    drawn = stars(arrows(60, 240))
    seats = [seat for star in drawn for seat in star.seats]
    own = [seat.wallet for seat in seats if not seat.is_repeated]

    assert sorted((s.arrow.leader, s.arrow.follower) for s in seats if s.arrow) == sorted(
        (a.leader, a.follower) for a in arrows(60, 240)
    )
    assert len(own) == len(set(own))


@pytest.mark.parametrize("width", [340, 1200])
def test_stars_do_not_overlap_and_stay_inside(width):
    drawn = stars(arrows(60, 240))
    middles, height = packed(drawn, width, 14, 15)
    boxes = [(x + s.left, y + s.top, x + s.right, y + s.bottom) for s, (x, y) in zip(drawn, middles, strict=True)]

    assert all(left >= 0 and right <= width and bottom <= height for left, _, right, bottom in boxes)
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i]
                if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]]  # fmt: skip


def test_followers_that_react_later_stand_farther_out():
    (star,) = stars([Arrow("L", name, "L", name, 0.5, lag) for name, lag in (("a", 500), ("b", 2_000), ("c", 9_000))])
    distance = {seat.wallet: math.hypot(seat.x, seat.y) for seat in star.seats}

    assert distance["a"] < distance["b"] < distance["c"]


def test_wallets_that_follow_each_other_are_both_drawn():
    picture = drawn_network([Arrow("a", "b", "a", "b", 0.9, 900), Arrow("b", "a", "b", "a", 0.3, 900)], 300)

    assert picture.count("net-line") == 2


def test_a_network_of_three_hundred_is_a_small_picture_without_foreign_marks():
    named = [Arrow(a.leader, a.follower, "<script>", a.follower_name, a.weight, a.lag_ms) for a in arrows(60, 240)]
    picture = drawn_network(named, 1200)

    assert len(picture) < 80_000
    assert "<script>" not in picture
