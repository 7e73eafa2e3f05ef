"""The process: follows, keeps, sends, listens. Each receiver has a task of its own, so that none waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp
import psycopg

from copytrader_cli.alerts.alert import Alert, Kind, told_by
from copytrader_cli.alerts.box import Box
from copytrader_cli.alerts.conditions import Conditions, changes
from copytrader_cli.alerts.journal_lines import JournalLines, News
from copytrader_cli.alerts.phone import Phone, message_of
from copytrader_cli.alerts.senders import BotApi, NeverError, NotNowError, Sender, TelegramChat, Webhook, pause
from copytrader_cli.watch.aside import aside
from copytrader_cli.watch.look import Facts, Looker
from copytrader_cli.watch.press import Button, has_journal, press, wish_of
from copytrader_cli.watch.secret_file import credential, read_secret
from copytrader_core.errors import ConfigError, CopytraderError, DataError, StoreError
from copytrader_core.service import Service
from copytrader_core.settings import AlertSettings, Settings

__all__ = ["CREDENTIAL", "run", "send_test"]

_log = logging.getLogger("copytrader.alerts")

CREDENTIAL: Final = "telegram-token"
_STEP_SECONDS: Final = 1.0
_READ_SECONDS: Final = 20.0
_PRESS_SECONDS: Final = 8.0
_POLL_SECONDS: Final = 25
_GRACE_SECONDS: Final = 5.0
_GREET_SECONDS: Final = 5.0


@dataclass(slots=True)
class _World:
    """What the tasks share."""

    settings: Settings
    mode: str
    box: Box
    looker: Looker
    lines: JournalLines
    senders: Mapping[str, Sender]
    wake: Mapping[str, asyncio.Event]
    names: dict[str, str]
    facts: asyncio.Future[Facts]
    stopping: bool = False

    async def look(self) -> Facts:
        """The newest facts: a second old at most while all is well."""
        return await asyncio.shield(self.facts)

    def see(self, facts: Facts) -> None:
        """These are the newest facts now."""
        if self.facts.done():
            self.facts = asyncio.get_running_loop().create_future()
        self.facts.set_result(facts)


async def run(settings: Settings, mode: str, stop: asyncio.Event | None = None) -> None:
    """Follows one mode's executor until `stop`, by default SIGTERM or SIGINT. ConfigError: nobody is to be told."""
    async with aiohttp.ClientSession(trust_env=True) as session:
        api = bot_api(session, settings.alerts)
        senders = receivers(session, settings.alerts, api)
        if api is not None:
            await _greet(api)
        folder = settings.home_path / "alerts"
        box = Box(folder, senders, settings.alerts.keep)
        looker = Looker(mode, settings.home_path / "executor")
        lines = JournalLines(settings.home_path / "executor" / mode, mode)
        try:
            wake = {name: asyncio.Event() for name in senders}
            facts: asyncio.Future[Facts] = asyncio.get_running_loop().create_future()
            world = _World(settings, mode, box, looker, lines, senders, wake, {}, facts)
            await _until_stopped(world, api, stop or _signalled())
        finally:
            looker.close()
            lines.close()
            box.close()


async def send_test(settings: Settings) -> list[str]:
    """Sends one message to every receiver. Returns what each said."""
    async with aiohttp.ClientSession(trust_env=True) as session:
        senders = receivers(session, settings.alerts, bot_api(session, settings.alerts))
        now = time.time_ns()
        alert = Alert(f"test/{now}", "executor", now, "This is a test of copytrader's alerts", loud=True)
        said = []
        for name, sender in senders.items():
            try:
                await sender.send([alert])
            except CopytraderError as error:
                said.append(f"{name}: {error}")
            else:
                said.append(f"{name}: sent")
        return said


def bot_api(session: aiohttp.ClientSession, wanted: AlertSettings) -> BotApi | None:
    """The bot, None where it is switched off. Raises ConfigError where its token or its chats are missing."""
    if not wanted.telegram:
        return None
    path = credential(CREDENTIAL, wanted.telegram_token_file)
    if path is None:
        raise ConfigError(
            f"alerts.telegram is on and there is no token: name alerts.telegram_token_file, or give a service"
            f" LoadCredential={CREDENTIAL}:FILE"
        )
    if not wanted.chat_ids:
        raise ConfigError("alerts.telegram is on and alerts.chat_ids is empty: list the chats that may hear and ask")
    return BotApi(session, wanted.telegram_api, read_secret(path, "bot's token"))


