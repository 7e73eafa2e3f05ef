"""What surrounded an exit: was it sold in parts, and had the price just fallen?

Legs come from the trips themselves; the price path comes from the reserves after every event of the coin.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, floats, ints, places
from copytrader_assets.analysis.grouped import Flags, Floats, Ints

FALL = 0.08
"""A fall of this share within the seconds before the exit is an adverse move (the median move in 2 s is under 2 %)."""
FALL_SECONDS = 10.0
_SLOT_SPACE = np.int64(1) << 40
_CHAIN_ORDER = ("slot", "tx_index", "outer_ix", "inner_ix", "event_seq")
_PATH_COLUMNS = ["mint", "sig", "reserve_base_raw", "reserve_quote_raw", *_CHAIN_ORDER]
LARGEST_LEG = 0.9
"""Selling more than this share at once is one exit with a remainder, not a scale-out."""

_LEGS = """
    WITH legs AS (
        SELECT row, unnest(from_json(meta_json->'legs', '[{"sig":"VARCHAR","qty_raw":"VARCHAR"}]'), recursive := true)
        FROM trips WHERE n_sells >= 2 AND json_array_length(meta_json, '$.legs') > 0
    ), sold AS (
        SELECT row, sig, sum(qty_raw::DOUBLE) AS qty FROM legs GROUP BY row, sig
    )
    SELECT row, count(*) AS n, max(qty) / sum(qty) AS largest FROM sold GROUP BY row
"""


def sold_in_parts(trips: pa.Table) -> Flags:
    """Trips sold in two or more transactions of which none sold more than LARGEST_LEG of the whole.

    Several sells of one transaction are one decision. A trip without legs in its `meta_json` counts by `n_sells`.
    """
    many = flags(pc.greater_equal(trips["n_sells"], 2))
    if not many.any():
        return many
    rows = pa.table({"row": np.arange(trips.num_rows), "n_sells": trips["n_sells"], "meta_json": trips["meta_json"]})
    with duckdb.connect(":memory:") as engine:
        engine.register("trips", rows)
        legs = engine.sql(_LEGS).to_arrow_table()
    many[ints(legs, "row")] = (ints(legs, "n") >= 2) & ~(floats(legs, "largest") > LARGEST_LEG)
    return many


def fell_before_exit(trips: pa.Table, events: pa.Table, slot_ms: float) -> tuple[Flags, Flags]:
    """Whether the coin fell by FALL or more, from its highest price while held, in the FALL_SECONDS before the exit.

    Compared are the price just before the closing sell (so the wallet's own impact is not in it) and the highest price
    that stood in that time. Returns (fell, known): known is False where the events do not hold the closing sell.
    """
    fell, known = np.zeros(trips.num_rows, dtype=np.bool_), np.zeros(trips.num_rows, dtype=np.bool_)
    path = _Path.of(events, pc.unique(trips["mint"].combine_chunks()))
    exits = path.position_of(trips["close_sig"], trips["mint"])
    mint = path.mint[np.maximum(exits, 0)] if len(path.mint) else exits
    since = np.maximum(ints(trips, "open_slot"), ints(trips, "close_slot") - int(FALL_SECONDS * 1000 / slot_ms))
    first = np.searchsorted(path.key, path.pack(mint, since)) - 1
    first = np.maximum(first, np.searchsorted(path.mint, mint))
    rows = np.flatnonzero((exits >= 0) & (first < exits))
    rows = rows[np.argsort(first[rows], kind="stable")]  # reduceat also reduces what lies between two pairs of borders
    if len(rows):
        known[rows] = True
        borders = np.stack([first[rows], exits[rows]], axis=1).ravel()
        highest = np.maximum.reduceat(path.spot, borders)[::2]
        fell[rows] = path.spot[exits[rows] - 1] <= highest * (1 - FALL)
    return fell, known


@dataclass(frozen=True, slots=True)
class _Path:
    """Every priced event of some coins, by coin and chain order: coin code, slot key, price after it, signature."""

    mint: Ints
    key: Ints
    spot: Floats
    signatures: pa.ChunkedArray
    mints: pa.Array
    first_slot: int

    @classmethod
    def of(cls, events: pa.Table, mints: pa.Array) -> _Path:
        """The path of `mints`; events without reserves have no price and are left out."""
        some = pc.not_equal(events["reserve_base_raw"], pa.scalar(0, pa.uint64()))
        priced = pc.and_(pc.is_in(events["mint"], mints), some)
        rows = events.select(_PATH_COLUMNS).filter(pc.fill_null(priced, False))
        code = places(rows["mint"], mints)
        slot = ints(rows, "slot")
        order = np.lexsort((*(ints(rows, name) for name in _CHAIN_ORDER[::-1]), code))
        spot = floats(rows, "reserve_quote_raw") / floats(rows, "reserve_base_raw")
        first = int(slot.min()) if len(slot) else 0
        key = code * _SLOT_SPACE + (slot - first)
        return cls(code[order], key[order], spot[order], rows["sig"].take(pa.array(order)), mints, first)

    def pack(self, mint: Ints, slot: Ints) -> Ints:
        """The sort key of a slot of a coin."""
        return mint * _SLOT_SPACE + np.clip(slot - self.first_slot, 0, _SLOT_SPACE - 1)

    def position_of(self, signatures: pa.ChunkedArray, mints: pa.ChunkedArray) -> Ints:
        """Where each (signature, coin) first stands in the path, or -1."""
        names = pc.unique(signatures.combine_chunks())
        mine = places(self.signatures, names)
        keys = np.where(mine >= 0, mine * len(self.mints) + self.mint, -1)
        wanted = places(signatures, names) * len(self.mints) + places(mints, self.mints)
        found, first = np.unique(keys, return_index=True)
        if not len(found):
            return np.full(len(wanted), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(found, wanted), len(found) - 1)
        return np.where(found[at] == wanted, first[at], -1)
