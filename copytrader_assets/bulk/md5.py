"""MD5 in a compiled kernel, for many short texts that never become Python objects. Not here: what is hashed.

RFC 1321. It tells equal rows from different ones here; nothing depends on its strength against forgers.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from copytrader_core.compiled import kernel

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

BLOCK_BYTES: Final = 64
# A text of n bytes needs n + 9 bytes, rounded up to whole blocks.
PADDING_BYTES: Final = BLOCK_BYTES + 9
_SINES: Final = np.array([int(abs(math.sin(step + 1)) * 2**32) for step in range(64)], np.uint32)
_TURNS: Final = np.array([7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21], np.uint32)


@kernel
def md5(text: Bytes, words: Words, size: int) -> tuple[np.uint64, np.uint64]:
    """The digest of `text[:size]` as two big-endian halves. `words` is the same memory; behind the text it is used."""
    blocks = _pad(text, size)
    a, b = np.uint32(0x67452301), np.uint32(0xEFCDAB89)
    c, d = np.uint32(0x98BADCFE), np.uint32(0x10325476)
    for block in range(blocks):
        was_a, was_b, was_c, was_d = a, b, c, d
        first = np.uint64(block * 16)
        for step in range(16):
            a, b, c, d = d, _turn(a, b, d ^ (b & (c ^ d)), words[first + np.uint64(step)], step, 0), b, c
        for step in range(16):
            place = first + np.uint64((5 * step + 1) & 15)
            a, b, c, d = d, _turn(a, b, c ^ (d & (b ^ c)), words[place], step, 1), b, c
        for step in range(16):
            place = first + np.uint64((3 * step + 5) & 15)
            a, b, c, d = d, _turn(a, b, b ^ c ^ d, words[place], step, 2), b, c
        for step in range(16):
            place = first + np.uint64((7 * step) & 15)
            a, b, c, d = d, _turn(a, b, c ^ (b | ~d), words[place], step, 3), b, c
        a, b, c, d = np.uint32(a + was_a), np.uint32(b + was_b), np.uint32(c + was_c), np.uint32(d + was_d)
    return _half(a, b), _half(c, d)


@kernel
def _turn(a: np.uint32, b: np.uint32, mixed: np.uint32, word: np.uint32, step: int, round_: int) -> np.uint32:
    total = np.uint32(np.uint32(a + np.uint32(mixed)) + np.uint32(_SINES[round_ * 16 + step] + word))
    by = _TURNS[round_ * 4 + (step & 3)]
    return np.uint32(b + np.uint32(np.uint32(total << by) | np.uint32(total >> np.uint32(np.uint32(32) - by))))


@kernel
def _pad(text: Bytes, size: int) -> int:
    """Writes the padding and the length in bits behind the text; returns the number of blocks."""
    blocks = (size + 8) // BLOCK_BYTES + 1
    text[size] = 0x80
    text[size + 1 : blocks * BLOCK_BYTES] = 0
    bits = size * 8
    for place in range(8):
        text[blocks * BLOCK_BYTES - 8 + place] = (bits >> (8 * place)) & 0xFF
    return blocks


@kernel
def _half(first: np.uint32, second: np.uint32) -> np.uint64:
    return np.uint64(_swapped(first)) << np.uint64(32) | np.uint64(_swapped(second))


@kernel
def _swapped(word: np.uint32) -> np.uint32:
    value = np.uint64(word)
    swapped = np.uint64(0)
    for place in range(4):
        swapped = swapped << np.uint64(8) | ((value >> np.uint64(8 * place)) & np.uint64(0xFF))
    return np.uint32(swapped)
