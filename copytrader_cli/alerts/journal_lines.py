"""The journal's lines after a position, none left out and none twice: from its files, else from Postgres.

It blocks, and with a Postgres that hangs for long: it is called aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from copytrader_cli.alerts.alert import Line
from copytrader_cli.alerts.box import Position
from copytrader_cli.watch.look import known_url, reading
from copytrader_core.errors import DataError
from executor.statements import statement
from executor.wal import WalReader, first_of, head_of, segments_of

__all__ = ["JournalLines", "News"]

_LINES_AT_ONCE: Final = 500
# A journal that begins later is read from its first line on.
_BEFORE_ALL: Final = Position("", 0)


@dataclass(frozen=True, slots=True)
class News:
    """Lines in order, the position after them, and how many before them nobody has any more."""

    lines: Sequence[Line]
    position: Position
    lost: int = 0


class JournalLines:
    """One mode's journal, read on and on."""

    def __init__(self, folder: Path, mode: str) -> None:
        self._folder = folder
        self._mode = mode
        self._reader: WalReader | None = None
        self._at: Position | None = None
        self._connection: psycopg.Connection[Any] | None = None

    def read(self, position: Position | None) -> News:
        """Up to 500 lines after `position`; without one nothing but the end, from which the next call goes on.

        Raises DataError for damaged files, psycopg.Error where lines are in Postgres alone and it is away.
        """
        segments = segments_of(self._folder)
        if not segments:
            return self._from_tables(position)
        journal_id = head_of(segments[-1])["journal_id"]
        if position is None:
            return News((), Position(journal_id, self._end(segments[-1])))
        if position.journal_id != journal_id:
            position = Position(journal_id, 0)
        if self._reader is None or self._at != position:
            self._reader = WalReader(self._folder, position.seq)
        if first_of(segments[0]) > position.seq + 1:
            self._reader = None
            return self._missed(position, first_of(segments[0]) - 1)
        lines = self._reader.read(_LINES_AT_ONCE)
        self._at = Position(journal_id, lines[-1]["seq"] if lines else position.seq)
        return News(lines, self._at)

    def _end(self, newest: Path) -> int:
        seq = first_of(newest) - 1
        reader = WalReader(self._folder, seq)
        while lines := reader.read(_LINES_AT_ONCE):
            seq = lines[-1]["seq"]
        return seq

    def _missed(self, position: Position, last: int) -> News:
        """The files begin after line `last`: what was deleted of them is in Postgres."""
        found = self._rows("journal_lines", seq=position.seq, limit=_LINES_AT_ONCE)
        lines = [line for line in found if line["seq"] <= last]
        if not lines or not self._same_journal(position):
            return News((), Position(position.journal_id, last), last - position.seq)
        return News(lines, Position(position.journal_id, lines[-1]["seq"]))

    def _from_tables(self, position: Position | None) -> News:
        """The journal is on another machine, or there is none yet."""
        if position is None and known_url() is None:
            return News((), _BEFORE_ALL)
        projection = self._rows("projection")
        if not projection:
            return News((), position or _BEFORE_ALL)
        journal_id, newest = projection[0]["journal_id"], projection[0]["journal_seq"]
        if position is None:
            return News((), Position(journal_id, newest))
        if position.journal_id != journal_id:
            position = Position(journal_id, 0)
        lines = self._rows("journal_lines", seq=position.seq, limit=_LINES_AT_ONCE)
        return News(lines, Position(journal_id, lines[-1]["seq"] if lines else position.seq))

    def _same_journal(self, position: Position) -> bool:
        projection = self._rows("projection")
        return bool(projection) and projection[0]["journal_id"] == position.journal_id

    def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        try:
            if self._connection is None:
                self._connection = self._connected()
            cursor = self._connection.cursor(row_factory=dict_row)
            return cursor.execute(statement(name), {"mode": self._mode} | values).fetchall()
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        """Hangs up on Postgres; the next reading begins anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        url = known_url()
        if url is None:
            raise DataError("lines of the journal are missing, and there is no database that could have them")
        return reading(url)
