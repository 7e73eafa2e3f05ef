"""Arrow columns of numbers as NumPy arrays and back, by their bytes alone.

pyarrow's own `to_numpy` and `array` first import pandas, wherever it is installed: 30 MB and a third of a second that a
process without data frames has no use for. Columns with NULLs: analysis/columns.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def values_of(array: pa.Array) -> NDArray[Any]:
    """Numbers without a copy, flags as a new array; nobody may write to them. Raises ArrowTypeError (pyarrow) where
    there are NULLs.
    """
    if pa.types.is_boolean(array.type):
        return np.from_dlpack(pc.cast(array, pa.uint8())).view(np.bool_)
    return np.from_dlpack(array)


def fill(column: pa.ChunkedArray, values: NDArray[Any]) -> None:
    """Copies a column without NULLs into an array of its length."""
    first = 0
    for chunk in column.chunks:
        values[first : first + len(chunk)] = values_of(chunk)
        first += len(chunk)


def arrow_ints(values: NDArray[np.int64]) -> pa.Array:
    """Integers for Arrow, without a copy."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
