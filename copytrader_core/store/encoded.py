"""Rows of `raw_events` that stand in Postgres' binary COPY format already, and how to read them back.

Source of the format: PostgreSQL documentation, COPY, "Binary Format". No connection here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from copytrader_core.store.columns import KINDS, Row

__all__ = ["HEADER", "TRAILER", "EncodedRows"]

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"
_LENGTH: Final = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows of one slot, all under one clock. `starts` is where each row begins in `data`."""

    slot: int
    ts_ns: int
    data: bytes
    starts: np.ndarray

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.starts)

    def rows(self) -> Iterator[Row]:
        """The rows as values, in the order of `raw_events.COLUMNS`."""
        for start in self.starts.tolist():
            yield _row(self.data, start)


def _row(data: bytes, at: int) -> Row:
    at += 2
    values: list[Any] = []
    for kind in KINDS.values():
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4
        if length < 0:
            values.append(None)
            continue
        values.append(_READERS[kind](data[at : at + length]))
        at += length
    return tuple(values)


def _numeric(raw: bytes) -> int:
    n_digits, weight, _, _ = struct.unpack_from(">hhHh", raw)
    value = 0
    for digit in struct.unpack_from(f">{n_digits}h", raw, 8):
        value = value * 10_000 + digit
    return int(value * 10_000 ** (weight - n_digits + 1))


_READERS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "int4": lambda raw: struct.unpack(">i", raw)[0],
    "int8": lambda raw: struct.unpack(">q", raw)[0],
    "float8": lambda raw: struct.unpack(">d", raw)[0],
    "text": bytes.decode,
    "numeric": _numeric,
    "jsonb": lambda raw: json.loads(raw[1:]),
}
