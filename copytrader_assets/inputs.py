"""What the windowed assets are computed from: the days that must be in the lake, and a hash of what stood there.

A window with a hole looks like a quiet market, and a result of changed days like one of the present ones: both are
refused.
Each function returns messages or facts; the assets decide what they mean.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from copytrader_assets.lake import Lake
from copytrader_assets.proof_schemas import LANDINGS
from copytrader_assets.schemas import (
    EVENTS,
    FOLLOW_EDGES,
    LEADER_SCORES,
    OPEN_POSITIONS,
    TRADES,
    WALLET_PATTERNS,
    Table,
)
from copytrader_assets.value_schemas import COPIES, COPY_EXITS
from copytrader_core.settings import settings

INPUTS: Final = "inputs_hash"
WINDOWED: Final = (FOLLOW_EDGES, LEADER_SCORES, WALLET_PATTERNS)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one day of a windowed table is computed from: snapshots of `over` on all `days`, of `at_end` on the last.

    `before`: days before the window whose events are used as well, where they are there.
    """

    days: tuple[dt.date, ...]
    over: tuple[Table, ...]
    at_end: tuple[Table, ...] = ()
    before: tuple[dt.date, ...] = ()

    @classmethod
    def of(cls, table: Table, day: dt.date, first: dt.date | None) -> Inputs:
        """The inputs of `table` on `day`, if the first events are those of `first`."""
        if table is WALLET_PATTERNS:
            days = _window(day, settings().patterns.window_days, first)
            before = tuple(days[0] - dt.timedelta(days=n) for n in range(settings().patterns.path_days, 0, -1))
            return cls(days, (EVENTS, TRADES, OPEN_POSITIONS), (LEADER_SCORES,), before)
        return cls(_window(day, settings().network.window_days, first), (EVENTS,))

    def missing(self, lake: Lake) -> str | None:
        """A message that names the first snapshot that is not there, or None."""
        gaps = [(day, table.name) for table, day in self._snapshots() if not lake.has(table.name, day)]
        if not gaps:
            return None
        day, name = min(gaps)
        return f"{name} {day} is missing in the lake: run `copytrader materialize --from {day} --to {self.days[-1]}`"

    def content_hash(self, lake: Lake) -> str:
        """One hash over what all of them hold. They must be there."""
        earlier = [(EVENTS, day) for day in self.before if lake.has(EVENTS.name, day)]
        snapshots = [*earlier, *self._snapshots()]
        lines = [f"{t.name} {day} {lake.snapshot(t.name, day).content_hash}" for t, day in snapshots]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _snapshots(self) -> Iterator[tuple[Table, dt.date]]:
        yield from ((table, day) for table in self.over for day in self.days)
        yield from ((table, self.days[-1]) for table in self.at_end)


def first_day(lake: Lake, first_sealed: dt.date | None) -> dt.date | None:
    """The first day that is known to have events, in the lake or by its seal."""
    in_lake = next((day for day in lake.days(EVENTS.name) if lake.snapshot(EVENTS.name, day).rows), None)
    return min((day for day in (in_lake, first_sealed) if day is not None), default=None)


def stale(lake: Lake, table: Table, day: dt.date, first: dt.date | None) -> str | None:
    """Why the published `day` of a windowed table does not stand on what is published now, or None."""
    inputs = Inputs.of(table, day, first)
    if problem := inputs.missing(lake):
        return problem
    if lake.snapshot(table.name, day).facts.get(INPUTS) == inputs.content_hash(lake):
        return None
    return (
        f"{table.name} {day} was computed from other days than the published ones {inputs.days[0]} to {day}: "
        f"run `copytrader materialize --from {day} --to {day}`"
    )


@dataclass(frozen=True, slots=True)
class CopyInputs:
    """What the values of one day are computed from: round trips of the window, the copies of its days, our landings.

    Copies are demanded from the first day on that has any: before that nothing has been replayed.
    """

    trips: Inputs
    copies: Inputs

    @classmethod
    def of(cls, lake: Lake, day: dt.date, first: dt.date | None) -> CopyInputs:
        """The inputs of `day`, if the first events are those of `first`."""
        days = settings().copies.window_days
        replayed = [one for table in (COPIES, COPY_EXITS) for one in lake.days(table.name) if one <= day]
        copied = _window(day, days, min(replayed)) if replayed else ()
        return cls(Inputs(_window(day, days, first), (TRADES, OPEN_POSITIONS)), Inputs(copied, (COPIES, COPY_EXITS)))

    def missing(self, lake: Lake) -> str | None:
        """A message that names the first snapshot that is not there, or None."""
        return self.trips.missing(lake) or (self.copies.missing(lake) if self.copies.days else None)

    def content_hash(self, lake: Lake) -> str:
        """One hash over what all of them hold. They must be there."""
        day = self.trips.days[-1]
        ours = lake.snapshot(LANDINGS.name, day).content_hash if lake.has(LANDINGS.name, day) else ""
        all_three = self.trips.content_hash(lake) + self.copies.content_hash(lake) + ours
        return hashlib.sha256(all_three.encode()).hexdigest()

    def is_current(self, lake: Lake, table: Table, day: dt.date) -> bool:
        """Whether the published `day` of `table` was computed from what is published now."""
        if not lake.has(table.name, day) or self.missing(lake):
            return False
        return lake.snapshot(table.name, day).facts.get(INPUTS) == self.content_hash(lake)


def _window(day: dt.date, days: int, first: dt.date | None) -> tuple[dt.date, ...]:
    """The last `days` days up to `day`, but for those before `first`; `day` is always among them."""
    length = max(1, min(days, (day - (first or day)).days + 1))
    return tuple(day - dt.timedelta(days=back) for back in reversed(range(length)))
