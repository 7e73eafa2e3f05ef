"""The order in which round trips are published, which knows nothing of buckets, and the buckets' rows put into it.

Finished trips stand in the chain order of their end (and among those that one sale closed, the older first after the
sale's own), dead ones after them by age; open ones by age. Age is slot, signature and path of the first buy, then the
wallet. Not here: what the rows say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis.moves import shared_codes
from copytrader_assets.analysis.trip_tables import laid_flat, sig_prefix, with_plain_texts

Order = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of several buckets, and of which bucket each row of the part is the next one."""

    slices: Sequence[pa.Table]
    owners: Order
    plain: bool

    def table(self) -> pa.Table:
        """The rows in their order. It takes time, and may be done beside other parts."""
        if len(self.slices) == 1:
            return self.slices[0]
        # The rows of the slices stand bucket by bucket.
        place = np.empty(len(self.owners), np.int64)
        place[np.argsort(self.owners, kind="stable")] = np.arange(len(self.owners))
        slices = [with_plain_texts(one) for one in self.slices] if self.plain else self.slices
        return pa.concat_tables(slices).take(pa.array(place))


_AFTER_ALL_SLOTS = np.iinfo(np.int64).max
_PATH = ("outer_ix", "inner_ix", "event_seq")


def age_order(trips: pa.Table) -> Order:
    """The rows of HELD (or FINISHED) from the oldest trip on."""
    path = tuple(_numbers(trips, f"open_{name}") for name in _PATH)
    return sorted_by_age(_numbers(trips, "open_slot"), trips["open_sig"], path, trips["wallet"])


def sorted_by_age(
    slot: NDArray[np.int64],
    sig: pa.Array | pa.ChunkedArray,
    path: Sequence[NDArray[Any]],
    wallet: pa.Array | pa.ChunkedArray,
) -> Order:
    """Rows from the oldest on, given by their first buys: slot, signature, text of the path, wallet."""

    def rest(rows: NDArray[np.int64]) -> pa.Table:
        texts = pc.binary_join_element_wise(*(pa.array(part[rows]).cast(pa.string()) for part in path), ".")
        chosen = pa.array(rows)
        return pa.table({"sig": sig.take(chosen), "path": texts, "wallet": wallet.take(chosen).cast(pa.string())})

    return _sorted([slot, sig_prefix(sig)], rest)


def end_order(finished: pa.Table) -> Order:
    """The rows of FINISHED in the order of their end."""
    dead = np.asarray(finished["is_dead"].to_numpy())
    slot = np.asarray(pc.fill_null(finished["close_slot"], _AFTER_ALL_SLOTS).to_numpy())
    index = np.asarray(pc.fill_null(finished["end_tx_index"], 0).to_numpy()).astype(np.int64)
    first = np.where(dead, _numbers(finished, "open_slot"), index)
    return _sorted([slot, first], lambda rows: _end(finished.take(pa.array(rows))))


def key_order(written_off: pa.Table) -> Order:
    """The rows of WRITTEN_OFF by wallet, coin and quote."""
    ranks = [_ranks(written_off[name]) for name in ("quote_mint", "mint", "wallet")]
    return np.asarray(np.lexsort(ranks))


def _ranks(column: pa.ChunkedArray) -> NDArray[np.int32]:
    (codes,), names = shared_codes([column])
    rank = np.empty(len(names), np.int32)
    rank[pc.sort_indices(names).to_numpy()] = np.arange(len(names))
    return rank[codes]


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    return np.asarray(table[name].to_numpy())


def _sorted(keys: Sequence[NDArray[Any]], rest: Callable[[NDArray[np.int64]], pa.Table]) -> Order:
    """Sorted by `keys`, the first one first; rows that are equal in all of them by the columns of `rest`."""
    order = in_order(keys)
    if len(order) < 2:
        return order
    same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
    tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    places = np.flatnonzero(tied)
    if len(places):
        groups = np.cumsum(~np.concatenate([[False], same]))[places]
        rows = order[places]
        detail = rest(rows).append_column("group", pa.array(groups))
        names = ["group", *(name for name in detail.column_names if name != "group")]
        inner = pc.sort_indices(detail.select(names), [(name, "ascending") for name in names])
        order[places] = rows[inner.to_numpy()]
    return order


def in_order(keys: Sequence[NDArray[Any]]) -> Order:
    """The rows by integer keys, the first one first, stably.

    Where all keys fit one number they are sorted as one: rows that come in a few sorted runs are then only merged.
    """
    if not len(keys[0]):
        return np.zeros(0, np.int64)
    # Each is counted from its least value on.
    least = [int(key.min()) for key in keys]
    bits = [(int(key.max()) - start).bit_length() for key, start in zip(keys, least, strict=True)]
    if sum(bits) > 63:
        return np.lexsort(tuple(reversed(keys)))
    packed = np.zeros(len(keys[0]), np.int64)
    for key, start, width in zip(keys, least, bits, strict=True):
        packed = (packed << width) | (key - key.dtype.type(start)).astype(np.int64)
    return np.argsort(packed, kind="stable")


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


def merged(
    buckets: Sequence[pa.Table], order_of: Callable[[pa.Table], Order], part_rows: int, *, plain: bool = False
) -> Iterator[Part]:
    """The rows of all buckets in one order, in parts; each bucket must be in this order already.

    Only the parts are built anew: of each bucket a part takes the next rows. No rows at all are one empty part.
    `plain`: repeated texts need not stay dictionaries, and then each part writes out its own.
    """
    buckets = buckets if plain else _of_one_dictionary(buckets)
    keys = pa.concat_tables(bucket.select(_key_columns(bucket)) for bucket in buckets)
    owner = np.repeat(np.arange(len(buckets)), [bucket.num_rows for bucket in buckets])
    order = owner[order_of(keys)] if len(buckets) > 1 else owner
    taken = np.zeros(len(buckets), np.int64)
    for start in range(0, max(len(order), 1), part_rows):
        yield _next_part(buckets, order[start : start + part_rows], taken, plain)


def _of_one_dictionary(buckets: Sequence[pa.Table]) -> list[pa.Table]:
    """The buckets with the same texts behind their codes: else every part would bring their dictionaries together."""
    whole = pa.concat_tables(buckets).unify_dictionaries()
    ends = np.cumsum([bucket.num_rows for bucket in buckets])
    return [whole.slice(end - bucket.num_rows, bucket.num_rows) for bucket, end in zip(buckets, ends, strict=True)]


def _key_columns(table: pa.Table) -> list[str]:
    wanted = ("wallet", "open_sig", *(f"open_{name}" for name in _PATH), "open_slot", "legs", "is_dead", "close_slot")
    return [name for name in (*wanted, "end_tx_index", "end_place") if name in table.column_names]


def _next_part(buckets: Sequence[pa.Table], owners: Order, taken: Order, plain: bool) -> Part:
    counts = np.bincount(owners, minlength=len(buckets))
    slices = [bucket.slice(taken[b], counts[b]) for b, bucket in enumerate(buckets) if counts[b]]
    taken += counts
    return Part(slices or [buckets[0].slice(0, 0)], owners, plain)
