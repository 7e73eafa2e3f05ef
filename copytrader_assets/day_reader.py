"""Reads of a day what concerns the tracked wallets, and nothing else: DuckDB over the lake's files.

Only the columns that are used and the rows of the wallets' coins leave the files; strangers' addresses and signatures
do not. Not here: what the rows mean (analysis), and which days are needed (partials.py).
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from copytrader_assets.analysis.price_path import EVENT_COLUMNS
from copytrader_assets.analysis.slot_clock import DEFAULT_SLOT_MS, measured_slot_ms
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES

_MEMORY: Final = "2GB"

_NAMED = {name: f"CASE WHEN wallet IN (FROM wallets) THEN {name} END AS {name}" for name in ("wallet", "sig")}
_COLUMNS = ", ".join(_NAMED.get(name, name) for name in EVENT_COLUMNS)
# A transaction whose place is unknown is ordered by its signature, which must then be there for strangers too.
_COLUMNS = _COLUMNS.replace("THEN sig", "OR tx_index IS NULL THEN sig")
_TOUCHED = "SELECT DISTINCT mint FROM read_parquet($file) WHERE wallet IN (FROM wallets) AND action IN ('BUY', 'SELL')"
_EVENTS_OF = f"SELECT {_COLUMNS} FROM read_parquet($file) WHERE action IN ('BUY', 'SELL') AND mint IN (FROM coins)"  # noqa: S608 - constants
_ROWS_OF = "SELECT * FROM read_parquet($file) WHERE wallet IN (FROM wallets)"
_CLOCK = "SELECT min(slot), max(slot), min(ts_ns), max(ts_ns) FROM read_parquet($file)"


@dataclass(frozen=True, slots=True)
class DayReader:
    """The lake as the tracked wallets see it. Use `open`."""

    lake: Lake
    _engine: duckdb.DuckDBPyConnection = field(repr=False)

    @classmethod
    @contextmanager
    def open(cls, lake: Lake, wallets: Mapping[str, str | None]) -> Iterator[DayReader]:
        """A reader for `wallets`; it spills to disk rather than take more than 2 GB."""
        with (
            tempfile.TemporaryDirectory(prefix="copytrader-duckdb-") as spill,
            duckdb.connect(":memory:", config={"memory_limit": _MEMORY, "temp_directory": spill}) as engine,
        ):
            for root in lake.roots:
                if not isinstance(root, Path):
                    engine.register_filesystem(root.fs)
            engine.register("wallets", pa.table({"wallet": pa.array(sorted(wallets), pa.string())}))
            yield cls(lake, engine)

    def trips(self, day: dt.date) -> pa.Table:
        """The wallets' rows of `trades`."""
        return self._rows(TRADES.name, day).select(TRADES.names)

    def held(self, day: dt.date) -> pa.Table:
        """The wallets' rows of `open_positions`."""
        return self._rows(OPEN_POSITIONS.name, day)

    def touched(self, day: dt.date) -> pa.Array:
        """The coins that the wallets bought or sold."""
        table = self._engine.sql(_TOUCHED, params={"file": self._file(EVENTS.name, day)}).to_arrow_table()
        return table["mint"].combine_chunks()

    def events(self, day: dt.date, coins: pa.Array) -> pa.Table:
        """EVENT_COLUMNS of every BUY and SELL of `coins`; `wallet` and `sig` are NULL for wallets that are not ours."""
        self._engine.register("coins", pa.table({"mint": coins}))
        return self._engine.sql(_EVENTS_OF, params={"file": self._file(EVENTS.name, day)}).to_arrow_table()

    def slot_ms(self, day: dt.date) -> float:
        """Time passed / slots passed over the day; 400 where it does not tell."""
        (row,) = self._engine.sql(_CLOCK, params={"file": self._file(EVENTS.name, day)}).fetchall()
        first, last, start, end = row
        measured = None if first is None else measured_slot_ms(last - first, end - start)
        return DEFAULT_SLOT_MS if measured is None else measured

    def _rows(self, asset: str, day: dt.date) -> pa.Table:
        return self._engine.sql(_ROWS_OF, params={"file": self._file(asset, day)}).to_arrow_table()

    def _file(self, asset: str, day: dt.date) -> str:
        return str(self.lake.file(asset, day))
