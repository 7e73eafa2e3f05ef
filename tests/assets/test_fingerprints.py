"""Fingerprints as a user runs them: as of any day, from kept days, over several windows, with pictures."""

from __future__ import annotations

import datetime as dt
from typing import Any

import dagster as dg
import pytest

from copytrader_assets.lineage import column_lineage
from copytrader_assets.partials import Partials
from copytrader_assets.schemas import TABLES
from copytrader_core.errors import ConfigError
from copytrader_core.settings import settings
from tests.assets.conftest import Platform
from tests.assets.planted import Market, day, start_ns, track

PATTERNS = "wallet_patterns,wallet_windows"


@pytest.fixture
def tracked(platform: Platform) -> Platform:
    track(platform.url, wallet_1="one", wallet_2="two", wallet_3="three")
    return platform


def published(platform: Platform, date: dt.date) -> list[bytes]:
    return [platform.lake.file(asset, date).read_bytes() for asset in PATTERNS.split(",")]


def test_deleting_all_later_events_changes_no_byte(tracked: Platform) -> None:
    rows = Market(1, 4, events_per_day=150).rows
    tracked.plant(rows, *map(day, range(4)))
    tracked.succeed(day(0), day(3))
    known = published(tracked, day(1))
    tracked.forget_lake()
    tracked.execute(f"DELETE FROM raw_events WHERE ts_ns >= {start_ns(day(2))}")
    tracked.execute(f"DELETE FROM ingest_days WHERE day > '{day(1)}'")
    tracked.succeed(day(0), day(1))
    assert published(tracked, day(1)) == known


def test_kept_facts_and_fresh_ones_give_the_same_bytes(tracked: Platform) -> None:
    tracked.plant(Market(2, 3, events_per_day=120).rows, *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    known = published(tracked, day(2))
    for kept in (tracked.lake.root / ".facts").iterdir():
        kept.unlink()
    tracked.succeed(day(2), select=PATTERNS)
    assert published(tracked, day(2)) == known


def test_a_wallet_that_is_tracked_later_is_measured_over_all_its_history(tracked: Platform) -> None:
    tracked.plant(Market(3, 3, events_per_day=120).rows, *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    track(tracked.url, wallet_4="four")
    tracked.succeed(day(2))
    late = published(tracked, day(2))
    tracked.forget_lake()
    tracked.succeed(day(0), day(2))
    assert published(tracked, day(2)) == late
    assert "wallet-4" in {row["wallet"] for row in tracked.rows("wallet_patterns", day(2))}


def test_late_events_change_the_facts_of_their_day(tracked: Platform) -> None:
    rows = Market(4, 2, events_per_day=120).rows
    late = [row for row in rows if row["wallet"] == "wallet-1"][::2]
    tracked.plant([row for row in rows if row not in late], day(0), day(1))
    tracked.succeed(day(0), day(1))
    tracked.plant(late, day(0), day(1))
    tracked.succeed(day(0), day(1))
    whole = published(tracked, day(1))
    tracked.forget_lake()
    tracked.succeed(day(0), day(1))
    assert published(tracked, day(1)) == whole


def test_every_window_is_published_and_single_wallets_may_have_more(
    tracked: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPYTRADER_PATTERNS__WINDOWS", '["1d", "lifetime"]')
    monkeypatch.setenv("COPYTRADER_PATTERNS__WALLET_WINDOWS", '{"wallet-2": ["last3"]}')
    settings.cache_clear()
    tracked.plant(Market(5, 3, events_per_day=150).rows, *map(day, range(3)))
    tracked.succeed(day(0), day(2))
    rows = {(row["wallet"], row["window_name"]): row for row in tracked.rows("wallet_windows", day(2))}
    main = {row["wallet"]: row for row in tracked.rows("wallet_patterns", day(2))}
    assert {name for wallet, name in rows if wallet == "wallet-1"} == {"1d", "lifetime"}
    assert rows["wallet-2", "last3"]["sample_trades"] == 3
    assert rows["wallet-1", "1d"]["since_ns"] == start_ns(day(2))
    same = ("sample_trades", "win_rate", "p50_hold_ms", "max_drawdown_sol", "stability", "p90_best_x")
    assert all(rows["wallet-1", "lifetime"][name] == main["wallet-1"][name] for name in same)


def test_buckets_of_wallets_give_the_same_rows(tracked: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.plant(Market(6, 2, events_per_day=150).rows, day(0), day(1))
    tracked.succeed(day(0), day(1))
    whole = published(tracked, day(1))
    monkeypatch.setattr("copytrader_assets.partials._BUCKET_ROWS", 10)
    with Partials.open(tracked.lake, dict.fromkeys(("wallet-1", "wallet-2", "wallet-3")), 7) as partials:
        assert len(partials.buckets([day(0), day(1)])) == 3
    tracked.succeed(day(1), select=PATTERNS)
    assert published(tracked, day(1)) == whole


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    found = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(asset)]
    return {k: v.value for k, v in found[-1].step_materialization_data.materialization.metadata.items()}


def test_every_partition_shows_its_pictures_and_how_fresh_it_is(tracked: Platform) -> None:
    tracked.plant(Market(7, 3, events_per_day=150).rows, *map(day, range(3)))
    result = tracked.succeed(day(0), day(1))
    patterns, trades = shown(result, "wallet_patterns"), shown(result, "trades")
    pictures = [patterns[name] for name in ("pnl_histogram", "hold_survival", "exit_styles")]
    pictures += [trades["pnl_histogram"], trades["hold_survival"], shown(result, "open_positions")["ages"]]
    assert all("data:image/svg+xml;base64," in picture and len(picture) < 60_000 for picture in pictures)
    assert "1 day(s) behind the newest sealed day 2026-03-03" in patterns["freshness"]
    assert patterns["days_behind"] == 1
    assert f"| {day(0)} |" in patterns["row_counts"] and "| events |" in patterns["row_counts"]


@pytest.mark.parametrize("asset", ["trades", "open_positions", "wallet_patterns", "wallet_windows", "follow_edges"])
def test_the_lineage_of_a_column_leads_to_columns_that_are_there(asset: str) -> None:
    (lineage,) = column_lineage(asset).values()
    assert set(lineage.deps_by_column) <= set(TABLES[asset].names)
    for deps in lineage.deps_by_column.values():
        assert all(dep.column_name in TABLES[dep.asset_key.to_user_string()].names for dep in deps)


@pytest.mark.parametrize("asset", ["wallet_patterns", "wallet_windows"])
def test_every_measure_has_a_lineage(asset: str) -> None:
    (lineage,) = column_lineage(asset).values()
    told_otherwise = {"alias", "as_of", "window_name", "hold_over_ms"}
    assert set(TABLES[asset].names) - set(lineage.deps_by_column) == told_otherwise & set(TABLES[asset].names)


def test_a_window_setting_without_a_meaning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYTRADER_PATTERNS__WINDOWS", '["fortnight"]')
    settings.cache_clear()
    with pytest.raises(ConfigError, match=r"patterns\.windows"):
        settings()
    settings.cache_clear()
