"""What open positions would fetch: the executable sell quote of what is held, read off the rows of `open_positions`."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.columns import floats
from copytrader_assets.analysis.grouped import Floats

SELL_FEE = 0.0125
"""Swap fees of a sale on the curve and in most pools (protocol and creator share since 2025-09)."""

_WORTH = """
    SELECT row, coalesce(
        mark::DOUBLE,
        (meta_json->>'$.mark_quote_raw')::DOUBLE,
        quote * held / nullif(base + held, 0) * (1 - $fee)
    ) AS worth
    FROM (
        SELECT row, mark, meta_json,
            (meta_json->>'$.coin.reserve_base_raw')::DOUBLE AS base,
            (meta_json->>'$.coin.reserve_quote_raw')::DOUBLE AS quote,
            list_sum(from_json(meta_json->'$.lots[*].left_raw', '["DOUBLE"]')) AS held
        FROM positions
    )
"""


def open_marks(held: pa.Table) -> Floats:
    """The worth of each open position in raw quote after swap fees; NaN where the coin's reserves are not known.

    The position's own mark (`mark_quote_raw`) where it has one; else x * y = k on the coin's last reserves.
    """
    worth = np.full(held.num_rows, np.nan)
    if not held.num_rows:
        return worth
    column = "mark_quote_raw"
    mark = floats(held, column) if column in held.column_names else worth
    rows = pa.table(
        {
            "row": np.arange(held.num_rows),
            "mark": pa.array(mark, from_pandas=True, type=pa.float64()),
            "meta_json": held["meta_json"],
        }
    )
    with duckdb.connect(":memory:") as engine:
        engine.register("positions", rows)
        found = engine.sql(_WORTH, params={"fee": SELL_FEE}).to_arrow_table()
    places = found["row"].to_numpy()
    worth[places] = floats(found, "worth")
    return worth
