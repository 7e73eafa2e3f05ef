"""Binary COPY as it lies on the wire: the messages of one query, in one buffer. Not here: what the bytes mean.

libpq hands out one Python object a row; at two kilobytes a row that alone costs four times what Postgres' own socket
does (6.8 us a row against 0.6 us). So the query goes past libpq: a connection that is idle between two queries has
nothing in libpq's buffer, and when ReadyForQuery has been read it is idle again. Message formats:
https://www.postgresql.org/docs/current/protocol-message-formats.html (version 3.0).
An encrypted connection goes through libpq; the buffer then looks the same.
"""

from __future__ import annotations

import selectors
import socket
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import psycopg

from copytrader_assets.bulk.octets import Bytes, big32
from copytrader_core.compiled import kernel
from copytrader_core.errors import StoreError

# Below so many waiting bytes the reader sleeps on: waking up for each 8 kB that Postgres sends costs more than reading.
_LOW_WATER: Final = 1 << 20
_READ_AT_LEAST: Final = 1 << 20
_FIRST_SIZE: Final = 16 << 20
# The last bytes of an answer are fewer than the low water; nothing wakes the reader up for them.
_LOOK_EVERY_SECONDS: Final = 0.01
_SILENT_SECONDS: Final = 600.0
_COPY_DATA: Final = ord("d")
_READY: Final = ord("Z")
_ERROR: Final = ord("E")


@dataclass(slots=True)
class Wire:
    """A buffer that is used for one query after the other: `content[:end]` are whole CopyData messages of the last."""

    content: Bytes = field(default_factory=lambda: np.empty(_FIRST_SIZE, np.uint8))
    end: int = 0
    messages: int = 0

    def room(self) -> memoryview:
        """At least _READ_AT_LEAST bytes behind `end`."""
        self._grow(self.end + _READ_AT_LEAST)
        return self.content.data[self.end :]

    def append(self, message: bytes | bytearray | memoryview) -> None:
        """Adds a CopyData message that libpq has unwrapped, wrapped again."""
        size = len(message)
        self._grow(self.end + size + 5)
        self.content[self.end] = _COPY_DATA
        self.content[self.end + 1 : self.end + 5] = np.frombuffer((size + 4).to_bytes(4, "big"), np.uint8)
        self.content[self.end + 5 : self.end + 5 + size] = np.frombuffer(message, np.uint8)
        self.end += size + 5
        self.messages += 1

    def _grow(self, size: int) -> None:
        if size > len(self.content):
            larger = np.empty(max(size, 2 * len(self.content)), np.uint8)
            larger[: self.end] = self.content[: self.end]
            self.content = larger


def receive(connection: psycopg.Connection[Any], query: str, wire: Wire) -> None:
    """Runs COPY ... TO STDOUT (FORMAT binary) and puts its CopyData messages into `wire`.

    `connection` must be idle or idle in a transaction, and is so again afterwards. Raises psycopg's error for the
    server's, and StoreError where the connection ends or nothing comes for ten minutes.
    """
    wire.end = wire.messages = 0
    if is_plain(connection):
        _receive_past_libpq(connection, query, wire)
        return
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for message in copy:
            wire.append(message)


def is_plain(connection: psycopg.Connection[Any]) -> bool:
    """Whether what is read from the socket is the protocol itself, neither TLS nor GSSAPI."""
    if connection.pgconn.ssl_in_use:
        return False
    found = connection.execute("SELECT encrypted FROM pg_stat_gssapi WHERE pid = pg_backend_pid()").fetchone()
    return found is None or not found[0]


def _receive_past_libpq(connection: psycopg.Connection[Any], query: str, wire: Wire) -> None:
    stream = socket.socket(fileno=connection.pgconn.socket)
    try:
        text = query.encode()
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _LOW_WATER)
        stream.sendall(b"Q" + (len(text) + 5).to_bytes(4, "big") + text + b"\0")
        with selectors.DefaultSelector() as waiting:
            waiting.register(stream, selectors.EVENT_READ)
            _read_answer(stream, waiting, wire)
    except (OSError, StoreError) as error:
        connection.close()
        raise StoreError(f"the connection to Postgres broke while a day was read: {error}; try again") from error
    finally:
        if not connection.closed:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        stream.detach()


def _read_answer(stream: socket.socket, waiting: selectors.BaseSelector, wire: Wire) -> None:
    """Reads up to ReadyForQuery. Everything that is not CopyData is taken out of the buffer."""
    error: psycopg.Error | None = None
    start = filled = 0
    while True:
        wire.end = filled
        filled += _some(stream, waiting, wire.room())
        while True:
            start, found = _skip_copy_data(wire.content, start, filled)
            wire.messages += found
            size = _whole_message(wire.content, start, filled)
            if size == 0:
                break
            kind = int(wire.content[start])
            if kind == _ERROR:
                error = _error(wire.content[start + 5 : start + size].tobytes())
            wire.content[start : filled - size] = wire.content[start + size : filled].copy()
            filled -= size
            if kind == _READY:
                wire.end = start
                if error is not None:
                    raise error
                return


def _some(stream: socket.socket, waiting: selectors.BaseSelector, room: memoryview) -> int:
    """Reads what is there, at least one byte, and returns how many bytes that were."""
    waited = 0.0
    while True:
        try:
            count = stream.recv_into(room)
        except BlockingIOError:
            if waited > _SILENT_SECONDS:
                raise StoreError(f"Postgres has been silent for {_SILENT_SECONDS:.0f} s") from None
            waiting.select(_LOOK_EVERY_SECONDS)
            waited += _LOOK_EVERY_SECONDS
            continue
        if count == 0:
            raise StoreError("Postgres closed it")
        return count


@kernel
def _skip_copy_data(content: Bytes, start: int, filled: int) -> tuple[int, int]:
    """The first byte behind the whole CopyData messages from `start` on, and their number."""
    count = 0
    while start + 5 <= filled and content[start] == _COPY_DATA:
        size = big32(content, start + 1)
        if start + 1 + size > filled:
            break
        start += 1 + size
        count += 1
    return start, count


def _whole_message(content: Bytes, start: int, filled: int) -> int:
    """The size of the message at `start` if it is there whole and is no CopyData, else 0."""
    if start + 5 > filled or content[start] == _COPY_DATA:
        return 0
    size = 1 + int.from_bytes(content[start + 1 : start + 5].tobytes(), "big")
    return size if start + size <= filled else 0


def _error(content: bytes) -> psycopg.Error:
    """The error of an ErrorResponse: fields of a letter and a text each."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in content.split(b"\0") if part}
    try:
        kind = psycopg.errors.lookup(fields.get(b"C", ""))
    except KeyError:
        kind = psycopg.DatabaseError
    return kind(fields.get(b"M", "Postgres refused the query"))
