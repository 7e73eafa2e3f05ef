"""Paper and backtest land orders as our own live ones did, by the release that says so, and the journal keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from backtest_world import day_of, fed, random_world, release_of, walked
from planted_market import LEADER, publish, settings
from running import rows, trade
from test_paper_run import one_buy

from copytrader_core.policy.landing import model_name
from copytrader_core.policy.resolved import resolved
from copytrader_core.records import LandingCount, Release
from copytrader_core.settings import Settings
from executor.backtest.memory import Line
from executor.backtest.walk import Walker
from executor.orders import Order
from executor.paper import PaperBroker

BOUGHT = tuple(LandingCount("BUY", *one) for one in ((-1, 60), (1, 150), (6, 90)))
OURS = (*BOUGHT, LandingCount("SELL", 3, 100), LandingCount("SELL", 12, 100))
CONFIG = Settings(
    policy={"require_positive_ev": False}, risk={"mint_cool_down_ms": 1_000}, executor={"landing_prior_orders": 0}
)


def known(*counts: LandingCount, **changes: Any) -> Release:
    return replace(release_of(LEADER, "second", **changes), landings=counts)


def late(lines: list[Line], side: str) -> set[int]:
    fills = [line["payload"] for line in lines if line["kind"] == "FILL"]
    return {fill["slots_late"] for fill in fills if fill["side"] == side}


@pytest.mark.parametrize("seed", range(6))
def test_the_walk_lands_measured_orders_where_the_engine_that_hears_everything_does(seed: int) -> None:
    world = random_world(seed, leaders=(LEADER, "second"))
    release = known(*OURS, typical_exit_style="mixed" if seed % 2 else "time_stop")
    heard, heard_hash = fed(world, CONFIG, release)
    walk, walk_hash = walked(world, CONFIG, release)
    assert walk == heard
    assert walk_hash == heard_hash
    assert late(walk, "BUY") <= {1, 6}
    assert sum(line["kind"] == "FILL" for line in walk) > 4


def test_every_lateness_that_was_measured_comes_up_and_some_orders_are_lost() -> None:
    found: list[Line] = []
    for seed in range(6):
        found += walked(random_world(seed, leaders=(LEADER, "second")), CONFIG, known(*OURS))[0]
    assert late(found, "BUY") == {1, 6}
    assert late(found, "SELL") > {3, 12}, "and some that the end of the run sells at once"
    assert any(line["kind"] == "EXPIRED" and line["payload"]["reason"] == "it was never included" for line in found)


def test_the_decision_hash_tells_which_model_orders_were_drawn_from() -> None:
    world = random_world(3, leaders=(LEADER, "second"))
    later = (*OURS[:-1], LandingCount("SELL", 12, 101))
    hashes = [walked(world, CONFIG, known(*counts))[1] for counts in (OURS, later, OURS[:1], ())]
    assert len({*hashes[:3]}) == 3
    # Sixty orders of which none has landed do not say when they do: as if there were none.
    assert hashes[2] == hashes[3]


def test_the_next_day_goes_by_the_next_release() -> None:
    world = random_world(5, leaders=(LEADER, "second"))
    lines: list[Line] = []
    walker = Walker(CONFIG, lines.append)
    walker.walk(day_of(world), known())
    n_first = len(lines)
    walker.walk(day_of(world), known(*OURS))
    first, second = lines[:n_first], lines[n_first:]
    assert late(first, "BUY") == {2}
    noted = [line for line in second if line["kind"] == "SETTINGS"]
    assert noted[0]["payload"]["settings"]["executor"]["measured"]["as_of"] == "2026-10-11"


def order(name: str, slot: int = 100) -> Order:
    return Order(name, "BUY", "mint", "leader", "sig", name, 10**9, 1, slot, slot + 2)


def test_what_is_under_way_lands_as_it_was_drawn_whatever_is_released_meanwhile() -> None:
    broker = PaperBroker(resolved(CONFIG, known(LandingCount("BUY", 7, 100))).executor)
    broker.submit(order("first"), None)
    broker.adopt(resolved(CONFIG, known(LandingCount("BUY", 9, 50), LandingCount("BUY", -1, 10**6))).executor)
    broker.submit(order("second"), None)
    assert [one.due_slot for one in broker.orders] == [107, 251]
    assert broker.land(broker.orders[1], None) is None
    assert broker.land(broker.orders[0], None) is not None


def test_an_order_of_an_earlier_run_lands_where_it_would_have_landed() -> None:
    executor = resolved(CONFIG, known(*OURS)).executor
    before, after = PaperBroker(executor), PaperBroker(executor)
    for n in range(40):
        before.submit(order(f"order {n}"), None)
        after.submit(replace(order(f"order {n}"), restored=True), None)
    assert [one.due_slot for one in before.orders] == [one.due_slot for one in after.orders]


async def test_a_paper_run_takes_the_model_of_its_release_and_writes_it_down(pg_url: str) -> None:
    publish(pg_url)
    with psycopg.connect(pg_url) as connection:
        for one in (LandingCount("BUY", 4, 80), LandingCount("SELL", 3, 80)):
            connection.execute(
                "INSERT INTO landings (side, slots_late, n_orders, as_of) VALUES (%s, %s, %s, now())",
                (one.side, one.slots_late, one.n_orders),
            )
    await trade(pg_url, one_buy().updates(), settings(landing_prior_orders=0))
    (run,) = rows(pg_url, "SELECT payload FROM exec_journal WHERE kind = 'RUN'")
    fills = rows(pg_url, "SELECT payload FROM exec_journal WHERE kind = 'FILL' ORDER BY seq")
    kept = Settings(**{name: run["payload"]["settings"][name] for name in ("executor", "policy", "risk", "copies")})
    assert model_name(kept.executor) == run["payload"]["landing"] != "settings"
    assert [fill["payload"]["slots_late"] for fill in fills] == [4, 3]
    (decision,) = rows(pg_url, "SELECT payload FROM exec_journal WHERE kind = 'DECISION'")
    assert decision["payload"]["decision"]["numbers"]["landing_model"] == run["payload"]["landing"]
