"""A journal seen from outside, its executor running or dead: the book it adds up to, its last lines, its writer.

It only reads. What lines mean is the ledger's; what is shown of them is `status` and `explain`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from copytrader_core.errors import DataError
from executor.ledger import Ledger, Result, ledger_from
from executor.wal import WalReader, first_of, head_of, segments_of

__all__ = ["JournalView", "Today", "kept_lines", "writer_of"]

_LINES_AT_ONCE: Final = 500
_KEPT_DECISIONS: Final = 200
_DAY_NS: Final = 86_400_000_000_000

Line = Mapping[str, Any]


@dataclass(slots=True)
class Today:
    """Sales of one UTC day of the journal's own time."""

    day: int = 0
    closed: int = 0
    won: int = 0


@dataclass(slots=True)
class JournalView:
    """The newest segment's snapshot and everything after it; `refresh` takes what has been written since."""

    folder: Path
    ledger: Ledger = field(default_factory=Ledger)
    decisions: deque[Line] = field(default_factory=lambda: deque(maxlen=_KEPT_DECISIONS))
    """The last ones, newest last."""
    today: Today = field(default_factory=Today)
    at_ns: int = 0
    slot: int | None = None
    release_id: str | None = None
    _reader: WalReader | None = None
    _seq: int = 0

    @property
    def exists(self) -> bool:
        """Whether there is a journal in the folder at all."""
        return bool(segments_of(self.folder))

    def refresh(self) -> None:
        """Reads on. Raises DataError where the files are damaged."""
        if self._reader is None and self.exists:
            self._begin()
        try:
            self._read()
        except (DataError, FileNotFoundError):
            if first_of(segments_of(self.folder)[-1]) <= self._seq + 1:
                raise
            # What we had not read is deleted because Postgres has it: the newest segment begins with its sum.
            self._begin()
            self._read()

    def pnl_today_lamports(self) -> int:
        """Results of the newest line's UTC day in lamports, failed transactions included; negative for a loss."""
        return sum(lamports for _, lamports, *_ in self.results_today())

    def results_today(self) -> list[Result]:
        """What that day's sales and failed transactions brought, in the order of the journal."""
        midnight = self.at_ns - self.at_ns % _DAY_NS
        return [result for result in self.ledger.results if result[0] >= midnight]

    def _begin(self) -> None:
        newest = segments_of(self.folder)[-1]
        self.ledger = ledger_from(head_of(newest)["snapshot"])
        self._seq = first_of(newest) - 1
        self._reader = WalReader(self.folder, self._seq)

    def _read(self) -> None:
        while self._reader is not None and (lines := self._reader.read(_LINES_AT_ONCE)):
            for line in lines:
                self._take(line)

    def _take(self, line: Line) -> None:
        self.ledger.apply(line)
        self._seq = line["seq"]
        self.at_ns = max(self.at_ns, line["at_ns"] or 0)
        self.slot = max(self.slot or 0, line["slot"]) if line["slot"] else self.slot
        self.release_id = line["release_id"] or self.release_id
        if line["kind"] == "DECISION":
            self.decisions.append(line)
        elif line["kind"] == "FILL" and "pnl_lamports" in line["payload"]:
            self._sold(line["at_ns"] // _DAY_NS, line["payload"]["pnl_lamports"])

    def _sold(self, day: int, pnl_lamports: int) -> None:
        if day != self.today.day:
            self.today = Today(day)
        self.today.closed += 1
        self.today.won += pnl_lamports > 0


def kept_lines(folder: Path) -> Iterator[Line]:
    """Every line that the files still hold, oldest first. Older ones are in Postgres alone."""
    segments = segments_of(folder)
    if not segments:
        return
    reader = WalReader(folder, first_of(segments[0]) - 1)
    while lines := reader.read(_LINES_AT_ONCE):
        yield from lines


def writer_of(folder: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process that has the journal in `folder`, None if nobody has or the kernel does not tell.

    Asks the kernel's list and takes no lock itself: an executor that starts at this moment must find it free.
    """
    try:
        inode = (folder / "lock").stat().st_ino
        held = locks.read_text().splitlines()
    except OSError:
        return None
    for line in held:
        fields = line.split()
        if "FLOCK" in fields and "WRITE" in fields and "->" not in fields and fields[5].endswith(f":{inode}"):
            return int(fields[4])
    return None
