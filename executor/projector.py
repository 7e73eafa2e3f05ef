"""Postgres follows the journal: the same lines, the same changes, each batch in one transaction with its place.

Status, explain, the report and the analysis read the tables; trading never waits for them. With Postgres away the
journal grows and the tables catch up later. `catch_up` goes the other way: lines that a lost disk has not kept.
Where files and tables contradict each other neither is written over: nothing is bought until somebody has looked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from copytrader_core.errors import CopytraderError, StoreError
from executor.orders import Mode
from executor.postgres import connect, patience, told
from executor.statements import statement
from executor.wal import Wal, WalReader, first_of, segments_of

_log = logging.getLogger(__name__)
_BATCH_LINES: Final = 500
_PAUSE_SECONDS: Final = 1.0
# What Postgres refuses it will refuse again: until somebody has mended it there is no hurry.
_REFUSED_SECONDS: Final = 10.0
_LANDING_SECONDS: Final = 10.0
_COLUMNS: Final = ("at_ns", "slot", "kind", "intent_id", "leader_sig", "leader", "mint", "release_id", "run_id", "mode")
_SAME: Final = ("run_id", "kind", "at_ns", "intent_id")


class Projector:
    """Writes one journal's lines to the tables, in order and once."""

    def __init__(self, url: str, wal: Wal, mode: Mode) -> None:
        self._url = url
        self._wal = wal
        self._mode = mode
        self._news = asyncio.Event()
        self._landed = asyncio.Event()
        self._problem: str | None = None
        self.done_seq = 0
        self.stands: Callable[[str | None], None] = lambda problem: None
        """Told why the lines do not get into Postgres, and None once they do."""

    def wake(self) -> None:
        """There are new lines."""
        self._news.set()

    async def run(self) -> None:
        """Follows for ever, over as many connections as it takes. No error of Postgres' ends it."""
        while True:
            try:
                async with await connect(self._url) as connection:
                    await self._follow(connection)
            except psycopg.OperationalError as error:
                self._waits(f"Postgres cannot be written: {told(error)}")
                await asyncio.sleep(_PAUSE_SECONDS)
            except (psycopg.Error, CopytraderError) as error:
                self._waits(f"Postgres does not take the journal: {told(error)}")
                await asyncio.sleep(_REFUSED_SECONDS)

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

    def _waits(self, problem: str) -> None:
        if problem != self._problem:
            _log.error("projection_waits problem=%r: exits go on, nothing is bought, it is tried again", problem)
        self._problem = problem
        self.stands(problem)

    def _goes_on(self) -> None:
        if self._problem is not None:
            _log.warning("projection_goes_on line=%d", self.done_seq)
        self._problem = None
        self.stands(None)

    async def _follow(self, connection: AsyncConnection[DictRow]) -> None:
        with patience(connection):
            self._reached(await self._place(connection))
        reader = WalReader(self._wal.folder, self.done_seq)
        while True:
            self._news.clear()
            while lines := reader.read(_BATCH_LINES):
                with patience(connection, _LANDING_SECONDS):
                    await self._land(connection, lines)
                self._wal.drop_before(self.done_seq)
            self._goes_on()
            await self._news.wait()

    async def _place(self, connection: AsyncConnection[DictRow]) -> int:
        """The last line that is in Postgres. Raises StoreError if the files do not have that very line."""
        row = await _projection(connection, self._mode)
        if row is None:
            return 0
        _require_same(row, self._wal, self._mode)
        seq = int(row["journal_seq"])
        if seq > self._wal.seq:
            raise _apart(self._wal, self._wal.seq + 1)
        await _require_line(connection, self._wal, self._mode, seq)
        return seq

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

    Returns their number. Raises StoreError where the files have lines of another journal, or other lines of this one:
    the two are never mixed.
    """
    with patience(connection):
        row = await _projection(connection, mode)
        if row is None:
            return 0
        wal.adopt(row["journal_id"])
        _require_same(row, wal, mode)
        await _require_line(connection, wal, mode, min(wal.seq, int(row["journal_seq"])))
    began = wal.seq
    while lines := await _lines_after(connection, mode, wal.seq):
        for line in lines:
            if line["seq"] != wal.seq + 1:
                raise StoreError(f"line {wal.seq + 1} of the {mode} journal is not in exec_journal: restore a backup")
            wal.append(dict(line) | {"changes": line["changes"] or []})
    if wal.seq > began:
        _log.warning("journal_restored lines=%d from=postgres", wal.seq - began)
    return wal.seq - began


async def _lines_after(connection: AsyncConnection[DictRow], mode: Mode, seq: int) -> list[DictRow]:
    with patience(connection):
        values = {"mode": mode, "seq": seq, "limit": _BATCH_LINES}
        return await (await connection.execute(statement("journal_lines"), values)).fetchall()


async def _projection(connection: AsyncConnection[DictRow], mode: Mode) -> DictRow | None:
    return await (await connection.execute(statement("projection"), {"mode": mode})).fetchone()


def _require_same(row: DictRow, wal: Wal, mode: Mode) -> None:
    if row["journal_id"] != wal.journal_id:
        raise StoreError(
            f"this database holds the {mode} executor's journal {row['journal_id']}, and {wal.folder} is journal"
            f" {wal.journal_id}: use the database and the COPYTRADER_HOME that belong together"
        )


async def _require_line(connection: AsyncConnection[DictRow], wal: Wal, mode: Mode, seq: int) -> None:
    """Line `seq` is the same here and there. What the files no longer hold was in Postgres when they let it go."""
    if seq == 0 or seq < first_of(segments_of(wal.folder)[0]):
        return
    there = await (await connection.execute(statement("journal_line"), {"mode": mode, "seq": seq})).fetchone()
    (here,) = WalReader(wal.folder, seq - 1).read(1)
    if there is not None and any(here.get(name) != there[name] for name in _SAME):
        raise _apart(wal, seq)


def _apart(wal: Wal, seq: int) -> StoreError:
    return StoreError(
        f"Postgres holds lines of this journal that the files in {wal.folder} have lost (line {seq}): end the executor,"
        " move the .wal files away from there and start it again with Postgres there; it restores the lines, and live"
        " it asks the chain what has become of them"
    )


def _bound(change: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Jsonb(value) if isinstance(value, Mapping) else value for name, value in change.items()}
