"""Days and ranges of them: what is refused, what is published, and that a range equals its days."""

from __future__ import annotations

import datetime as dt

import psycopg
import pytest

from copytrader_assets import checks, resources
from copytrader_core.store.days import recount_sealed
from tests.assets.conftest import Platform, plain
from tests.assets.oracle import expected
from tests.assets.planted import SLOTS_PER_DAY, Market, day, event, load, track

ROUND_TRIPS = "events,trades,open_positions"


def small_market(seed: int, days: int = 3) -> list[dict[str, object]]:
    return Market(seed, days, events_per_day=80).rows


def test_the_published_trades_equal_the_independent_ledger(platform: Platform) -> None:
    rows = small_market(1)
    platform.plant(rows, *map(day, range(3)))
    platform.succeed(day(0), day(2))
    truth = expected(rows, [day(n) for n in range(3)])
    for number in range(3):
        assert plain(platform.lake.read("trades", day(number))) == truth[day(number)][0]
        assert plain(platform.lake.read("open_positions", day(number))) == truth[day(number)][1]


def test_a_range_equals_its_days_byte_for_byte(platform: Platform) -> None:
    platform.plant(small_market(2), *map(day, range(3)))
    track(platform.url, wallet_1="one", wallet_2="two")
    platform.succeed(day(0), day(2))
    together = platform.files()
    platform.forget_lake()
    for number in range(3):
        platform.succeed(day(number))
    assert platform.files() == together


def test_the_events_are_in_chain_order_whatever_order_they_came_in(platform: Platform) -> None:
    rows = small_market(3, 1)
    platform.plant(rows[::-1], day(0))
    platform.succeed(day(0), select="events")
    keys = [
        (r["slot"], r["tx_index"], r["outer_ix"], r["inner_ix"], r["event_seq"])
        for r in platform.rows("events", day(0))
    ]
    assert keys == sorted(keys) and len(keys) == len(rows)


def test_amounts_of_64_bits_and_odd_texts_arrive_unchanged(platform: Platform) -> None:
    odd = event(
        5, "BUY", 2**64 - 1, 2**64 - 2, alias='a "quoted", name\nin two lines', price_est=None, amount_in=0.1 + 0.2
    )
    empty = event(6, "CREATE", None, None, alias="", tx_index=None)
    platform.plant([odd, empty], day(0))
    platform.succeed(day(0), select="events")
    first, second = platform.rows("events", day(0))
    assert (first["base_raw"], first["quote_raw"], first["alias"], first["amount_in"]) == (
        2**64 - 1,
        2**64 - 2,
        odd["alias"],
        0.1 + 0.2,
    )
    assert (second["alias"], second["base_raw"], second["tx_index"], second["meta_json"]) == ("", None, None, None)


def test_an_unsealed_day_is_refused_and_says_what_to_do(platform: Platform) -> None:
    platform.plant(small_market(1), day(0))
    message = platform.failure(day(0), day(1))
    assert f"day {day(1)} is not sealed" in message and f"copytrader seal --from {day(1)} --to {day(1)}" in message
    assert not platform.lake.has("events", day(0))


def test_a_missing_previous_day_is_refused_and_named(platform: Platform) -> None:
    platform.plant(small_market(1), *map(day, range(3)))
    platform.succeed(day(2), select="events")
    message = platform.failure(day(2), select="trades,open_positions")
    assert f"open_positions {day(1)} is missing" in message
    assert f"copytrader materialize --from {day(0)} --to {day(2)}" in message


def test_the_refusal_resumes_after_the_last_published_day(platform: Platform) -> None:
    platform.plant(small_market(1, 4), *map(day, range(4)))
    platform.succeed(day(0), select=ROUND_TRIPS)
    assert f"--from {day(1)} --to {day(3)}" in platform.failure(day(3), select=ROUND_TRIPS)


def test_the_very_first_day_needs_none_before_it(platform: Platform) -> None:
    platform.plant([event(SLOTS_PER_DAY, "BUY", 10, 10)], day(0), day(1))
    platform.succeed(day(1), select=ROUND_TRIPS)
    assert platform.lake.snapshot("open_positions", day(1)).facts[checks.PARENT] == checks.GENESIS


def test_a_day_without_events_carries_the_positions_on(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 10, 10)], day(0), day(1))
    platform.succeed(day(0), day(1))
    assert platform.rows("open_positions", day(0))[0]["open_qty_raw"] == 10
    assert platform.lake.read("open_positions", day(1)).equals(platform.lake.read("open_positions", day(0)))


def test_each_snapshot_names_the_one_that_it_continues(platform: Platform) -> None:
    platform.plant(small_market(4), *map(day, range(3)))
    platform.succeed(day(0), day(2), select=ROUND_TRIPS)
    chain = [platform.lake.snapshot("open_positions", day(n)) for n in range(3)]
    assert [one.facts[checks.PARENT] for one in chain] == [checks.GENESIS, chain[0].content_hash, chain[1].content_hash]
    assert checks.first_break(platform.lake, day(2)) is None


