"""Binary COPY of raw_events to Arrow columns in chain order. Not here: where the bytes come from, the rows' rules.

Formats: https://www.postgresql.org/docs/current/sql-copy.html (binary format) and each type's *_send in the server's
source (numeric_send: groups of four decimal digits; jsonb_send: a version byte, then text; timestamps: microseconds
since 2000). Rows are put in order on their way into the columns, so that Postgres need not sort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from copytrader_assets.bulk.octets import Bytes, big16, big32, big64, move
from copytrader_assets.bulk.wire import Wire
from copytrader_core.compiled import kernel
from copytrader_core.errors import DataError

Ints = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.int8]

_INT4, _INT8, _NUMERIC, _TIME, _TEXT, _JSONB = range(6)
_SIGNATURE_BYTES: Final = 11
_POSTGRES_EPOCH_MICROS: Final = 946_684_800_000_000
_LARGEST_TEXT: Final = 2**31 - 1
_BAD_FRAME: Final = -1
_NUMERIC_NEGATIVE: Final = 0x4000


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of the COPY in order, with their Arrow types; `chain_order` names those that rows are ordered by.

    These must be slot, tx_index, sig, outer_ix, inner_ix, event_seq, whatever the names: two integers, a text, three
    integers.
    """

    schema: pa.Schema
    json: frozenset[str]
    chain_order: Sequence[str]

    @property
    def kinds(self) -> Kinds:
        """How each column is decoded."""
        return np.array([self._kind(field) for field in self.schema], np.int8)

    @property
    def key(self) -> Ints:
        """The places of the columns that rows are ordered by."""
        return np.array([self.schema.get_field_index(name) for name in self.chain_order], np.int64)

    def _kind(self, field: pa.Field) -> int:
        if pa.types.is_string(field.type):
            return _JSONB if field.name in self.json else _TEXT
        if pa.types.is_timestamp(field.type):
            return _TIME
        if pa.types.is_uint64(field.type):
            return _NUMERIC
        return _INT4 if field.type.bit_width == 32 else _INT8


