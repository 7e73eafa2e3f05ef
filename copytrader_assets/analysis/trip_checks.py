"""What must hold for a day of round trips as a whole, summed and compared over whole columns.

Rules of single rows stand in schemas.py. Not here: what a broken one leads to (checks.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis.ledger import Folded
from copytrader_assets.analysis.moves import kinds, moves_a_position, shared_codes, text_buffers
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.analysis.wide_columns import wide_words
from copytrader_core.compiled import kernel
from copytrader_core.wide import total

_KEY_PATH = ("open_outer_ix", "open_inner_ix", "open_event_seq")
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_29 = np.uint64(29)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Flow:
    """Raw coins, all coins together: what the events moved, and what became of the positions."""

    moved: int = 0
    change: int = 0
    unseen: int = 0
    forgotten: int = 0

    @classmethod
    def of(cls, before: int, after: int, folded: Sequence[Folded]) -> Flow:
        """The ledger's side: what was held before and after, and what it could not account for."""
        unseen, forgotten = sum(one.unseen_raw for one in folded), sum(one.forgotten_raw for one in folded)
        return cls(0, after - before, unseen, forgotten)

    def and_(self, other: Flow) -> Flow:
        """Both together."""
        return Flow(
            self.moved + other.moved,
            self.change + other.change,
            self.unseen + other.unseen,
            self.forgotten + other.forgotten,
        )

    @property
    def problem(self) -> str | None:
        """A message unless bought - sold = change of what is held - sold unseen + forgotten."""
        change = self.change - self.unseen + self.forgotten
        return None if self.moved == change else f"the events moved {self.moved} raw coins, the positions {change}"


def flow_of(events: pa.Table) -> Flow:
    """The events' side, from their amounts alone: bought less sold, of what names coin and quote."""
    kind, moving = kinds(events["action"], "BUY", "SELL"), moves_a_position(events)
    amounts = np.asarray(pc.fill_null(events["base_raw"], 0).to_numpy())
    bought, sold = (_sum(amounts[moving & (kind == side)]) for side in (0, 1))
    return Flow(moved=bought - sold)


def _sum(amounts: NDArray[np.uint64]) -> int:
    """The exact sum, which may be of more than 64 bits."""
    return (int((amounts >> _32).sum()) << 32) + int((amounts & _LOW).sum())


def held_raw(carry: Carry) -> int:
    """All raw coins that a carry holds, written-off ones included."""
    return _total(carry.held["held_raw"]) + _total(carry.written_off["qty_raw"])


def _total(column: pa.ChunkedArray) -> int:
    return sum(total(wide_words(chunk)) for chunk in column.chunks)


def repeated_keys(buckets: Iterable[pa.Table]) -> list[str]:
    """Keys (wallet/mint/open_sig/open_path) that stand twice in FINISHED or HELD rows, the first of them.

    A wallet lies in one bucket, so equal keys do too.
    """
    return [key for trips in buckets for key in _repeated(trips)]


def _repeated(trips: pa.Table) -> list[str]:
    if trips.num_rows < 2:
        return []
    hashes = _hashes(trips)
    order = np.argsort(hashes)
    alike = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    if not len(alike):
        return []
    some = np.unique(np.concatenate([order[alike], order[alike + 1]]))
    keys = _keys(trips.take(pa.array(some)))
    counted = pc.value_counts(keys)
    return [one["values"] for one in counted.to_pylist() if one["counts"] > 1]


def _hashes(trips: pa.Table) -> NDArray[np.uint64]:
    codes = [shared_codes([trips[name]])[0][0] for name in ("wallet", "mint")]
    numbers = [np.asarray(trips[name].to_numpy()) for name in _KEY_PATH]
    result = _text_hashes(*text_buffers(trips["open_sig"]))
    for column in (*codes, *numbers):
        result = (result ^ column.astype(np.uint64)) * _PRIME
        result ^= result >> _29
    return result


@kernel
def _text_hashes(offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    result = np.zeros(len(offsets) - 1, np.uint64)
    for row in range(len(result)):
        value = np.uint64(len(content))
        for place in range(offsets[row], offsets[row + 1]):
            value = (value ^ np.uint64(content[place])) * _PRIME
        result[row] = value ^ (value >> _29)
    return result


def _keys(trips: pa.Table) -> pa.Array:
    path = pc.binary_join_element_wise(*(trips[name].cast(pa.string()) for name in _KEY_PATH), ".")
    texts = [trips[name].cast(pa.string()) for name in ("wallet", "mint", "open_sig")]
    return pc.binary_join_element_wise(*texts, path, "/").combine_chunks()
