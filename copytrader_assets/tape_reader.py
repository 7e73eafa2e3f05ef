"""A day's tape from the lake into memory: codes for coins and wallets, texts only of the rows that are asked for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.lake import Lake
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_core.replay.day import TapeDay
from copytrader_core.replay.tape import AMOUNTS, FEES, NEXT_FEES, Tape

_CODED: Final = ("wallet", "mint")
_NUMBERS: Final = ("slot", "tx_index", "tx", "venue", "kind", "is_buy", *AMOUNTS, *FEES, *NEXT_FEES)


def read_tape(lake: Lake, day: dt.date, wallets: Iterable[str]) -> TapeDay:
    """The tape of a day, with the texts of all transactions in which `wallets` trade. Raises StoreError without one."""
    parts = list(lake.read_parts(TAPE.name, day, (*_NUMBERS, "ts_ns", *_CODED), _CODED, row_groups=16))
    slots = lake.read(TAPE_SLOTS.name, day)
    empty = pa.schema([TAPE.arrow.field(name) for name in (*_NUMBERS, "ts_ns", *_CODED)]).empty_table()
    rows = pa.concat_tables(parts) if parts else empty
    tape = tape_of(rows)
    wanted = set(wallets)
    mine = np.array([wallet in wanted for wallet in tape.wallets], np.bool_)
    marked = np.flatnonzero(mine[tape.wallet]) if len(tape) else np.zeros(0, np.int64)
    in_tx = np.flatnonzero(np.isin(tape.tx, np.unique(tape.tx[marked])))
    return TapeDay(
        tape,
        slots["slot"].to_numpy(),
        slots["seconds"].to_numpy(),
        rows["ts_ns"].to_numpy(),
        _texts(lake, day, in_tx),
    )


def tape_of(rows: pa.Table) -> Tape:
    """The tape of rows of TAPE (all but texts are needed)."""
    columns: dict[str, NDArray[Any]] = {name: rows[name].to_numpy() for name in _NUMBERS}
    names: dict[str, Sequence[str]] = {}
    for name in _CODED:
        coded = rows[name].unify_dictionaries() if pa.types.is_dictionary(rows[name].type) else rows[name]
        whole = coded.combine_chunks()
        if isinstance(whole, pa.ChunkedArray):
            whole = whole.chunk(0) if whole.num_chunks else pa.array([], pa.string())
        whole = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
        columns[name] = whole.indices.to_numpy()
        names[name] = whole.dictionary.to_pylist()
    return Tape.of(columns, names["mint"], names["wallet"])


def _texts(lake: Lake, day: dt.date, rows: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    first = 0
    if not len(rows):
        return found
    for part in lake.read_parts(TAPE.name, day, ("sig", "quote_mint"), row_groups=4):
        here = rows[(rows >= first) & (rows < first + part.num_rows)]
        taken = part.take(pa.array(here - first))
        sigs, quotes = taken["sig"].to_pylist(), pc.fill_null(taken["quote_mint"], "").to_pylist()
        found |= {int(row): (sig, quote) for row, sig, quote in zip(here, sigs, quotes, strict=True)}
        first += part.num_rows
    return found
