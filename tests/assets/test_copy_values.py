"""Copy values through Dagster: from replayed copies to the tables, the tiers of our own record, and the release."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from copytrader_assets.schemas import TABLES
from copytrader_core.policy.copy_terms import copy_terms
from copytrader_core.policy.rules import FAMILY, SEED, parse
from copytrader_core.settings import Settings
from copytrader_core.store.releases import load_release
from tests.analysis.planted_copies import CopyWorld, Leader
from tests.assets.conftest import Platform
from tests.assets.planted import Market, day, start_ns, track

LEADERS = [
    Leader("wallet-1", 0.25, 400),
    Leader("wallet-2", -0.25, 400),
    *(Leader(f"wallet-{n}", 0.0) for n in (3, 4, 5)),
]
VALUES = "leader_exits,exit_curves,copy_value,calibration,calibration_bins"
NEEDED = f"events,trades,open_positions,{VALUES}"
# Everything up to the release but the replay, whose tables are planted here.
NETWORK = "first_buys,wallet_links,follow_edges,leader_scores,entities,edge_validation,leader_inflow,inflow_calibration"
RELEASED = f"{NEEDED},{NETWORK},wallet_patterns,pattern_release"
BEST = "timer=40s target=1.4"
CELLS = tuple((latency, size) for latency in (1, 2) for size in (0.2, 0.5, 2.0))


def exits(copies: pa.Table, seed: int) -> pa.Table:
    """Under every rule what the copies at the reference brought; one rule is better by a tenth."""
    rng = np.random.default_rng(seed)
    here = copies.filter(
        (np.asarray(copies["latency_slots"]) == 2) & (np.asarray(copies["size_lamports"]) == 500_000_000)
    )
    parts = []
    for rule in (*map(str, FAMILY), SEED):
        gain = (rng.normal(0.05 if rule == BEST else -0.05, 0.02, here.num_rows) * 5e8).astype(np.int64)
        index = here.column_names.index("pnl_lamports")
        rows = here.set_column(index, "pnl_lamports", pa.array(np.asarray(here["pnl_lamports"]) + gain))
        parts.append(rows.set_column(rows.column_names.index("rule"), "rule", pa.array([rule] * here.num_rows)))
    return TABLES["copy_exits"].conform(pa.concat_tables(parts))


@pytest.fixture(scope="module")
def world() -> CopyWorld:
    return CopyWorld(LEADERS, days=3, cells=CELLS)


def publish(platform: Platform, world: CopyWorld, *days: int) -> None:
    for n in days:
        rows = world.rows[n]
        tables = {"copies": TABLES["copies"].conform(rows), "copy_exits": exits(rows, n)}
        platform.lake.publish([platform.lake.stage(name, day(n), table, {}) for name, table in tables.items()])


@pytest.fixture
def replayed(platform: Platform, world: CopyWorld) -> Platform:
    """Three days of events and of copies; the values have not been computed."""
    track(platform.url, **{f"wallet_{n}": f"name {n}" for n in range(1, 6)})
    platform.plant(Market(1, 3, events_per_day=90).rows, *map(day, range(3)))
    publish(platform, world, 0, 1, 2)
    return platform


def of(platform: Platform, table: str, date: dt.date, leader: str) -> list[dict]:
    return [row for row in platform.rows(table, date) if row["leader"] == leader]


def test_values_say_who_is_worth_it(replayed: Platform) -> None:
    replayed.succeed(day(0), day(2), NEEDED)
    good, bad = (of(replayed, "copy_value", day(2), leader) for leader in ("wallet-1", "wallet-2"))

    assert len(good) == len(CELLS)
    assert {(row["verdict"], row["tier"], row["alpha"], row["rule"]) for row in good} == {
        ("COPY", "PROBATION", 0.5, BEST)
    }
    assert {(row["verdict"], row["tier"], row["alpha"]) for row in bad} == {("UNCOPYABLE", "BENCH", 0.0)}
    assert good[0]["n_signals"] == 400
    assert good[0]["as_of"] == day(2)


def test_the_exit_is_chosen_from_the_same_days(replayed: Platform) -> None:
    replayed.succeed(day(0), day(2), NEEDED)
    rows = of(replayed, "leader_exits", day(2), "wallet-1")
    (chosen,) = [row for row in rows if row["is_chosen"]]

    assert len(rows) == len(FAMILY) + 1
    assert (chosen["rule"], chosen["conditions"]) == (BEST, 2)
    assert chosen["over_seed_x"] == pytest.approx(0.1, abs=0.02)
    assert {row["curve"] for row in replayed.rows("exit_curves", day(2))} == {"hold_ms", "multiple"}


def test_a_day_knows_nothing_of_later_ones(replayed: Platform, world: CopyWorld) -> None:
    replayed.succeed(day(0), day(2), NEEDED)
    tables = ("copy_value", "leader_exits", "exit_curves", "calibration")
    before = [replayed.rows(table, day(1)) for table in tables]
    replayed.forget("copies", day(2))
    replayed.forget("copy_exits", day(2))
    replayed.succeed(day(1), select=",".join(tables))

    assert [replayed.rows(table, day(1)) for table in tables] == before
    assert of(replayed, "copy_value", day(0), "wallet-1")[0]["n_signals"] < 200


def test_a_range_is_what_its_days_are_one_by_one(replayed: Platform) -> None:
    replayed.succeed(day(0), day(2), NEEDED)
    together = replayed.files()
    for n in range(3):
        replayed.succeed(day(n), select=VALUES)

    assert replayed.files() == together


def test_a_missing_day_of_copies_is_refused(replayed: Platform) -> None:
    replayed.succeed(day(0), day(1), NEEDED)
    replayed.forget("copies", day(1))

    assert "copies 2026-03-02 is missing in the lake" in replayed.failure(day(1), select="copy_value")


def test_without_any_replay_nothing_is_said_and_the_day_goes_on(platform: Platform) -> None:
    track(platform.url, wallet_1="one")
    platform.plant(Market(1, 1, events_per_day=90).rows, day(0))
    platform.succeed(day(0), select=RELEASED)

    assert platform.rows("copy_value", day(0)) == platform.rows("leader_exits", day(0)) == []
    with psycopg.connect(platform.url) as connection:
        assert load_release(connection).values == {}


def test_a_release_brings_values_and_exits_to_the_policy(replayed: Platform) -> None:
    replayed.succeed(day(0), day(2), RELEASED)
    with psycopg.connect(replayed.url) as connection:
        value = load_release(connection).values["wallet-1"]
    rows = of(replayed, "copy_value", day(2), "wallet-1")
    terms = copy_terms(value, 3, Settings(policy={"expected_value": "copy"}))

    assert (value.verdict, value.tier, value.rule) == ("COPY", "PROBATION", BEST)
    assert parse(value.rule) in FAMILY
    assert (value.latencies, value.sizes_lamports) == ((1, 2), (200_000_000, 500_000_000, 2_000_000_000))
    assert [x for row in value.mean_x for x in row] == [row["mean_x"] for row in rows]
    assert [x for row in value.lower_x for x in row] == [row["lo_x"] for row in rows]
    assert value.state_x == tuple(rows[0]["state_x"])
    assert terms is not None and terms.lower_x > 0.1
    assert replayed.sql("SELECT count(*) FROM leader_exits") == [(len(LEADERS) * (len(FAMILY) + 1),)]


def test_values_of_other_copies_are_not_released(replayed: Platform, world: CopyWorld) -> None:
    replayed.succeed(day(0), day(2), RELEASED)
    other = CopyWorld(LEADERS, seed=9, days=3, cells=CELLS)
    publish(replayed, other, 1)
    replayed.succeed(day(2), select="pattern_release")

    with psycopg.connect(replayed.url) as connection:
        release = load_release(connection)
    assert release.values == {}
    assert set(release.patterns) >= {"wallet-1"}


def journal(platform: Platform, leader: str, returns: list[float], date: dt.date, landed: bool = True) -> None:
    """Copies of ours as the executor journals them: decision, fill of the buy, fill of the sale."""
    with psycopg.connect(platform.url) as connection:
        for n, x in enumerate(returns):
            at, spend = start_ns(date) + n * 10**9, 500_000_000
            numbers = {"copy_landing": 0.9, "copy_mean_x": 0.2, "copy_latency_slots": 2}
            decision = {
                "decision": {"code": "ACCEPTED", "entry": {"spend_lamports": spend}, "numbers": numbers},
                "inputs": {"signal": {"slot": 1_000 + n}},
            }
            bought = {
                "side": "BUY",
                "base_raw": 990,
                "quote_lamports": spend,
                "expected": {"base_raw": 1_000, "quote_lamports": spend},
            }
            sold = {
                "side": "SELL",
                "quote_lamports": 95,
                "expected": {"quote_lamports": 100},
                "pnl_lamports": int(x * spend),
            }
            intent, sig, mint = f"{leader}-{date}-{n}", f"sig-{leader}-{date}-{n}", f"coin-{n}"
            lines = [("DECISION", intent, 1_000 + n, decision)]
            if landed:
                lines += [("FILL", intent, 1_003 + n, bought), ("FILL", f"{intent}-out", 1_100 + n, sold)]
            else:
                lines += [("REVERTED", intent, 1_003 + n, {"side": "BUY"})]
            for kind, identity, slot, payload in lines:
                connection.execute(
                    "INSERT INTO exec_journal (run_id, mode, at_ns, slot, kind, intent_id, leader_sig, leader, mint,"
                    " payload) VALUES ('run', 'live', %s, %s, %s, %s, %s, %s, %s, %s)",
                    (at, slot, kind, identity, sig, leader, mint, json.dumps(payload)),
                )


def test_good_copies_of_our_own_raise_the_tier(replayed: Platform) -> None:
    rng = np.random.default_rng(1)
    journal(replayed, "wallet-1", list(rng.normal(0.25, 0.2, 30)), day(1))
    journal(replayed, "wallet-1", [0.0] * 3, day(1) + dt.timedelta(days=10))
    replayed.succeed(day(0), day(2), NEEDED)
    (first,), (last,) = (of(replayed, "calibration", day(n), "wallet-1") for n in (0, 2))

    assert (first["tier"], first["n_decided"], first["mode"]) == ("PROBATION", 0, None)
    assert (last["tier"], last["n_finished"], last["mode"]) == ("ACTIVE", 30, "live")
    assert (last["slots_late"], last["expected_slots"]) == (3.0, 2.0)
    assert last["entry_premium_bps"] == pytest.approx(101, abs=0.1)
    assert last["exit_premium_bps"] == pytest.approx(-500)
    assert last["realised_x"] == pytest.approx(0.25, abs=0.1)
    assert of(replayed, "copy_value", day(2), "wallet-1")[0]["tier"] == "ACTIVE"
    bins = replayed.rows("calibration_bins", day(2))
    assert {row["kind"] for row in bins} == {"return", "landing", "place"}
    assert sum(row["n_copies"] for row in bins if row["kind"] == "return") == 30


def test_a_leader_that_has_changed_is_benched_and_its_record_starts_anew(replayed: Platform) -> None:
    journal(replayed, "wallet-1", [-0.5] * 40, day(1))
    replayed.succeed(day(0), day(2), NEEDED)
    rows = [of(replayed, "calibration", day(n), "wallet-1")[0] for n in range(3)]

    assert [row["tier"] for row in rows] == ["PROBATION", "BENCH", "BENCH"]
    assert rows[1]["drifted"] and rows[1]["benched"] == day(1)
    assert (rows[2]["n_decided"], rows[2]["since"]) == (0, day(2))
    assert of(replayed, "copy_value", day(2), "wallet-1")[0]["alpha"] == 0.0


def test_what_does_not_land_is_counted(replayed: Platform) -> None:
    journal(replayed, "wallet-1", [0.0] * 10, day(1), landed=False)
    replayed.succeed(day(0), day(2), NEEDED)
    (row,) = of(replayed, "calibration", day(2), "wallet-1")

    assert (row["n_decided"], row["n_landed"], row["n_finished"]) == (10, 0, 0)
    assert row["landing_p_value"] == pytest.approx(1e-10)


def test_paper_counts_only_where_nothing_was_live(replayed: Platform) -> None:
    journal(replayed, "wallet-1", [0.1] * 4, day(1))
    replayed.execute("UPDATE exec_journal SET mode = 'paper'")
    journal(replayed, "wallet-3", [0.1] * 2, day(1))
    replayed.succeed(day(0), day(1), NEEDED)

    assert [(r["mode"], r["n_decided"]) for r in replayed.rows("calibration", day(1)) if r["n_decided"]] == [
        ("paper", 4),
        ("live", 2),
    ]
