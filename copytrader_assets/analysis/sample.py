"""The facts that count for each wallet in one window, with the wallets as integer codes.

Not here: what is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.columns import flags, floats, ints, places
from copytrader_assets.analysis.day_facts import DayFacts
from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.window import NS_PER_DAY, TripWindow, day_number, end_ns, start_ns


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows of one kind of facts and the wallet code of each."""

    table: pa.Table
    codes: Ints

    @classmethod
    def of(cls, table: pa.Table, names: pa.Array) -> Counted:
        """The rows of the wallets `names`."""
        codes = places(table["wallet"], names)
        mine = codes >= 0
        return cls(table.filter(pa.array(mine)), codes[mine])

    def where(self, keep: Flags) -> Counted:
        """Some of the rows."""
        return Counted(self.table.filter(pa.array(keep)), self.codes[keep])

    def ints(self, name: str) -> Ints:
        """A column of whole numbers."""
        return ints(self.table, name)

    def floats(self, name: str) -> Floats:
        """A column of numbers, unknown as NaN."""
        return floats(self.table, name)

    def flags(self, name: str) -> Flags:
        """A column of truths, unknown as false."""
        return flags(self.table[name])

    def per_wallet(self, n: int) -> Ints:
        """How many rows each wallet has."""
        return np.bincount(self.codes, minlength=n).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Sample:
    """One window of `n` wallets as of a day. `since_ns`: from when on each wallet's trips count."""

    n: int
    as_of: date
    since_ns: Ints
    days: Ints
    """Days of each wallet's window that are observed, the as-of day among them."""
    trips: Counted
    buys: Counted
    held: Counted
    """Every COMPLETE position that is held at the end, whenever it was opened."""
    marks: Counted
    end_ns: int
    """Until when what is held was observed: the end of the as-of day, or earlier while that day is running."""

    @classmethod
    def of(
        cls,
        facts: DayFacts,
        names: pa.Array,
        window: TripWindow,
        as_of: date,
        history: date,
        until_ns: int | None = None,
    ) -> Sample:
        """The sample of the wallets `names`; `history` is the first day that is observed at all."""
        n, end = len(names), end_ns(as_of)
        since = np.full(n, start_ns(window.first_day(as_of, history)), dtype=np.int64)
        trips = Counted.of(facts.trips, names)
        ended = trips.ints("end_ns")
        trips = trips.where((ended >= since[trips.codes]) & (ended < end))
        if window.last is not None:
            trips, since = _last(trips, since, window.last)
        buys, held, marks = (Counted.of(table, names) for table in (facts.buys, facts.held, facts.marks))
        at = buys.ints("ts_ns")
        first = np.maximum(since // NS_PER_DAY, day_number(history))
        inside = (marks.ints("open_day") >= first[marks.codes]) & (marks.ints("day") >= first[marks.codes])
        return cls(
            n=n,
            as_of=as_of,
            since_ns=since,
            days=day_number(as_of) + 1 - first,
            trips=trips,
            buys=buys.where((at >= since[buys.codes]) & (at < end)),
            held=held,
            marks=marks.where(inside & (marks.ints("day") <= day_number(as_of))),
            end_ns=end if until_ns is None else until_ns,
        )

    @property
    def size(self) -> Ints:
        """Finished trips of each wallet."""
        return self.trips.per_wallet(self.n)

    @property
    def opened(self) -> Counted:
        """The held positions that were opened in the window."""
        return self.held.where(self.held.ints("open_ts_ns") >= self.since_ns[self.held.codes])


def _last(trips: Counted, since: Ints, last: int) -> tuple[Counted, Ints]:
    """Each wallet's last `last` trips, and the end of the one before them as the beginning of its window."""
    ended = trips.ints("end_ns")
    recent = _recency(trips.codes, ended, trips.ints("open_slot")) < last
    since = since.copy()
    np.maximum.at(since, trips.codes[~recent], ended[~recent])
    return trips.where(recent), since


def _recency(codes: Ints, ended: Ints, opened: Ints) -> Ints:
    """0 for each wallet's latest trip, 1 for the one before it, and so on."""
    order = np.lexsort((-opened, -ended, codes))
    sizes = np.bincount(codes[order]) if len(codes) else np.zeros(0, dtype=np.int64)
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank
