"""What the executor has of Postgres: the lock, the released patterns, the trading state's row; and how it does without.

Nothing on the way from a signal to an order waits for it. While it is away the switch says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from copytrader_core.errors import StoreError
from copytrader_core.records import Release
from copytrader_core.store.postgres import connect as connect_now
from copytrader_core.store.releases import load_release
from executor.control import Switch, control_from
from executor.locks import locks_from
from executor.orders import Mode
from executor.projector import Projector, catch_up, connect
from executor.statements import statement
from executor.wal import Wal

_log = logging.getLogger(__name__)
# NOTIFY tells at once; this is for a notification that was lost with a connection.
_POLL_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.0
_NO_RELEASE: Final = Release("none", "", {}, ())

Put = Callable[[Any], Awaitable[None]]


class Database:
    """One mode's connection that watches, and the projector beside it."""

    def __init__(self, url: str, wal: Wal, mode: Mode) -> None:
        self.projector = Projector(url, wal, mode)
        self.release: Release = _NO_RELEASE
        self._url = url
        self._wal = wal
        self._mode = mode
        self._watch: AsyncConnection[DictRow] | None = None

    async def begin(self, switch: Switch) -> None:
        """The first connection, the journal's lost lines, the release and the state; or a warning without Postgres."""
        try:
            self._watch = await self._connected(switch)
            await catch_up(self._watch, self._wal, self._mode)
        except psycopg.OperationalError as error:
            _log.warning("no database: %s; exits go on, nothing is bought until it is there", error)

    async def markets(self, mints: Collection[str]) -> list[DictRow]:
        """The newest landed reserves of these coins; none without Postgres."""
        if self._watch is None or not mints:
            return []
        return await _rows(self._watch, "last_markets", mints=sorted(mints))

    async def close(self) -> None:
        """Gives the lock back."""
        if self._watch is not None:
            await self._watch.close()

    async def follow(self, switch: Switch, put: Put) -> None:
        """Releases into `put`, states into `switch` with a tick into `put`; for ever."""
        while True:
            try:
                if self._watch is None:
                    self._watch = await self._connected(switch)
                    await put(self.release)
                async with self._watch as connection:
                    await self._listen(connection, switch, put)
            except psycopg.OperationalError as error:
                _log.warning("database_away error=%r", str(error))
            self._watch = None
            switch.heard(None)
            await put("tick")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _connected(self, switch: Switch) -> AsyncConnection[DictRow]:
        """A connection that holds the lock. Raises StoreError if another executor has it."""
        connection = await connect(self._url)
        try:
            if not (await _rows(connection, "only_one", mode=self._mode))[0]["got"]:
                raise StoreError(f"another executor runs in {self._mode} mode on this database: stop it first")
            for name in ("listen_release", "listen_state"):
                await connection.execute(statement(name))
            self.release = await asyncio.to_thread(_load, self._url)
            await _read_switch(connection, switch)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _listen(self, connection: AsyncConnection[DictRow], switch: Switch, put: Put) -> None:
        while True:
            await _read_switch(connection, switch)
            await put("tick")
            found = await _rows(connection, "release_id")
            if found and found[0]["release_id"] != self.release.release_id:
                self.release = await asyncio.to_thread(_load, self._url)
                await put(self.release)
            async for _ in connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                pass


async def _read_switch(connection: AsyncConnection[DictRow], switch: Switch) -> None:
    """Locks first: a state that allows must not be seen before what it leaves forbidden."""
    switch.locks = locks_from(await _rows(connection, "locks"))
    switch.heard(control_from(await _rows(connection, "state")))


async def _rows(connection: AsyncConnection[DictRow], name: str, **values: Any) -> list[DictRow]:
    return await (await connection.execute(statement(name), values)).fetchall()


def _load(url: str) -> Release:
    """The current release, or one without leaders while there is none."""
    with connect_now(url) as connection:
        try:
            return load_release(connection)
        except StoreError as error:
            _log.warning("%s; until then there is nobody to follow", error)
            return _NO_RELEASE
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise StoreError(f"the release cannot be read: {error}") from error
