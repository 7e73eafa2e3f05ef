"""What the executor has of Postgres: the lock, the released patterns, the trading state's row; and how it does without.

Nothing on the way from a signal to an order waits for it. While it is away, silent or of no use the switch says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, tuple_row
from psycopg.types.json import set_json_loads

from copytrader_core.errors import CopytraderError, StoreError
from copytrader_core.records import Release
from copytrader_core.store.migrations import newest_version
from copytrader_core.store.release_rows import release_from
from copytrader_core.store.releases import CURRENT
from executor.control import Switch, control_from
from executor.locks import locks_from
from executor.orders import Mode
from executor.postgres import connect, patience, told
from executor.projector import Projector, catch_up
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
        self._problem: str | None = None

    async def begin(self, switch: Switch) -> None:
        """The first connection, the journal's lost lines, the release and the state; or a warning without Postgres.

        What is wrong with a Postgres that is there ends a run of paper with StoreError. A live one goes on: it may hold
        positions, and the files' own lock keeps it alone on this machine.
        """
        self.projector.stands = switch.projected
        try:
            watch = await self._connected(switch)
            self._watch = watch
            await catch_up(watch, self._wal, self._mode)
        except (psycopg.Error, CopytraderError) as error:
            if self._mode == "paper" and not isinstance(error, psycopg.OperationalError):
                raise _as_ours(error) from None
            # Until the projector has compared them, nobody knows whether files and tables belong together.
            switch.projected("the journal has not been compared with Postgres yet")
            self._away(switch, error)

    async def markets(self, mints: Collection[str]) -> list[DictRow]:
        """The newest landed reserves of these coins; none without Postgres."""
        if self._watch is None or not mints:
            return []
        try:
            with patience(self._watch):
                return await _rows(self._watch, "last_markets", mints=sorted(mints))
        except psycopg.Error as error:
            _log.warning("no reserves from Postgres: %s; exits wait for the next trade or a node", told(error))
            return []

    async def close(self) -> None:
        """Gives the lock back."""
        if self._watch is not None:
            await self._watch.close()

    async def follow(self, switch: Switch, put: Put) -> None:
        """Releases into `put`, states into `switch` with a tick into `put`; for ever, whatever Postgres says."""
        while True:
            try:
                if self._watch is None:
                    self._watch = await self._connected(switch)
                    self._problem = None
                    await put(self.release)
                async with self._watch as connection:
                    await self._listen(connection, switch, put)
            except (psycopg.Error, CopytraderError) as error:
                self._away(switch, error)
            self._watch = None
            await put("tick")
            await asyncio.sleep(_PAUSE_SECONDS)

    def _away(self, switch: Switch, error: Exception) -> None:
        """Postgres cannot be had or not be used: said once, and nothing is bought."""
        switch.heard(None)
        if (problem := told(error)) != self._problem:
            _log.warning("database_away error=%r: exits go on, nothing is bought, it is tried again", problem)
        self._problem = problem

    async def _connected(self, switch: Switch) -> AsyncConnection[DictRow]:
        """A connection that holds the lock. Raises StoreError where it is held, or the schema is too old."""
        connection = await connect(self._url)
        try:
            with patience(connection):
                await _require_schema(connection)
                await self._only_one(connection)
                for name in ("listen_release", "listen_state"):
                    await connection.execute(statement(name))
                self.release = await _release(connection)
                await _read_switch(connection, switch)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _only_one(self, connection: AsyncConnection[DictRow]) -> None:
        """After a break of the network our own dead session may hold the lock until Postgres has noticed."""
        if not (await _rows(connection, "only_one", mode=self._mode))[0]["got"]:
            raise StoreError(f"another executor runs in {self._mode} mode on this database: stop it first")

    async def _listen(self, connection: AsyncConnection[DictRow], switch: Switch, put: Put) -> None:
        while True:
            with patience(connection):
                await _read_switch(connection, switch)
                found = await _rows(connection, "release_id")
            await put("tick")
            if found and found[0]["release_id"] != self.release.release_id:
                with patience(connection):
                    self.release = await _release(connection)
                await put(self.release)
            async for _ in connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                pass


async def _require_schema(connection: AsyncConnection[DictRow]) -> None:
    """A database that came back may be an older one; bringing it up to date is not for a run to do."""
    try:
        found = await _rows(connection, "schema")
    except psycopg.errors.UndefinedTable:
        found = []
    version, needed = int(found[0]["version"]) if found else 0, newest_version()
    if version < needed:
        raise StoreError(
            f"the database has schema version {version}, this executor needs {needed}: run `copytrader db url`, which"
            " brings it up to date"
        )


async def _read_switch(connection: AsyncConnection[DictRow], switch: Switch) -> None:
    """Locks first: a state that allows must not be seen before what it leaves forbidden."""
    switch.locks = locks_from(await _rows(connection, "locks"))
    switch.heard(control_from(await _rows(connection, "state")))


async def _rows(connection: AsyncConnection[DictRow], name: str, **values: Any) -> list[DictRow]:
    return await (await connection.execute(statement(name), values)).fetchall()


async def _release(connection: AsyncConnection[DictRow]) -> Release:
    """The current release, or one without leaders while there is none."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        # Its documents are large: they are parsed beside the loop.
        set_json_loads(_unparsed, cursor)
        row = await (await cursor.execute(CURRENT)).fetchone()
    try:
        return await asyncio.to_thread(_parsed, row)
    except (StoreError, LookupError, TypeError, ValueError) as error:
        _log.warning("%s; until then there is nobody to follow", error)
        return _NO_RELEASE


def _unparsed(document: str | bytes) -> bytes:
    return document.encode() if isinstance(document, str) else bytes(document)


def _parsed(row: tuple[Any, ...] | None) -> Release:
    return release_from(row and tuple(json.loads(v) if isinstance(v, bytes) else v for v in row))


def _as_ours(error: Exception) -> CopytraderError:
    if isinstance(error, CopytraderError):
        return error
    return StoreError(f"the database cannot be used: {told(error)}")
