"""What a phone may ask and order: only listed chats, only on purpose, never twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fake_bot import CHAT, OTHER_CHAT, STRANGER, FakeBot, eventually

from copytrader_cli.alerts import phone as phone_module
from executor.control import Control, read_control, write_control
from executor.wal import Wal
from tests.executor.journal_lines import line


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "executor"


@pytest.fixture
async def listening(journal: Wal, running: Any) -> AsyncIterator[None]:
    async with running():
        yield


async def code_for(bot: FakeBot, order: str) -> str:
    """Gives an order and returns the code that it asks for."""
    bot.says(f"/{order}")
    asked = await bot.until(f"{order.capitalize()}: ")
    return re.search(r"Send (\d{6}) within a minute", asked)[1]  # type: ignore[index]


async def test_status_tells_what_is_known_and_invents_nothing(bot: FakeBot, listening: None) -> None:
    bot.says("/status")
    assert "executor runs, release none" in await bot.until("executor runs")
    text = bot.sent[0]["text"]
    assert "nothing has been journalled yet" in text and "Postgres is away" in text and "0.0000" not in text


async def test_positions_are_listed_with_the_time_to_their_exits(bot: FakeBot, journal: Wal, running: Any) -> None:
    plan = {"timer_ms": 6_000, "kill_ms": 20_000}
    facts = {"position_id": "p", "leader": "wallet", "leader_sig": "s", "mint": "coin", "slot": 7, "base_raw": 5}
    row = facts | {"ts_ns": 10**18, "cost_lamports": 750_000_000, "payload": {"plan": plan}, "mode": "paper"}
    journal.append(line("FILL", {"side": "BUY"}, at_ns=10**18, slot=7, changes=[["open_position", row]]))
    async with running():
        bot.says("/positions@some_bot")
        assert "wallet coin… 0.750 SOL, timer 6 s, kill 20 s" in await bot.until("wallet")


async def test_reduce_is_done_at_once_in_file_and_row(
    pg_url: str, bot: FakeBot, journal: Wal, running: Any, folder: Path
) -> None:
    async with running():
        bot.says("/reduce market looks odd")
        await bot.until("Done: REDUCING")
    expected = ("REDUCING", f"by telegram, user {CHAT}: market looks odd")
    control = read_control(folder)
    with psycopg.connect(pg_url) as connection:
        row = connection.execute("SELECT state, reason FROM exec_state").fetchone()
    assert (control.state, control.reason) == expected == row


@pytest.mark.parametrize(
    ("order", "state", "flatten"),
    [("halt", "HALTED", False), ("flatten", "REDUCING", True), ("resume", "ACTIVE", False)],
)
async def test_what_costs_money_by_a_slip_needs_its_code(
    bot: FakeBot, listening: None, folder: Path, order: str, state: str, flatten: bool
) -> None:
    write_control(folder, Control("REDUCING", False, "as it was"))
    code = await code_for(bot, order)
    assert read_control(folder).reason == "as it was"
    bot.says(code)
    assert "not in Postgres" in await bot.until("Done:")
    control = read_control(folder)
    assert (control.state, control.flatten) == (state, flatten) and str(CHAT) in (control.reason or "")


async def test_a_wrong_code_takes_the_order_back(bot: FakeBot, listening: None, folder: Path) -> None:
    code = await code_for(bot, "halt")
    bot.says(f"{(int(code) + 1) % 1_000_000:06d}")
    await bot.until("not the code")
    bot.says(code)
    await bot.until("Nothing waits for a code")
    assert read_control(folder).state == "ACTIVE"


async def test_a_code_is_good_for_a_minute(
    bot: FakeBot, listening: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await code_for(bot, "flatten")
    real = phone_module.time.monotonic
    monkeypatch.setattr(phone_module.time, "monotonic", lambda: real() + 61)
    bot.says(code)
    await bot.until("too old")
    assert read_control(folder) == Control("ACTIVE")


async def test_a_code_is_good_once_and_for_who_asked(bot: FakeBot, listening: None, folder: Path) -> None:
    code = await code_for(bot, "halt")
    bot.says(code, user=STRANGER)
    await bot.until("Nothing waits")
    assert read_control(folder).state == "ACTIVE"
    code = await code_for(bot, "flatten")
    bot.says(code)
    await bot.until("Done: REDUCING, selling everything")
    write_control(folder, Control("ACTIVE", False, "resumed by hand"))
    bot.says(code)
    await eventually(lambda: sum("Nothing waits" in text for text in bot.texts()) == 2)
    assert read_control(folder).reason == "resumed by hand"


async def test_a_restart_in_between_voids_the_code(bot: FakeBot, journal: Wal, running: Any, folder: Path) -> None:
    async with running():
        code = await code_for(bot, "halt")
    async with running():
        bot.says(code)
        await bot.until("Nothing waits for a code")
    assert read_control(folder).state == "ACTIVE"


async def test_an_order_is_carried_out_once_also_when_killed_before_the_answer(
    bot: FakeBot, journal: Wal, process: Any, folder: Path
) -> None:
    first = await process()
    bot.holding = True
    bot.says("/reduce")
    await bot.until("Done: REDUCING")
    first.kill()
    await first.wait()
    bot.holding = False
    write_control(folder, Control("ACTIVE", False, "resumed by hand"))
    second = await process()
    bot.says("/status")
    await bot.until("executor runs")
    second.terminate()
    assert await asyncio.wait_for(second.wait(), 20) == 0
    assert read_control(folder).reason == "resumed by hand"


async def test_strangers_get_no_answer_and_are_counted(
    bot: FakeBot, journal: Wal, running: Any, home: Path, folder: Path
) -> None:
    async with running():
        for text in ("/halt", "/status", "hello"):
            bot.says(text, chat=STRANGER)
        bot.says("/status")
        await bot.until("executor runs")
        await eventually(lambda: '"ignored":3' in (home / "alerts" / "alerts.json").read_text())
    assert {one["chat_id"] for one in bot.sent} == {CHAT} and read_control(folder).state == "ACTIVE"


async def test_orders_are_taken_in_private_fresh_and_first_hand_only(
    bot: FakeBot, journal: Wal, running: Any, folder: Path
) -> None:
    async with running(chat_ids=[CHAT, OTHER_CHAT]):
        bot.says("/reduce", chat=OTHER_CHAT, kind="group")
        await bot.until("private chat", OTHER_CHAT)
        bot.says("/reduce", forward_origin={"type": "user"})
        await bot.until("not forwarded")
        bot.says("/reduce", late=600)
        await bot.until("10 minutes late")
    assert read_control(folder) == Control("ACTIVE")


async def test_without_control_it_answers_and_does_nothing(
    bot: FakeBot, journal: Wal, running: Any, folder: Path
) -> None:
    async with running(control=False):
        bot.says("/halt")
        await bot.until("only answers questions")
        bot.says("/help")
        assert await bot.until("/status") == "/status /positions"
    assert read_control(folder) == Control("ACTIVE")
