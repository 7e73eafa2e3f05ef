"""A day of the ledger over the lake: events read bucket by bucket, folded side by side, merged into one order.

Memory is bounded by `bucket_rows` and `buckets_at_once`, not by the day: a pass over the file keeps the rows of so many
buckets. What stays until the end are the round trips themselves. Not here: the fold (analysis/ledger.py), dagster, and
what is published.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.ahead import one_ahead
from copytrader_assets.analysis.coin_facts import COIN_COLUMNS, CoinFacts, CoinWatch
from copytrader_assets.analysis.ledger import Folded, ledger_bucket, of_bucket
from copytrader_assets.analysis.moves import (
    DICTIONARIES,
    EVENT_COLUMNS,
    MOVES,
    as_moves,
    bucket_of,
    moves_a_position,
)
from copytrader_assets.analysis.text_codes import TextCodes
from copytrader_assets.analysis.trip_checks import Flow, flow_of, held_raw
from copytrader_assets.analysis.trip_order import age_order, end_order, key_order, merged
from copytrader_assets.analysis.trip_rows import open_rows, trades_rows
from copytrader_assets.analysis.trip_tables import Carry, texts
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import EVENTS
from copytrader_assets.spark import folded_by_spark
from copytrader_core.settings import LedgerSettings

_PART_ROWS = 65_536
_PARTS_AHEAD = 2
# As long as what is done with a day in between, so that the next day of a range finds the memory of this one. A page
# that was given back costs more than the work on it: taking it anew is 4 us on a virtual machine.
_KEPT_MS = 60_000
_ENCODED = (*DICTIONARIES, "wallet", "fee_payer", "mint")
_MOVING = ["pays" if name == "fee_payer" else name for name in EVENT_COLUMNS]
_CODED = {"wallet": pa.int32(), "mint": pa.int32()}
_NO_MOVES = pa.schema([(f.name, _CODED.get(f.name, f.type)) for f in MOVES]).empty_table()
_Part = TypeVar("_Part")
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class LedgerDay:
    """What one day did. `finished` are FINISHED rows by bucket, `carry` is the state at its end, in published order."""

    day_end_ns: int
    finished: Sequence[pa.Table]
    carry: Carry
    flow: Flow

    def trades(self, rules: LedgerSettings) -> Iterator[pa.Table]:
        """The rows of `trades`, in parts."""
        parts = merged(self.finished, end_order, _PART_ROWS, plain=True)
        return _side_by_side(lambda part: trades_rows(part.table(), self.day_end_ns), parts, rules.threads)

    def open_positions(self, rules: LedgerSettings) -> Iterator[pa.Table]:
        """The rows of `open_positions`, in parts."""
        held = self.carry.held
        parts = (held.slice(start, _PART_ROWS) for start in range(0, max(held.num_rows, 1), _PART_ROWS))
        return _side_by_side(partial(open_rows, default_fee_ppm=rules.mark_fee_ppm), parts, rules.threads)

    def ends(self) -> Mapping[str, int]:
        """How many round trips closed and how many died."""
        dead = sum(int(np.count_nonzero(table["is_dead"].to_numpy())) for table in self.finished)
        return {"closed": sum(table.num_rows for table in self.finished) - dead, "dead": dead}


def ledger_day(
    lake: Lake, day: dt.date, carry: Carry, rules: LedgerSettings, engine: Literal["threads", "spark"] = "threads"
) -> LedgerDay:
    """Moves `carry` over the published events of `day`. The same for any number of buckets, passes, threads, engine."""
    _reuse_memory()
    if engine == "spark":
        coins = _Coins(carry.facts(), TextCodes())
        for events in _read(lake, day, (*COIN_COLUMNS, "base_raw")):
            coins.read(events)
        folded = list(folded_by_spark(lake, day, carry, coins.facts(), rules))
    else:
        owners = _Owners(max(1, -(-lake.snapshot(EVENTS.name, day).rows // rules.bucket_rows)))
        coins = _Coins(carry.facts(), owners.mints)
        with ThreadPoolExecutor(rules.threads) as pool:
            folded = list(_folded(lake, day, carry, owners, coins, rules, pool))
    after = _joined(folded)
    changes = Flow.of(held_raw(carry), held_raw(after), folded)
    return LedgerDay(lake.end_ns(day), [one.finished for one in folded], after, coins.flow.and_(changes))


def _reuse_memory() -> None:
    """Arrow keeps what it frees for a while.

    Its usual pool gives large blocks back at once and takes them anew, page by page, for every part: on a virtual
    machine that took as long as the work itself.
    """
    if "jemalloc" in pa.supported_memory_backends():
        pa.jemalloc_set_decay_ms(_KEPT_MS)
        pa.set_memory_pool(pa.jemalloc_memory_pool())


class _Coins:
    """What the day's events say of the coins and of the amounts, read along with the first pass."""

    def __init__(self, facts: CoinFacts, mints: TextCodes) -> None:
        """The events may have codes of `mints` in place of the coins' names."""
        self.flow = Flow()
        self._watch = CoinWatch(facts, mints)

    def read(self, events: pa.Table) -> None:
        """The next part of the day."""
        self.flow = self.flow.and_(flow_of(events))
        self._watch.see(events)

    def facts(self) -> CoinFacts:
        """The facts after all that was read."""
        return self._watch.facts()


