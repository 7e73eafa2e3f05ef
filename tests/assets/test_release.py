"""What reaches Postgres: whole releases, the newest one, and exactly the round trips of our wallets."""

from __future__ import annotations

import psycopg
import pytest

from copytrader_core.errors import StoreError
from copytrader_core.settings import settings
from copytrader_core.store.releases import CHANNEL, load_release
from tests.assets.conftest import Platform
from tests.assets.oracle import expected
from tests.assets.planted import Market, Row, day, event, track

KEYS = ("wallet", "mint", "open_sig", "open_path", "status", "pnl_raw", "n_sells")


def market(seed: int = 1, days: int = 3) -> list[Row]:
    return Market(seed, days, events_per_day=90).rows


def served(platform: Platform) -> list[tuple[object, ...]]:
    return sorted(platform.sql(f"SELECT {', '.join(KEYS)} FROM trades"))


def truth(rows: list[Row], wallets: set[str], last: int) -> list[tuple[object, ...]]:
    days = [day(n) for n in range(last + 1)]
    books = expected(rows, days)
    trips = [trip for one in days for trip in books[one][0]] + books[days[-1]][1]
    return sorted(tuple(trip[name] for name in KEYS) for trip in trips if trip["wallet"] in wallets)


@pytest.fixture
def tracked(platform: Platform) -> Platform:
    track(platform.url, wallet_1="one", wallet_2="two")
    return platform


def test_nothing_released_says_what_to_do(platform: Platform) -> None:
    with psycopg.connect(platform.url) as connection, pytest.raises(StoreError, match="copytrader materialize"):
        load_release(connection)


