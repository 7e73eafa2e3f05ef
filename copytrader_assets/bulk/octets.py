"""Bytes in compiled kernels: moving them and reading big-endian numbers. Not here: any format.

Indices are unsigned: a signed one could mean "from the end", which costs a test a byte and keeps LLVM from moving a
text as one piece (measured: 8 ns instead of 58 ns for 44 bytes) and from loading a number at once (0.8 ns, not 4.3 ns).
Callers check that what they ask for lies within the array.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from copytrader_core.compiled import kernel

Bytes = npt.NDArray[np.uint8]


@kernel
def move(target: Bytes, to: int, source: Bytes, begin: int, size: int) -> None:
    """Copies `size` bytes; the two must not overlap."""
    there, here = np.uint64(to), np.uint64(begin)
    for offset in range(np.uint64(size)):
        target[there + offset] = source[here + offset]


@kernel
def big16(source: Bytes, place: int) -> int:
    """Two bytes as a number from 0."""
    at = np.uint64(place)
    return int(np.int64(source[at]) << 8 | np.int64(source[at + np.uint64(1)]))


@kernel
def big32(source: Bytes, place: int) -> int:
    """Four bytes as a signed number."""
    at = np.uint64(place)
    value = np.uint32(0)
    for offset in range(4):
        value = np.uint32(value << np.uint32(8)) | np.uint32(source[at + np.uint64(offset)])
    return int(np.int32(value))


@kernel
def big64(source: Bytes, place: int) -> int:
    """Eight bytes as a signed number; of a float or an unsigned one the bits."""
    at = np.uint64(place)
    value = np.uint64(0)
    for offset in range(8):
        value = value << np.uint64(8) | np.uint64(source[at + np.uint64(offset)])
    return int(np.int64(value))
