"""The journal's files: append-only lines with a number and a checksum each, in segments that begin with a snapshot.

A line is written with one call before anything is done about it; a process that dies in the middle leaves a torn last
line, which the next start cuts off, for nothing was done about it. What lines mean is `executor.ledger`'s.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from copytrader_core.errors import DataError, StoreError

_log = logging.getLogger(__name__)
_SUFFIX: Final = ".wal"
_SEGMENT_BYTES: Final = 64 * 2**20
_CRC_CHARS: Final = 8

Document = Mapping[str, Any]


class JournalBusyError(StoreError):
    """Another process has the journal."""


class Wal:
    """One journal, written by one process: a second one is refused. Numbers (`seq`) ascend by one from 1."""

    def __init__(self, folder: Path) -> None:
        """Opens or begins the journal in `folder`. JournalBusyError: another process has it; DataError: damaged."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._lock = _locked(folder)
        try:
            segments = segments_of(folder)
            self.snapshot: Document = {}
            self.journal_id = secrets.token_hex(8)
            self.seq = 0
            if segments:
                self._resume(segments[-1])
            else:
                self._begin({})
        except BaseException:
            os.close(self._lock)
            raise

    def replay(self) -> Iterator[Document]:
        """What was appended after the newest segment's snapshot, oldest first."""
        lines = _lines(self._path)
        next(lines)
        for document, _ in lines:
            yield document

    def append(self, document: dict[str, Any]) -> int:
        """Writes a line and returns its number. It survives the process, and the machine once `sync` has returned."""
        document["seq"] = self.seq + 1
        line = encoded(document)
        written = os.write(self._file, line)
        if written != len(line):
            os.truncate(self._path, self._size)
            raise StoreError(f"{self._path}: the disk is full: make room, nothing is done that cannot be written down")
        self.seq += 1
        self._size += written
        self._last = written
        return self.seq

    def take_back(self) -> None:
        """Removes the line that was appended last: it contradicts those before it, and would stop every later start."""
        self._size -= self._last
        os.truncate(self._path, self._size)
        self.seq -= 1
        self._last = 0

    def adopt(self, journal_id: str) -> None:
        """Takes an identity, as long as nothing has been written under the own one."""
        if self.seq == 0 and journal_id != self.journal_id:
            self._path.unlink()
            os.close(self._file)
            self.journal_id = journal_id
            self._begin({})

    def sync(self) -> None:
        """Returns when all that was appended is on the disk."""
        os.fdatasync(self._file)

    async def sync_aside(self) -> None:
        """As `sync`, in another thread: the caller's loop goes on meanwhile."""
        file = os.dup(self._file)
        try:
            await asyncio.to_thread(os.fdatasync, file)
        finally:
            os.close(file)

    @property
    def is_long(self) -> bool:
        """Whether it is time to begin a new segment."""
        return self._size - self._head >= _SEGMENT_BYTES

    def rotate(self, snapshot: Document) -> None:
        """Begins a new segment from `snapshot`, which stands for everything before it."""
        self.sync()
        before = self._file
        self._begin(snapshot)
        os.close(before)

    def drop_before(self, seq: int) -> None:
        """Deletes segments all of whose lines have numbers up to `seq`; never the newest one."""
        segments = segments_of(self.folder)
        for path, following in pairwise(segments):
            if first_of(following) <= seq + 1:
                path.unlink()

    def close(self) -> None:
        """Gives the journal free for another process."""
        self.sync()
        os.close(self._file)
        os.close(self._lock)

    def _begin(self, snapshot: Document) -> None:
        head = {"journal_id": self.journal_id, "seq": self.seq, "snapshot": snapshot}
        path = self.folder / f"{self.seq + 1:012d}{_SUFFIX}"
        staged = path.with_suffix(".partial")
        with staged.open("wb") as file:
            file.write(encoded(head))
            file.flush()
            os.fsync(file.fileno())
        staged.chmod(0o600)
        staged.replace(path)
        self._path, self.snapshot = path, snapshot
        self._open()
        self._head = self._size
        self.sync()

    def _resume(self, path: Path) -> None:
        self._path, size, head = path, 0, True
        for document, end in _lines(path):
            size = end
            if head:
                self.journal_id, self.snapshot, head = document["journal_id"], document["snapshot"], False
                self._head = end
            elif document["seq"] != self.seq + 1:
                raise DataError(f"{path}: line {document['seq']} follows {self.seq}: restore the journal from a backup")
            self.seq = int(document["seq"])
        if head:
            raise DataError(f"{path} has no beginning: restore the journal from a backup")
        if (torn := path.stat().st_size - size) > 0:
            _log.warning("journal_cut path=%s bytes=%d: the last run died while writing it", path, torn)
            os.truncate(path, size)
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size
        self._last = 0


class WalReader:
    """Reads a journal that another task writes, from the line after `seq` on."""

    def __init__(self, folder: Path, seq: int) -> None:
        self._folder = folder
        self._seq = seq
        self._path: Path | None = None
        self._offset = 0

    def read(self, limit: int) -> list[Document]:
        """Up to `limit` lines that are there and have not been read; fewer only where there are no more."""
        found: list[Document] = []
        while len(found) < limit:
            path = self._segment()
            before = len(found)
            for document, end in _lines(path, self._offset):
                self._offset = end
                if "snapshot" not in document and document["seq"] > self._seq:
                    self._seq = document["seq"]
                    found.append(document)
                    if len(found) == limit:
                        break
            if len(found) == before and self._segment() == path:
                break
        return found

    def _segment(self) -> Path:
        """The segment that holds the next line."""
        segments = segments_of(self._folder)
        path = next((p for p in reversed(segments) if first_of(p) <= self._seq + 1), None)
        if path is None:
            raise DataError(f"the journal in {self._folder} begins after line {self._seq + 1}: restore its older files")
        if path != self._path:
            self._path, self._offset = path, 0
        return path


def segments_of(folder: Path) -> list[Path]:
    """The journal's files, oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def first_of(path: Path) -> int:
    """The number of a segment's first line."""
    return int(path.stem)


def head_of(path: Path) -> Document:
    """A segment's head: the journal's identity, the number before its first line, the snapshot. Raises DataError."""
    for document, _ in _lines(path):
        return document
    raise DataError(f"{path} has no beginning: restore the journal from a backup")


def _lines(path: Path, offset: int = 0) -> Iterator[tuple[Document, int]]:
    """Whole lines from `offset` on with the offset after each; a torn last line ends it. Raises DataError otherwise."""
    with path.open("rb") as file:
        file.seek(offset)
        for raw in file:
            document = _read(raw)
            if document is None:
                if file.readline():
                    raise DataError(f"{path} is damaged at byte {offset}: restore the journal from a backup")
                return
            offset += len(raw)
            yield document, offset


def encoded(document: Document) -> bytes:
    """A line of the journal: the checksum and the JSON text."""
    text = orjson.dumps(document)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(raw: bytes) -> Document | None:
    text = raw[_CRC_CHARS + 1 : -1]
    if not raw.endswith(b"\n") or raw[: _CRC_CHARS + 1] != b"%08x " % zlib.crc32(text):
        return None
    document: Document = orjson.loads(text)
    return document


def _locked(folder: Path) -> int:
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise JournalBusyError(f"another executor runs with the journal in {folder}: stop it first") from error
    return file