def test_a_release_is_announced_and_read_whole(tracked: Platform) -> None:
    tracked.plant(market(), *map(day, range(3)))
    with psycopg.connect(tracked.url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        tracked.succeed(day(0), day(2))
        notice = next(listener.notifies(timeout=5))
        release = load_release(listener)
    assert (release.as_of, release.release_id) == (str(day(2)), notice.payload)
    assert set(release.patterns) == {"wallet-1", "wallet-2"}
    assert release.patterns["wallet-1"].alias == "one" and release.patterns["wallet-1"].sample_trades > 0


def test_postgres_holds_exactly_the_trips_of_tracked_wallets_and_our_own(
    tracked: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPYTRADER_EXECUTOR__OWN_WALLET", "wallet-5")
    settings.cache_clear()
    rows = market()
    tracked.plant(rows, *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    assert served(tracked) == truth(rows, {"wallet-1", "wallet-2", "wallet-5"}, 2)
    assert {row[0] for row in tracked.sql("SELECT DISTINCT wallet FROM wallet_patterns")} == {"wallet-1", "wallet-2"}


def test_open_trips_turn_into_closed_ones_day_by_day(tracked: Platform) -> None:
    rows = market(2)
    tracked.plant(rows, *map(day, range(3)))
    for number in range(3):
        tracked.succeed(day(number))
        assert served(tracked) == truth(rows, {"wallet-1", "wallet-2"}, number)


def test_late_events_replace_what_was_served(tracked: Platform) -> None:
    rows = market(3)
    tracked.plant(rows, *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    late = [event(9, "BUY", 10**13, 10**9, wallet="wallet-1", mint=f"coin-{n}", sig=f"late-{n}") for n in range(5)]
    tracked.plant(late, day(0))
    tracked.succeed(day(0), day(2))
    assert served(tracked) == truth([*rows, *late], {"wallet-1", "wallet-2"}, 2)


def test_a_wallet_that_is_tracked_later_brings_its_history(tracked: Platform) -> None:
    rows = market(4)
    tracked.plant(rows, *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    track(tracked.url, wallet_3="three")
    tracked.execute("UPDATE wallets SET is_tracked = false WHERE wallet = 'wallet-1'")
    tracked.succeed(day(2))
    assert served(tracked) == truth(rows, {"wallet-2", "wallet-3"}, 2)


def test_trips_carry_the_present_name_of_their_wallet(tracked: Platform) -> None:
    tracked.plant(market(5, 1), day(0))
    tracked.succeed(day(0))
    tracked.execute("UPDATE wallets SET alias = 'renamed' WHERE wallet = 'wallet-1'")
    tracked.succeed(day(0), select="pattern_release")
    assert tracked.sql("SELECT DISTINCT alias FROM trades WHERE wallet = 'wallet-1'") == [("renamed",)]


def test_an_older_day_never_moves_the_pointer_back(tracked: Platform) -> None:
    tracked.plant(market(6), *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    before = (
        served(tracked),
        tracked.sql("SELECT * FROM wallet_patterns ORDER BY wallet"),
        tracked.sql("SELECT * FROM release_current"),
    )
    tracked.succeed(day(1))
    after = (
        served(tracked),
        tracked.sql("SELECT * FROM wallet_patterns ORDER BY wallet"),
        tracked.sql("SELECT * FROM release_current"),
    )
    assert after == before


def test_the_same_content_is_the_same_release(tracked: Platform) -> None:
    tracked.plant(market(7, 1), day(0))
    tracked.succeed(day(0))
    tracked.succeed(day(0))
    assert tracked.sql("SELECT count(*) FROM releases") == [(1,)]


def test_a_broken_chain_is_not_released(tracked: Platform) -> None:
    tracked.plant(market(8, 2), day(0), day(1))
    tracked.succeed(day(0), day(1))
    tracked.plant([event(9, "BUY", 10**13, 10**9, sig="late")], day(0))
    tracked.succeed(day(0), select="events,trades,open_positions")
    assert "continues an older" in tracked.failure(day(1), select="pattern_release")


def test_edges_of_changed_events_are_not_released(tracked: Platform) -> None:
    tracked.plant(market(8, 2), day(0), day(1))
    tracked.succeed(day(0), day(1))
    released = tracked.sql("SELECT * FROM release_current")
    tracked.plant([event(9, "BUY", 10**13, 10**9, sig="late")], day(0))
    tracked.succeed(day(0), day(1), select="events,trades,open_positions")
    message = tracked.failure(day(1), select="pattern_release")
    assert f"follow_edges {day(1)} was computed from other days" in message
    assert f"copytrader materialize --from {day(1)} --to {day(1)}" in message
    tracked.succeed(day(1), select="follow_edges,leader_scores")
    assert f"wallet_patterns {day(1)} was computed from other" in tracked.failure(day(1), select="pattern_release")
    assert tracked.sql("SELECT * FROM release_current") == released
    tracked.succeed(day(1))


def test_a_window_that_lost_a_day_is_not_released(tracked: Platform) -> None:
    tracked.plant(market(8, 3), *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    tracked.forget("trades", day(0))
    message = tracked.failure(day(2), select="pattern_release")
    assert f"trades {day(0)} is missing" in message and f"--from {day(0)} --to {day(2)}" in message


def test_a_fresh_lake_replaces_what_an_older_one_served(tracked: Platform) -> None:
    rows = market(9, 2)
    tracked.plant(rows, day(0), day(1))
    tracked.succeed(day(0), day(1))
    tracked.forget_lake()
    tracked.succeed(day(0), day(1))
    assert served(tracked) == truth(rows, {"wallet-1", "wallet-2"}, 1)


def test_a_leader_without_a_closed_trip_has_no_pattern_to_decide_by(tracked: Platform) -> None:
    tracked.plant(
        [event(1, "BUY", 1000, 10**6, wallet="wallet-1", reserve_base_raw=10**9, reserve_quote_raw=1)],
        *map(day, range(4)),
    )
    tracked.succeed(day(0), day(3))
    assert tracked.sql("SELECT status FROM trades") == [("DEAD",)]
    with psycopg.connect(tracked.url) as connection:
        assert load_release(connection).patterns == {}
