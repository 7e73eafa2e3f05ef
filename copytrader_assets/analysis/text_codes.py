"""Texts that come in parts as codes of one dictionary, which grows with them. Not here: what the texts name.

Arrow encodes a column at a time: parts then have dictionaries of their own, and bringing those together looks up every
text of each once more. Here a row is looked up once, whatever comes after.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_assets.analysis.moves import text_buffers
from copytrader_assets.analysis.plain import values_of
from copytrader_core.compiled import uncounted

Codes = NDArray[np.int32]
Offsets = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Slots = NDArray[np.uint64]
Number = TypeVar("Number", bound=np.generic)
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_FREE = np.uint64(0)
_ONE = np.uint64(1)
_SMALLEST = 1 << 12


class TextCodes:
    """The dictionary. Codes count from 0 in the order in which the texts first came."""

    def __init__(self) -> None:
        self._count = 0
        self._offsets: Offsets = np.zeros(_SMALLEST + 1, np.int64)
        self._content: Bytes = np.zeros(_SMALLEST, np.uint8)
        # The hash above, the code plus one below; 0 is free.
        self._slots: Slots = np.zeros(2 * _SMALLEST, np.uint64)

    def __len__(self) -> int:
        return self._count

    def of(self, texts: pa.Array) -> Codes:
        """The codes of texts without NULLs."""
        if pa.types.is_dictionary(texts.type):
            return np.asarray(self.of(texts.dictionary)[values_of(texts.indices)])
        return self._coded(texts, np.zeros(0, np.bool_))

    def codes(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """The code of each text as int32, NULL for NULL. A dictionary gives codes to all of its texts, used or not."""
        return pa.chunked_array([self._of(chunk) for chunk in column.chunks], pa.int32())

    def names(self, first: int = 0) -> pa.Array:
        """The texts by code, from the code `first` on."""
        offsets = self._offsets[first : self._count + 1]
        content = self._content[offsets[0] : offsets[-1]].copy()
        moved = (offsets - offsets[0]).astype(np.int32)
        return pa.StringArray.from_buffers(self._count - first, pa.py_buffer(moved), pa.py_buffer(content))

    def _of(self, texts: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(texts.type):
            return self._of(texts.dictionary).take(texts.indices)
        missing = texts.is_null().to_numpy(zero_copy_only=False) if texts.null_count else np.zeros(0, np.bool_)
        return pa.array(self._coded(texts, missing), mask=missing if len(missing) else None)

    def _coded(self, texts: pa.Array, missing: NDArray[np.bool_]) -> Codes:
        offsets, content = text_buffers(texts)
        self._make_room(len(texts), int(offsets[-1] - offsets[0]))
        result = np.zeros(len(texts), np.int32)
        self._count = int(
            _look_up(offsets, content, missing, self._offsets, self._content, self._slots, self._count, result)
        )
        return result

    def _make_room(self, texts: int, size: int) -> None:
        """For the case that all of them are new. Half of the slots stay free, so that looking up ends soon."""
        used = int(self._offsets[self._count])
        self._content = _grown(self._content, used + size)
        self._offsets = _grown(self._offsets, self._count + texts + 1)
        if 2 * (self._count + texts) > len(self._slots):
            old, self._slots = self._slots, np.zeros(1 << (2 * (self._count + texts) - 1).bit_length(), np.uint64)
            _moved(old, self._slots)


def _grown(array: NDArray[Number], least: int) -> NDArray[Number]:
    """`array` itself or, if it is too small, the beginning of one of at least twice its size."""
    if least <= len(array):
        return array
    larger = np.zeros(max(least, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@uncounted
def _moved(old: Slots, slots: Slots) -> None:
    """Puts what stands in `old` into the larger `slots`."""
    mask = np.uint64(len(slots) - 1)
    for entry in old:
        if entry != _FREE:
            slot = (entry >> _32) & mask
            while slots[slot] != _FREE:
                slot = (slot + _ONE) & mask
            slots[slot] = entry


@uncounted
def _look_up(
    offsets: Offsets,
    content: Bytes,
    missing: NDArray[np.bool_],
    kept_offsets: Offsets,
    kept_content: Bytes,
    slots: Slots,
    count: int,
    result: Codes,
) -> int:
    """Fills `result` with the codes; new texts get the next ones. Returns how many there are now."""
    mask = np.uint64(len(slots) - 1)
    for row in range(len(result)):
        if len(missing) and missing[row]:
            continue
        start, end = offsets[row], offsets[row + 1]
        found = _hash(content, start, end)
        slot = found & mask
        while slots[slot] != _FREE:
            code = int(slots[slot] & _LOW) - 1
            if slots[slot] >> _32 == found and _is_same(content, start, end, kept_content, kept_offsets, code):
                break
            slot = (slot + _ONE) & mask
        if slots[slot] == _FREE:
            at = kept_offsets[count]
            for place in range(end - start):
                kept_content[at + place] = content[start + place]
            kept_offsets[count + 1] = at + end - start
            count += 1
            slots[slot] = (found << _32) | np.uint64(count)
        result[row] = np.int64(slots[slot] & _LOW) - 1
    return count


@uncounted
def _hash(content: Bytes, start: int, end: int) -> np.uint64:
    """32 bits of the first and the last eight bytes and the length: addresses are random, equal hashes are compared."""
    value = np.uint64(end - start)
    if end - start >= 8:
        value = (value ^ _word(content, start)) * _PRIME
        value = (value ^ (value >> _32) ^ _word(content, end - 8)) * _PRIME
    else:
        for place in range(start, end):
            value = (value ^ np.uint64(content[place])) * _PRIME
    value ^= value >> _32
    return value & _LOW


@uncounted
def _word(content: Bytes, at: int) -> np.uint64:
    """Eight bytes as a number: one load, for the compiler sees that unsigned places cannot count from the end."""
    first, value = np.uint64(at), _FREE
    for place in range(8):
        value |= np.uint64(content[first + np.uint64(place)]) << np.uint64(8 * place)
    return value


@uncounted
def _is_same(content: Bytes, start: int, end: int, kept: Bytes, offsets: Offsets, code: int) -> bool:
    first, length = offsets[code], end - start
    if offsets[code + 1] - first != length:
        return False
    if length < 8:
        for place in range(length):  # noqa: SIM110 - generators do not compile
            if content[start + place] != kept[first + place]:
                return False
        return True
    for place in range(0, length - 8, 8):
        if _word(content, start + place) != _word(kept, first + place):
            return False
    return bool(_word(content, end - 8) == _word(kept, first + length - 8))