def test_recomputing_a_changed_day_warns_of_its_stale_successor_and_blocks_what_follows(platform: Platform) -> None:
    platform.plant(small_market(5, 4), *map(day, range(4)))
    platform.succeed(day(0), day(2))
    platform.plant([event(77, "BUY", 10**9, 10**9, sig="late", mint="coin-late")], day(0))
    result = platform.succeed(day(0), select=ROUND_TRIPS)
    warned = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert warned[checks.CONTINUITY] is False
    message = platform.failure(day(3))
    assert f"open_positions {day(1)} continues an older open_positions {day(0)}" in message
    assert f"--from {day(1)} --to {day(3)}" in message
    platform.succeed(day(1), day(3))


def test_events_that_were_published_again_make_their_round_trips_stale(platform: Platform) -> None:
    platform.plant(small_market(6, 2), day(0), day(1))
    platform.succeed(day(0))
    platform.plant([event(77, "BUY", 10**9, 10**9, sig="late")], day(0))
    platform.succeed(day(0), select="events")
    assert "other events than the published ones" in platform.failure(day(1))


def test_a_day_is_refused_while_an_earlier_one_was_sealed_again_and_its_events_were_not_read_again(
    platform: Platform,
) -> None:
    platform.plant(small_market(6, 3), *map(day, range(3)))
    platform.succeed(day(0), day(1), select=ROUND_TRIPS)
    platform.plant([event(77, "BUY", 10**9, 10**9, sig="late")], day(0))
    message = platform.failure(day(2), select=ROUND_TRIPS)
    assert f"events {day(0)} holds" in message and "but the day is sealed with" in message
    assert f"copytrader materialize --from {day(0)} --to {day(2)}" in message
    platform.succeed(day(0), day(2), select=ROUND_TRIPS)


def test_round_trips_of_a_day_are_refused_while_its_events_are_older_than_its_seal(platform: Platform) -> None:
    platform.plant(small_market(6, 1), day(0))
    platform.succeed(day(0), select="events")
    platform.plant([event(77, "BUY", 10**9, 10**9, sig="late")], day(0))
    assert f"--from {day(0)} --to {day(0)}" in platform.failure(day(0), select="trades,open_positions")


def test_a_day_is_refused_while_the_one_before_it_has_lost_its_seal(platform: Platform) -> None:
    platform.plant(small_market(6, 2), day(0), day(1))
    platform.succeed(day(0), select=ROUND_TRIPS)
    platform.execute(
        f"UPDATE ingest_days SET unsealed_at = now(), unsealed_reason = 'slots 7 to 9' WHERE day = '{day(0)}'"
    )
    message = platform.failure(day(1), select=ROUND_TRIPS)
    assert f"day {day(0)} is not sealed any more: slots 7 to 9" in message


def test_history_that_arrives_before_the_first_day_is_noticed(platform: Platform) -> None:
    platform.plant([event(SLOTS_PER_DAY, "BUY", 10, 10), event(2 * SLOTS_PER_DAY, "SELL", 10, 10)], *map(day, range(3)))
    platform.succeed(day(1))
    platform.plant([event(3, "BUY", 10, 10)], day(0))
    platform.succeed(day(0))
    assert "starts from nothing, but earlier events are there now" in platform.failure(day(2))


@pytest.mark.parametrize("gone", ["true", "sig = (SELECT min(sig) FROM raw_events)"])
def test_a_day_that_lost_events_since_its_seal_keeps_its_snapshot(platform: Platform, gone: str) -> None:
    platform.plant(small_market(7, 1), day(0))
    platform.succeed(day(0))
    before = platform.files()
    platform.execute(f"DELETE FROM raw_events WHERE {gone}")
    message = platform.failure(day(0))
    assert f"day {day(0)} was sealed with 141 events" in message and "raw_events holds" in message
    assert f"copytrader seal --from {day(0)} --to {day(0)}" in message
    assert platform.files() == before


def test_late_events_are_refused_until_the_day_is_sealed_again(platform: Platform) -> None:
    platform.plant(small_market(7, 1), day(0))
    load(platform.url, [event(9, "BUY", 10, 10, sig="late")])
    result = platform.run(day(0), select="events")
    assert {e.check_name: e.passed for e in result.get_asset_check_evaluations()}["completeness"] is False
    assert not result.success and not platform.lake.has("events", day(0))
    with psycopg.connect(platform.url) as connection:
        recount_sealed(connection, {day(0)})
    platform.succeed(day(0), select="events")
    assert "late" in {row["sig"] for row in platform.rows("events", day(0))}


