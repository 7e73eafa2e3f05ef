"""Arrow columns as NumPy arrays of one known type, and addresses as integer codes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.grouped import Flags, Floats, Ints


def ints(table: pa.Table, name: str, null: int = 0) -> Ints:
    """A column as int64, NULL as `null`. Exact; a value that does not fit raises pyarrow's ArrowInvalid."""
    return np.asarray(pc.fill_null(pc.cast(table[name], pa.int64()), null).to_numpy(), dtype=np.int64)


def floats(table: pa.Table, name: str) -> Floats:
    """A column (integers and decimals of any size too) as the nearest float64, NULL as NaN."""
    return np.asarray(pc.cast(table[name], pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def flags(column: pa.ChunkedArray) -> Flags:
    """A boolean column, NULL as false."""
    return np.asarray(pc.fill_null(column, False).to_numpy(), dtype=np.bool_)


def places(column: pa.ChunkedArray, names: pa.Array) -> Ints:
    """The place of each value in `names`, -1 where it is not among them."""
    return np.asarray(pc.fill_null(pc.index_in(column, names), -1).to_numpy(), dtype=np.int64)
