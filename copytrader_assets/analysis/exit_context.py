"""What surrounded an exit: was it sold in parts, and had the price just fallen?

Legs come from the trips themselves; prices from the coin's path (price_path).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, floats, ints
from copytrader_assets.analysis.grouped import Flags, Floats, Ints, ranges
from copytrader_assets.analysis.price_path import PricePath, Spans

FALL = 0.08
"""A fall of this share within the seconds before the exit is an adverse move (the median move in 2 s is under 2 %)."""
FALL_SECONDS = 10.0
PROBES = 16
"""Moments of a trip at which it is asked whether the price had just fallen: how often it does so by itself."""
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


@dataclass(frozen=True, slots=True)
class Falls:
    """Per trip: had the price fallen by FALL within FALL_SECONDS before the exit, and how often it had by itself.

    `share` is the share of PROBES moments, evenly spread over the hold, at which the same could be said. `known` is
    False (and `fell` too, `share` NaN) where the path does not hold the closing sell and a price before it.
    """

    fell: Flags
    known: Flags
    share: Floats

    @classmethod
    def of(cls, path: PricePath, spans: Spans, trips: pa.Table, slot_ms: float) -> Falls:
        """Compared are the price just before the closing sell, so that the wallet's own impact is not in it, and the
        highest price that stood in the seconds before, but not before the wallet held the coin.
        """
        n, window = trips.num_rows, int(FALL_SECONDS * 1000 / slot_ms)
        fell, share = np.zeros(n, dtype=np.bool_), np.full(n, np.nan)
        known = spans.left >= 0
        exits = path.own.at[spans.left[known]] if known.any() else np.zeros(0, dtype=np.int64)
        pair, opened = path.pair[exits], ints(trips, "open_slot")[known]
        # The price that stood when the coin was opened: with the buy if the path has it, else the first one after it.
        start = np.maximum(path.first_at(pair, opened), path.first_of(pair))
        bought = spans.opened[known]
        start = np.where(bought >= 0, path.own.at[np.maximum(bought, 0)], start) if len(path.own.at) else start
        fell[known], share[known] = _falls(path, start, exits, window)
        before = np.zeros(n, dtype=np.bool_)
        before[known] = start < exits
        return cls(fell & before, known & before, np.where(before, share, np.nan))


def _falls(path: PricePath, start: Ints, exits: Ints, window: int) -> tuple[Flags, Floats]:
    """Whether the price just before each exit had fallen, and the share of evenly spread moments at which it had."""
    last = np.maximum(exits - 1, start)
    fell = _had_fallen(path, start, last, path.slot[exits] - window)
    step = np.arange(1, PROBES + 1) / (PROBES + 1)
    since, until = path.slot[start], path.slot[exits]
    slots = since[:, None] + ((until - since)[:, None] * step).astype(np.int64)
    pairs = np.repeat(path.pair[exits], PROBES)
    at = path.first_at(pairs, slots.ravel() + 1) - 1
    at = np.clip(at, np.repeat(start, PROBES), np.repeat(last, PROBES))
    probes = _had_fallen(path, np.repeat(start, PROBES), at, slots.ravel() - window)
    return fell, probes.reshape(len(exits), PROBES).mean(axis=1) if len(exits) else np.zeros(0)


def _had_fallen(path: PricePath, start: Ints, at: Ints, since_slot: Ints) -> Flags:
    """Whether the price after event `at` lies FALL below the highest that stood from a slot on, not before `start`."""
    # The price that stood at the beginning of the time is that of the event before it.
    first = np.maximum(path.first_at(path.pair[at], since_slot) - 1, start)
    first = np.minimum(first, at)
    sizes = at - first + 1
    result = np.zeros(len(at), dtype=np.bool_)
    spot = path.spot
    for chunk in np.array_split(np.arange(len(at)), max(1, int(sizes.sum()) // 4_000_000)):
        if len(chunk):
            inside = spot[ranges(first[chunk], at[chunk] + 1)]
            highest = np.fmax.reduceat(inside, np.cumsum(sizes[chunk]) - sizes[chunk])
            result[chunk] = spot[at[chunk]] <= highest * (1 - FALL)
    return result
