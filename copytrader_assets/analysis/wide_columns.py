"""Exact integers of 128 bits (`copytrader_core.wide`) as Arrow columns, and back, without a copy. Room for arrays."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_core.wide import Words

Number = TypeVar("Number", bound=np.generic)


def unwritten(kind: type[Number], *shape: int) -> NDArray[Number]:
    """An array to be written to, of anything: memory of Arrow's pool, which need not be taken anew nor cleared."""
    size = math.prod(shape)
    buffer = pa.allocate_buffer(max(size, 1) * np.dtype(kind).itemsize)
    return np.frombuffer(buffer, kind, size).reshape(shape)


def wide_array(words: Words, kind: pa.DataType) -> pa.Array:
    """An (n, 2) array as a decimal128 column of scale 0, without NULLs."""
    return pa.Array.from_buffers(kind, len(words), [None, pa.py_buffer(np.ascontiguousarray(words))])


def wide_words(column: pa.ChunkedArray | pa.Array) -> Words:
    """A decimal128 column without NULLs as its (n, 2) words."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if not len(array):
        return np.zeros((0, 2), np.uint64)
    words = np.frombuffer(array.buffers()[1], np.uint64).reshape(-1, 2)
    return words[array.offset : array.offset + len(array)]
