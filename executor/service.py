"""The executor as a process: its journal, its database, the stream, the end of a run.

One task drives the engine; the others only put what they hear into its queue. The queue is bounded: when the engine is
busy the stream waits, and nothing is dropped.
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
from typing import Any, Final, Literal

from copytrader_core.errors import DecodeError, StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Received
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event, Release
from copytrader_core.settings import Settings
from executor import boot
from executor.clock import ChainClock, Clock, WallClock
from executor.control import Switch
from executor.database import Database
from executor.desk import Tally
from executor.engine import Engine
from executor.journal import Journal
from executor.orders import Mode
from executor.wal import Wal

_log = logging.getLogger(__name__)
_QUEUE_SIZE: Final = 10_000
_TICK_SECONDS: Final = 0.05
_FINISH_SECONDS: Final = 5.0

_Tick = Literal["tick", "end"]
_Message = Received | Release | _Tick | BaseException


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes and ends. `until_idle` is seconds without transaction or block meta, None = for ever."""

    mode: Mode = "paper"
    clock: Literal["wall", "chain"] = "wall"
    until_idle: float | None = None
    flatten_at_end: bool = False


async def run(url: str, settings: Settings, stream: AsyncIterator[Received], options: RunOptions) -> Tally:
    """Trades what `stream` shows until it ends, falls idle, or SIGTERM or SIGINT comes; returns what was done.

    The journal is in HOME/executor/MODE. Without Postgres exits go on, and nothing is bought until it is back.
    Raises StoreError if another executor has the journal or this mode of the database, or if they do not belong
    together, StreamError if nothing ever came, and whatever the stream raises.
    """
    run_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    home = settings.home_path / "executor"
    wal = Wal(home / options.mode)
    database = Database(url, wal, options.mode)
    try:
        switch = Switch(home)
        await database.begin(switch)
        journal = Journal(wal, options.mode, run_id, lambda: switch.state)
        journal.written = database.projector.wake
        clock: Clock = WallClock() if options.clock == "wall" else ChainClock()
        engine = boot.start(journal, settings, clock, database.release, switch)
        return await _Service(engine, database, stream, options).run()
    finally:
        await database.close()
        wal.close()


class _Service:
    """The tasks of one run around its engine."""

    def __init__(
        self,
        engine: Engine,
        database: Database,
        stream: AsyncIterator[Received],
        options: RunOptions,
    ) -> None:
        self._engine = engine
        self._database = database
        self._stream = stream
        self._options = options
        self._queue: asyncio.Queue[_Message] = asyncio.Queue(_QUEUE_SIZE)
        self._has_heard = False
        self._last_heard = time.monotonic()

    async def run(self) -> Tally:
        """Feeds the engine until the end comes, then ends the run in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Only the main thread may listen for signals; whoever runs us elsewhere stops us by cancelling.
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, self._stop)
        desk = self._engine.desk
        boot.know_markets(desk, await self._database.markets({p.mint for p in desk.holdings.open.values()}))
        follow = self._database.follow(desk.switch, self._queue.put)
        works = (self._listen(), self._ticks(), follow, self._database.projector.run())
        tasks = [asyncio.create_task(self._guarded(work)) for work in works]
        try:
            await self._drive()
            self._engine.finish(self._options.flatten_at_end)
            desk.note("END", {"open_positions": len(desk.holdings.open)})
            if not await self._database.projector.finish(_FINISH_SECONDS):
                _log.warning("Postgres is behind the journal: the next run brings it up to date")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return desk.tally

    async def _drive(self) -> None:
        """The only task that touches the engine."""
        while True:
            message = await self._queue.get()
            if isinstance(message, Received):
                self._hear(message)
            elif isinstance(message, Release):
                self._swap(message)
            elif isinstance(message, BaseException):
                raise message
            elif message == "end":
                return
            elif self._is_idle():
                if not self._has_heard:
                    raise StreamError("the stream has shown nothing at all: check the endpoint, or wait longer")
                return
            else:
                self._engine.on_tick()

    def _hear(self, received: Received) -> None:
        update = received.update
        kind = update.WhichOneof("update_oneof") if update is not None else None
        if update is None or kind is None:
            return
        if kind in ("transaction", "block_meta"):
            self._has_heard, self._last_heard = True, time.monotonic()
        if kind == "transaction":
            slot = update.transaction.slot
            self._engine.on_transaction(slot, _events(update.transaction), received.recv_ts_ns)
        elif kind == "block_meta":
            meta = update.block_meta
            block_time = meta.block_time.timestamp if meta.HasField("block_time") else None
            self._engine.on_block(meta.slot, block_time)

    def _swap(self, release: Release) -> None:
        if release.release_id != self._engine.release.release_id:
            self._engine.swap_release(release)
            self._engine.desk.note("RELEASE", {"as_of": release.as_of, "patterns": len(release.patterns)})

    async def _listen(self) -> None:
        """The stream into the queue."""
        async for update in self._stream:
            await self._queue.put(update)
        await self._queue.put("end")

    async def _ticks(self) -> None:
        """The passing of time into the queue, where it is the only news: a busy queue needs no ticks."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self._queue.empty():
                await self._queue.put("tick")

    async def _guarded(self, work: Any) -> None:
        """An error in a task ends the run with that error, never silently."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - handed on to the driving task, which raises it
            await self._queue.put(error)

    def _is_idle(self) -> bool:
        limit = self._options.until_idle
        return limit is not None and time.monotonic() - self._last_heard >= limit

    def _stop(self) -> None:
        """The signal's wish goes to the front: what still waits in the queue is left unheard."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait("end")


def _events(update: pb.SubscribeUpdateTransaction) -> tuple[Event, ...]:
    """What a transaction says; what cannot be read is logged and says nothing: the worker keeps it for later."""
    try:
        decoded = decode(transaction_from_update(update.transaction, update.slot))
    except DecodeError as error:
        _log.warning("slot %d: %s", update.slot, error)
        return ()
    for problem in decoded.problems:
        _log.warning("slot %d, instruction %s: %s", update.slot, problem.path, problem.reason)
    return decoded.events
