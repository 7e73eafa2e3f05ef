"""What happens is told, once, in order, to everybody who is to know; whatever is down or killed in between."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_bot import CHAT, OTHER_CHAT, TOKEN, FakeBot, eventually, serving

from copytrader_cli.alerts.senders import demand_safe
from copytrader_cli.alerts.service import send_test
from copytrader_core.errors import ConfigError
from copytrader_core.settings import Settings
from executor.wal import Wal
from tests.executor.journal_lines import fill, line


def sale(n: int) -> dict[str, Any]:
    return fill(f"i{n}", "SELL", 1_000, 10_000, pnl_lamports=n * 1_000_000, reason="timer") | {"mint": f"coin-{n}"}


def trip(why: str) -> dict[str, Any]:
    return line("TRIPPED", {"reason": why})


async def test_what_is_written_from_now_on_is_told_and_what_stood_there_is_not(
    bot: FakeBot, journal: Wal, running: Any
) -> None:
    journal.append(trip("of yesterday"))
    async with running():
        journal.append(trip("3 unexpected program errors"))
        journal.append(sale(7))
        told = await bot.until("Sold")
    assert "Sold coin-7 (timer): +0.0070 SOL" in told and "paper" in told
    assert "stopped buying by itself: 3 unexpected" in bot.texts()[0] and not any("yesterday" in t for t in bot.texts())


async def test_a_kind_is_told_with_a_sound_without_one_or_not_at_all(bot: FakeBot, journal: Wal, running: Any) -> None:
    async with running(kinds={"trades": "silent", "failed": "off", "state": "on"}):
        journal.append(sale(1))
        await bot.until("Sold")
        journal.append(line("EXPIRED", {"reason": "never"}, mint="coin"))
        journal.append(trip("loud"))
        await bot.until("loud")
    assert [one["disable_notification"] for one in bot.sent] == [True, False]
    assert not any("never landed" in text for text in bot.texts())


async def test_a_restart_repeats_nothing_and_tells_what_came_in_between(
    bot: FakeBot, journal: Wal, running: Any
) -> None:
    async with running():
        journal.append(trip("first"))
        await bot.until("first")
    journal.append(trip("in between"))
    async with running():
        await bot.until("in between")
        journal.append(trip("last"))
        await bot.until("last")
    assert [text.split(": ")[-1] for text in bot.texts()] == ["first", "in between", "last"]


async def test_nothing_is_lost_while_telegram_is_down_and_what_has_no_room_is_counted(
    bot: FakeBot, journal: Wal, running: Any
) -> None:
    async with running(keep=4):
        bot.down = True
        for n in range(10):
            journal.append(sale(n))
        journal.append(trip("urgent"))
        await eventually(lambda: [one for one in bot.calls if one[0] == "sendMessage"])
        await asyncio.sleep(1.5)
        bot.down = False
        more = await bot.until("more that there was no room for")
    sales = [text for text in bot.texts() if "Sold" in text]
    assert "7 trades" in more and len(sales) == 3, "10 sales: 3 told, 7 counted, the urgent one took a place"
    assert sum("urgent" in text for text in bot.texts()) == 1


async def test_what_waits_when_the_process_ends_is_sent_by_the_next_one(
    bot: FakeBot, journal: Wal, running: Any, home: Path
) -> None:
    async with running():
        bot.down = True
        journal.append(trip("while it was down"))
        await eventually(lambda: "while it was down" in (home / "alerts" / "alerts.json").read_text())
    bot.down = False
    async with running():
        await bot.until("while it was down")
    assert len(bot.texts()) == 1


async def test_a_busy_bot_is_left_alone_as_long_as_it_says(bot: FakeBot, journal: Wal, running: Any) -> None:
    bot.refusals = [(429, {"description": "Too Many Requests", "parameters": {"retry_after": 2}})]
    async with running():
        journal.append(trip("patience"))
        await bot.until("patience")
    first, second = [at for method, at in bot.calls if method == "sendMessage"]
    assert second - first >= 2.0 and len(bot.texts()) == 1


async def test_killed_while_one_is_under_way_it_comes_again_and_says_so(
    bot: FakeBot, journal: Wal, process: Any, home: Path
) -> None:
    first = await process()
    await _begun(home)
    journal.append(trip("before"))
    await bot.until("before")
    await eventually(lambda: '"sending":0' in (home / "alerts" / "alerts.json").read_text())
    bot.holding = True
    journal.append(trip("under way"))
    await bot.until("under way")
    first.kill()
    await first.wait()
    bot.holding = False
    second = await process()
    again = await bot.until("(perhaps a repeat)")
    second.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(second.wait(), 20) == 0
    assert "under way" in again and sum("before" in text for text in bot.texts()) == 1


async def _begun(home: Path) -> None:
    await eventually((home / "alerts" / "alerts.json").exists)


async def test_a_chat_that_has_blocked_the_bot_holds_nobody_else_up(bot: FakeBot, journal: Wal, running: Any) -> None:
    bot.rejected_chats = {OTHER_CHAT}
    async with running(chat_ids=[OTHER_CHAT, CHAT]):
        journal.append(trip("one"))
        await bot.until("one")
        journal.append(trip("two"))
        await bot.until("two")
    assert len(bot.texts(CHAT)) == 2 and bot.texts(OTHER_CHAT) == []


async def test_the_webhook_gets_words_and_facts(journal: Wal, running: Any, tmp_path: Path) -> None:
    got: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(status=503 if len(got) == 1 else 204)

    app = web.Application()
    app.router.add_post("/hook/{secret}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    secret = tmp_path / "hook"
    secret.write_text(f"http://127.0.0.1:{runner.addresses[0][1]}/hook/abc")
    secret.chmod(0o600)
    async with running(telegram=False, webhook_url_file=str(secret)):
        journal.append(trip("by hook"))
        await eventually(lambda: len(got) == 2)
    await runner.cleanup()
    first, second = got[0]["alerts"][0], got[1]["alerts"][0]
    assert first["id"] == second["id"] and second["kind"] == "state" and "by hook" in got[1]["text"]
    assert second["level"] == "on" and second["repeat"] is False


async def test_an_executor_that_dies_is_told_by_those_who_live(bot: FakeBot, journal: Wal, running: Any) -> None:
    async with running():
        journal.append(line("RUN", {"state": "ACTIVE", "positions": 0}))
        await bot.until("The executor started")
        await asyncio.sleep(1.2)
        journal.close()
        await bot.until("not running any more")
        journal.__init__(journal.folder)  # type: ignore[misc]


# What must not get out.


async def test_the_token_is_in_no_output_and_no_file(
    bot: FakeBot, journal: Wal, process: Any, home: Path, token_file: Path
) -> None:
    bot.down = True
    started = await process()
    await _begun(home)
    journal.append(trip("something"))
    await eventually(lambda: [one for one in bot.calls if one[0] == "sendMessage"])
    started.send_signal(signal.SIGTERM)
    output, _ = await asyncio.wait_for(started.communicate(), 20)
    assert b"alerts" in output and TOKEN.encode() not in output and b"secret" not in output
    assert _holding(home, TOKEN) == []
    assert (home / "alerts" / "alerts.json").stat().st_mode & 0o077 == 0


def _holding(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.fixture
def open_to_others(token_file: Path) -> None:
    token_file.chmod(0o644)


@pytest.fixture
def wrong_token(token_file: Path) -> None:
    token_file.write_text("999:wrong")


async def test_a_token_that_others_can_read_is_refused(process: Any, open_to_others: None) -> None:
    output, _ = await (await process()).communicate()
    assert b"chmod 600" in output and TOKEN.encode() not in output


async def test_a_wrong_token_is_told_at_the_start(process: Any, wrong_token: None) -> None:
    started = await process()
    output, _ = await started.communicate()
    assert started.returncode == 1 and b"refused" in output and b"999:wrong" not in output


async def test_with_nobody_to_tell_it_says_how_to_change_that(process: Any) -> None:
    started = await process(telegram=False)
    output, _ = await started.communicate()
    assert started.returncode == 1 and b"alerts.telegram = true" in output


@pytest.mark.parametrize("url", ["http://example.com", "ftp://127.0.0.1/", "example.com", ""])
def test_no_token_goes_over_a_network_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        demand_safe(url, "the base URL")


async def test_a_service_gets_its_token_as_a_credential(
    bot: FakeBot, wanted: dict[str, Any], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "telegram-token").write_text(TOKEN)
    (tmp_path / "telegram-token").chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    said = await send_test(Settings(home=home, alerts=wanted | {"telegram_token_file": None}))
    assert said == [f"telegram:{CHAT}: sent"] and "test" in bot.texts()[0]


async def test_two_processes_do_not_send_side_by_side(journal: Wal, running: Any, process: Any) -> None:
    async with running():
        second = await process()
        output, _ = await second.communicate()
    assert second.returncode == 1 and b"another" in output


async def test_a_file_that_is_damaged_is_not_taken_for_an_empty_one(process: Any, home: Path) -> None:
    (home / "alerts").mkdir(parents=True)
    (home / "alerts" / "alerts.json").write_text(json.dumps({"version": 99}))
    started = await process()
    output, _ = await started.communicate()
    assert started.returncode == 1 and b"another version" in output


async def test_the_bot_api_may_be_away_at_the_start(journal: Wal, running: Any, bot: FakeBot) -> None:
    bot.down = True
    async with running():
        journal.append(trip("early"))
        bot.down = False
        await bot.until("early")


async def test_alerts_reach_a_bot_that_comes_back_at_its_address(
    home: Path, journal: Wal, running: Any, wanted: dict[str, Any]
) -> None:
    async with serving(FakeBot()) as gone:
        url = gone.url
    async with running(telegram_api=url):
        journal.append(trip("nobody there"))
        async with serving(FakeBot(), int(url.rpartition(":")[2])) as back:
            await back.until("nobody there")
