"""The worker's database side: one connection in one thread, the worker lock, commits that are retried until done."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from copytrader_core.errors import StoreError
from copytrader_core.store import clocks, days, ingest, scope, wallets
from copytrader_core.store.ingest import Batch, Checkpoint, Committed
from copytrader_core.store.wallets import Wallet
from ingest_worker.observer import SILENT, Observer

_log = logging.getLogger("copytrader.ingest.writer")

_STANDBY_SECONDS = 1.0
# The lock lives as long as the session. When the other side is gone without a word (a host that lost its power, a
# process that hangs), these end the session, so that a standby has the lock within seconds: keep-alives for the dead
# host, idle limits for the hanging process. A worker that lives says something more often than that (`touch`).
_CONNECT_SECONDS = 2
_KEEPALIVE = {"idle": 5, "interval": 2, "count": 3}
_DEAD_PEER_MS = 11_000
_IDLE_LIMIT = "10s"
_STATEMENT_LIMIT = "60s"
_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "timezone": "UTC",
        "client_min_messages": "warning",
        "idle_session_timeout": _IDLE_LIMIT,
        "idle_in_transaction_session_timeout": _IDLE_LIMIT,
        "statement_timeout": _STATEMENT_LIMIT,
        "tcp_user_timeout": _DEAD_PEER_MS,
        **{f"tcp_keepalives_{name}": value for name, value in _KEEPALIVE.items()},
    }.items()
)
# A server that is away, restarting, read-only for now, or that ended our session: all of it can be tried again.
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
_MAX_RETRY_SECONDS = 5.0
# Slots that a run remembers at its start, so that replayed ones are recognised.
_KNOWN_BEFORE, _KNOWN = 1000, 5000
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker begins with: its checkpoint (None in a fresh database), the slots just before it with their block
    hashes, and the open gaps."""

    checkpoint: Checkpoint | None
    known: Mapping[int, str | None]
    gaps: tuple[tuple[int, int], ...]


