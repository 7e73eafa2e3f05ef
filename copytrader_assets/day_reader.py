"""Reads of a day what concerns the tracked wallets, and nothing else.

Only the columns that are used and the rows around the wallets' trades leave here; strangers' addresses and signatures
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
import pyarrow.compute as pc

from copytrader_assets.analysis.day_facts import TRIP_COLUMNS
from copytrader_assets.analysis.price_path import EVENT_COLUMNS
from copytrader_assets.analysis.slot_clock import DEFAULT_SLOT_MS, measured_slot_ms
from copytrader_assets.analysis.stretches import Watch
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES

_MEMORY: Final = "2GB"

_TEXTS: Final = ("wallet", "mint", "quote_mint", "action")
_OWN = "SELECT mint, slot FROM read_parquet($file) WHERE wallet IN (FROM wallets) AND action IN ('BUY', 'SELL')"
_EVENTS: Final = pa.schema([EVENTS.arrow.field(name).with_nullable(True) for name in EVENT_COLUMNS])
_ROWS_OF = "SELECT {columns} FROM read_parquet($file) WHERE wallet IN (FROM wallets)"
_CLOCK = "SELECT min(slot), max(slot), min(ts_ns), max(ts_ns) FROM read_parquet($file)"


@dataclass(frozen=True, slots=True)
class DayReader:
    """The lake as the tracked wallets see it. Use `open`."""

    lake: Lake
    _wallets: pa.Array
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
            ours = pa.array(sorted(wallets), pa.string())
            engine.register("wallets", pa.table({"wallet": ours}))
            yield cls(lake, ours, engine)

    def trips(self, day: dt.date) -> pa.Table:
        """TRIP_COLUMNS of the wallets' rows of `trades`."""
        return self._rows(TRADES.name, day, ", ".join(TRIP_COLUMNS))

    def held(self, day: dt.date) -> pa.Table:
        """The wallets' rows of `open_positions`."""
        return self._rows(OPEN_POSITIONS.name, day)

    def own(self, day: dt.date) -> pa.Table:
        """Coin and slot of what the wallets bought and sold."""
        return self._engine.sql(_OWN, params={"file": self._file(EVENTS.name, day)}).to_arrow_table()

    def events(self, day: dt.date, stretches: pa.Table) -> pa.Table:
        """EVENT_COLUMNS of the BUYs and SELLs in `stretches` (STRETCHES), and back to the price that stood before each.

        `wallet` and `sig` are NULL for wallets that are not ours.
        """
        watch = Watch(stretches)
        parts = self.lake.read_parts(EVENTS.name, day, EVENT_COLUMNS, _TEXTS, row_groups=1)
        picked = pa.concat_tables([_EVENTS.empty_table(), *(watch.picked(part).cast(_EVENTS) for part in parts)])
        return _of_ours(watch.picked(picked), self._wallets)

    def slot_ms(self, day: dt.date) -> float:
        """Time passed / slots passed over the day; 400 where it does not tell."""
        (row,) = self._engine.sql(_CLOCK, params={"file": self._file(EVENTS.name, day)}).fetchall()
        first, last, start, end = row
        measured = None if first is None else measured_slot_ms(last - first, end - start)
        return DEFAULT_SLOT_MS if measured is None else measured

    def _rows(self, asset: str, day: dt.date, columns: str = "*") -> pa.Table:
        return self._engine.sql(
            _ROWS_OF.format(columns=columns), params={"file": self._file(asset, day)}
        ).to_arrow_table()

    def _file(self, asset: str, day: dt.date) -> str:
        return str(self.lake.file(asset, day))


def _of_ours(events: pa.Table, wallets: pa.Array) -> pa.Table:
    """`events` without the addresses of strangers, and without their signatures but where only those give an order."""
    ours = pc.is_in(events["wallet"], wallets)
    shown = {"wallet": ours, "sig": pc.or_(ours, pc.is_null(events["tx_index"]))}
    for name, rows in shown.items():
        hidden = pc.if_else(rows, events[name], pa.scalar(None, pa.string()))
        events = events.set_column(events.schema.get_field_index(name), name, hidden)
    return events
