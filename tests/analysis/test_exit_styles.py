"""Exit styles of wallets whose style was planted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from measured import fingerprints
from planted_crowd import Crowd
from planted_trips import DAY_NS, END_NS, Planted, event, events_table, open_trip, trip, trips_table

from copytrader_assets.analysis.exit_context import Falls, sold_in_parts
from copytrader_assets.analysis.price_path import PricePath, Spans
from copytrader_core.settings import PatternSettings

STYLES = ("time_stop", "target_x", "panic_dump", "scale_out", "mixed")


def called_styles(styles: dict[str, str], trips: pa.Table, events: pa.Table, **settings) -> dict[str, str]:
    table = fingerprints(trips, trips_table([]), events, dict.fromkeys(styles), settings=PatternSettings(**settings))
    return dict(zip(table["wallet"].to_pylist(), table["typical_exit_style"].to_pylist(), strict=True))


def styles_of(world: Planted, **settings) -> dict[str, str]:
    return called_styles(world.styles, trips_table(world.trips), events_table(world.events), **settings)


def falls_of(rows: list[dict], events: list[dict]) -> Falls:
    table = trips_table(rows)
    path = PricePath.of(events_table(events), pa.array(["w"]))
    return Falls.of(path, Spans.of(path, table), table, 400.0)


@pytest.mark.parametrize(("noise", "n_trips"), [(0.05, 50), (0.15, 60), (0.2, 120)])
@pytest.mark.parametrize("with_path", [True, False], ids=["with price paths", "trips alone"])
def test_planted_styles_are_recognised(noise, n_trips, with_path):
    world = Planted(np.random.default_rng(n_trips), noise=noise, n_trips=n_trips, with_path=with_path)
    for style in STYLES * 12:
        world.add(style)
    called = styles_of(world)

    assert np.mean([called[wallet] == style for wallet, style in world.styles.items()]) >= 0.95
    assert "time_stop" not in {called[wallet] for wallet, style in world.styles.items() if style == "mixed"}


@pytest.mark.parametrize(("noise", "n_trips"), [(0.1, 50), (0.18, 60), (0.25, 80)])
def test_wallets_that_react_to_a_price_are_recognised_too(noise, n_trips):
    """Delays, overshoot, flights at a profit and mixtures, in a market whose price nobody planted."""
    crowd = Crowd(np.random.default_rng(n_trips), noise=noise, n_trips=n_trips)
    for style in STYLES * 5:
        crowd.add(style)
    called = called_styles(crowd.styles, trips_table(crowd.trips), crowd.events())

    assert sum(called[wallet] == style for wallet, style in crowd.styles.items()) >= 24
    assert "time_stop" not in {called[wallet] for wallet, style in crowd.styles.items() if style == "mixed"}


@pytest.mark.parametrize("pair", [("time_stop", "target_x"), ("time_stop", "scale_out"), ("target_x", "panic_dump")])
def test_two_habits_in_equal_parts_are_mixed(pair):
    world = Planted(np.random.default_rng(5), noise=0.0, n_trips=30, with_path=False)
    for style in pair * 40:
        world.add(style)
    names = {wallet: f"both-{wallet[-4:-1]}-{int(wallet[-1]) // 2}" for wallet in world.styles}
    world.trips = [row | {"wallet": names[row["wallet"]]} for row in world.trips]
    world.styles = dict.fromkeys(names.values(), "mixed")

    called = list(styles_of(world).values())

    assert len(called) == 40
    assert "time_stop" not in called
    assert called.count("mixed") >= 36


def test_too_few_trips_have_no_style():
    world = Planted(np.random.default_rng(6), noise=0.0, n_trips=9)
    world.add("time_stop")

    assert set(styles_of(world).values()) == {"mixed"}
    assert set(styles_of(world, min_style_trades=9).values()) == {"time_stop"}


def test_a_confidence_is_the_share_of_trips_that_agree():
    rows = [trip("w", n, opened_ns=END_NS - (n + 1) * DAY_NS // 4, hold_s=60, x=1 + n / 7) for n in range(16)]
    rows += [trip("w", 16 + n, opened_ns=END_NS - DAY_NS * 5, hold_s=7 * 4**n, x=1.0) for n in range(4)]
    table = fingerprints(
        trips_table(rows),
        trips_table([]),
        events_table([]),
        wallets={"w": None},
        settings=PatternSettings(),
    )

    assert table["typical_exit_style"].to_pylist() == ["time_stop"]
    assert table["exit_style_confidence"].to_pylist() == [16 / 20]


def test_several_sells_of_one_transaction_or_a_dust_remainder_are_no_scale_out():
    at = END_NS - DAY_NS
    whole, halves, dust = (trip("w", i, opened_ns=at, hold_s=9, x=2, legs=legs) for i, legs in
                           enumerate([(1.0,), (0.5, 0.5), (0.95, 0.05)]))  # fmt: skip
    one_transaction = trip("w", 3, opened_ns=at, hold_s=9, x=2, legs=(0.5, 0.5))
    one_transaction["meta_json"] = one_transaction["meta_json"].replace("w-c3-0", "w-c3-1")
    no_legs = halves | {"meta_json": None}

    table = trips_table([whole, halves, dust, one_transaction, no_legs])
    assert sold_in_parts(table).tolist() == [False, True, False, False, True]


def test_a_fall_is_measured_just_before_the_exit_and_without_the_wallets_own_impact():
    opened = END_NS - DAY_NS

    def fell(prices: list[tuple[float, float]], own_impact: float = 0.7) -> tuple[bool, bool]:
        """(seconds after the open, price) of the crowd; the wallet sells after 60 s."""
        row = trip("w", 0, opened_ns=opened, hold_s=60, x=0.8)
        path = [(0.0, 1.0, row["open_sig"], "w"), *((s, p, f"c{s}", "crowd") for s, p in prices)]
        path.append((60.0, prices[-1][1] * own_impact if prices else own_impact, row["close_sig"], "w"))
        events = [
            event(who, "SELL", row["mint"], opened + round(s * 1e9), sig, reserve_base_raw=10**12,
                  reserve_quote_raw=round(1e12 * price)) for s, price, sig, who in path
        ]  # fmt: skip
        falls = falls_of([row], events)
        return bool(falls.fell[0]), bool(falls.known[0])

    assert fell([(57, 1.0), (58, 0.9)]) == (True, True)
    assert fell([(57, 1.0), (58, 0.95)]) == (False, True)
    assert fell([(30, 1.0), (35, 0.8)]) == (False, True)
    assert fell([]) == (False, True)
    assert falls_of([trip("w", 0, opened_ns=opened, hold_s=60, x=1)], []).known.tolist() == [False]


def test_open_positions_have_no_part_in_the_style():
    world = Planted(np.random.default_rng(8), noise=0.0, n_trips=30)
    world.add("target_x")
    (wallet,) = world.styles
    held = [open_trip(wallet, 1000 + n, opened_ns=END_NS - n * DAY_NS) for n in range(60)]
    table = fingerprints(
        trips_table(world.trips), trips_table(held), events_table(world.events),
        wallets={wallet: None}, settings=PatternSettings(),
    )  # fmt: skip

    assert table["typical_exit_style"].to_pylist() == ["target_x"]
    assert table["sample_trades"].to_pylist() == [30]
