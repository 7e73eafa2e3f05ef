"""The button does what the command of its name does, with who and why, and everybody sees it at once."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any

import psycopg
import pytest

from executor.control import Control, read_control, write_control
from executor.wal import Wal

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def journal(home: Path) -> Any:
    """An executor's home: the file in it is looked at."""
    wal = Wal(home / "executor" / "paper")
    yield wal
    wal.close()


def row(url: str) -> tuple[Any, ...] | None:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT state, flatten, reason FROM exec_state").fetchone()


@pytest.mark.parametrize(
    ("button", "state", "flatten"),
    [
        ("reduce", "REDUCING", False),
        ("halt", "HALTED", False),
        ("flatten", "REDUCING", True),
        ("resume", "ACTIVE", False),
    ],
)
async def test_a_button_sets_file_and_row_and_says_who(
    pg_url: str, cockpit: Any, home: Path, journal: Wal, button: str, state: str, flatten: bool
) -> None:
    write_control(home / "executor", Control("HALTED", False, "before"))
    async with cockpit(actions=True) as running:
        status, text = await running.press(button, confirm=button, why="the market <looks> odd")
    expected = (state, flatten, "by cockpit: the market <looks> odd")
    control = read_control(home / "executor")
    assert status == 200 and state in text
    assert (control.state, control.flatten, control.reason) == expected == row(pg_url)


@pytest.mark.parametrize("button", ["halt", "flatten", "resume"])
@pytest.mark.parametrize("confirm", [None, "yes", "reduce"])
async def test_what_costs_money_by_a_slip_has_to_be_confirmed(
    cockpit: Any, home: Path, button: str, confirm: str | None
) -> None:
    async with cockpit(actions=True) as running:
        status, text = await running.press(button, **({} if confirm is None else {"confirm": confirm}))
    assert status == 409 and "confirmed" in text
    assert not (home / "executor" / "control.json").exists()


async def test_everybody_who_watches_sees_it(pg_url: str, cockpit: Any) -> None:
    async with cockpit(actions=True) as running, running.session.get(running.url + "/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        while b"event: tick" not in await asyncio.wait_for(events.content.readline(), 10):
            pass
        await running.press("halt", confirm="halt", why="seen")
        assert "by cockpit: seen" in await _state_that(events, "HALTED")


async def _state_that(events: Any, sought: str) -> str:
    """The part `state` as soon as it holds `sought`."""
    while line := (await asyncio.wait_for(events.content.readline(), 10)).decode():
        if line == "event: state\n":
            text: str = json.loads((await events.content.readline()).decode().removeprefix("data: "))
            if sought in text:
                return text
    raise AssertionError("the stream ended")


async def test_without_postgres_the_file_is_set_and_that_is_said(
    cockpit: Any, home: Path, journal: Wal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    async with cockpit(actions=True) as running:
        status, text = await running.press("halt", confirm="halt")
    assert status == 200 and "not in Postgres" in text and read_control(home / "executor").state == "HALTED"


async def test_a_postgres_that_hangs_does_not_hold_the_button(
    cockpit: Any, home: Path, journal: Wal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none")
        async with cockpit(actions=True) as running:
            status, text = await running.press("halt", confirm="halt")
            assert "HALTED" in await running.text()
    assert status == 200 and "not in Postgres" in text and read_control(home / "executor").state == "HALTED"


async def test_nothing_is_started_by_looking_or_pressing(cockpit: Any, home: Path, journal: Wal) -> None:
    async with cockpit(actions=True) as running:
        status, text = await running.press("reduce")
    assert status == 200 and "no database is known here" in text and not (home / "pg").exists()


async def test_flatten_says_whether_somebody_sells(cockpit: Any, journal: Wal) -> None:
    async with cockpit(actions=True) as running:
        _, together = await running.press("flatten", confirm="flatten")
        journal.close()
        _, alone = await running.press("flatten", confirm="flatten")
        journal.__init__(journal.folder)  # type: ignore[misc]
    assert "no paper executor is seen running" in alone and "the paper executor that runs sells" in together


async def test_for_a_live_wallet_the_page_names_the_command_that_has_the_key(cockpit: Any, journal: Wal) -> None:
    async with cockpit(actions=True, mode="live") as running:
        _, text = await running.press("flatten", confirm="flatten")
    assert "copytrader executor flatten --mode live" in text


async def test_a_reason_is_one_short_line_whatever_was_typed(cockpit: Any, home: Path, journal: Wal) -> None:
    async with cockpit(actions=True) as running:
        await running.press("reduce", why="two\r\nlines\x1b[31m and " + "much " * 100)
    reason = read_control(home / "executor").reason or ""
    assert reason.startswith("by cockpit: two lines [31m and much") and len(reason) <= 140 and reason.isprintable()


async def test_on_another_machine_the_row_alone_is_set(pg_url: str, cockpit: Any, home: Path) -> None:
    async with cockpit(actions=True) as running:
        status, _ = await running.press("halt", confirm="halt")
    assert status == 200 and row(pg_url) == ("HALTED", False, "by cockpit")
    assert not (home / "executor" / "control.json").exists(), "a file that nobody looks at would only grow old"


async def test_where_nobody_would_hear_it_nothing_is_said_to_be_done(cockpit: Any, home: Path) -> None:
    async with cockpit(actions=True) as running:
        status, text = await running.press("halt", confirm="halt")
    assert status == 503 and "nobody hears it" in text and not (home / "executor" / "control.json").exists()


async def test_a_name_that_is_no_button_does_nothing(cockpit: Any, home: Path) -> None:
    async with cockpit(actions=True) as running:
        status, _ = await running.press("explode", confirm="explode")
    assert status == 404 and not (home / "executor" / "control.json").exists()


async def test_a_cockpit_that_cannot_look_any_more_ends(cockpit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("copytrader_cli.cockpit.app.signal.raise_signal", ended.append)

    async def broken(**_: Any) -> Any:
        raise KeyError("a fault of ours")

    async with cockpit() as running, running.session.get(running.url + "/events") as events:
        await events.content.readline()
        monkeypatch.setattr(running.hub, "facts", broken)
        for _ in range(200):
            if ended:
                break
            await asyncio.sleep(0.05)
    assert ended == [signal.SIGTERM]
