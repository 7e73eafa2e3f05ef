"""Postgres follows the journal: the same lines, the same changes, each batch in one transaction with its place.

Status, explain, the report and the analysis read the tables; trading never waits for them. With Postgres away the
journal grows and the tables catch up later. `catch_up` goes the other way: lines that a lost disk has not kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from copytrader_core.errors import StoreError
from executor.orders import Mode
from executor.statements import statement
from executor.wal import Wal, WalReader

_log = logging.getLogger(__name__)
_BATCH_LINES: Final = 500
_PAUSE_SECONDS: Final = 1.0
_COLUMNS: Final = ("at_ns", "slot", "kind", "intent_id", "leader_sig", "leader", "mint", "release_id", "run_id", "mode")


class Projector:
    """Writes one journal's lines to the tables, in order and once."""

    def __init__(self, url: str, wal: Wal, mode: Mode) -> None:
        self._url = url
        self._wal = wal
        self._mode = mode
        self._news = asyncio.Event()
        self._landed = asyncio.Event()
        self.done_seq = 0

    def wake(self) -> None:
        """There are new lines."""
        self._news.set()

    async def run(self) -> None:
        """Follows for ever, over as many connections as it takes."""
        while True:
            try:
                async with await connect(self._url) as connection:
                    await self._follow(connection)
            except psycopg.OperationalError as error:
                _log.warning("projection_waits error=%r: the journal goes on, Postgres is tried again", str(error))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def finish(self, seconds: float) -> bool:
        """Waits until everything written so far is in Postgres; False if that takes longer."""
        self.wake()
        try:
            async with asyncio.timeout(seconds):
                while self.done_seq < self._wal.seq:
                    self._landed.clear()
                    await self._landed.wait()
        except TimeoutError:
            return False
        return True

    async def _follow(self, connection: AsyncConnection[DictRow]) -> None:
        self._reached(await self._place(connection))
        reader = WalReader(self._wal.folder, self.done_seq)
        while True:
            self._news.clear()
            while lines := reader.read(_BATCH_LINES):
                await self._land(connection, lines)
                self._wal.drop_before(self.done_seq)
            await self._news.wait()

    async def _place(self, connection: AsyncConnection[DictRow]) -> int:
        """The last line that is in Postgres. Raises StoreError if that is another journal's."""
        row = await _projection(connection, self._mode)
        if row is None:
            return 0
        _require_same(row, self._wal, self._mode)
        return int(row["journal_seq"])

    async def _land(self, connection: AsyncConnection[DictRow], lines: Sequence[Mapping[str, Any]]) -> None:
        async with connection.transaction(), connection.pipeline():
            for line in lines:
                values = {name: line[name] for name in _COLUMNS} | {"seq": line["seq"]}
                changes = Jsonb(line["changes"]) if line["changes"] else None
                journalled = values | {"payload": Jsonb(line["payload"]), "changes": changes}
                await connection.execute(statement("journal"), journalled)
                for name, change in line["changes"]:
                    await connection.execute(statement(name), _bound(change))
            place = {"mode": self._mode, "journal_id": self._wal.journal_id, "seq": lines[-1]["seq"]}
            await connection.execute(statement("projected"), place)
        self._reached(lines[-1]["seq"])

    def _reached(self, seq: int) -> None:
        self.done_seq = seq
        self._landed.set()


async def catch_up(connection: AsyncConnection[DictRow], wal: Wal, mode: Mode) -> int:
    """Takes lines from Postgres that the files lack: a new folder, or a tail that a power cut has lost.

    Returns their number. Raises StoreError where the files have lines of another journal: the two are never mixed.
    """
    row = await _projection(connection, mode)
    if row is None:
        return 0
    wal.adopt(row["journal_id"])
    _require_same(row, wal, mode)
    values = {"mode": mode, "seq": wal.seq}
    lines = await (await connection.execute(statement("journal_lines"), values)).fetchall()
    for line in lines:
        kept = dict(line) | {"changes": line["changes"] or []}
        if wal.append(kept) != line["seq"]:
            raise StoreError(f"line {line['seq']} of the {mode} journal is missing in exec_journal: restore a backup")
    if lines:
        _log.warning("journal_restored lines=%d from=postgres", len(lines))
    return len(lines)


async def connect(url: str) -> AsyncConnection[DictRow]:
    """A connection of the executor's, in autocommit. Raises psycopg.OperationalError while there is no Postgres."""
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        row_factory=psycopg.rows.dict_row,
        options="-c timezone=UTC",
        application_name="copytrader executor",
    )


async def _projection(connection: AsyncConnection[DictRow], mode: Mode) -> DictRow | None:
    return await (await connection.execute(statement("projection"), {"mode": mode})).fetchone()


def _require_same(row: DictRow, wal: Wal, mode: Mode) -> None:
    if row["journal_id"] != wal.journal_id:
        raise StoreError(
            f"this database holds the {mode} executor's journal {row['journal_id']}, and {wal.folder} is journal"
            f" {wal.journal_id}: use the database and the COPYTRADER_HOME that belong together"
        )


def _bound(change: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Jsonb(value) if isinstance(value, Mapping) else value for name, value in change.items()}