def receivers(session: aiohttp.ClientSession, wanted: AlertSettings, api: BotApi | None) -> dict[str, Sender]:
    """Everybody who is told, by name. Raises ConfigError for nobody."""
    found: dict[str, Sender] = {}
    if wanted.webhook_url_file is not None:
        found["webhook"] = Webhook(session, read_secret(wanted.webhook_url_file, "webhook's URL"))
    if api is not None:
        found |= {f"telegram:{chat_id}": TelegramChat(api, chat_id) for chat_id in wanted.chat_ids}
    if not found:
        raise ConfigError("alerts go nowhere: set alerts.telegram = true, or alerts.webhook_url_file (docs/cockpit.md)")
    return found


async def _greet(api: BotApi) -> None:
    """Asks who the bot is: a wrong token is told at the start. A Bot API that is away is not waited for."""
    try:
        await api.call("getMe", _GREET_SECONDS)
    except NotNowError as error:
        if error.refused:
            raise ConfigError(f"the bot's token is refused ({error}): check the file, or ask BotFather") from None
        _log.warning("%s; alerts are kept meanwhile", error)


def _signalled() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _until_stopped(world: _World, api: BotApi | None, stop: asyncio.Event) -> None:
    delivering = {name: asyncio.create_task(_deliver(world, name)) for name in world.senders}
    tasks = [asyncio.create_task(_follow(world)), *delivering.values()]
    if api is not None:
        tasks.append(asyncio.create_task(_listen(world, api)))
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    Service.from_environment().stopping("ending")
    await _end(world, tasks, delivering)
    for task in done - {stopped}:
        # None of them ends by itself but with an error.
        task.result()


async def _end(world: _World, tasks: list[asyncio.Task[None]], delivering: Mapping[str, asyncio.Task[None]]) -> None:
    """What is under way may arrive first: whether it did would not be known otherwise."""
    world.stopping = True
    under_way = [task for name, task in delivering.items() if world.box.channels[name].sending]
    if under_way:
        await asyncio.wait(under_way, timeout=_GRACE_SECONDS)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, CopytraderError, OSError):
            await task


# --- following --------------------------------------------------------------------------------------------------------


async def _follow(world: _World) -> None:
    """Reads on, a step a second."""
    service = Service.from_environment()
    service.ready("following")
    complaint: str | None = None
    while True:
        facts = await world.looker.look()
        world.see(facts)
        if facts.leaders is not None:
            world.names = {one.wallet: one.name for one in facts.leaders if one.name}
        news, problem = await _read(world)
        if problem != complaint and problem is not None:
            _log.warning("the journal is not followed: %s", problem)
        complaint = problem
        _take(world, facts, news)
        service.alive(f"{sum(len(one.waiting) for one in world.box.channels.values())} alerts wait")
        if news is None or len(news.lines) == 0:
            await asyncio.sleep(_STEP_SECONDS)


async def _read(world: _World) -> tuple[News | None, str | None]:
    try:
        return await aside(partial(world.lines.read, world.box.positions.get(world.mode)), _READ_SECONDS), None
    except TimeoutError:
        # What hangs there would keep its thread for ever.
        world.lines.close()
        return None, "Postgres does not answer"
    except (DataError, OSError, psycopg.Error) as error:
        return None, " ".join(str(error).split())


def _take(world: _World, facts: Facts, news: News | None) -> None:
    """Facts and lines become alerts, and are kept in the same write as how far was read."""
    box, mode = world.box, world.mode
    before = box.conditions.get(mode, Conditions())
    after, said = changes(before, facts, world.settings.alerts.ingest_lag_seconds)
    now = int(facts.at * 1e9)
    fresh = [_alert(world, f"{mode}/{kind}/{now}/{i}", kind, now, text) for i, (kind, text) in enumerate(said)]
    position = box.positions.get(mode)
    if news is not None:
        fresh += _from_lines(world, news)
        position = news.position
    unchanged = (after, position) == (before, box.positions.get(mode))
    if unchanged and not fresh:
        return
    for alert in fresh:
        if alert is not None:
            box.put(alert)
    box.conditions[mode] = after
    if position is not None:
        box.positions[mode] = position
    box.save()
    for event in world.wake.values():
        event.set()


