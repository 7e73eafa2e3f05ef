"""The executor as a process: connections, the one-executor lock, the stream, notifications, the end of a run.

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

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from copytrader_core.errors import DecodeError, StoreError, StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Received
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event, Release
from copytrader_core.settings import Settings
from copytrader_core.store.postgres import connect
from copytrader_core.store.releases import load_release
from executor import boot
from executor.clock import ChainClock, Clock, WallClock
from executor.desk import Tally
from executor.engine import Engine
from executor.journal import Control, Journal
from executor.orders import Mode
from executor.statements import statement

_log = logging.getLogger(__name__)
_QUEUE_SIZE: Final = 10_000
_TICK_SECONDS: Final = 0.05
# NOTIFY tells at once; this is for a notification that was lost with a connection.
_POLL_SECONDS: Final = 1.0
_NO_RELEASE: Final = Release("none", "", {}, ())

_Tick = Literal["tick", "end"]
_Message = Received | Release | Control | _Tick | BaseException


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes and ends. `until_idle` is seconds without transaction or block meta, None = for ever."""

    mode: Mode = "paper"
    clock: Literal["wall", "chain"] = "wall"
    until_idle: float | None = None
    flatten_at_end: bool = False


async def run(url: str, settings: Settings, stream: AsyncIterator[Received], options: RunOptions) -> Tally:
    """Trades what `stream` shows until it ends, falls idle, or SIGTERM or SIGINT comes; returns what was done.

    Raises StoreError if another executor of this mode runs on the database or the database is lost, StreamError if
    nothing ever came, and whatever the stream raises.
    """
    run_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    try:
        async with await _connect(url) as watch, await _connect(url) as work:
            await _be_the_only_one(watch, options.mode)
            for name in ("listen_release", "listen_state"):
                await watch.execute(statement(name))
            release = await asyncio.to_thread(_load, url)
            clock: Clock = WallClock() if options.clock == "wall" else ChainClock()
            engine = await boot.start(Journal(work, options.mode, run_id), settings, clock, release)
            return await _Service(url, engine, stream, watch, options).run()
    except psycopg.OperationalError as error:
        raise StoreError(
            f"the database is gone: {error}; what was done is safe in it, start the executor again"
        ) from error


class _Service:
    """The tasks of one run around its engine."""

    def __init__(
        self,
        url: str,
        engine: Engine,
        stream: AsyncIterator[Received],
        watch: AsyncConnection[DictRow],
        options: RunOptions,
    ) -> None:
        self._url = url
        self._engine = engine
        self._stream = stream
        self._watch = watch
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
        tasks = [asyncio.create_task(self._guarded(work)) for work in (self._listen(), self._follow(), self._ticks())]
        try:
            await self._drive()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._engine.finish(self._options.flatten_at_end)
        await self._engine.desk.note("END", {"open_positions": len(self._engine.desk.holdings.open)})
        return self._engine.desk.tally

    async def _drive(self) -> None:
        """The only task that touches the engine."""
        while True:
            message = await self._queue.get()
            if isinstance(message, Received):
                await self._hear(message)
            elif isinstance(message, Release):
                await self._swap(message)
            elif isinstance(message, Control):
                await self._engine.on_control(message)
            elif isinstance(message, BaseException):
                raise message
            elif message == "end":
                return
            elif self._is_idle():
                if not self._has_heard:
                    raise StreamError("the stream has shown nothing at all: check the endpoint, or wait longer")
                return
            else:
                await self._engine.on_tick()

    async def _hear(self, received: Received) -> None:
        update = received.update
        kind = update.WhichOneof("update_oneof") if update is not None else None
        if update is None or kind is None:
            return
        if kind in ("transaction", "block_meta"):
            self._has_heard, self._last_heard = True, time.monotonic()
        if kind == "transaction":
            slot = update.transaction.slot
            await self._engine.on_transaction(slot, _events(update.transaction), received.recv_ts_ns)
        elif kind == "block_meta":
            meta = update.block_meta
            block_time = meta.block_time.timestamp if meta.HasField("block_time") else None
            await self._engine.on_block(meta.slot, block_time)

    async def _swap(self, release: Release) -> None:
        if release.release_id != self._engine.release.release_id:
            self._engine.swap_release(release)
            await self._engine.desk.note("RELEASE", {"as_of": release.as_of, "patterns": len(release.patterns)})

    async def _listen(self) -> None:
        """The stream into the queue."""
        async for update in self._stream:
            await self._queue.put(update)
        await self._queue.put("end")

    async def _follow(self) -> None:
        """Releases and the trading state into the queue: on NOTIFY, and once a second in case one was missed."""
        release_id, state = self._engine.release.release_id, self._engine.desk.control
        while True:
            async for _ in self._watch.notifies(timeout=_POLL_SECONDS, stop_after=1):
                pass
            rows = await (await self._watch.execute(statement("state"))).fetchall()
            control = Control(**rows[0]) if rows else Control("HALTED", False, "the row of exec_state is missing")
            if control != state:
                state = control
                await self._queue.put(control)
            found = await (await self._watch.execute(statement("release_id"))).fetchone()
            if found is not None and found["release_id"] != release_id:
                release = await asyncio.to_thread(_load, self._url)
                release_id = release.release_id
                await self._queue.put(release)

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


async def _connect(url: str) -> AsyncConnection[DictRow]:
    return await AsyncConnection.connect(
        url, autocommit=True, row_factory=dict_row, options="-c timezone=UTC", application_name="copytrader executor"
    )


async def _be_the_only_one(connection: AsyncConnection[DictRow], mode: Mode) -> None:
    row = await (await connection.execute(statement("only_one"), {"mode": mode})).fetchone()
    if row is None or not row["got"]:
        raise StoreError(f"another executor runs in {mode} mode on this database: stop it first")


def _load(url: str) -> Release:
    """The current release, or one without leaders while there is none."""
    with connect(url) as connection:
        try:
            return load_release(connection)
        except StoreError as error:
            _log.warning("%s; until then there is nobody to follow", error)
            return _NO_RELEASE
        except psycopg.Error as error:
            raise StoreError(f"the release cannot be read: {error}") from error
