"""Base58 of 32 and 64 bytes, for addresses and signatures.

The number is cut into 32-bit words, each of them multiplied by what its place is worth in base 58^5, and the carries
are settled at the end: a few dozen multiplications instead of a division per digit and byte. The powers are computed
here, so nothing of the tables is written by hand.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from copytrader_core.compiled import inner

_BASE: Final = 58**5
ALPHABET: Final = np.frombuffer(b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", np.uint8).copy()


def powers(n_words: int, n_parts: int) -> np.ndarray:
    """What each 32-bit word is worth in parts of base 58^5, most significant first, as (n_words, n_parts) uint64."""
    table = np.zeros((n_words, n_parts), np.uint64)
    for word in range(n_words):
        value = 1 << (32 * (n_words - 1 - word))
        for part in range(n_parts - 1, -1, -1):
            value, rest = divmod(value, _BASE)
            table[word, part] = rest
    return table


ADDRESS_POWERS: Final = powers(8, 9)
SIGNATURE_POWERS: Final = powers(16, 18)


@inner
def encode(data, at, n_bytes, table, alphabet, parts, digits, out, to):
    """Writes the base58 text of `data[at : at + n_bytes]` to `out` from `to` on; the offset behind it.

    Scratch space: `parts`, as many uint64 as `table` has columns, and `digits`, five times as many bytes.
    """
    n_words, n_parts = table.shape
    base = np.uint64(_BASE)
    parts[:n_parts] = np.uint64(0)
    for word in range(n_words):
        where = at + 4 * word
        value = (
            (np.uint64(data[where]) << np.uint64(24))
            | (np.uint64(data[where + 1]) << np.uint64(16))
            | (np.uint64(data[where + 2]) << np.uint64(8))
            | np.uint64(data[where + 3])
        )
        for part in range(n_parts):
            parts[part] += value * table[word, part]
        # Eight products of 32 and 30 bits stay below 2^65; the carry is settled before more are added.
        if word & 7 == 7 or word & 7 == 3:
            for part in range(n_parts - 1, 0, -1):
                parts[part - 1] += parts[part] // base
                parts[part] %= base
    end = _digits(parts, n_parts, digits)
    zeros = np.int64(0)
    while zeros < n_bytes and data[at + zeros] == 0:
        out[to + zeros] = alphabet[0]
        zeros += 1
    to += zeros
    first = np.int64(0)
    while first < end and digits[first] == 0:
        first += 1
    for place in range(first, end):
        out[to] = alphabet[digits[place]]
        to += 1
    return to


@inner
def _digits(parts, n_parts, digits):
    """The five digits of each part, those that are 0 in front of the number too; how many there are."""
    at = np.int64(0)
    for part in range(n_parts):
        value = np.uint32(parts[part])
        for place in range(4, -1, -1):
            rest = value // np.uint32(58)
            digits[at + place] = np.uint8(value - rest * np.uint32(58))
            value = rest
        at += 5
    return at
