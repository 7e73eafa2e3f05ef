"""The executor as a process: its journal, its database, the stream, the end of a run.

One task drives the engine; the others put what they hear into its queue, but for the stream of a live run, which is
heard at once while nothing waits. The queue is bounded: when the engine is busy the stream waits, nothing is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from copytrader_core.errors import ConfigError, StreamError
from copytrader_core.geyser.client import Received
from copytrader_core.geyser.wire import Unread
from copytrader_core.policy.landing import model_name
from copytrader_core.records import Release
from copytrader_core.settings import Settings
from executor import boot
from executor.canary import Drift
from executor.clock import ChainClock, Clock, WallClock
from executor.control import ACTIVE, Switch
from executor.database import Database
from executor.desk import Tally
from executor.engine import Engine
from executor.hearing import Hearing
from executor.journal import Journal
from executor.live import Outcome
from executor.live_run import LiveRun, Work
from executor.monitor import Live
from executor.orders import Mode
from executor.outside import Outside
from executor.quiet import Quiet
from executor.reconcile import CoinLook, Truth
from executor.surroundings import Surroundings
from executor.understudy import Understudy
from executor.wal import Wal

_log = logging.getLogger(__name__)
_QUEUE_SIZE: Final = 10_000
_TICK_SECONDS: Final = 0.05
_FINISH_SECONDS: Final = 5.0
_SYNC_SECONDS: Final = 0.02
# Updates that follow one another as fast as this wait in the connection's buffer, where nobody sees how many they are.
_BUSY_SECONDS: Final = 0.0003

_Tick = Literal["tick", "end"]
_Message = Received | Release | Settings | Outcome | Truth | CoinLook | Drift | _Tick | BaseException


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes and ends. `until_idle` is seconds without transaction or block meta, None = for ever."""

    mode: Mode = "paper"
    clock: Literal["wall", "chain"] = "wall"
    until_idle: float | None = None
    flatten_at_end: bool = False
    run_id: str | None = None
    until_flat: bool = False
    """Live: end as soon as the chain holds nothing of ours to sell and nothing is under way."""
    is_watched: bool = True
    """Whether the run has what goes beside one: watchdog, metrics, settings that are read again."""
    is_quick: bool = True
    """Live: whether leaders' buys are read the short way, and rehearsed between two messages."""


async def run(
    url: str | None,
    settings: Settings,
    stream: AsyncIterator[Received],
    options: RunOptions,
    outside: Outside | None = None,
    release: Release | None = None,
) -> Tally:
    """Trades what `stream` shows until it ends, falls idle, or SIGTERM or SIGINT comes; returns what was done.

    The journal is in HOME/executor/MODE. Without Postgres exits go on, and nothing is bought until it is back; with
    `url` None there is none by intent, and `release` says whom to follow. Mode live needs `outside`.
    Raises StoreError if another executor has the journal or this mode of the database, or if they do not belong
    together, StreamError if nothing ever came, and whatever the stream raises.
    """
    if (options.mode == "live") != (outside is not None):
        raise ConfigError("live trading needs a key, nodes and routes; paper trading has none")
    if options.mode == "live" and (options.clock != "wall" or options.flatten_at_end):
        raise ConfigError("live trading runs in real time and ends by `copytrader executor flatten`, not by a quote")
    stopping = _asked_to_stop()
    run_id = options.run_id or f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    home = settings.home_path / "executor"
    wal = Wal(home / options.mode)
    database = Database(url, wal, options.mode) if url is not None else None
    try:
        switch = Switch(home)
        if database is not None:
            await database.begin(switch)
        else:
            switch.heard(ACTIVE)
        journal = Journal(wal, options.mode, run_id, lambda: switch.state)
        found = database.release if database is not None else release
        if found is None:
            raise ConfigError("without a database a release has to be given")
        if outside is None:
            clock: Clock = WallClock() if options.clock == "wall" else ChainClock()
            engine, live = boot.start(journal, settings, clock, found, switch), None
        else:
            live = LiveRun(journal, settings, found, switch, outside)
            engine = live.engine
        return await _Service(engine, database, stream, options, live, wal, stopping).run()
    finally:
        if database is not None:
            await database.close()
        wal.close()


