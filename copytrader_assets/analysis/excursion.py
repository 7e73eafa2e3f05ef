"""How far a trip was ahead at its best: the maximum favourable multiple while it was held.

After every event of the coin while the trip was held, its worth is what its sells had brought so far, plus what the
coins still held would fetch from the reserves at once (x * y = k, less the swap fee rate that its own buys paid). Worth
over what had been paid so far is a multiple; the highest one is the excursion, and never less than the multiple that
was realised. The excursion of trading practice (Sweeney 1996, *Maximum Adverse Excursion*), with executable quotes in
place of prices: a coin that shows 10x for a bag which nobody can sell was never at 10x.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.columns import floats, places
from copytrader_assets.analysis.grouped import Floats, Ints, ranges
from copytrader_assets.analysis.price_path import PricePath, Spans

_PAIRS_AT_ONCE = 2_000_000
"""(trip, event) pairs in memory at once, about 100 bytes each."""


def best_multiples(path: PricePath, spans: Spans, trips: pa.Table) -> Floats:
    """The highest multiple that each trip reached while held; NaN where its path is not known."""
    best = np.full(trips.num_rows, np.nan)
    known = np.flatnonzero(spans.known)
    if not len(known):
        return best
    books = _Books.of(path, spans, trips, known)
    reached = np.full(len(known), np.nan)
    for chunk in _chunks(books.until - books.since):
        np.fmax.at(reached, books.trip[chunk], _best_of(path, books, chunk))
    realised = np.divide(
        floats(trips, "close_proceeds_raw"), floats(trips, "open_cost_raw"), out=best.copy(),
        where=floats(trips, "open_cost_raw") > 0,
    )  # fmt: skip
    best[known] = np.fmax(reached, realised[known])
    return best


@dataclass(frozen=True, slots=True)
class _Books:
    """One element per own trade of a trip: what stood until the next one, and over which events of the path."""

    trip: Ints
    held: Floats
    cost: Floats
    proceeds: Floats
    keep: Floats
    """Share of a sale that the swap fee leaves."""
    since: Ints
    until: Ints

    @classmethod
    def of(cls, path: PricePath, spans: Spans, trips: pa.Table, known: Ints) -> _Books:
        first, last = spans.opened[known], spans.closed[known]
        mine = ranges(first, last + 1)
        trip = np.repeat(np.arange(len(known)), last + 1 - first)
        rows = path.own.rows.take(pa.array(mine))
        buys = places(rows["action"], pa.array(["SELL", "BUY"])) == 1
        base, quote = np.nan_to_num(floats(rows, "base_raw")), np.nan_to_num(floats(rows, "quote_raw"))
        paid = np.bincount(trip, np.where(buys, quote, 0), len(known))
        charges = np.maximum(floats(trips, "open_cost_raw")[known] - paid, 0)
        fees = np.bincount(trip, np.where(buys, np.nan_to_num(floats(rows, "swap_fee_raw")), 0), len(known))
        keep = 1 - np.divide(fees, paid, out=np.zeros(len(known)), where=paid > 0)
        at = path.own.at[mine]
        ends = np.where(
            spans.left[known] >= 0, at[np.cumsum(last + 1 - first) - 1], path.end_of(path.pair[at[_starts(trip)]])
        )
        following = np.append(at[1:], 0)
        following[np.cumsum(last + 1 - first) - 1] = ends
        return cls(
            trip=trip,
            held=np.maximum(_running(trip, np.where(buys, base, -base)), 0),
            cost=_running(trip, np.where(buys, quote, 0)) + charges[trip],
            proceeds=_running(trip, np.where(buys, 0, quote)),
            keep=keep[trip],
            since=at,
            until=following,
        )


def _best_of(path: PricePath, books: _Books, chunk: slice) -> Floats:
    """The highest multiple over the events of each element of the chunk; NaN for an element without any."""
    since, until = books.since[chunk], books.until[chunk]
    sizes = until - since
    result = np.full(len(sizes), np.nan)
    some = sizes > 0
    at = ranges(since[some], until[some])
    element = np.repeat(np.flatnonzero(some), sizes[some])
    held = books.held[chunk][element]
    worth = path.quote[at] * held / (path.base[at] + held) * books.keep[chunk][element] + books.proceeds[chunk][element]
    cost = books.cost[chunk][element]
    multiple = np.divide(worth, cost, out=np.full(len(at), np.nan), where=(cost > 0) & (held > 0))
    if len(at):
        result[some] = np.fmax.reduceat(multiple, np.cumsum(sizes[some]) - sizes[some])
    return result


def _chunks(sizes: Ints) -> list[slice]:
    """Consecutive elements whose sizes add up to about _PAIRS_AT_ONCE; one that is larger stands alone."""
    part = np.cumsum(sizes) // _PAIRS_AT_ONCE
    borders = np.append(np.flatnonzero(np.diff(part, prepend=-1)), len(sizes))
    return [slice(a, b) for a, b in pairwise(borders.tolist())]


def _starts(codes: Ints) -> Ints:
    """The first place of each of the sorted codes."""
    return np.flatnonzero(np.diff(codes, prepend=-1))


def _running(codes: Ints, values: Floats) -> Floats:
    """Running sums that start again with each of the sorted codes."""
    sums = np.cumsum(values)
    starts = _starts(codes)
    before = np.where(starts > 0, sums[np.maximum(starts - 1, 0)], 0.0)
    return np.asarray(sums - before[codes])