def _from_lines(world: _World, news: News) -> list[Alert | None]:
    found: list[Alert | None] = []
    if news.lost:
        text = f"{news.lost} lines of the journal are in no file here and not in Postgres: they were not followed"
        found.append(
            _alert(world, f"lost/{news.position.journal_id}/{news.position.seq}", "chain", time.time_ns(), text)
        )
    for line in news.lines:
        said = told_by(line, world.names)
        if said is not None:
            identity = f"{news.position.journal_id}/{line['seq']}"
            found.append(_alert(world, identity, said[0], line["at_ns"] or time.time_ns(), said[1]))
    return found


def _alert(world: _World, identity: str, kind: Kind, at_ns: int, text: str) -> Alert | None:
    """None where nobody wants to know of this kind."""
    level = getattr(world.settings.alerts.kinds, kind)
    return None if level == "off" else Alert(identity, kind, at_ns, f"{world.mode}: {text}", level == "on")


# --- sending ----------------------------------------------------------------------------------------------------------


async def _deliver(world: _World, name: str) -> None:
    """Sends what waits for one receiver, oldest first, for ever."""
    channel, sender, wake, box = world.box.channels[name], world.senders[name], world.wake[name], world.box
    failures = 0
    while not world.stopping:
        alerts = channel.take()
        if not alerts:
            wake.clear()
            await wake.wait()
            continue
        box.save()
        try:
            await sender.send(alerts)
        except NotNowError as error:
            channel.failed()
            box.save()
            failures += 1
            if failures == 1:
                _log.warning("%s: %s; %d alerts wait", name, error, len(channel.waiting))
            await (asyncio.sleep(0) if world.stopping else pause(failures, error.seconds))
            continue
        except NeverError as error:
            _log.error("%s: %s; given up: %s", name, error, " | ".join(alert.line for alert in alerts))
        failures = 0
        channel.sent()
        box.save()


# --- listening --------------------------------------------------------------------------------------------------------


async def _listen(world: _World, api: BotApi) -> None:
    """Takes messages one by one. What was taken is never taken again: the file knows before anything is done."""
    wanted = world.settings.alerts
    phone = Phone(wanted.chat_ids, world.look, _presser(world), control=wanted.control)
    failures = 0
    while True:
        values: dict[str, Any] = {"timeout": _POLL_SECONDS, "allowed_updates": ["message"]}
        if world.box.offset is not None:
            values["offset"] = world.box.offset
        try:
            updates = await api.call("getUpdates", _POLL_SECONDS + 10.0, **values)
        except (NotNowError, NeverError) as error:
            failures += 1
            if failures == 1:
                _log.warning("no messages are heard: %s", error)
            await pause(failures, error.seconds if isinstance(error, NotNowError) else None)
            continue
        failures = 0
        for update in updates:
            await _heard(world, api, phone, update)
        if updates:
            world.box.save()


async def _heard(world: _World, api: BotApi, phone: Phone, update: Mapping[str, Any]) -> None:
    world.box.offset = int(update["update_id"]) + 1
    message = message_of(update)
    if message is None:
        return
    if not phone.listens_to(message):
        world.box.ignored += 1
        return
    world.box.save()
    answer = await phone.answer(message)
    if answer is None:
        return
    try:
        await TelegramChat(api, message.chat_id).say(answer)
    except (NotNowError, NeverError) as error:
        _log.warning("an answer could not be sent: %s", error)


def _presser(world: _World) -> Callable[[Button, str], Any]:
    async def pressed(button: Button, reason: str) -> str:
        wish = wish_of(button, reason)
        _log.warning("%s %s", button, reason)
        try:
            problem = await aside(partial(press, wish), _PRESS_SECONDS)
        except TimeoutError:
            problem = "it does not answer"
            if not has_journal(world.settings.home_path / "executor"):
                return "Not known to be done: Postgres does not answer. Send it again."
        except StoreError as error:
            return f"Not done: {error}."
        except OSError as error:
            return f"Not done: the control file cannot be written ({error})."
        text = f"Done: {wish.state}{', selling everything' if wish.flatten else ''}."
        if button == "flatten" and not (await world.look()).status.running:
            text += f" No {world.mode} executor is seen running: the next one sells first."
        if problem is not None:
            text += f" {problem}"
        return text

    return pressed
