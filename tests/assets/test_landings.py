"""Our own live orders through Dagster: from the journal to the counts of a day, to the release and the lake's own."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from itertools import count

import psycopg

from copytrader_assets.lake_release import release_as_of, settings_as_of
from copytrader_core.policy.landing import lateness, model_name
from copytrader_core.policy.resolved import resolved
from copytrader_core.records import LandingCount
from copytrader_core.settings import Settings
from copytrader_core.store.own_landings import own_landings
from copytrader_core.store.releases import load_release
from tests.assets.conftest import Platform
from tests.assets.planted import DAY_NS, Market, day, start_ns, track

_NUMBER = count()
PLANTED = {1: 30, 2: 20, 5: 10, None: 15}
COUNTS = [LandingCount("BUY", *one) for one in ((-1, 15), (1, 30), (2, 20), (5, 10))]


def orders(url: str, at_ns: int, late: Iterable[int | None], mode: str = "live") -> None:
    """Buys of ours that landed so many slots after their leader, None: never."""
    with psycopg.connect(url) as connection:
        for slots in late:
            name = f"order-{next(_NUMBER)}"
            payload = {"inputs": {"signal": {"slot": 500}}, "decision": {"code": "ACCEPTED"}}
            lines = [("DECISION", 501, payload), ("SEND", 501, {})]
            lines.append(("EXPIRED", 652, {}) if slots is None else ("FILL", 500 + slots, {"side": "BUY"}))
            for kind, slot, said in lines:
                connection.execute(
                    "INSERT INTO exec_journal (run_id, mode, at_ns, slot, kind, intent_id, leader_sig, leader, mint,"
                    " payload) VALUES ('run', %s, %s, %s, %s, %s, %s, 'leader', 'coin', %s)",
                    (mode, at_ns, slot, kind, name, name, json.dumps(said)),
                )


def planted(url: str, date: dt.date) -> None:
    orders(url, start_ns(date), [slots for slots, n in PLANTED.items() for _ in range(n)])


def of(platform: Platform, date: dt.date) -> list[LandingCount]:
    rows = platform.rows("landings", date)
    assert {row["as_of"] for row in rows} <= {date}
    return [LandingCount(row["side"], row["slots_late"], row["n_orders"]) for row in rows]


def test_the_counts_of_a_day_are_those_that_were_planted(platform: Platform) -> None:
    planted(platform.url, day(1))
    orders(platform.url, start_ns(day(1)), [9] * 80, mode="paper")
    platform.succeed(day(0), day(2), "landings")
    assert of(platform, day(0)) == []
    assert of(platform, day(1)) == of(platform, day(2)) == COUNTS


def test_the_last_nanosecond_belongs_to_the_day_and_the_next_does_not(platform: Platform) -> None:
    orders(platform.url, start_ns(day(0)) + DAY_NS - 1, [3])
    orders(platform.url, start_ns(day(1)), [4])
    platform.succeed(day(0), day(1), "landings")
    assert of(platform, day(0)) == [LandingCount("BUY", 3, 1)]
    assert of(platform, day(1)) == [LandingCount("BUY", 3, 1), LandingCount("BUY", 4, 1)]


def test_what_is_older_than_the_window_does_not_count(platform: Platform) -> None:
    orders(platform.url, start_ns(day(0)), [3])
    orders(platform.url, start_ns(day(2)), [4])
    with psycopg.connect(platform.url) as connection:
        assert own_landings(connection, day(2), 2) == [LandingCount("BUY", 4, 1)]
        assert len(own_landings(connection, day(2), 3)) == 2


def test_the_executor_reads_with_its_release_what_a_backtest_reads_in_the_lake(platform: Platform) -> None:
    track(platform.url, **{f"wallet_{n}": f"name {n}" for n in range(1, 6)})
    platform.plant(Market(1, 2, events_per_day=90).rows, day(0), day(1))
    platform.succeed(day(0), day(1))
    planted(platform.url, day(1))
    platform.succeed(day(1), select="landings,pattern_release")
    with psycopg.connect(platform.url) as connection:
        released = load_release(connection)
    walked, before = release_as_of(platform.lake, day(1)), release_as_of(platform.lake, day(0))
    assert walked is not None and before is not None
    given = Settings()
    live, tested = (resolved(given, release).executor for release in (released, walked))

    assert released.landings == walked.landings == tuple(COUNTS)
    assert live == tested and model_name(live).startswith("measured-2026-03-02")
    assert lateness(live, "BUY").n_orders == 75 and lateness(live, "SELL").n_orders == 0
    assert resolved(given, before).executor.measured is None


def test_copies_are_compared_at_our_latency_from_the_day_after_on(platform: Platform) -> None:
    orders(platform.url, start_ns(day(1)), [8] * 400)
    platform.succeed(day(0), day(1), "landings")
    latencies = [settings_as_of(platform.lake, day(n), Settings()).copies.reference_latency for n in range(3)]
    assert latencies == [2, 8, 2]
