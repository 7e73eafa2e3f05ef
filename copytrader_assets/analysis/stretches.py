"""For which slots the events of each coin are needed, so that a day's other events need not be read.

A tracked wallet trades most coins for minutes: of ten million events one in ten stands in such a stretch. Not here:
reading them (day_reader), and the paths that are made of them (price_path).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import floats, ints
from copytrader_assets.analysis.grouped import Flags, Ints
from copytrader_assets.analysis.moves import kinds
from copytrader_assets.analysis.text_codes import TextCodes

OPEN_END = (1 << 40) - 1
"""The end of a stretch that has none: slots stay below 2**40."""
STRETCHES = pa.schema([("mint", pa.string()), ("since", pa.int64()), ("until", pa.int64())])
"""Slots, both included, disjoint for each coin; by coin and slot."""


def stretches(trips: pa.Table, own: pa.Table) -> pa.Table:
    """STRETCHES of `trips` (lake rows), each from its opening to its end, and of the slots of `own` (mint, slot).

    A trip that no sale closed was watched to the end.
    """
    mints = pc.dictionary_encode(pa.chunked_array([*trips["mint"].chunks, *own["mint"].chunks], pa.string()))
    mints = mints.combine_chunks()
    if isinstance(mints, pa.ChunkedArray):
        mints = mints.chunk(0) if mints.num_chunks else pa.array([], pa.string()).dictionary_encode()
    coin, at = mints.indices.to_numpy().astype(np.int64), ints(own, "slot")
    since = np.concatenate([ints(trips, "open_slot"), at])
    until = np.concatenate([ints(trips, "close_slot", null=OPEN_END), at])
    order = np.lexsort((since, coin))
    coin, since, until = coin[order], since[order], until[order]
    return _merged(mints.dictionary, coin, since, until)


def _merged(names: pa.Array, coin: Ints, since: Ints, until: Ints) -> pa.Table:
    """Stretches sorted by coin and beginning, those that overlap as one."""
    # Coins ascend, so that the running maximum starts anew with each.
    reach = np.maximum.accumulate(coin * (OPEN_END + 1) + until) % (OPEN_END + 1) if len(coin) else until
    same = np.diff(coin, prepend=-1) == 0
    before = np.where(same, np.roll(reach, 1), -1)
    first = np.flatnonzero(~same | (since > before))
    last = np.append(first[1:], len(coin))[: len(first)] - 1
    columns = [names.take(pa.array(coin[first])), pa.array(since[first]), pa.array(reach[last])]
    return pa.Table.from_arrays(columns, schema=STRETCHES)


class Watch:
    """Picks the events of stretches out of a day that comes in parts."""

    def __init__(self, stretches: pa.Table) -> None:
        """`stretches`: STRETCHES as they were made."""
        self._coins, self._quotes = TextCodes(), TextCodes()
        coin = self._coins.of(stretches["mint"].combine_chunks()).astype(np.int64)
        self._known = len(self._coins)
        self._coin, self._until = coin, ints(stretches, "until")
        self._begin = coin * (OPEN_END + 1) + ints(stretches, "since")
        # By quote: the newest slot before each stretch, and after the one before it, whose event tells a price.
        self._newest = np.full((0, len(coin) + 1), -1, np.int64)

    def picked(self, part: pa.Table) -> pa.Table:
        """The BUYs and SELLs of `part` that are needed: those in a stretch, and the newest priced ones before one.

        What later parts make old is left out by a second look at all that was picked.
        """
        rows = np.flatnonzero(kinds(part["action"], "BUY", "SELL") >= 0)
        coin, quote = self._codes(self._coins, part["mint"])[rows], self._codes(self._quotes, part["quote_mint"])[rows]
        watched = (coin >= 0) & (coin < self._known) & (quote >= 0)
        rows, coin, quote = rows[watched], coin[watched], quote[watched]
        slot = ints(part, "slot")[rows]
        place = np.searchsorted(self._begin, coin * (OPEN_END + 1) + slot, side="right") - 1
        inside = (place >= 0) & (self._coin[place] == coin) & (slot <= self._until[place])
        following = np.minimum(place + 1, len(self._coin) - 1)
        before = ~inside & (self._coin[following] == coin) & (place + 1 == following) & _priced(part)[rows]
        self._make_room()
        np.maximum.at(self._newest, (quote[before], following[before]), slot[before])
        kept = inside | (before & (slot >= self._newest[quote, following]))
        return part.take(pa.array(rows[kept]))

    def _codes(self, coder: TextCodes, column: pa.ChunkedArray) -> Ints:
        return np.asarray(pc.fill_null(coder.codes(column), -1).to_numpy(), np.int64)

    def _make_room(self) -> None:
        missing = len(self._quotes) - len(self._newest)
        if missing > 0:
            more = np.full((missing, self._newest.shape[1]), -1, np.int64)
            self._newest = np.concatenate([self._newest, more])


def _priced(events: pa.Table) -> Flags:
    return (floats(events, "reserve_base_raw") > 0) & np.isfinite(floats(events, "reserve_quote_raw"))
