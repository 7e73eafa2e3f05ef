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
    n = lake.snapshot(TAPE.name, day).rows
    parts = lake.read_parts(TAPE.name, day, (*_NUMBERS, "ts_ns", *_CODED), _CODED, row_groups=1)
    tape, ts_ns = tape_of(parts, n)
    slots = lake.read(TAPE_SLOTS.name, day)
    wanted = set(wallets)
    mine = np.array([wallet in wanted for wallet in tape.wallets], np.bool_)
    marked = np.flatnonzero(mine[tape.wallet]) if n else np.zeros(0, np.int64)
    in_tx = np.flatnonzero(np.isin(tape.tx, np.unique(tape.tx[marked])))
    texts = _texts(lake, day, in_tx)
    return TapeDay(tape, slots["slot"].to_numpy(), slots["seconds"].to_numpy(), ts_ns, texts)


def tape_of(parts: Iterable[pa.Table], n: int) -> tuple[Tape, NDArray[np.int64]]:
    """The tape of `n` rows of TAPE (all but texts are needed) in parts, and their block times."""
    columns, names = _columns(parts, n)
    ts_ns = columns.pop("ts_ns")
    return Tape.of(columns, names["mint"], names["wallet"]), ts_ns


def _columns(parts: Iterable[pa.Table], n: int) -> tuple[dict[str, NDArray[Any]], dict[str, list[str]]]:
    """Every column of numbers as one array, and codes with what they stand for; never more than a part of it twice."""
    numbers = (*_NUMBERS, "ts_ns")
    found = {name: np.zeros(n, TAPE.arrow.field(name).type.to_pandas_dtype()) for name in numbers}
    texts: dict[str, list[pa.Array]] = {name: [] for name in _CODED}
    first = 0
    for part in parts:
        end = first + part.num_rows
        for name in numbers:
            found[name][first:end] = part[name].to_numpy()
        for name in _CODED:
            texts[name] += part[name].chunks
        first = end
    names = {}
    for name in _CODED:
        found[name], names[name] = _coded(texts.pop(name))
    # Arrow keeps what it has freed for its next table: there is none, and the tape is large.
    pa.default_memory_pool().release_unused()
    return found, names


def _coded(chunks: Sequence[pa.Array]) -> tuple[NDArray[np.int32], list[str]]:
    """The codes of texts, and the texts by code."""
    coded = [chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode() for chunk in chunks]
    if not coded:
        return np.zeros(0, np.int32), []
    unified = pa.chunked_array(coded).unify_dictionaries()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in unified.chunks]).astype(np.int32, copy=False)
    return codes, unified.chunk(unified.num_chunks - 1).dictionary.to_pylist()


def _texts(lake: Lake, day: dt.date, rows: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    first = 0
    if not len(rows):
        return found
    for part in lake.read_parts(TAPE.name, day, ("sig", "quote_mint"), ("quote_mint",), row_groups=4):
        here = rows[(rows >= first) & (rows < first + part.num_rows)]
        taken = part.take(pa.array(here - first))
        sigs, quotes = taken["sig"].to_pylist(), pc.fill_null(taken["quote_mint"].cast(pa.string()), "").to_pylist()
        found |= {int(row): (sig, quote) for row, sig, quote in zip(here, sigs, quotes, strict=True)}
        first += part.num_rows
    return found
