"""What a user types: the exit status, what is printed, and that Dagster's own words work from a bare environment."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from copytrader_cli.main import main
from tests.assets.conftest import Platform
from tests.assets.planted import Market, day, event

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `copytrader ...` in this process; returns exit status, standard output, standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["copytrader", *words])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def shell(platform: Platform, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of its own process, with nothing set but the database and the home."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("DAGSTER") and k != "PYTHONDONTWRITEBYTECODE"
    }
    environment |= {"DATABASE_URL": platform.url, "COPYTRADER_HOME": str(platform.root)}
    program = Path(sys.executable).with_name(words[0])
    return subprocess.run([program, *words[1:]], cwd=REPO, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def filled(platform: Platform) -> Platform:
    platform.plant([event(1, "BUY", 10**19, 10**18), event(2, "SELL", 10**19, 10**18 - 7)], day(0))
    platform.succeed(day(0), select="events,trades,open_positions")
    return platform


def test_sql_prints_exact_integers_as_json(filled: Platform, run) -> None:
    status, out, err = run("sql", "SELECT open_qty_raw, pnl_raw, alias, day FROM trades", "--format", "json")
    assert (status, err) == (0, "")
    assert json.loads(out) == [{"open_qty_raw": 10**19, "pnl_raw": -10_007, "alias": None, "day": "2026-03-01"}]


def test_sql_prints_clean_csv(filled: Platform, run) -> None:
    status, out, _ = run("sql", "SELECT open_qty_raw, was_win, alias FROM trades", "--format", "csv")
    assert status == 0
    assert list(csv.reader(io.StringIO(out))) == [["open_qty_raw", "was_win", "alias"], [str(10**19), "false", ""]]


def test_sql_prints_a_table(filled: Platform, run) -> None:
    status, out, _ = run("sql", "SELECT status FROM trades")
    assert status == 0 and "CLOSED" in out


def test_sql_compares_days_as_dates(filled: Platform, run) -> None:
    query = "SELECT count(*) AS n FROM events WHERE day = '2026-03-01' AND day < DATE '2026-03-02'"
    assert json.loads(run("sql", query, "--format", "json")[1]) == [{"n": 2}]


def test_sql_sums_stay_exact(filled: Platform, run) -> None:
    sums = "sum(open_qty_raw) AS a, sum(open_cost_lamports) AS b, max(created_at) > '2020-01-01' AS c"
    query = f"SELECT {sums} FROM trades, events"
    assert json.loads(run("sql", query, "--format", "json")[1]) == [
        {"a": 2 * 10**19, "b": 2 * (10**18 + 5_000), "c": True}
    ]


@pytest.mark.parametrize("view", ["events", "trades", "open_positions", "wallet_patterns", "follow_edges"])
def test_views_exist_before_anything_is_materialized(home: Path, run, view: str) -> None:
    status, out, _ = run("sql", f"SELECT * FROM {view} WHERE day = '2026-03-01'", "--format", "csv")
    assert status == 0 and out.strip().endswith(",day")


def test_a_wrong_query_tells_duckdbs_reason_and_exits_1(home: Path, run) -> None:
    status, out, err = run("sql", "SELECT nothing FROM trades")
    assert (status, out) == (1, "") and 'Referenced column "nothing" not found' in err


@pytest.mark.parametrize("query", ["", " \n"])
def test_an_empty_query_is_wrong_usage(home: Path, run, query: str) -> None:
    status, out, err = run("sql", query)
    assert (status, out) == (2, "") and "expected a query" in err


def test_a_wrong_format_is_wrong_usage(home: Path, run) -> None:
    assert run("sql", "SELECT 1", "--format", "xml")[0] == 2


def test_materialize_computes_a_range_and_leaves_its_run_in_the_instance(platform: Platform) -> None:
    platform.plant(Market(1, 2, 60).rows, day(0), day(1))
    done = shell(platform, "copytrader", "materialize", "--from", str(day(0)), "--to", str(day(1)))
    assert done.returncode == 0, done.stderr
    assert "trades: 2 day(s)" in done.stdout and "pattern_release: 2 day(s)" in done.stdout
    assert platform.lake.has("wallet_patterns", day(1))
    with psycopg.connect(platform.url) as connection:
        runs = connection.execute("SELECT status FROM dagster.runs").fetchall()
    assert runs == [("SUCCESS",)]


def test_materialize_of_an_unsealed_day_says_so_in_one_message(platform: Platform) -> None:
    done = shell(platform, "copytrader", "materialize", "--from", str(day(0)), "--to", str(day(0)))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"copytrader: events: day {day(0)} is not sealed") and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("first", "last", "status"),
    [
        ("2026-03-02", "2026-03-01", 2),
        ("yesterday", "2026-03-01", 2),
        ("2026-3-1", "2026-03-01", 2),
        ("20260301", "2026-03-01", 2),
        ("2023-12-31", "2026-03-01", 1),
    ],
)
def test_materialize_refuses_days_that_are_none(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, run, first: str, last: str, status: int
) -> None:
    retries = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
    for name in ("DAGSTER_HOME", "DAGSTER_PG_URL", "DAGSTER_EVENT_BATCH_SIZE", retries):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    assert run("materialize", "--from", first, "--to", last)[0] == status


def test_an_unforeseen_failure_ends_with_what_to_do(platform: Platform) -> None:
    platform.plant(Market(1, 1, 60).rows, day(0))
    platform.execute("ALTER TABLE raw_events DROP COLUMN price_est")
    done = shell(platform, "copytrader", "materialize", "--from", str(day(0)), "--to", str(day(0)))
    assert done.returncode == 1 and "price_est" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("unforeseen failure, see above") and "run the same command again" in last


def test_dagsters_own_command_works_with_nothing_set(platform: Platform) -> None:
    platform.plant(Market(2, 1, 60).rows, day(0))
    command = ("dagster", "asset", "materialize", "-m", "copytrader_assets.definitions", "--partition", str(day(0)))
    refused = shell(platform, *command, "--select", "trades,open_positions")
    assert refused.returncode == 1 and f"events {day(0)} is missing" in refused.stderr
    done = shell(platform, *command, "--select", "*")
    assert done.returncode == 0, done.stderr[-2000:]
    assert platform.lake.has("open_positions", day(0))


def test_ui_refuses_a_taken_port(home: Path, run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, err = run("ui", "--port", str(taken.getsockname()[1]))
    assert status == 1 and "--port" in err
