"""A Postgres that refuses, hangs, is held, is too old or contradicts: nothing is bought, exits go on, no run ends."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from journal_lines import line
from planted_market import LEADER, OTHER, publish
from running import rows, until
from test_executor_control import later, opened

from copytrader_core.errors import StoreError
from executor import postgres, projector
from executor.control import Control, Switch, set_state
from executor.database import Database
from executor.postgres import connect
from executor.projector import Projector, catch_up
from executor.statements import statement
from executor.wal import Wal, WalReader

POSITION = {
    "position_id": "p",
    "mode": "live",
    "leader": "leader",
    "leader_sig": "s",
    "mint": "coin",
    "slot": 1,
    "ts_ns": 1,
    "base_raw": 10,
    "cost_lamports": 100,
    "payload": {"attempts": 0},
}
SOLD = {"position_id": "p", "proceeds_lamports": 90, "reason": "kill", "ts_ns": 2, "payload": {"attempts": 1}}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(projector, "_REFUSED_SECONDS", 0.05)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.02)


def execute(url: str, query: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query)


def write(wal: Wal, *kinds: str, run: str = "run") -> None:
    for kind in kinds:
        wal.append(line(kind, run_id=run, mode="live"))


def journalled(url: str) -> list[tuple[int, str]]:
    found = rows(url, "SELECT journal_seq, kind FROM exec_journal ORDER BY journal_seq")
    return [(row["journal_seq"], row["kind"]) for row in found]


async def projected(url: str, wal: Wal) -> str | None:
    """What the projector says when it has written everything, or has found out that it must not."""
    said: list[str | None] = []
    following = Projector(url, wal, "live")
    following.stands = said.append
    task = asyncio.create_task(following.run())
    await eventually(lambda: bool(said) or task.done())
    assert not task.done(), "an error of Postgres' has ended the run"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return said[-1]


@asynccontextmanager
async def following(url: str, wal: Wal, switch: Switch) -> AsyncIterator[asyncio.Task[None]]:
    """A live run's database, and its projector."""

    async def put(news: Any) -> None:
        """Nobody listens."""

    database = Database(url, wal, "live")
    await database.begin(switch)
    tasks = [asyncio.create_task(database.follow(switch, put)), asyncio.create_task(database.projector.run())]
    try:
        yield tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(15):
            await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


@pytest.fixture
def wal(executor_home: Path) -> Any:
    with closing(Wal(executor_home / "executor" / "live")) as found:
        yield found


async def test_a_table_that_refuses_stops_the_buying_until_it_takes_the_lines_again(
    pg_url: str, executor_home: Path
) -> None:
    publish(pg_url)
    world, hand = await opened(pg_url)
    later(world)
    execute(pg_url, "ALTER TABLE exec_fills RENAME TO away")
    world.buy(OTHER, "coin", 0.1)
    world.next(40)
    hand.give(later(world))
    reader, states = WalReader(executor_home / "executor" / "paper", 0), list[tuple[str, str]]()

    def state() -> str:
        found = [one["payload"] for one in reader.read(1000) if one["kind"] == "STATE"]
        states.extend((one["state"], one["reason"] or "") for one in found)
        return states[-1][0] if states else "none"

    await eventually(lambda: state() == "REDUCING")
    assert "exec_fills" in states[-1][1]
    world.buy(LEADER, "refused", 1.0)
    world.next(3)
    hand.give(later(world))
    execute(pg_url, "ALTER TABLE away RENAME TO exec_fills")
    await eventually(lambda: state() == "ACTIVE")
    world.buy(LEADER, "taken", 1.0)
    world.next(3)
    hand.give(later(world))
    tally = await hand.end()
    assert (tally.sold, tally.decisions) == (1, {"ACCEPTED": 2, "TRADING_STATE": 1})
    assert len(rows(pg_url, "SELECT 1 FROM exec_fills")) == 3


async def test_a_buy_that_lands_again_after_its_position_was_closed_is_open_again(pg_url: str, wal: Wal) -> None:
    wal.append(line("FILL", mode="live", changes=[("open_position", POSITION)]))
    wal.append(line("FILL", mode="live", changes=[("close_position", SOLD)]))
    wal.append(line("FILL", mode="live", changes=[("open_position", POSITION | {"slot": 3, "base_raw": 7})]))
    assert await projected(pg_url, wal) is None
    assert rows(pg_url, "SELECT state, opened_slot, qty_raw, proceeds_lamports, payload FROM exec_positions") == [
        {"state": "OPEN", "opened_slot": 3, "qty_raw": 7, "proceeds_lamports": None, "payload": {"attempts": 0}}
    ]


async def test_a_lock_that_a_dead_session_still_holds_is_waited_for(pg_url: str, wal: Wal) -> None:
    switch = Switch(wal.folder.parent)
    with psycopg.connect(pg_url, autocommit=True) as ghost:
        ghost.execute(statement("only_one"), {"mode": "live"})
        async with following(pg_url, wal, switch):
            await asyncio.sleep(0.2)
            assert switch.state == "REDUCING"
            ghost.close()
            await eventually(lambda: switch.state == "ACTIVE")


async def test_a_postgres_that_hangs_is_a_postgres_away(pg_url: str, wal: Wal) -> None:
    switch = Switch(wal.folder.parent)
    async with gate(pg_url) as (through, is_open), following(through, wal, switch) as task:
        await eventually(lambda: switch.state == "ACTIVE")
        is_open.clear()
        await eventually(lambda: switch.state == "REDUCING")
        with psycopg.connect(pg_url) as connection:
            set_state(connection, Control("HALTED", False, "test"))
        is_open.set()
        await eventually(lambda: switch.state == "HALTED")
        assert not task.done()
        is_open.clear()


