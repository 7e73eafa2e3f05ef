"""A day of the ledger over the lake: events read bucket by bucket, folded side by side, merged into one order.

Memory is bounded by `bucket_rows` and `threads`, not by the day: a pass reads the rows of as many buckets as there are
threads. What stays until the end are the round trips themselves. Not here: the fold (analysis/ledger.py), dagster, and
what is published.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
from copytrader_assets.partitions import day_bounds_ns
from copytrader_assets.schemas import EVENTS
from copytrader_assets.spark import folded_by_spark
from copytrader_core.settings import LedgerSettings

_PART_ROWS = 65_536
# Below this a second thread costs more than it saves.
_WORTH_A_THREAD = 100_000
_PARTS_AHEAD = 2
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
    """Moves `carry` over the published events of `day`. The same for any number of buckets, threads and any engine."""
    with ThreadPoolExecutor(rules.threads) as pool:
        known = pool.submit(_facts, lake, day, carry)
        if engine == "spark":
            folded = list(folded_by_spark(lake, day, carry, known.result()[0], rules))
        else:
            folded = list(_folded(lake, day, carry, known, rules, pool))
    after = _joined(folded)
    changes = Flow.of(held_raw(carry), held_raw(after), folded)
    _, day_end_ns = day_bounds_ns(day)
    return LedgerDay(day_end_ns, [one.finished for one in folded], after, known.result()[1].and_(changes))


def _facts(lake: Lake, day: dt.date, carry: Carry) -> tuple[CoinFacts, Flow]:
    facts, flow = carry.facts(), Flow()
    for events in lake.read_parts(EVENTS.name, day, (*COIN_COLUMNS, "base_raw"), ("action", "mint", "quote_mint")):
        facts, flow = facts.after(events), flow.and_(flow_of(events))
    return facts, flow


def _folded(
    lake: Lake,
    day: dt.date,
    carry: Carry,
    known: Future[tuple[CoinFacts, Flow]],
    rules: LedgerSettings,
    pool: ThreadPoolExecutor,
) -> Iterator[Folded]:
    rows = lake.snapshot(EVENTS.name, day).rows
    buckets = max(-(-rows // rules.bucket_rows), rules.threads if rows > _WORTH_A_THREAD else 1)
    for first in range(0, buckets, rules.threads):
        wanted = range(first, min(first + rules.threads, buckets))
        found = _moves_of(lake, day, wanted, buckets, rules.threads)
        facts, _ = known.result()
        tasks = [
            pool.submit(ledger_bucket, found.pop(b), of_bucket(carry, b, buckets), facts, day_bounds_ns(day)[1], rules)
            for b in wanted
        ]
        yield from (task.result() for task in tasks)


def _moves_of(lake: Lake, day: dt.date, wanted: range, buckets: int, threads: int) -> dict[int, pa.Table]:
    """One pass over the day's events: the moves of the wanted buckets."""

    def split(events: pa.Table) -> list[pa.Table]:
        part = moves(events)
        owner = bucket_of(part["wallet"], buckets) if buckets > 1 else None
        return [part if owner is None else part.filter(pa.array(owner == bucket)) for bucket in wanted]

    parts = list(_side_by_side(split, lake.read_parts(EVENTS.name, day, EVENT_COLUMNS, DICTIONARIES), threads))
    return {b: pa.concat_tables([MOVES.empty_table(), *(part[i] for part in parts)]) for i, b in enumerate(wanted)}


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
