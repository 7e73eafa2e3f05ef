"""The copy network through Dagster: reduced days, every table, raw_events.leader_wallet, and the release."""

from __future__ import annotations

import psycopg
import pytest

from copytrader_core.store.releases import load_release
from tests.assets.conftest import Platform
from tests.assets.planted import SLOTS_PER_DAY, Row, day, event, track

TABLES = ("follow_edges", "leader_scores", "entities", "edge_validation", "leader_inflow", "inflow_calibration")
LINKED = "SELECT sig, leader_wallet FROM raw_events WHERE leader_wallet IS NOT NULL ORDER BY sig"


def swap(slot: int, wallet: str, coin: int, **other: object) -> Row:
    facts = {"wallet": wallet, "mint": f"coin-{coin}", "sig": f"{wallet}-{coin}-{slot}", "fee_payer": wallet}
    return event(slot, "BUY", 10**12, 10**9, **{**facts, **other})


def followed(number: int, n_coins: int = 20) -> list[Row]:
    """A day on which `tail` follows `lead` after 5 slots on four of five coins, among a crowd and a bundle."""
    start = number * SLOTS_PER_DAY
    coins = [(100 * number + coin, start + 9_000 * coin + 500) for coin in range(n_coins)]
    rows = [swap(at, "lead", coin) for coin, at in coins]
    rows += [swap(at + 5, "tail", coin) for coin, at in coins if coin % 5]
    rows += [swap(at + 900 + 90 * n, f"crowd-{(7 * coin + n) % 40}", coin) for coin, at in coins for n in range(6)]
    rows += [
        swap(at + 4_000, f"own-{n}", 50 + coin, tx_index=n, fee_payer="boss") for coin, at in coins for n in (0, 1)
    ]
    return [*rows, event(start + SLOTS_PER_DAY - 1, "BUY", 1, 1, wallet="last", sig=f"last-{number}")]


@pytest.fixture
def market(platform: Platform) -> Platform:
    track(platform.url, lead="leader")
    platform.plant([*followed(0), *followed(1)], day(0), day(1))
    return platform


def test_every_table_of_the_network_is_published_and_tells_of_the_follower(market: Platform) -> None:
    market.succeed(day(0), day(1))
    (edge,) = market.rows("follow_edges", day(1))
    (tested,) = market.rows("edge_validation", day(1))

    assert (edge["leader"], edge["follower"], edge["n_leader_buys"], edge["n_followed"]) == ("lead", "tail", 40, 32)
    assert (tested["prob_first_half"], tested["persisted"], tested["realised_follows"]) == (0.8, True, 16)
    assert {row["wallet"] for row in market.rows("entities", day(1))} == {"boss", "own-0", "own-1"}
    assert market.rows("leader_inflow", day(1))[-1]["ahead_sol"] == 0.8
    assert market.rows("inflow_calibration", day(1))


def test_edges_are_the_same_from_reduced_days_and_from_events(market: Platform) -> None:
    market.succeed(day(0), day(1))
    reduced = [market.rows(table, day(1)) for table in TABLES]
    market.forget("first_buys", day(0))
    market.forget("wallet_links", day(1))
    market.succeed(day(1), select=",".join(TABLES))

    assert [market.rows(table, day(1)) for table in TABLES] == reduced


def test_reduced_days_of_other_events_are_not_used(market: Platform) -> None:
    market.succeed(day(0), day(1))
    late = [swap(9_000 * coin + 100, "tail", coin) for coin in range(20)]
    market.plant(late, day(0))
    market.succeed(day(0), day(1), select="events")
    market.succeed(day(1), select="follow_edges")

    assert market.rows("follow_edges", day(1))[0]["n_leader_buys"] == 20


def test_follower_buys_of_a_day_carry_their_leader_and_again_the_same(market: Platform) -> None:
    market.succeed(day(0), day(1))
    links = {(row["sig"], row["leader_wallet"]) for row in market.rows("leader_links", day(1))}
    written = market.sql(LINKED)
    market.succeed(day(1), select="leader_links")

    assert len(written) == 32 and {leader for _, leader in written} == {"lead"}
    assert links == {row for row in written if int(row[0].split("-")[1]) >= 100} and len(links) == 16
    assert market.sql(LINKED) == written


def test_a_link_that_no_longer_stands_is_taken_back_on_its_day_only(market: Platform) -> None:
    market.succeed(day(0), day(1))
    market.execute(f"UPDATE raw_events SET leader_wallet = 'nobody' WHERE slot >= {SLOTS_PER_DAY} AND wallet = 'last'")
    market.execute(f"UPDATE raw_events SET leader_wallet = 'kept' WHERE slot < {SLOTS_PER_DAY} AND wallet = 'last'")
    market.succeed(day(1), select="leader_links")

    assert market.sql("SELECT DISTINCT leader_wallet FROM raw_events WHERE leader_wallet <> 'lead'") == [("kept",)]


def test_filled_leaders_leave_the_snapshot_and_what_stands_on_it_unchanged(market: Platform) -> None:
    market.succeed(day(0), day(1))
    before = market.files()
    market.succeed(day(0), day(1))

    assert market.files() == before


def test_a_release_brings_the_inflow_to_the_policy(market: Platform) -> None:
    market.succeed(day(0), day(1))
    with psycopg.connect(market.url) as connection:
        inflow = load_release(connection).inflow["lead"]

    assert (inflow.n_followers, inflow.slots[0], inflow.slots[-1]) == (1, 0, 75)
    assert (inflow.ahead_sol[0], inflow.behind_sol[0]) == (0.0, 0.8)
    assert (inflow.ahead_sol[-1], inflow.behind_sol[-1]) == (0.8, 0.0)
