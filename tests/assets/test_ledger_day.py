"""A day over the lake: equal bytes for any cut of the work, and what is noticed when a day does not add up."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from copytrader_assets.analysis.trip_checks import repeated_keys
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.lake import Lake
from copytrader_assets.ledger_day import LedgerDay, ledger_day
from copytrader_assets.schemas import OPEN_POSITIONS, TRADES
from copytrader_core.settings import LedgerSettings
from tests.assets.books import Books, lake_events, of_day
from tests.assets.planted import Market, Row, day, event

DAYS = 3


def lake_of(root: Path, rows: list[Row]) -> Lake:
    lake = Lake(root)
    for number in range(DAYS):
        in_order = sorted(of_day(rows, number), key=lambda r: (r["slot"], r["tx_index"], r["outer_ix"], r["event_seq"]))
        lake.publish([lake.stage("events", day(number), lake_events(in_order), {})])
    return lake


def run(lake: Lake, **rules: int) -> list[LedgerDay]:
    settings, carry, days = LedgerSettings(**rules), Carry.nothing(), []
    for number in range(DAYS):
        days.append(ledger_day(lake, day(number), carry, settings))
        carry = days[-1].carry
    return days


def published(lake: Lake, days: list[LedgerDay], **rules: int) -> list[str]:
    """The content hashes of what the days would publish."""
    settings, hashes = LedgerSettings(**rules), []
    for number, one in enumerate(days):
        for table, parts, companion in (
            (TRADES, one.trades(settings), None),
            (OPEN_POSITIONS, one.open_positions(settings), one.carry.stored()),
        ):
            loose = pa.schema([field.with_nullable(True) for field in table.arrow])
            staged = lake.stage_parts(table.name, day(number), loose, parts, {}, companion)
            hashes.append(staged.content_hash)
    return hashes


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return Market(21, DAYS, events_per_day=250, wallets=30).rows


@pytest.mark.parametrize(
    "rules",
    [
        {"bucket_rows": 150},
        {"bucket_rows": 20, "threads": 1, "buckets_at_once": 3},
        {"bucket_rows": 90, "threads": 3, "buckets_at_once": 2},
    ],
)
def test_the_number_of_buckets_and_threads_changes_no_byte(
    tmp_path: Path, rows: list[Row], rules: dict[str, int]
) -> None:
    lake = lake_of(tmp_path, rows)
    assert published(lake, run(lake, **rules), **rules) == published(lake, run(lake))


def test_the_lake_gives_the_rows_that_the_ledger_gives_without_one(tmp_path: Path, rows: list[Row]) -> None:
    days, books = run(lake_of(tmp_path, rows), bucket_rows=100), Books(rows, DAYS)
    settings = LedgerSettings()
    for number, one in enumerate(days):
        assert pa.concat_tables(one.trades(settings)) == books.trades[number]
        assert pa.concat_tables(one.open_positions(settings)) == books.open[number]


def test_what_the_events_moved_is_what_the_positions_changed(tmp_path: Path, rows: list[Row]) -> None:
    assert [one.flow.problem for one in run(lake_of(tmp_path, rows))] == [None] * DAYS


def test_a_day_with_a_part_missing_does_not_add_up(tmp_path: Path, rows: list[Row]) -> None:
    one = run(lake_of(tmp_path, rows))[0]
    assert "the events moved" in str(one.flow.and_(type(one.flow)(moved=1)).problem)


def test_a_round_trip_that_stands_twice_is_named() -> None:
    books = Books([event(1, "BUY", 10, 100), event(2, "BUY", 10, 100, wallet="wallet-b")])
    assert repeated_keys([books.carry.held]) == []
    twice = pa.concat_tables([books.carry.held, books.carry.held.slice(1)])
    assert repeated_keys([twice]) == ["wallet-b/coin-a/sig2/0.-1.0"]