@asynccontextmanager
async def gate(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the database on which nothing moves, and nothing breaks, while it is shut."""
    info, is_open = psycopg.conninfo.conninfo_to_dict(url), asyncio.Event()
    pumps, writers = set[asyncio.Task[None]](), list[asyncio.StreamWriter]()
    is_open.set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            await is_open.wait()
            writer.write(chunk)
        await is_open.wait()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(str(info["host"]), int(str(info["port"])))
        writers.extend((writer, there[1]))
        pumps.update({asyncio.create_task(pump(reader, there[1])), asyncio.create_task(pump(there[0], writer))})

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield psycopg.conninfo.make_conninfo(url, port=port), is_open
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        for writer in writers:
            writer.close()
        closed = [writer.wait_closed() for writer in writers]
        await asyncio.gather(*pumps, *closed, return_exceptions=True)


async def after_a_lost_tail(url: str, wal: Wal, *written_since: str) -> Wal:
    """Five lines in Postgres of which a power cut has left three; the next run starts without Postgres."""
    write(wal, "RUN", "A", "B")
    size = next(wal.folder.glob("*.wal")).stat().st_size
    write(wal, "C", "D")
    assert await projected(url, wal) is None
    path = next(wal.folder.glob("*.wal"))
    wal.close()
    os.truncate(path, size)
    again = Wal(wal.folder)
    write(again, *written_since, run="next run")
    return again


@pytest.mark.parametrize("written_since", [("RUN",), ("RUN", "X", "Y", "Z")])
async def test_lines_that_the_files_have_lost_are_never_written_over(
    pg_url: str, executor_home: Path, written_since: tuple[str, ...]
) -> None:
    folder = executor_home / "executor" / "live"
    wal = await after_a_lost_tail(pg_url, Wal(folder), *written_since)
    kept = [(1, "RUN"), (2, "A"), (3, "B"), (4, "C"), (5, "D")]
    switch = Switch(folder.parent)
    async with following(pg_url, wal, switch):
        await eventually(lambda: "have lost" in (switch.control.reason or ""))
        assert switch.state == "REDUCING"
    assert journalled(pg_url) == kept
    wal.close()
    # What the message says to do.
    shutil.move(next(folder.glob("*.wal")), executor_home)
    with closing(Wal(folder)) as restored:
        async with following(pg_url, restored, switch):
            assert [one["kind"] for one in restored.replay()] == ["RUN", "A", "B", "C", "D"]
            await eventually(lambda: switch.state == "ACTIVE")


async def test_a_lost_tail_comes_back_at_a_start_with_postgres(pg_url: str, executor_home: Path) -> None:
    with closing(await after_a_lost_tail(pg_url, Wal(executor_home / "executor" / "live"))) as wal:
        async with await connect(pg_url) as connection:
            assert await catch_up(connection, wal, "live") == 2
        write(wal, "RUN", run="next run")
        assert await projected(pg_url, wal) is None
    assert journalled(pg_url)[3:] == [(4, "C"), (5, "D"), (6, "RUN")]


async def test_a_database_of_another_journal_is_left_alone(pg_url: str, wal: Wal, tmp_path: Path) -> None:
    write(wal, "RUN", "A")
    assert await projected(pg_url, wal) is None
    with closing(Wal(tmp_path / "fresh")) as fresh:
        write(fresh, "RUN", "B", run="begun without Postgres")
        assert "belong together" in (await projected(pg_url, fresh) or "")
    assert journalled(pg_url) == [(1, "RUN"), (2, "A")]


async def test_a_database_that_was_restored_from_an_older_backup_ends_no_run(pg_url: str, wal: Wal) -> None:
    write(wal, "RUN", "A")
    assert await projected(pg_url, wal) is None
    wal.rotate({})
    write(wal, "B")
    assert await projected(pg_url, wal) is None
    execute(pg_url, "UPDATE exec_projection SET journal_seq = 1; DELETE FROM exec_journal WHERE journal_seq > 1")
    assert "restore its older files" in (await projected(pg_url, wal) or "")


async def test_a_schema_that_is_too_old_is_refused_in_plain_words(
    pg_url: str, wal: Wal, caplog: pytest.LogCaptureFixture
) -> None:
    execute(pg_url, "UPDATE schema_info SET version = 1")
    switch = Switch(wal.folder.parent)
    with pytest.raises(StoreError, match="copytrader db url"):
        await Database(pg_url, wal, "paper").begin(switch)
    async with following(pg_url, wal, switch):
        assert switch.state == "REDUCING"
    assert "schema version 1" in caplog.text


async def test_without_postgres_at_the_start_markets_are_simply_not_known(pg_url: str, wal: Wal) -> None:
    database = Database(pg_url, wal, "live")
    await database.begin(Switch(wal.folder.parent))
    execute(
        pg_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'copytrader executor' AND datname = current_database()",
    )
    assert await database.markets({"coin"}) == []
    await database.close()


async def test_no_database_at_all_is_waited_for(pg_url: str, wal: Wal) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    switch = Switch(wal.folder.parent)
    async with following(nowhere, wal, switch) as task:
        await asyncio.sleep(0.1)
        assert (switch.state, task.done()) == ("REDUCING", False)
    assert await until(pg_url, "SELECT state FROM exec_state") == [{"state": "ACTIVE"}]