def test_events_and_seal_are_read_as_of_one_moment(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.plant([event(1, "BUY", 10, 10)], day(0))
    real = resources._seal

    def then_the_worker_commits(connection: psycopg.Connection, date: dt.date) -> resources.Seal | None:
        found = real(connection, date)
        platform.plant([event(2, "BUY", 10, 10)], day(0))
        return found

    monkeypatch.setattr(resources, "_seal", then_the_worker_commits)
    with resources.Warehouse().read_day(day(0)) as (seal, parts):
        rows = sum(part.num_rows for part in parts)
    assert seal is not None and (seal.n_events, rows) == (1, 1)


def test_a_window_with_a_missing_day_is_refused_and_named(platform: Platform) -> None:
    platform.plant(small_market(7, 4), *map(day, range(4)))
    platform.succeed(day(0), day(2))
    platform.forget("events", day(1))
    platform.succeed(day(3), select="events")
    for asset in ("follow_edges", "leader_scores"):
        message = platform.failure(day(3), select=asset)
        assert f"events {day(1)} is missing" in message
        assert f"copytrader materialize --from {day(1)} --to {day(3)}" in message
        assert not platform.lake.has(asset, day(3))


def test_a_window_begins_with_the_first_sealed_day_that_has_events(platform: Platform) -> None:
    platform.plant(small_market(7, 2), day(0), day(1))
    platform.succeed(day(1), select="events")
    assert f"events {day(0)} is missing" in platform.failure(day(1), select="follow_edges")


def test_patterns_need_every_round_trip_of_their_window(platform: Platform) -> None:
    platform.plant(small_market(7, 3), *map(day, range(3)))
    platform.succeed(day(0), day(2))
    platform.forget("trades", day(0))
    assert f"trades {day(0)} is missing" in platform.failure(day(2), select="wallet_patterns")


def test_patterns_are_not_computed_from_round_trips_of_other_events(platform: Platform) -> None:
    platform.plant(small_market(7, 2), day(0), day(1))
    platform.succeed(day(0), day(1))
    platform.plant([event(9, "BUY", 10, 10, sig="late")], day(0))
    platform.succeed(day(0), select="events")
    assert "other events than the published ones" in platform.failure(day(1), select="wallet_patterns")


@pytest.mark.parametrize("seed", range(3))
def test_any_amounts_of_64_bits_give_a_day(platform: Platform, seed: int) -> None:
    market = Market(seed, 1, events_per_day=120)
    sizes = [0, 1, 10**16, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
    for row in market.rows:
        for name in ("base_raw", "quote_raw", "swap_fee_raw", "reserve_base_raw", "reserve_quote_raw"):
            if row["action"] != "CREATE":
                row[name] = market.random.choice([market.random.getrandbits(64), *sizes])
        row["tx_fee_lamports"] = row["tip_lamports"] = market.random.choice([0, 5_000, 2**62])
    platform.plant(market.rows, day(0))
    track(platform.url, **{name.replace("-", "_"): name for name in market.wallets})
    platform.succeed(day(0))
    closed, held = expected(market.rows, [day(0)])[day(0)]
    assert plain(platform.lake.read("trades", day(0))) == closed
    assert plain(platform.lake.read("open_positions", day(0))) == held
    served = platform.sql("SELECT sum(open_cost_raw), sum(open_qty_raw), sum(pnl_raw) FROM trades")
    trips = [*closed, *held]
    assert served == [tuple(sum(t[name] for t in trips) for name in ("open_cost_raw", "open_qty_raw", "pnl_raw"))]


def test_rows_that_break_a_rule_stop_the_publish_and_are_named(platform: Platform) -> None:
    platform.plant(small_market(8, 2), day(0), day(1))
    platform.succeed(day(0), day(1))
    before = platform.files()
    platform.plant([event(SLOTS_PER_DAY + 5, "BUY", None, 10, sig="broken-row")], day(1))
    message = platform.failure(day(0), day(1))
    assert "a BUY or SELL has amounts" in message and "broken-row/0/-1/0" in message
    assert "the old snapshots stand" in message
    assert platform.files() == before


def test_an_amount_beyond_64_bits_stops_the_day(platform: Platform) -> None:
    platform.plant([event(5, "BUY", 10**19 * 2, 10)], day(0))
    assert f"raw_events of {day(0)} do not fit" in platform.failure(day(0))


@pytest.mark.parametrize(
    "select", ["trades", "open_positions", "trades,open_positions", "follow_edges", "leader_scores"]
)
def test_each_asset_can_be_materialized_by_itself(platform: Platform, select: str) -> None:
    platform.plant(small_market(9, 1), day(0))
    platform.succeed(day(0), select="events")
    result = platform.succeed(day(0), select=select)
    reported = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}
    assert reported == set(select.split(","))
    assert {platform.lake.root.joinpath(one, f"day={day(0)}").is_dir() for one in reported} == {True}


def test_every_partition_reports_its_rows_and_hashes(platform: Platform) -> None:
    platform.plant(small_market(10, 2), day(0), day(1))
    result = platform.succeed(day(0), day(1))
    shown = {
        (e.asset_key.to_user_string(), e.partition): e.step_materialization_data.materialization.metadata
        for e in result.get_asset_materialization_events()
    }
    snapshot = platform.lake.snapshot("open_positions", day(1))
    metadata = shown["open_positions", str(day(1))]
    assert metadata["content_hash"].value == snapshot.content_hash
    assert metadata["dagster/partition_row_count"].value == snapshot.rows
    assert metadata[checks.PARENT].value == platform.lake.snapshot("open_positions", day(0)).content_hash
