"""A day's tape from the lake into memory: codes for coins and wallets, texts only of the rows that are asked for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_assets.analysis.plain import arrow_ints, fill, values_of
from copytrader_assets.analysis.text_codes import TextCodes
from copytrader_assets.lake import Lake
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_core.replay.day import TapeDay
from copytrader_core.replay.tape import AMOUNTS, FEES, NEXT_FEES, Tape

_CODED: Final = ("wallet", "mint")
_TEXTS: Final = ("sig", "quote_mint")
_PLAIN: Final = ("slot", "tx_index", "venue", "kind", "is_buy", *AMOUNTS, "ts_ns")
_NUMBERS: Final = (*_PLAIN, *FEES, *NEXT_FEES)
Part: TypeAlias = tuple[str, int, pa.ChunkedArray]
"""The name of a column, the row at which the part begins, its values."""


class TapeColumns:
    """The columns of `n` rows of TAPE (all but texts are needed) as they come; no more than a part is there twice."""

    def __init__(self, n: int) -> None:
        kinds = {name: TAPE.arrow.field(name).type.to_pandas_dtype() for name in (*_PLAIN, "tx")}
        self.arrays = {name: np.zeros(n, kind) for name, kind in kinds.items()}
        self.arrays |= {name: np.zeros(n, np.int32) for name in _CODED}
        self._fees = {name: np.zeros((n, 3), np.int16) for name in ("fees", "next_fees")}
        for names, fees in zip((FEES, NEXT_FEES), self._fees.values(), strict=True):
            self.arrays |= dict(zip(names, fees.T, strict=True))
        self._texts = {name: TextCodes() for name in _CODED}

    def take(self, parts: Iterable[Part]) -> None:
        """Keeps the parts of some columns."""
        for name, first, values in parts:
            here = self.arrays[name][first : first + len(values)]
            if name in _CODED:
                _code(values, self._texts[name], here)
            else:
                fill(values, here)

    def texts(self, name: str) -> list[str]:
        """What the codes of "wallet" or "mint" stand for."""
        texts: list[str] = self._texts[name].names().to_pylist()
        return texts

    def tape(self) -> tuple[Tape, NDArray[np.int64]]:
        """The tape, and the block times of its rows."""
        columns = self.arrays | self._fees
        return Tape.of(columns, self.texts("mint"), self.texts("wallet")), columns["ts_ns"]


def read_tape(lake: Lake, day: dt.date, wallets: Iterable[str]) -> TapeDay:
    """The tape of a day, with the texts of all transactions in which `wallets` trade. Raises StoreError without one."""
    columns = TapeColumns(lake.snapshot(TAPE.name, day).rows)
    columns.take(lake.read_columns(TAPE.name, day, (*_CODED, "tx"), _CODED))
    # Texts take the most while they are read: that comes before the numbers fill their room.
    texts = _texts(lake, day, _told(columns, set(wallets)))
    columns.take(lake.read_columns(TAPE.name, day, _NUMBERS))
    tape, ts_ns = columns.tape()
    slots = np.zeros((2, lake.snapshot(TAPE_SLOTS.name, day).rows), np.int64)
    for name, first, values in lake.read_columns(TAPE_SLOTS.name, day, ("slot", "seconds")):
        fill(values, slots[int(name == "seconds"), first : first + len(values)])
    return TapeDay(tape, slots[0], slots[1], ts_ns, texts)


def _told(columns: TapeColumns, wallets: Collection[str]) -> NDArray[np.int64]:
    """The rows of all transactions in which `wallets` trade."""
    wallet, tx = columns.arrays["wallet"], columns.arrays["tx"]
    mine = np.array([one in wallets for one in columns.texts("wallet")], np.bool_)
    marked = np.flatnonzero(mine[wallet]) if len(wallet) else np.zeros(0, np.int64)
    return np.flatnonzero(np.isin(tx, np.unique(tx[marked])))


def _code(column: pa.ChunkedArray, known: TextCodes, codes: NDArray[np.int32]) -> None:
    """Writes the codes of a part's texts."""
    first = 0
    for chunk in column.chunks:
        here = codes[first : first + len(chunk)]
        if pa.types.is_dictionary(chunk.type):
            here[:] = known.of(chunk.dictionary)[values_of(chunk.indices)]
        else:
            here[:] = known.of(chunk)
        first += len(chunk)


def _texts(lake: Lake, day: dt.date, rows: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
    """(signature, quote mint) by row."""
    found: dict[str, list[str | None]] = {name: [] for name in _TEXTS}
    if not len(rows):
        return {}
    for name, first, values in lake.read_columns(TAPE.name, day, _TEXTS, ("quote_mint",)):
        here = rows[(rows >= first) & (rows < first + len(values))]
        found[name] += values.take(arrow_ints(here - first)).to_pylist()
    return {row: (sig or "", quote or "") for row, sig, quote in zip(rows.tolist(), *found.values(), strict=True)}
