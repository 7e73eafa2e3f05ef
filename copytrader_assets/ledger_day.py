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
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.coin_facts import COIN_COLUMNS, CoinFacts
from copytrader_assets.analysis.ledger import Folded, ledger_bucket, of_bucket
from copytrader_assets.analysis.moves import DICTIONARIES, EVENT_COLUMNS, MOVES, bucket_of, moves
from copytrader_assets.analysis.trip_checks import Flow, flow_of, held_raw
from copytrader_assets.analysis.trip_order import age_order, end_order, key_order, merged
from copytrader_assets.analysis.trip_rows import open_rows, trades_rows
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import EVENTS
from copytrader_assets.spark import folded_by_spark
from copytrader_core.settings import LedgerSettings

_PART_ROWS = 65_536
_PARTS_AHEAD = 2
_COIN_ROWS = 500_000
_KEPT_MS = 1_000
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
        parts = merged(self.finished, end_order, _PART_ROWS)
        return _side_by_side(partial(trades_rows, day_end_ns=self.day_end_ns), parts, rules.threads)

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
    coins = _Coins(carry.facts())
    if engine == "spark":
        for events in _read(lake, day, (*COIN_COLUMNS, "base_raw")):
            coins.read(events)
        folded = list(folded_by_spark(lake, day, carry, coins.facts(), rules))
    else:
        with ThreadPoolExecutor(rules.threads) as pool:
            folded = list(_folded(lake, day, carry, coins, rules, pool))
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

    def __init__(self, facts: CoinFacts) -> None:
        self.flow = Flow()
        self._facts = facts
        self._waiting: list[pa.Table] = []

    def read(self, events: pa.Table) -> None:
        """The next part of the day. Several are taken together: each time all coins are encoded anew."""
        self.flow = self.flow.and_(flow_of(events))
        self._waiting.append(events.select(COIN_COLUMNS))
        if sum(part.num_rows for part in self._waiting) >= _COIN_ROWS:
            self.facts()

    def facts(self) -> CoinFacts:
        """The facts after all that was read."""
        if self._waiting:
            self._facts = self._facts.after(pa.concat_tables(self._waiting))
            self._waiting = []
        return self._facts


def _folded(
    lake: Lake, day: dt.date, carry: Carry, coins: _Coins, rules: LedgerSettings, pool: ThreadPoolExecutor
) -> Iterator[Folded]:
    buckets = max(1, -(-lake.snapshot(EVENTS.name, day).rows // rules.bucket_rows))
    for first in range(0, buckets, rules.buckets_at_once):
        wanted = range(first, min(first + rules.buckets_at_once, buckets))
        found = _moves_of(lake, day, wanted, buckets, coins if first == 0 else None, rules.threads)
        tasks = [pool.submit(_fold, found, b, buckets, carry, coins.facts(), lake.end_ns(day), rules) for b in wanted]
        yield from (task.result() for task in tasks)


def _fold(
    found: dict[int, pa.Table],
    bucket: int,
    buckets: int,
    carry: Carry,
    facts: CoinFacts,
    day_end_ns: int,
    rules: LedgerSettings,
) -> Folded:
    """One bucket; its moves are dropped as soon as they are read."""
    return ledger_bucket(found.pop(bucket), of_bucket(carry, bucket, buckets), facts, day_end_ns, rules)


def _moves_of(
    lake: Lake, day: dt.date, wanted: range, buckets: int, coins: _Coins | None, threads: int
) -> dict[int, pa.Table]:
    """One pass over the day's events: the moves of the wanted buckets, and the coins on the way if asked for."""
    columns = EVENT_COLUMNS if coins is None else tuple(dict.fromkeys((*EVENT_COLUMNS, *COIN_COLUMNS)))
    found: dict[int, list[pa.Table]] = {bucket: [MOVES.empty_table()] for bucket in wanted}
    for events, split in _side_by_side(
        partial(_split, wanted=wanted, buckets=buckets), _read(lake, day, columns), threads
    ):
        if coins is not None:
            coins.read(events)
        for bucket, part in zip(wanted, split, strict=True):
            found[bucket].append(part)
    return {bucket: pa.concat_tables(parts) for bucket, parts in found.items()}


def _read(lake: Lake, day: dt.date, columns: Sequence[str]) -> Iterator[pa.Table]:
    return lake.read_parts(EVENTS.name, day, columns, DICTIONARIES)


def _split(events: pa.Table, wanted: range, buckets: int) -> tuple[pa.Table, list[pa.Table]]:
    """The events, and the moves of each wanted bucket in their order."""
    part = moves(events)
    if buckets == 1:
        return events, [part]
    owner = bucket_of(part["wallet"], buckets)
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(wanted.start, wanted.stop + 1))
    chosen = part.take(pa.array(order[starts[0] : starts[-1]]))
    return events, [chosen.slice(a - starts[0], b - a) for a, b in pairwise(starts)]


def _joined(folded: Sequence[Folded]) -> Carry:
    """The state of all buckets together, in an order that does not depend on them."""
    held = list(merged([one.carry.held for one in folded], age_order, _PART_ROWS))
    written_off = pa.concat_tables(one.carry.written_off for one in folded)
    in_order = written_off.take(pa.array(key_order(written_off)))
    return Carry(pa.concat_tables(held), in_order)


def _side_by_side(work: Callable[[pa.Table], _Done], parts: Iterator[pa.Table], threads: int) -> Iterator[_Done]:
    """`work` of each part, in order, a few parts ahead of who reads them."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Done]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > _PARTS_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
