"""How often each guard refused today, counted from the journal's files; from the tables where there are none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from copytrader_core.errors import DataError
from executor.wal import WalReader, first_of, segments_of

__all__ = ["CodesOfTables", "CodesToday"]

_DAY_NS: Final = 86_400_000_000_000
_LINES_AT_ONCE: Final = 500
_LINES_OF_TABLES: Final = 20_000
_NEWEST: Final = "SELECT COALESCE(max(journal_seq), 0) FROM exec_journal WHERE mode = %(mode)s"
_CODES: Final = """
SELECT payload #>> '{decision,code}' FROM exec_journal
WHERE mode = %(mode)s AND journal_seq > %(after)s AND journal_seq <= %(newest)s AND kind = 'DECISION'
  AND at_ns >= %(since_ns)s AND at_ns < %(until_ns)s
"""


@dataclass(slots=True)
class CodesToday:
    """Decisions of one UTC day of the journal's own time by code, `ACCEPTED` among them.

    `since_ns` is the first line that was counted where older ones of that day are in no file any more, else None.
    """

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    since_ns: int | None = None
    _day: int = -1
    _reader: WalReader | None = None
    _whole: bool = False

    def refresh(self, day: int) -> None:
        """Reads on; a new day begins at nothing. Where files have gone it begins again with those that are there."""
        if not segments_of(self.folder):
            return
        if day != self._day:
            self._day, self.counts, self.since_ns = day, Counter(), None
            self._whole = self._reader is not None
        try:
            self._read()
        except (DataError, OSError):
            self._reader, self.counts = None, Counter()
            self._read()

    def _read(self) -> None:
        if self._reader is None:
            self._reader = WalReader(self.folder, self._start())
        while lines := self._reader.read(_LINES_AT_ONCE):
            for line in lines:
                self._take(line["at_ns"] or 0, line)

    def _take(self, at_ns: int, line: Any) -> None:
        if at_ns // _DAY_NS != self._day:
            self._whole = self._whole or at_ns > 0
            return
        if not self._whole and self.since_ns is None:
            self.since_ns = at_ns
        if line["kind"] == "DECISION":
            self.counts[line["payload"]["decision"]["code"]] += 1

    def _start(self) -> int:
        """The number before the first line of the newest segment that begins before the day; the oldest there is."""
        segments = segments_of(self.folder)
        for path in reversed(segments):
            before = first_of(path) - 1
            first = WalReader(self.folder, before).read(1)
            if before == 0 or (first and (first[0]["at_ns"] or 0) // _DAY_NS < self._day):
                self._whole = True
                return before
        self._whole = False
        return first_of(segments[0]) - 1


@dataclass(slots=True)
class CodesOfTables:
    """The same from Postgres, of its newest 20,000 lines and of all that come; only what is new is asked for."""

    mode: str
    counts: Counter[str] = field(default_factory=Counter)
    _day: int = -1
    _seq: int | None = None

    def refresh(self, connection: psycopg.Connection[Any], day: int) -> None:
        """Counts on; a new day begins at nothing."""
        if day != self._day:
            self._day, self.counts = day, Counter()
        newest = connection.execute(_NEWEST.encode(), {"mode": self.mode}).fetchone()
        last = int(newest[0]) if newest else 0
        after = max(0, last - _LINES_OF_TABLES) if self._seq is None else self._seq
        values = {"mode": self.mode, "after": after, "newest": last}
        span = {"since_ns": day * _DAY_NS, "until_ns": (day + 1) * _DAY_NS}
        self.counts.update(code for (code,) in connection.execute(_CODES.encode(), values | span))
        self._seq = last