class Writer:
    """Owns the connection and the lock. One call at a time; reads and commits run outside the event loop.

    When the database goes away, calls wait and try again: every commit can be repeated. Once `stopping` is set,
    a call that cannot be done raises StoreError instead.
    """

    def __init__(self, url: str, stopping: asyncio.Event, observer: Observer = SILENT) -> None:
        """Nothing is opened before `open`."""
        self._url = url
        self._stopping = stopping
        self._observer = observer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest-writer")
        self._busy = asyncio.Lock()
        self._connection: psycopg.Connection | None = None
        self._session: tuple[object, ...] | None = None
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
        """Breaks the connection off under whatever waits for it, even a server that hangs, so that `close` returns."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error) as error:
            _log.info("the connection was gone already: %s", error)

    async def touch(self) -> None:
        """A sign of life, unless something is being done anyway: a silent session loses its lock."""
        if not self._busy.locked():
            await self._call(lambda connection: connection.execute("SELECT 1"))

    async def start(self, from_slot: int | None) -> Start:
        """Where this run begins. `from_slot` overrides the checkpoint as the place to look for known slots."""
        return await self._call(lambda connection: _start(connection, from_slot))

    async def wallets(self) -> tuple[int, dict[str, Wallet]]:
        """The known wallets as they are now, with the version of their names."""
        return await self._call(lambda connection: (wallets.names_version(connection), wallets.load(connection)))

    async def open_gaps(self) -> int:
        """How many holes stand in the table; the backfill fills them without telling us."""
        return await self._call(ingest.count_open_gaps)

    async def touched_mints(self) -> set[str]:
        """The coins that tracked wallets have traded, as far as raw_events still tells."""
        return await self._call(scope.touched_mints)

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
        async with self._busy:
            away_since = None
            delay = 0.1
            while True:
                try:
                    result = await self._attempt(work)
                except _AWAY as error:
                    if self._stopping.is_set():
                        raise StoreError(
                            "stopped while the database was away or busy; the last slots are not lost, the next run "
                            f"asks for them again: {str(error).strip()}"
                        ) from error
                    away_since = away_since or time.monotonic()
                    self._observer.database_away(time.monotonic() - away_since + delay)
                    _log.error("database_away error=%r retry_seconds=%.1f", str(error).strip(), delay)
                    await self._in_thread(self._disconnect)
                    await self._pause(delay)
                    delay = min(delay * 2, _MAX_RETRY_SECONDS)
                else:
                    if away_since is not None:
                        self._observer.database_away(0.0)
                    return result

    async def _attempt(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        await self._connect()
        return await self._in_thread(lambda: self._on_connection(work))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _on_connection(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        if self._connection is None:
            raise psycopg.OperationalError("the connection is closed")
        return work(self._connection)

    async def _connect(self) -> None:
        """Connects if there is no connection, and waits until the worker lock is ours."""
        said = False
        while self._connection is None:
            if self._stopping.is_set() and self._session is not None:
                raise psycopg.OperationalError("there is no time left to connect again")
            locked = await self._in_thread(self._try_connect)
            if locked:
                break
            if self._stopping.is_set():
                raise StoppedError("stopped while another worker has the database; what was not landed comes again")
            if not said:
                _log.warning("standby: another worker has this database; waiting for it to end")
                self._observer.standby(True)
                said = True
            await self._pause(_STANDBY_SECONDS)
        if said:
            _log.warning("the database is ours")
            self._observer.standby(False)

    def _try_connect(self) -> bool:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            options=_OPTIONS,
            application_name="copytrader ingest",
            tcp_user_timeout=_DEAD_PEER_MS,
            keepalives_idle=_KEEPALIVE["idle"],
            keepalives_interval=_KEEPALIVE["interval"],
            keepalives_count=_KEEPALIVE["count"],
        )
        try:
            if not (ingest.try_lock(connection) or self._try_lock_after_ghost(connection)):
                connection.close()
                return False
            self._session = connection.execute(
                "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            ).fetchone()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return True

    def _try_lock_after_ghost(self, connection: psycopg.Connection) -> bool:
        """A session of ours whose connection broke may still hold the lock: it is ended, and the lock tried again."""
        if self._session is None:
            return False
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 500) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s",
            self._session,
        ).fetchone()
        return ended is not None and ingest.try_lock(connection)

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
            clocks.settle(connection, batch.estimated_slots)
            if done.inserted:
                self._recount(connection, batch)
        newest = max((slot.block_time or 0 for slot in batch.slots), default=0) // 86_400
        if newest > self._newest_day or done.filled:
            self._newest_day = max(newest, self._newest_day)
            self._seal_covered(connection)
        return done

    def _recount(self, connection: psycopg.Connection, batch: Batch) -> None:
        """Late events for a day that is sealed already: its count must tell the truth in the same transaction."""
        numbers = batch.days()
        if min(numbers) <= self._newest_sealed:
            for sealed in days.recount_sealed(connection, {days.day_of(number * 86_400) for number in numbers}):
                _log.info("day_recounted day=%s events=%d", sealed.day, sealed.n_events)

    def _seal_covered(self, connection: psycopg.Connection) -> None:
        # Counting a day takes as long as it takes.
        connection.execute("SET statement_timeout = 0")
        for sealed in days.seal_covered(connection):
            _log.info("day_sealed day=%s events=%d", sealed.day, sealed.n_events)
        self._newest_sealed = days.newest_sealed(connection)
        connection.execute("RESET statement_timeout")


class StoppedError(StoreError):
    """The worker was told to end while it stood by."""


def _start(connection: psycopg.Connection, from_slot: int | None) -> Start:
    checkpoint = ingest.checkpoint(connection)
    begin = from_slot if from_slot is not None else checkpoint.slot if checkpoint else 0
    known = connection.execute(
        "SELECT slot, blockhash FROM ingest_slots WHERE slot >= %s ORDER BY slot LIMIT %s",
        (begin - _KNOWN_BEFORE, _KNOWN),
    ).fetchall()
    gaps = connection.execute("SELECT from_slot, to_slot FROM ingest_gaps WHERE filled_at IS NULL").fetchall()
    return Start(checkpoint, dict(known), tuple(gaps))