@dataclass(slots=True)
class _Owners:
    """The wallets and coins of a day as codes, and the bucket of each wallet."""

    buckets: int
    wallets: TextCodes = field(default_factory=TextCodes)
    mints: TextCodes = field(default_factory=TextCodes)
    _bucket: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def coded(self, events: pa.Table) -> tuple[pa.Table, NDArray[np.int32]]:
        """The next part of the day with codes in place of texts, and the bucket of each of its rows."""
        known = len(self.wallets)
        wallets, payers = (self.wallets.codes(events[name]) for name in ("wallet", "fee_payer"))
        self._bucket = np.concatenate([self._bucket, bucket_of(self.wallets.names(known), self.buckets)])
        pays = pc.fill_null(pc.equal(wallets, payers), False)
        events = events.drop_columns(["fee_payer"]).append_column("pays", pays)
        for name, codes in (("wallet", wallets), ("mint", self.mints.codes(events["mint"]))):
            events = events.set_column(events.schema.get_field_index(name), name, codes)
        return events, self._bucket[wallets.to_numpy()]


def _folded(
    lake: Lake,
    day: dt.date,
    carry: Carry,
    owners: _Owners,
    coins: _Coins,
    rules: LedgerSettings,
    pool: ThreadPoolExecutor,
) -> Iterator[Folded]:
    buckets = owners.buckets
    for first in range(0, buckets, rules.buckets_at_once):
        wanted = range(first, min(first + rules.buckets_at_once, buckets))
        found = _moves_of(lake, day, wanted, owners, coins if first == 0 else None, rules.threads)
        facts, names = coins.facts(), (owners.wallets.names(), owners.mints.names())
        tasks = [pool.submit(_fold, found, b, buckets, names, carry, facts, lake.end_ns(day), rules) for b in wanted]
        yield from (task.result() for task in tasks)


def _fold(
    found: dict[int, list[pa.Table]],
    bucket: int,
    buckets: int,
    names: tuple[pa.Array, pa.Array],
    carry: Carry,
    facts: CoinFacts,
    day_end_ns: int,
    rules: LedgerSettings,
) -> Folded:
    """One bucket; its moves are dropped as soon as they are read."""
    moves = pa.concat_tables(found.pop(bucket))
    for name, dictionary in zip(("wallet", "mint"), names, strict=True):
        moves = _named(moves, name, dictionary)
    return ledger_bucket(moves, of_bucket(carry, bucket, buckets), facts, day_end_ns, rules)


def _named(table: pa.Table, name: str, names: pa.Array) -> pa.Table:
    """The column of codes as texts, of a dictionary of those only that are there."""
    codes = pc.fill_null(table[name], -1).to_numpy()
    return table.set_column(table.schema.get_field_index(name), name, texts(codes, names))


def _moves_of(
    lake: Lake, day: dt.date, wanted: range, owners: _Owners, coins: _Coins | None, threads: int
) -> dict[int, list[pa.Table]]:
    """One pass over the day's events: the moves of the wanted buckets, and the coins on the way if asked for.

    Wallets and coins are the codes of `owners`.
    """
    columns = EVENT_COLUMNS if coins is None else tuple(dict.fromkeys((*EVENT_COLUMNS, *COIN_COLUMNS)))
    found: dict[int, list[pa.Table]] = {bucket: [_NO_MOVES] for bucket in wanted}
    parts = (owners.coded(events) for events in one_ahead(_read(lake, day, columns)))
    for events, split in _side_by_side(partial(_split, wanted=wanted), parts, threads):
        if coins is not None:
            coins.read(events)
        for bucket, part in split.items():
            found[bucket].append(part)
    return found


def _read(lake: Lake, day: dt.date, columns: Sequence[str]) -> Iterator[pa.Table]:
    return lake.read_parts(EVENTS.name, day, columns, _ENCODED, row_groups=1)


def _split(coded: tuple[pa.Table, NDArray[np.int32]], wanted: range) -> tuple[pa.Table, dict[int, pa.Table]]:
    """The events, and the moves of each wanted bucket in their order."""
    events, owner = coded
    moving = moves_a_position(events)
    place = np.where(moving & (owner >= wanted.start) & (owner < wanted.stop), owner - wanted.start, len(wanted))
    # Integers of 8 or 16 bits are sorted by counting.
    order = np.argsort(place.astype(np.min_scalar_type(len(wanted))), kind="stable")
    sizes = np.bincount(place, minlength=len(wanted) + 1)[:-1]
    chosen = as_moves(events.select(_MOVING).take(pa.array(order[: sizes.sum()])))
    starts = np.cumsum(sizes) - sizes
    return events, {b: chosen.slice(starts[n], sizes[n]) for n, b in enumerate(wanted)}


def _joined(folded: Sequence[Folded]) -> Carry:
    """The state of all buckets together, in an order that does not depend on them."""
    with ThreadPoolExecutor(1) as pool:
        written_off = pool.submit(_by_key, [one.carry.written_off for one in folded])
        parts = merged([one.carry.held for one in folded], age_order, _PART_ROWS)
        return Carry(pa.concat_tables([part.table() for part in parts]), written_off.result())


def _by_key(written_off: Sequence[pa.Table]) -> pa.Table:
    whole = pa.concat_tables(written_off)
    return whole.take(pa.array(key_order(whole)))


def _side_by_side(work: Callable[[_Part], _Done], parts: Iterator[_Part], threads: int) -> Iterator[_Done]:
    """`work` of each part, in order, a few parts ahead of who reads them."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Done]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > _PARTS_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
