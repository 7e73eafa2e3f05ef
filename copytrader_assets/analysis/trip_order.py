"""The order in which round trips are published, which knows nothing of buckets, and the buckets' rows put into it.

Finished trips stand in the chain order of their end (and among those that one sale closed, the older first after the
sale's own), dead ones after them by age; open ones by age. Age is slot, signature and path of the first buy, then the
wallet. Not here: what the rows say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis.moves import shared_codes
from copytrader_assets.analysis.trip_tables import laid_flat, sig_prefix

Order = NDArray[np.int64]
_AFTER_ALL_SLOTS = np.iinfo(np.int64).max
_PATH = ("outer_ix", "inner_ix", "event_seq")


def age_order(trips: pa.Table) -> Order:
    """The rows of HELD (or FINISHED) from the oldest trip on."""
    keys = [_numbers(trips, "open_slot"), sig_prefix(trips["open_sig"])]
    return _sorted(keys, lambda rows: _age(trips.take(rows)))


def end_order(finished: pa.Table) -> Order:
    """The rows of FINISHED in the order of their end."""
    dead = np.asarray(finished["is_dead"].to_numpy())
    slot = np.asarray(pc.fill_null(finished["close_slot"], _AFTER_ALL_SLOTS).to_numpy())
    index = np.asarray(pc.fill_null(finished["end_tx_index"], 0).to_numpy()).astype(np.int64)
    first = np.where(dead, _numbers(finished, "open_slot"), index)
    return _sorted([slot, first], lambda rows: _end(finished.take(rows)))


def key_order(written_off: pa.Table) -> Order:
    """The rows of WRITTEN_OFF by wallet, coin and quote."""
    ranks = [_ranks(written_off[name]) for name in ("quote_mint", "mint", "wallet")]
    return np.asarray(np.lexsort(ranks))


def _ranks(column: pa.ChunkedArray) -> NDArray[np.int32]:
    (codes,), names = shared_codes([column])
    rank = np.empty(len(names), np.int32)
    rank[pc.sort_indices(names).to_numpy()] = np.arange(len(names))
    return rank[codes]


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name].to_numpy())


def _sorted(keys: Sequence[NDArray[np.generic]], rest: Callable[[pa.Array], pa.Table]) -> Order:
    """Sorted by `keys`, the first one first; rows that are equal in all of them by the columns of `rest`."""
    order = np.lexsort(tuple(reversed(keys)))
    if len(order) < 2:
        return order
    same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
    tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    places = np.flatnonzero(tied)
    if len(places):
        groups = np.cumsum(~np.concatenate([[False], same]))[places]
        rows = order[places]
        detail = rest(pa.array(rows)).append_column("group", pa.array(groups))
        names = ["group", *(name for name in detail.column_names if name != "group")]
        inner = pc.sort_indices(detail.select(names), [(name, "ascending") for name in names])
        order[places] = rows[inner.to_numpy()]
    return order


def _age(trips: pa.Table) -> pa.Table:
    path = pc.binary_join_element_wise(*(trips[f"open_{name}"].cast(pa.string()) for name in _PATH), ".")
    return pa.table({"sig": trips["open_sig"], "path": path, "wallet": trips["wallet"].cast(pa.string())})


def _end(finished: pa.Table) -> pa.Table:
    """What decides within a transaction, or between dead trips of one slot."""
    flat = laid_flat(finished["legs"])
    dead = finished["is_dead"]
    last = pa.array(np.maximum(flat.offsets[1:] - 1, 0), mask=np.asarray(dead.to_numpy()))
    ends = {name: flat.children[name].take(last) for name in ("sig", *_PATH)}
    age = _age(finished)
    return pa.table(
        {
            "sig": pc.if_else(dead, age["sig"], ends["sig"]),
            **{name: pc.fill_null(ends[name], 0) for name in _PATH},
            "place": pc.fill_null(finished["end_place"], 0),
            "path": pc.if_else(dead, age["path"], ""),
            "wallet": pc.if_else(dead, age["wallet"], ""),
        }
    )


def merged(buckets: Sequence[pa.Table], order_of: Callable[[pa.Table], Order], part_rows: int) -> Iterator[pa.Table]:
    """The rows of all buckets in one order, in parts; each bucket must be in this order already.

    Only the parts are built anew: of each bucket a part takes the next rows. No rows at all are one empty part.
    """
    keys = pa.concat_tables(bucket.select(_key_columns(bucket)) for bucket in buckets)
    owner = np.repeat(np.arange(len(buckets)), [bucket.num_rows for bucket in buckets])
    order = owner[order_of(keys)] if len(buckets) > 1 else owner
    taken = np.zeros(len(buckets), np.int64)
    for start in range(0, max(len(order), 1), part_rows):
        yield _next_part(buckets, order[start : start + part_rows], taken)


def _key_columns(table: pa.Table) -> list[str]:
    wanted = ("wallet", "open_sig", *(f"open_{name}" for name in _PATH), "open_slot", "legs", "is_dead", "close_slot")
    return [name for name in (*wanted, "end_tx_index", "end_place") if name in table.column_names]


def _next_part(buckets: Sequence[pa.Table], owners: Order, taken: Order) -> pa.Table:
    counts = np.bincount(owners, minlength=len(buckets))
    slices = [bucket.slice(taken[b], counts[b]) for b, bucket in enumerate(buckets) if counts[b]]
    taken += counts
    if len(slices) <= 1:
        return slices[0] if slices else buckets[0].slice(0, 0)
    # The rows of the slices stand bucket by bucket: the k-th row of the part is the next one of its owner.
    place = np.empty(len(owners), np.int64)
    place[np.argsort(owners, kind="stable")] = np.arange(len(owners))
    return pa.concat_tables(slices).take(pa.array(place))
