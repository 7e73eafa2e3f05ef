"""Exact integers of 128 bits (`copytrader_core.wide`) as Arrow columns, and back, without a copy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from copytrader_core.wide import Words


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
