"""The content hashes of rows as store/day_digest.py defines them, computed from Arrow columns. No database, no files.

The text of a row is put together in one buffer and hashed there; it never becomes a Python object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from copytrader_assets.bulk.md5 import PADDING_BYTES, md5
from copytrader_assets.bulk.octets import Bytes, move
from copytrader_core.compiled import kernel
from copytrader_core.store.day_digest import COLUMNS, SLOTS_PER_BLOCK, Digest, Digests

Ints = npt.NDArray[np.int64]
Halves = npt.NDArray[np.uint64]

_SIGNED, _UNSIGNED, _TEXT = range(3)
_MOST_DIGITS: Final = 20
# What a value takes beside its text: a sign or a colon, a comma, the digits.
_ROOM_PER_VALUE: Final = _MOST_DIGITS + 3
_FIRST_LINE_BYTES: Final = 4_096
_MODULUS: Final = 2**64


def row_hashes(rows: pa.Table | pa.RecordBatch) -> tuple[Halves, Halves]:
    """The MD5 of each row's text, as the numbers of its two halves. `rows` must have the columns of COLUMNS."""
    columns = _Columns.of([_one_array(rows.column(name)) for name in COLUMNS])
    return _hash_rows(columns.kinds, columns.valid, columns.numbers, columns.offsets, columns.texts)


def digests(rows: pa.Table | pa.RecordBatch) -> Digests:
    """The digests of `rows` by block of slots."""
    high, low = row_hashes(rows)
    blocks = np.asarray(rows.column("slot")) // SLOTS_PER_BLOCK
    found: Digests = {}
    for block in np.unique(blocks).tolist():
        inside = blocks == block
        sums = (int(np.sum(half[inside], dtype=np.uint64)) for half in (high, low))
        found[block] = Digest(int(inside.sum()), *sums)
    return found


def added(one: Digests, other: Digests) -> Digests:
    """The digests of the rows of both."""
    nothing = Digest(0, 0, 0)
    return {block: _sum(one.get(block, nothing), other.get(block, nothing)) for block in {**one, **other}}


def _sum(one: Digest, other: Digest) -> Digest:
    return Digest(one.rows + other.rows, (one.high + other.high) % _MODULUS, (one.low + other.low) % _MODULUS)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the kernel reads, a value a column in each: all of one type, with nothing where it does not apply."""

    kinds: Ints
    valid: tuple[npt.NDArray[np.bool_], ...]
    numbers: tuple[Ints, ...]
    offsets: tuple[npt.NDArray[np.int32], ...]
    texts: tuple[Bytes, ...]

    @classmethod
    def of(cls, columns: list[pa.Array]) -> _Columns:
        """The columns' own memory where that is possible."""
        return cls(
            np.array([_kind(c.type) for c in columns]),
            tuple(_frozen(np.asarray(c.is_valid()), np.bool_) for c in columns),
            tuple(_frozen(_numbers(c), np.int64) for c in columns),
            tuple(_frozen(_offsets(c), np.int32) for c in columns),
            tuple(_frozen(_octets(c), np.uint8) for c in columns),
        )


def _kind(kind: pa.DataType) -> int:
    if pa.types.is_string(kind):
        return _TEXT
    return _UNSIGNED if pa.types.is_unsigned_integer(kind) else _SIGNED


def _numbers(column: pa.Array) -> npt.NDArray[Any]:
    """Integers as they are, floats as their bits, times as their microseconds."""
    if pa.types.is_string(column.type):
        return np.zeros(0, np.int64)
    width = np.int32 if column.type.bit_width == 32 else np.int64
    return np.frombuffer(column.buffers()[1], width)[column.offset : column.offset + len(column)]


def _offsets(column: pa.Array) -> npt.NDArray[Any]:
    if not pa.types.is_string(column.type):
        return np.zeros(0, np.int32)
    return np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]


def _octets(column: pa.Array) -> npt.NDArray[Any]:
    buffer = column.buffers()[2] if pa.types.is_string(column.type) else None
    return np.frombuffer(buffer, np.uint8) if buffer else np.zeros(0, np.uint8)


def _frozen(values: npt.NDArray[Any], kind: type[Any]) -> npt.NDArray[Any]:
    """Of one type for the compiler, for which arrays that can be written are another one."""
    same = values.astype(kind, copy=False).view()
    same.flags.writeable = False
    return same


def _one_array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


@kernel
def _hash_rows(
    kinds: Ints,
    valid: tuple[npt.NDArray[np.bool_], ...],
    numbers: tuple[Ints, ...],
    offsets: tuple[npt.NDArray[np.int32], ...],
    texts: tuple[Bytes, ...],
) -> tuple[Halves, Halves]:
    rows = len(valid[0])
    high, low = np.empty(rows, np.uint64), np.empty(rows, np.uint64)
    line = np.empty(_FIRST_LINE_BYTES, np.uint8)
    for row in range(rows):
        needed = len(kinds) * _ROOM_PER_VALUE + PADDING_BYTES
        for column in range(len(kinds)):
            if kinds[column] == _TEXT:
                needed += offsets[column][row + 1] - offsets[column][row]
        if needed > len(line):
            line = np.empty(2 * _whole_words(needed), np.uint8)
        end = 0
        for column in range(len(kinds)):
            if column > 0:
                line[end] = ord(",")
                end += 1
            if not valid[column][row]:
                line[end] = ord("-")
                end += 1
            elif kinds[column] == _TEXT:
                begin = offsets[column][row]
                size = offsets[column][row + 1] - begin
                end = _write_digits(line, end, np.uint64(size))
                line[end] = ord(":")
                move(line, end + 1, texts[column], begin, size)
                end += 1 + size
            else:
                end = _write_number(line, end, numbers[column][row], kinds[column] == _UNSIGNED)
        high[row], low[row] = md5(line, line.view(np.uint32), end)
    return high, low


@kernel
def _whole_words(size: int) -> int:
    return (size + 3) // 4 * 4


@kernel
def _write_number(line: Bytes, end: int, value: int, unsigned: bool) -> int:
    if unsigned or value >= 0:
        return _write_digits(line, end, np.uint64(value))
    line[end] = ord("-")
    return _write_digits(line, end + 1, np.uint64(0) - np.uint64(value))


@kernel
def _write_digits(line: Bytes, end: int, value: np.uint64) -> int:
    """Writes the decimal digits at `end` and returns where they end."""
    digits = 1
    rest = value // np.uint64(10)
    while rest > 0:
        digits += 1
        rest //= np.uint64(10)
    for place in range(end + digits - 1, end - 1, -1):
        line[place] = np.uint8(ord("0")) + np.uint8(value % np.uint64(10))
        value //= np.uint64(10)
    return end + digits
