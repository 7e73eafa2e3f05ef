"""`copytrader ingest` and `copytrader seal` from the outside."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from chain_double import DAY, T0, WALLETS, Chain, Server, event, serving
from typer.testing import CliRunner

from copytrader_cli.commands.seal import app as seal_app
from copytrader_core.store import raw_events


async def copytrader(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "copytrader_cli.main",
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, output.decode()


async def test_ingest_ends_when_idle_and_sums_up(pg_url: str, tmp_path: Path) -> None:
    chain = Chain.plant(5)
    for block in chain.blocks:
        del block.transactions[:]
    token = tmp_path / "token"
    token.write_text("right\n")
    async with serving(Server(chain, token="right")) as server:
        status, output = await copytrader(
            "ingest", "--endpoint", server.address, "--x-token-file", str(token), "--until-idle", "0.4"
        )
    assert status == 0, output
    assert "ended slots=5 transactions=0 events=0 duplicates=0 dead_letters=0 gaps=0" in output
    assert "right" not in output


async def test_ingest_with_a_wrong_token_exits_1_with_one_message(pg_url: str) -> None:
    async with serving(Server(Chain.plant(2), token="right")) as server:
        status, output = await copytrader("ingest", "--endpoint", server.address, "--x-token", "wrong-secret")
    assert status == 1
    assert "No valid auth token" in output and "--x-token" in output
    assert "Traceback" not in output and "wrong-secret" not in output


def load_events(url: str, per_day: dict[int, int]) -> None:
    with psycopg.connect(url) as connection:
        for day, count in per_day.items():
            rows = [
                raw_events.row(
                    event(day * 1000 + n, 0, f"s{day}.{n}", 0, WALLETS[0]),
                    ts_ns=(T0 + day * DAY) * 10**9 + (DAY * 10**9 - 1 if n else 0),
                    recv_ts_ns=None,
                    alias=None,
                )
                for n in range(count)
            ]
            raw_events.insert(connection, rows)


def sealed(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT day::text, sealed_by, n_events FROM ingest_days ORDER BY day").fetchall()


def seal(first: str, last: str) -> tuple[int, str]:
    result = CliRunner().invoke(seal_app, ["--from", first, "--to", last])
    return result.exit_code, result.output


def test_seal_counts_each_utc_day_and_again_after_late_data(pg_url: str) -> None:
    load_events(pg_url, {0: 3, 1: 2})
    assert seal("2024-10-04", "2024-10-06")[0] == 0
    assert sealed(pg_url) == [("2024-10-04", "manual", 3), ("2024-10-05", "manual", 2), ("2024-10-06", "manual", 0)]
    load_events(pg_url, {1: 5})
    assert seal("2024-10-05", "2024-10-05")[0] == 0
    assert sealed(pg_url)[1] == ("2024-10-05", "manual", 5)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2024-10-05", "2024-10-04"),
        ("2019-10-05", "2024-12-31"),
        ("2024-13-01", "2024-13-02"),
        ("20241004", "20241005"),
        ("yesterday", "today"),
    ],
)
def test_seal_refuses_a_range_that_cannot_be_meant(pg_url: str, first: str, last: str) -> None:
    assert seal(first, last)[0] == 2
    assert sealed(pg_url) == []


async def test_seal_warns_of_an_open_gap_and_seals(pg_url: str) -> None:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (5, 9, 'planted')")
    status, output = seal("2024-10-04", "2024-10-04")
    assert (status, "slots 5 to 9" in output) == (0, True)
    assert len(sealed(pg_url)) == 1