def _asked_to_stop() -> asyncio.Event:
    """Set by SIGTERM and SIGINT, from before the first line is written."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Only the main thread may listen for signals; whoever runs us elsewhere stops us by cancelling.
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, stopping.set)
    return stopping


class _Service:
    """The tasks of one run around its engine."""

    def __init__(
        self,
        engine: Engine,
        database: Database | None,
        stream: AsyncIterator[Received],
        options: RunOptions,
        live: LiveRun | None,
        wal: Wal,
        stopping: asyncio.Event,
    ) -> None:
        self._engine = engine
        self._wal = wal
        self._stopping = stopping
        self._unsynced = asyncio.Event()
        self._around = Surroundings(wal.folder, engine.desk.settings, self._now) if options.is_watched else None
        if self._around is not None:
            self._around.metrics.set_leaders(engine.release.patterns)
        self._database = database
        self._stream = stream
        self._options = options
        self._live = live
        self._hearing = Hearing(engine, live, is_quick=live is not None and options.is_quick)
        self._quiet = Quiet() if live is not None and options.is_watched else None
        self._queue: asyncio.Queue[_Message] = asyncio.Queue(_QUEUE_SIZE)
        self._has_heard = self._is_ending = False
        self._last_heard = asyncio.get_running_loop().time()

    async def run(self) -> Tally:
        """Feeds the engine until the end comes, then ends the run in order."""
        desk, database, live = self._engine.desk, self._database, self._live
        desk.journal.written = self._written
        if database is not None:
            boot.know_markets(desk, await database.markets({p.mint for p in desk.holdings.open.values()}))
        if live is not None:
            live.chain.resume()
        tasks = [asyncio.create_task(self._guarded(work)) for work in self._works()]
        if self._quiet is not None:
            self._quiet.begin()
        try:
            await self._drive()
            self._is_ending = True
            if self._around is not None:
                self._around.stopping()
            if live is None:
                self._engine.finish(self._options.flatten_at_end)
            desk.note("END", {"open_positions": len(desk.holdings.open)})
            if database is not None and not await database.projector.finish(_FINISH_SECONDS):
                _log.warning("Postgres is behind the journal: the next run brings it up to date")
        finally:
            if self._quiet is not None:
                self._quiet.end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if live is not None:
                await live.broker.close()
        return desk.tally

    def _works(self) -> list[Work]:
        """What goes on beside the engine's own task."""
        works: list[Work] = [self._stop, self._listen, self._ticks, self._sync]
        if self._around is not None:
            works += self._around.works(self._queue.put)
        if self._database is not None:
            follow = partial(self._database.follow, self._engine.desk.switch, self._queue.put)
            works += [follow, self._database.projector.run]
        if self._live is not None:
            works += self._live.works(self._queue.put)
            if self._options.is_quick:
                works.append(partial(self._rehearse, self._live))
            if self._around is not None:
                works.append(self._stay_awake)
        return works

    def _written(self) -> None:
        """After each line of the journal."""
        self._hearing.interests.changed()
        self._unsynced.set()
        if self._database is not None:
            self._database.projector.wake()

    async def _drive(self) -> None:
        """The engine's own task: all but what `_listen` hears at once goes through here, one after the other."""
        while True:
            message = await self._next()
            if isinstance(message, Received):
                self._hear(message)
            elif isinstance(message, Release):
                self._swap(message)
            elif isinstance(message, Settings):
                self._engine.swap_settings(message)
            elif isinstance(message, Outcome | Truth | CoinLook | Drift):
                self._told(message)
            elif isinstance(message, BaseException):
                raise message
            elif message == "end" or self._is_flat():
                return
            elif self._is_idle():
                if not self._has_heard:
                    raise StreamError("the stream has shown nothing at all: check the endpoint, or wait longer")
                return
            else:
                self._tick()

    async def _next(self) -> _Message:
        """The next message, and what has its time between two of them."""
        if self._quiet is not None:
            self._quiet.pause(is_idle=self._queue.empty())
        if self._live is not None and self._live.broker.is_sending:
            # A queue that is not empty gives without a pause: what is to leave would wait for the whole burst.
            await asyncio.sleep(0)
        message = await self._queue.get()
        if self._around is not None:
            self._around.beat()
        return message

    def _now(self) -> Live:
        """How the run stands, for those who watch it."""
        desk = self._engine.desk
        return Live(self._engine.trading_state, self._silence(), 0.0, len(desk.holdings.open), len(desk.broker.orders))

    def _told(self, message: Outcome | Truth | CoinLook | Drift) -> None:
        """What the nodes have said."""
        if self._live is None:
            return
        if isinstance(message, Outcome):
            self._live.chain.on_outcome(message)
        elif isinstance(message, Truth):
            self._live.chain.on_truth(message)
        elif isinstance(message, Drift):
            self._live.chain.on_drift(message.reason)
        else:
            self._live.chain.on_coin(message.mint, message.news)

    def _tick(self) -> None:
        silence = self._silence()
        self._engine.stream_age_ms = int(silence * 1000)
        if self._live is not None and silence > self._engine.desk.settings.executor.trip_silence_seconds:
            self._live.chain.trip(f"the stream has been silent for {silence:.0f} s")
        self._engine.on_tick()

    def _hear(self, received: Received) -> None:
        update = received.update
        if isinstance(update, Unread):
            self._moved()
            self._hearing.transaction(received.raw, received.recv_ts_ns)
            return
        kind = update.WhichOneof("update_oneof") if update is not None else None
        if update is None or kind is None:
            return
        if kind == "transaction":
            self._moved()
            self._hearing.transaction(received.raw, received.recv_ts_ns, update.transaction)
        elif kind == "block_meta":
            self._moved()
            meta = update.block_meta
            if self._live is not None:
                self._live.on_block_meta(meta)
            self._engine.on_block(meta.slot, meta.block_time.timestamp if meta.HasField("block_time") else None)
        elif kind == "slot" and self._live is not None:
            self._live.on_slot(update.slot)

    def _moved(self) -> None:
        """The stream has shown something of the chain."""
        self._has_heard, self._last_heard = True, asyncio.get_running_loop().time()
        self._engine.stream_age_ms = 0

    def _silence(self) -> float:
        """Seconds since then."""
        return asyncio.get_running_loop().time() - self._last_heard

    def _swap(self, release: Release) -> None:
        if release.release_id != self._engine.release.release_id:
            self._engine.swap_release(release)
            if self._around is not None:
                self._around.metrics.set_leaders(release.patterns)
            desk = self._engine.desk
            landing = model_name(desk.settings.executor)
            desk.note("RELEASE", {"as_of": release.as_of, "patterns": len(release.patterns), "landing": landing})

    async def _listen(self) -> None:
        """The stream into the queue; live, what comes while nothing waits is heard at once, without a turn of the loop.

        Hearing never pauses, and neither does what `_drive` does with a message: they never meet.
        """
        async for update in self._stream:
            if self._is_ending:
                return
            if self._live is None or not self._queue.empty():
                await self._queue.put(update)
                continue
            self._hear(update)
            if self._around is not None:
                self._around.beat()
            if self._live.broker.is_sending:
                await asyncio.sleep(0)
        await self._queue.put("end")

    async def _ticks(self) -> None:
        """The passing of time into the queue, where it is the only news: a busy queue needs no ticks."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self._queue.empty():
                await self._queue.put("tick")

    async def _rehearse(self, live: LiveRun) -> None:
        """Goes the way of a leader's buy again and again between messages: what is cold takes four times as long."""
        understudy: Understudy | None = None
        while True:
            every = self._engine.desk.settings.executor.rehearse_ms / 1000
            await asyncio.sleep(every or _TICK_SECONDS)
            if not every or not self._queue.empty() or self._silence() < _BUSY_SECONDS:
                continue
            try:
                understudy = understudy or Understudy(self._engine, live.broker)
                self._hearing.rehearse(understudy)
            except Exception:  # noqa: BLE001 - logged; it moves nothing and must stop nothing: positions are open
                _log.exception("the rehearsal has failed: buys take longer to the wire until the next start")
                return

    async def _stay_awake(self) -> None:
        """Where that is wanted the loop always has something to do: it looks for updates without ever sleeping."""
        while True:  # noqa: ASYNC110 - settings may change at any time, and there is nothing to wait for
            await asyncio.sleep(0 if self._engine.desk.settings.executor.busy_poll else _TICK_SECONDS)

    async def _sync(self) -> None:
        """The journal onto the disk, right after it was written: what a power cut takes is what lies between."""
        while True:
            await self._unsynced.wait()
            # What was written down for them is about to leave: the routes go first, by one turn of the loop.
            await asyncio.sleep(0)
            self._unsynced.clear()
            await self._wal.sync_aside()
            await asyncio.sleep(_SYNC_SECONDS)

    async def _guarded(self, work: Work) -> None:
        """An error in a task ends the run with that error, never silently."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - handed on to the driving task, which raises it
            await self._queue.put(error)

    def _is_flat(self) -> bool:
        if not self._options.until_flat or self._live is None:
            return False
        is_known = self._engine.is_reconciled and not self._live.chain.needs_truth
        return is_known and not self._engine.desk.holdings.open and not self._live.broker.flights

    def _is_idle(self) -> bool:
        limit = self._options.until_idle
        return limit is not None and self._silence() >= limit

    async def _stop(self) -> None:
        """The signal's wish goes to the front: what still waits in the queue is left unheard."""
        await self._stopping.wait()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait("end")
