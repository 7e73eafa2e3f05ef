"""The worker's database side: one connection in one thread, the worker lock, commits that are retried until done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from copytrader_core.errors import StoreError
from copytrader_core.store import days, ingest, raw_events, wallets
from copytrader_core.store.ingest import Batch, Checkpoint, Committed
from copytrader_core.store.wallets import Wallet

_log = logging.getLogger("copytrader.ingest.writer")

_STANDBY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 5.0
_DAY_NS = 86_400 * 10**9
_TS_NS = raw_events.COLUMNS.index("ts_ns")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker begins with: its checkpoint (None in a fresh database) and the slots just before it."""

    checkpoint: Checkpoint | None
    known: frozenset[int]


class Writer:
    """Owns the connection and the lock. One call at a time; reads and commits run outside the event loop.

    When the database goes away, calls wait and try again: every commit can be repeated. Once `stopping` is set,
    a call that cannot be done raises StoreError instead.
    """

    def __init__(self, url: str, stopping: asyncio.Event) -> None:
        """Nothing is opened before `open`."""
        self._url = url
        self._stopping = stopping
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest-writer")
        self._connection: psycopg.Connection | None = None
        self._newest_day = -1
        self._newest_sealed = -1

    async def open(self) -> None:
        """Connects and takes the worker lock; stands by while another worker has it. Raises StoppedError if stopped."""
        await self._call(lambda connection: None)

    async def close(self) -> None:
        """Gives up the lock and the connection."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    def abort(self) -> None:
        """Breaks off what the database is doing for us, so that `close` can return."""
        if self._connection is not None:
            self._connection.cancel_safe(timeout=0.5)

    async def start(self, from_slot: int | None) -> Start:
        """Where this run begins. `from_slot` overrides the checkpoint as the place to look for known slots."""
        return await self._call(lambda connection: _start(connection, from_slot))

    async def wallets(self) -> dict[str, Wallet]:
        """The known wallets as they are now."""
        return await self._call(wallets.load)

    async def seal_covered(self) -> None:
        """Seals the days that have become complete."""
        await self._call(self._seal_covered)

    async def commit(self, batch: Batch) -> Committed:
        """Lands `batch` and seals the days that it completes."""
        try:
            return await self._call(lambda connection: self._commit(connection, batch))
        except ingest.UNSTORABLE as error:
            _log.error("rows_refused error=%r", str(error))
            await self._call(lambda connection: ingest.set_aside_bad_rows(connection, batch))
            return await self._call(lambda connection: self._commit(connection, batch))

    async def _call(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        """Runs `work` on the connection, again and again while the database is away."""
        loop = asyncio.get_running_loop()
        delay = 0.1
        while True:
            try:
                await self._connect()
                return await loop.run_in_executor(self._thread, self._on_connection, work)
            except psycopg.OperationalError as error:
                if self._stopping.is_set():
                    raise StoreError(
                        f"stopped while the database was away, the last slots are not landed: {error}"
                    ) from error
                _log.error("database_away error=%r retry_seconds=%.1f", str(error).strip(), delay)
                await loop.run_in_executor(self._thread, self._disconnect)
                await self._pause(delay)
                delay = min(delay * 2, _MAX_RETRY_SECONDS)

    def _on_connection(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        if self._connection is None:
            raise psycopg.OperationalError("the connection is closed")
        return work(self._connection)

    async def _connect(self) -> None:
        """Connects if there is no connection, and waits until the worker lock is ours."""
        said = False
        while self._connection is None:
            locked = await asyncio.get_running_loop().run_in_executor(self._thread, self._try_connect)
            if locked:
                return
            if self._stopping.is_set():
                raise StoppedError("stopped while another worker has the database; what was not landed comes again")
            if not said:
                _log.warning("standby: another worker has this database; waiting for it to end")
                said = True
            await self._pause(_STANDBY_SECONDS)

    def _try_connect(self) -> bool:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=3,
            options="-c timezone=UTC -c client_min_messages=warning",
            application_name="copytrader ingest",
        )
        if not ingest.try_lock(connection):
            connection.close()
            return False
        self._connection = connection
        return True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _commit(self, connection: psycopg.Connection, batch: Batch) -> Committed:
        with connection.transaction():
            done = ingest.commit(connection, batch)
            if done.inserted:
                self._recount(connection, batch)
        newest = max((slot.block_time or 0 for slot in batch.slots), default=0) // 86_400
        if newest > self._newest_day or done.filled:
            self._newest_day = max(newest, self._newest_day)
            self._seal_covered(connection)
        return done

    def _recount(self, connection: psycopg.Connection, batch: Batch) -> None:
        """Late events for a day that is sealed already: its count must tell the truth in the same transaction."""
        numbers = {row[_TS_NS] // _DAY_NS for row in batch.rows}
        if min(numbers) <= self._newest_sealed:
            for sealed in days.recount_sealed(connection, {days.day_of(number * 86_400) for number in numbers}):
                _log.info("day_recounted day=%s events=%d", sealed.day, sealed.n_events)

    def _seal_covered(self, connection: psycopg.Connection) -> None:
        for sealed in days.seal_covered(connection):
            _log.info("day_sealed day=%s events=%d", sealed.day, sealed.n_events)
        self._newest_sealed = days.newest_sealed(connection)


class StoppedError(StoreError):
    """The worker was told to end while it stood by."""


def _start(connection: psycopg.Connection, from_slot: int | None) -> Start:
    checkpoint = ingest.checkpoint(connection)
    begin = from_slot if from_slot is not None else checkpoint.slot if checkpoint else 0
    return Start(checkpoint, frozenset(ingest.recent_slots(connection, begin - 1000)))