def table(wire: Wire, layout: Layout) -> pa.Table:
    """The rows of `wire` in chain order. Raises DataError where a value does not fit its column."""
    kinds, width = layout.kinds, len(layout.schema)
    cells = np.empty((wire.messages, width), np.int64)
    sizes = np.zeros(width, np.int64)
    rows = int(_find_cells(wire.content, wire.end, kinds, cells, sizes))
    if rows == _BAD_FRAME:
        raise DataError(f"Postgres sent rows that do not have the {width} columns asked for")
    if sizes.max(initial=0) > _LARGEST_TEXT:
        raise DataError(f"{rows} rows of neighbouring slots hold more text than an Arrow column takes (2 GiB)")
    order = _chain_order(wire.content, cells[:rows], layout.key)
    columns = _Columns.empty(rows, width, sizes)
    misfit = _fill(
        wire.content,
        cells,
        order,
        kinds,
        columns.numbers,
        columns.offsets,
        columns.texts,
        columns.starts,
        columns.valid,
    )
    if misfit >= 0:
        raise _misfit(layout, columns, *divmod(int(misfit), width))
    return pa.table([columns.array(place, field.type) for place, field in enumerate(layout.schema)], layout.schema)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Room for decoded columns: numbers of all kinds as 64 bits, texts behind one another, a bit a value for NULL."""

    numbers: Ints
    offsets: npt.NDArray[np.int32]
    texts: Bytes
    starts: Ints
    valid: Bytes

    @classmethod
    def empty(cls, rows: int, width: int, sizes: Ints) -> _Columns:
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        return cls(
            np.zeros((width, rows), np.int64),
            np.zeros((width, rows + 1), np.int32),
            np.empty(starts[-1], np.uint8),
            starts,
            np.zeros((width, (rows + 7) // 8), np.uint8),
        )

    def array(self, place: int, kind: pa.DataType) -> pa.Array:
        """One column, sharing memory with this."""
        rows = self.numbers.shape[1]
        valid = pa.py_buffer(self.valid[place])
        if pa.types.is_string(kind):
            text = pa.py_buffer(self.texts[self.starts[place] : self.starts[place + 1]])
            return pa.StringArray.from_buffers(rows, pa.py_buffer(self.offsets[place]), text, valid)
        numbers = self.numbers[place].astype(np.int32) if kind.bit_width == 32 else self.numbers[place]
        return pa.Array.from_buffers(kind, rows, [valid, pa.py_buffer(numbers)])


def _misfit(layout: Layout, columns: _Columns, row: int, place: int) -> DataError:
    """All key columns stand before any that can misfit, so that the row can be named."""
    key = [columns.array(k, layout.schema.field(int(k)).type)[row].as_py() for k in layout.key[2:]]
    field = layout.schema.field(place)
    what = "a time" if pa.types.is_timestamp(field.type) else "an integer from 0 to 18446744073709551615"
    return DataError(f"{field.name} of {'/'.join(map(str, key))} is not {what}")


@kernel
def _header(wire: Bytes, place: int) -> int:
    """The size of the file header at `place`, 0 if there is none; a row begins with its number of columns instead."""
    if wire[place] != ord("P") or wire[place + 1] != ord("G"):
        return 0
    return _SIGNATURE_BYTES + 8 + big32(wire, place + _SIGNATURE_BYTES + 4)


@kernel
def _find_cells(wire: Bytes, end: int, kinds: Kinds, cells: Ints, sizes: Ints) -> int:
    """Where each value begins, its four bytes of length included; adds up the texts' sizes. Returns how many rows."""
    width = len(kinds)
    place = row = 0
    while place < end:
        after = place + 1 + big32(wire, place + 1)
        at = place + 5
        at += _header(wire, at)
        fields = big16(wire, at)
        if fields == 0xFFFF:
            break
        if fields != width:
            return _BAD_FRAME
        at += 2
        for column in range(width):
            cells[row, column] = at
            size = big32(wire, at)
            at += 4
            if size > 0:
                at += size
                if kinds[column] == _TEXT:
                    sizes[column] += size
                elif kinds[column] == _JSONB:
                    sizes[column] += size - 1
        if at != after:
            return _BAD_FRAME
        row += 1
        place = after
    return row


@kernel
def _chain_order(wire: Bytes, cells: Ints, key: Ints) -> Ints:
    """The rows' numbers in chain order; where tx_index is not known, before those where it is, in byte order of sig."""
    rows = len(cells)
    numbers = np.empty((rows, 5), np.int64)
    for row in range(rows):
        numbers[row, 0] = big64(wire, cells[row, key[0]] + 4)
        known = big32(wire, cells[row, key[1]]) == 4
        numbers[row, 1] = big32(wire, cells[row, key[1]] + 4) if known else np.int64(-1) << 40
        for part in range(2, 5):
            numbers[row, part] = big32(wire, cells[row, key[part + 1]] + 4)
    signatures = cells[:, key[2]]
    return _merge_sorted(wire, numbers, signatures)


@kernel
def _merge_sorted(wire: Bytes, numbers: Ints, signatures: Ints) -> Ints:
    """Bottom-up merge sort that leaves runs which are in order as they are: a day mostly lies in order."""
    rows = len(numbers)
    order, other = np.arange(rows), np.empty(rows, np.int64)
    width = 1
    while width < rows:
        for left in range(0, rows, 2 * width):
            middle, right = min(left + width, rows), min(left + 2 * width, rows)
            if middle == right or not _before(wire, numbers, signatures, order[middle], order[middle - 1]):
                other[left:right] = order[left:right]
                continue
            a, b = left, middle
            for place in range(left, right):
                takes_b = a == middle or (b < right and _before(wire, numbers, signatures, order[b], order[a]))
                other[place] = order[b] if takes_b else order[a]
                b, a = (b + 1, a) if takes_b else (b, a + 1)
        order, other = other, order
        width *= 2
    return order


