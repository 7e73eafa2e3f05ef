"""The running day as a lake and a warehouse of its own, so that the very same assets compute on what is there of it.

What is computed lands in a scratch folder and is thrown away; only the release leaves it, marked provisional. The lake
never holds a day that is not over, and Dagster's records never show one as materialized.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from copytrader_assets import checks
from copytrader_assets.analysis.window import end_ns
from copytrader_assets.lake import Lake, Staged
from copytrader_assets.lake_root import Root
from copytrader_assets.partitions import before, day_bounds_ns
from copytrader_assets.resources import LakeFolder, Seal, Warehouse
from copytrader_assets.schemas import WALLET_PATTERNS
from copytrader_core.errors import StoreError
from copytrader_core.settings import settings
from copytrader_core.store import days
from copytrader_core.store.days import Reach

_NS_PER_SECOND = 1_000_000_000
_COUNT = "SELECT count(*) FROM raw_events WHERE ts_ns >= %s AND ts_ns < %s AND slot <= %s"


@dataclass(frozen=True, slots=True)
class RunningLake(Lake):
    """The lake as it is, with one more day after it that is written to `root` instead."""

    base: Lake
    reach: Reach

    def days(self, asset: str) -> list[dt.date]:
        """The published days before the running one, and that one once it is written."""
        published = [day for day in self.base.days(asset) if day < self.reach.day]
        return [*published, *([self.reach.day] if self.has(asset, self.reach.day) else [])]

    def file(self, asset: str, day: dt.date) -> Root:
        """Where the day is, or will be."""
        return Lake.file(self, asset, day) if day >= self.reach.day else self.base.file(asset, day)

    def end_ns(self, day: dt.date) -> int:
        """The running day is known up to the second of its last block."""
        return (self.reach.block_time + 1) * _NS_PER_SECOND if day == self.reach.day else end_ns(day)

    def last_slot(self, day: dt.date) -> int | None:
        """The slot up to which the running day is known."""
        return self.reach.slot if day == self.reach.day else None

    def beside(self, day: dt.date) -> Root:
        """The facts of whole days are shared with the lake's."""
        return Lake.beside(self, day) if day >= self.reach.day else self.base.beside(day)

    @property
    def roots(self) -> tuple[Root, ...]:
        """The lake's folder and the scratch one."""
        return (self.root, *self.base.roots)

    def publish(self, staged: Iterable[Staged]) -> None:
        """Raises StoreError for any day but the running one: the lake itself is only read here."""
        ready = list(staged)
        for one in ready:
            if one.day != self.reach.day:
                raise StoreError(f"{one.asset} {one.day} is not the running day {self.reach.day}: nothing was written")
        Lake.publish(self, ready)


class RunningFolder(LakeFolder):
    """The lake with the running day in a scratch folder."""

    scratch: str
    day: str
    slot: int
    block_time: int

    @property
    def lake(self) -> Lake:
        """The lake and the running day after it."""
        reach = Reach(dt.date.fromisoformat(self.day), self.slot, self.block_time)
        base = Lake.at(self.root or settings().lake_location)
        return RunningLake(Path(self.scratch), base, reach)


class RunningWarehouse(Warehouse):
    """Postgres, where the running day ends with a slot and counts as sealed with what it holds until there."""

    day: str
    slot: int
    n_events: int

    def seals(self, first: dt.date, last: dt.date) -> dict[dt.date, Seal]:
        """The seals of the range, and the running day's stand-in."""
        mine = {self._running: self._stand_in()} if first <= self._running <= last else {}
        return super().seals(first, last) | mine

    def slot_times(self, day: dt.date) -> dict[int, int]:
        """Block times by slot; of the running day none after its last known slot."""
        times = super().slot_times(day)
        return {slot: at for slot, at in times.items() if slot <= self.slot} if day == self._running else times

    def _seal_in(self, connection: psycopg.Connection[Any], day: dt.date) -> Seal | None:
        return self._stand_in() if day == self._running else super()._seal_in(connection, day)

    def _last_slot(self, day: dt.date) -> int | None:
        return self.slot if day == self._running else None

    @property
    def _running(self) -> dt.date:
        return dt.date.fromisoformat(self.day)

    def _stand_in(self) -> Seal:
        return Seal(self._running, dt.datetime.now(dt.UTC), "intraday", self.n_events, None, None, 0)


def reach_or_reason(lake: Lake, warehouse: Warehouse) -> Reach | str:
    """How far the running day can be computed now, or why it cannot."""
    with warehouse.connection() as connection:
        reach = days.reach(connection)
    if reach is None:
        return "the beginning of the running day was not seen without a hole: fill it with `copytrader backfill --all`"
    seal, yesterday = warehouse.seal(reach.day), before(reach.day)
    if seal is not None and seal.unsealed_reason is None:
        return f"{reach.day} is sealed: it is computed as a whole day"
    if not lake.has(WALLET_PATTERNS.name, yesterday):
        return (
            f"{yesterday} is not published yet: {reach.day} continues it" if _begun(lake, warehouse, reach) else reach
        )
    problem = checks.seal_problem(lake, yesterday, warehouse.seal(yesterday))
    return f"{problem}: {reach.day} continues it" if problem else reach


def _begun(lake: Lake, warehouse: Warehouse, reach: Reach) -> bool:
    return bool(lake.days(WALLET_PATTERNS.name)) or warehouse.has_events_before(reach.day)


@contextmanager
def running_day(lake_root: str, warehouse: Warehouse, reach: Reach) -> Iterator[dict[str, Any]]:
    """The resources for computing the running day up to `reach`; its scratch folder is gone afterwards."""
    folder = settings().home_path / "intraday"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start, end = day_bounds_ns(reach.day)
    with warehouse.connection() as connection:
        counted = connection.execute(_COUNT, (start, end, reach.slot)).fetchone()
    day, slot = reach.day.isoformat(), reach.slot
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        yield {
            "lake_folder": RunningFolder(
                root=lake_root, scratch=scratch, day=day, slot=slot, block_time=reach.block_time
            ),
            "warehouse": RunningWarehouse(day=day, slot=slot, n_events=counted[0] if counted else 0),
        }
