"""What `executor status` tells, with Postgres, without it, with the executor running and dead."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import sys
import termios
from pathlib import Path

import psycopg
import pytest
from planted_market import LEADER, OTHER, World, address, publish, settings
from rich.console import Console
from running import Hand, trade, until
from typer.testing import CliRunner

from copytrader_cli.commands import executor as command
from copytrader_cli.executor_table import status_tables
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump.addresses import PUMP_PROGRAM
from copytrader_core.records import WSOL
from executor.control import Control, set_state, write_control
from executor.journal_view import JournalView, kept_lines, writer_of
from executor.locks import set_lock
from executor.status import Status, StatusReader, exits_of, read_status
from executor.wal import Wal

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def held(quiet_slots: int = 4) -> list[pb.SubscribeUpdate]:
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(quiet_slots)
    return world.updates()


def sold() -> list[pb.SubscribeUpdate]:
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(4)
    world.buy(OTHER, "coin", 0.5)
    world.next(60)
    return world.updates()


def shown(status: Status) -> str:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(status_tables(status))
    console.file.close()
    return console.export_text()


@pytest.fixture
def folder(executor_home: Path) -> Path:
    return executor_home / "executor"


async def test_files_and_tables_tell_the_same(pg_url: str, folder: Path) -> None:
    publish(pg_url)
    await trade(pg_url, held(), settings())
    with psycopg.connect(pg_url) as connection:
        by_tables = read_status(connection, "paper")
        by_files = StatusReader("paper", folder).read(connection)
    alone = StatusReader("paper", folder).read(None, "it is away")
    assert (by_tables.running, by_files.running, alone.running) == (False, False, False)
    for one in (by_tables, by_files, alone):
        (position,) = one.positions
        assert (position["mint"], position["wallet"], position["state"]) == (address("coin"), address(LEADER), "OPEN")
        assert (one.slot, one.release_id, [row["code"] for row in one.decisions]) == (
            by_tables.slot,
            "r1",
            ["ACCEPTED"],
        )
    assert by_tables.positions[0]["cost_lamports"] == alone.positions[0]["cost_lamports"]
    assert (by_files.state, alone.state, alone.database) == ("ACTIVE", "REDUCING", "it is away")


async def test_todays_result_is_that_of_the_journals_own_day(pg_url: str, folder: Path) -> None:
    publish(pg_url)
    tally = await trade(pg_url, sold(), settings())
    with psycopg.connect(pg_url) as connection:
        by_tables = read_status(connection, "paper")
    alone = StatusReader("paper", folder).read(None)
    assert tally.sold == 1 and alone.positions == []
    for one in (by_tables, alone):
        assert (one.closed_today, one.pnl_today_lamports) == (1, tally.pnl_lamports)
        assert one.won_today == int(tally.pnl_lamports > 0)


async def test_the_stricter_of_file_and_row_is_the_state(pg_url: str, folder: Path) -> None:
    write_control(folder, Control("REDUCING", True, "by file"))
    with psycopg.connect(pg_url, autocommit=True) as connection:
        first = StatusReader("paper", folder).read(connection)
        set_state(connection, Control("HALTED", False, "by row"))
        second = StatusReader("paper", folder).read(connection)
    assert (first.state, first.flatten, first.reason) == ("REDUCING", True, "by file")
    assert (second.state, second.flatten, second.reason) == ("HALTED", True, "by row")
    assert second.file is not None and second.file.state == "REDUCING" and "file REDUCING, row HALTED" in shown(second)


async def test_a_running_executor_is_seen_in_its_files_and_looking_takes_nothing(pg_url: str, folder: Path) -> None:
    publish(pg_url)
    hand = Hand(pg_url, settings(), clock="chain")
    hand.give(held())
    await until(pg_url, "SELECT 1 FROM exec_positions")
    reader = StatusReader("paper", folder)
    status = reader.read(None)
    assert status.running and status.pid == os.getpid() == writer_of(folder / "paper")
    assert len(status.positions) == 1 and f"running (process {os.getpid()})" in shown(status)
    await hand.end()
    after = reader.read(None)
    assert not after.running and "not running" in shown(after) and len(after.positions) == 1


def test_a_journal_that_nobody_writes_has_no_writer(tmp_path: Path) -> None:
    assert writer_of(tmp_path) is None
    wal = Wal(tmp_path)
    assert writer_of(tmp_path) == os.getpid() and writer_of(tmp_path, tmp_path / "no such list") is None
    wal.close()
    assert writer_of(tmp_path) is None


async def test_each_look_reads_on_also_over_new_segments(pg_url: str, folder: Path) -> None:
    publish(pg_url)
    await trade(pg_url, held(), settings())
    view = JournalView(folder / "paper")
    view.refresh()
    assert (len(view.ledger.positions), len(view.decisions)) == (1, 1)
    wal = Wal(folder / "paper")
    wal.rotate(view.ledger.snapshot())
    wal.close()
    await trade(pg_url, sold()[-40:], settings())
    view.refresh()
    fresh = JournalView(folder / "paper")
    fresh.refresh()
    assert view.ledger == fresh.ledger and view.at_ns == fresh.at_ns
    assert len(list(kept_lines(folder / "paper"))) >= len(view.decisions)


async def test_what_a_position_would_bring_comes_from_the_last_landed_trade(pg_url: str, folder: Path) -> None:
    publish(pg_url)
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(4)
    await trade(pg_url, world.updates(), settings())
    world.buy(OTHER, "coin", 20.0)
    state = world.state("coin")
    with psycopg.connect(pg_url) as connection:
        assert StatusReader("paper", folder).read(connection).positions[0]["mark_lamports"] is None
        connection.execute(
            "INSERT INTO raw_events (ts_ns, slot, tx_index, sig, outer_ix, inner_ix, event_seq, wallet, program,"
            " action, mint, quote_mint, reserve_base_raw, reserve_quote_raw)"
            " VALUES (0, %s, 0, 's', 0, -1, 0, 'w', %s, 'BUY', %s, %s, %s, %s)",
            (world.slot, str(PUMP_PROGRAM), address("coin"), WSOL, state.virtual_base, state.virtual_quote),
        )
        status = StatusReader("paper", folder).read(connection)
    (position,) = status.positions
    assert position["mark_lamports"] > 1.5 * position["cost_lamports"]
    assert "if sold now" in shown(status)


def test_the_clock_to_each_exit_counts_down_and_past_it() -> None:
    plan = {"timer_ms": 6_000, "kill_ms": 20_000, "target_x": 1.5, "stop_x": None}
    row = {"opened_ts_ns": 10**18, "payload": {"plan": plan}}
    assert exits_of(row, 10**18 + 8 * 10**9) == [("timer", -2.0), ("kill", 12.0), ("target 1.5", None)]


async def test_locks_are_shown(pg_url: str, folder: Path) -> None:
    with psycopg.connect(pg_url) as connection:
        set_lock(connection, "mint", "abc", "a bad coin", "somebody", 3_600)
        status = StatusReader("paper", folder).read(connection)
    assert [lock["reason"] for lock in status.locks] == ["a bad coin"] and "a bad coin" in shown(status)
    assert "until_ns" in json.dumps(status.document(), default=str)


# The command.


async def test_on_a_terminal_the_table_stays_until_ctrl_c(pg_url: str, executor_home: Path) -> None:
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copytrader_cli.main", "executor", "status", "--watch"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm", "COPYTRADER_HOME": str(executor_home)},
    )
    os.close(terminal)
    seen = b""
    while seen.count(b"newest slot") < 3:
        seen += await asyncio.wait_for(asyncio.to_thread(os.read, master, 65_536), 30)
    process.send_signal(signal.SIGINT)
    draining = asyncio.create_task(asyncio.to_thread(_drain, master))
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert b"Traceback" not in await draining


def _drain(master: int) -> bytes:
    """The rest of what a terminal shows; its end is an error on Linux."""
    found = b""
    with contextlib.suppress(OSError):
        while part := os.read(master, 65_536):
            found += part
    os.close(master)
    return found


async def test_the_command_works_with_no_database_and_gives_json(
    pg_url: str, monkeypatch: pytest.MonkeyPatch, executor_home: Path
) -> None:
    publish(pg_url)
    await trade(pg_url, held(), settings())
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    from copytrader_core.settings import settings as process_settings

    process_settings.cache_clear()
    found = CliRunner().invoke(command.app, ["status", "--json"])
    document = json.loads(found.stdout)
    assert found.exit_code == 0 and "cannot be reached" in document["database"]
    (position,) = document["positions"]
    assert position["mint"] == address("coin") and set(position["exits"]) == {"timer", "kill"}
    text = CliRunner().invoke(command.app, ["status", "--watch"], env={"COLUMNS": "200"})
    assert text.exit_code == 0 and "open positions" in text.stdout and "REDUCING" in text.stdout
    assert "\x1b[" not in text.stdout


async def test_json_with_the_tables_alone_has_the_same_position(pg_url: str, executor_home: Path) -> None:
    publish(pg_url)
    await trade(pg_url, held(), settings())
    shutil.rmtree(executor_home / "executor")
    from copytrader_core.settings import settings as process_settings

    process_settings.cache_clear()
    found = CliRunner().invoke(command.app, ["status", "--json"])
    document = json.loads(found.stdout)
    assert [row["mint"] for row in document["positions"]] == [address("coin")]
    assert isinstance(document["positions"][0]["base_raw"], int) and document["database"] is None