@kernel
def _before(wire: Bytes, numbers: Ints, signatures: Ints, one: int, two: int) -> bool:
    for part in range(2):
        if numbers[one, part] != numbers[two, part]:
            return bool(numbers[one, part] < numbers[two, part])
    by_text = _compare(wire, signatures[one], signatures[two])
    if by_text != 0:
        return bool(by_text < 0)
    for part in range(2, 5):
        if numbers[one, part] != numbers[two, part]:
            return bool(numbers[one, part] < numbers[two, part])
    return False


@kernel
def _compare(wire: Bytes, one: int, two: int) -> int:
    """Byte order of two texts: below 0, 0 or above."""
    size_one, size_two = big32(wire, one), big32(wire, two)
    for at in range(4, 4 + min(size_one, size_two)):
        if wire[one + at] != wire[two + at]:
            return int(np.int64(wire[one + at]) - np.int64(wire[two + at]))
    return size_one - size_two


@kernel
def _fill(
    wire: Bytes,
    cells: Ints,
    order: Ints,
    kinds: Kinds,
    numbers: Ints,
    offsets: npt.NDArray[np.int32],
    texts: Bytes,
    starts: Ints,
    valid: Bytes,
) -> int:
    """Writes every value into its column. Returns row * width + column of the first that does not fit, or -1."""
    width = len(kinds)
    ends = np.zeros(width, np.int64)
    for row in range(len(order)):
        for column in range(width):
            at = cells[order[row], column]
            size = big32(wire, at)
            at += 4
            kind = kinds[column]
            if size >= 0:
                valid[column, row >> 3] |= np.uint8(1 << (row & 7))
                if kind >= _TEXT:
                    skip = 1 if kind == _JSONB else 0
                    target = starts[column] + ends[column]
                    move(texts, target, wire, at + skip, size - skip)
                    ends[column] += size - skip
                elif not _store(wire, at, size, kind, numbers, column, row):
                    return row * width + column
            if kind >= _TEXT:
                offsets[column, row + 1] = ends[column]
    return -1


@kernel
def _store(wire: Bytes, at: int, size: int, kind: int, numbers: Ints, column: int, row: int) -> bool:
    """Writes a number; False if it does not fit."""
    if kind == _NUMERIC:
        value, fits = _numeric(wire, at)
        numbers[column, row] = np.int64(value)
        return fits
    if size == 4:
        numbers[column, row] = big32(wire, at)
        return kind == _INT4
    bits = big64(wire, at)
    if kind == _TIME:
        # Postgres writes +-infinity as the ends of the range.
        if bits == np.int64(-(2**63)) or bits > np.int64(2**63 - 1) - _POSTGRES_EPOCH_MICROS:
            return False
        bits += _POSTGRES_EPOCH_MICROS
    numbers[column, row] = bits
    return size == 8 and kind != _INT4


@kernel
def _numeric(wire: Bytes, at: int) -> tuple[np.uint64, bool]:
    """A NUMERIC as u64, and whether it is one: groups of four digits, the first worth 10000 ** weight."""
    groups, weight, sign = big16(wire, at), big16(wire, at + 2), big16(wire, at + 4)
    value = np.uint64(0)
    if sign != 0 and not (sign == _NUMERIC_NEGATIVE and groups == 0):
        return value, False
    if groups == 0:
        return value, True
    if weight > 4 or groups > weight + 1:
        return value, False
    largest = np.uint64(2**64 - 1)
    for group in range(weight + 1):
        digit = np.uint64(big16(wire, at + 8 + 2 * group)) if group < groups else np.uint64(0)
        if value > (largest - digit) // np.uint64(10_000):
            return value, False
        value = value * np.uint64(10_000) + digit
    return value, True
