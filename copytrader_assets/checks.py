"""Checks that look across days and tables: the chain of carried states, and the seals that it stands on.

Rules of single tables stand in schemas.py, sums over a day in analysis/trip_checks.py. Each
function returns messages; publishing decides what they mean.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from copytrader_assets.lake import Lake
from copytrader_assets.partitions import before
from copytrader_assets.resources import Seal
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES

GENESIS: Final = "genesis"
PARENT: Final = "parent_hash"
EVENTS_HASH: Final = "events_hash"
BALANCE: Final = "balance"
CONTINUITY: Final = "carry_forward_continuity"
KEYS: Final = "unique_keys"
_FEWEST_DAYS: Final = 3
_FACTOR: Final = 4


def first_break(lake: Lake, last: dt.date) -> tuple[dt.date, str] | None:
    """The earliest day up to `last` whose round trips were not computed from what is published now, with the reason.

    Dagster does not show this by itself: recomputing one day leaves every later day standing on the old one.
    """
    found = ((day, _broken(lake, day)) for day in reversed(chain(lake, last)))
    return next(((day, reason) for day, reason in found if reason), None)


def chain(lake: Lake, last: dt.date) -> list[dt.date]:
    """The days that the open positions of `last` stand on, `last` included, as far as they are published."""
    days = []
    while lake.has(OPEN_POSITIONS.name, last):
        days.append(last)
        if lake.snapshot(OPEN_POSITIONS.name, last).facts.get(PARENT) == GENESIS:
            break
        last = before(last)
    return days


def _broken(lake: Lake, day: dt.date) -> str | None:
    facts = lake.snapshot(OPEN_POSITIONS.name, day).facts
    if not lake.has(EVENTS.name, day) or lake.snapshot(EVENTS.name, day).content_hash != facts.get(EVENTS_HASH):
        return f"open_positions {day} was computed from other events than the published ones"
    if lake.has(TRADES.name, day) and lake.snapshot(TRADES.name, day).facts != _chain_facts(facts):
        return f"trades {day} and open_positions {day} come from different runs of the ledger"
    previous = before(day)
    if facts.get(PARENT) == GENESIS:
        return (
            f"open_positions {day} starts from nothing, but earlier events are there now"
            if _events_before(lake, day)
            else None
        )
    if not lake.has(OPEN_POSITIONS.name, previous):
        return f"open_positions {previous} is gone, but {day} continues it"
    if lake.snapshot(OPEN_POSITIONS.name, previous).content_hash != facts.get(PARENT):
        return f"open_positions {day} continues an older open_positions {previous}"
    return None


def _chain_facts(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: facts[name] for name in (PARENT, EVENTS_HASH)}


def _events_before(lake: Lake, day: dt.date) -> bool:
    earlier = [d for d in lake.days(EVENTS.name) if d < day]
    return any(lake.snapshot(EVENTS.name, d).rows for d in earlier)


def stale_successor(lake: Lake, day: dt.date, content_hash: str) -> str | None:
    """Why the day after `day` no longer stands, if `day` is published with `content_hash`."""
    after = day + dt.timedelta(days=1)
    if not lake.has(OPEN_POSITIONS.name, after):
        return None
    if lake.snapshot(OPEN_POSITIONS.name, after).facts.get(PARENT) == content_hash:
        return None
    last = lake.days(OPEN_POSITIONS.name)[-1]
    return f"{after} continues an older {day}: run `copytrader materialize --from {after} --to {last}`"


def unlike_the_week_before(lake: Lake, day: dt.date, rows: int) -> str | None:
    """Why a day of so many events is odd beside the published ones of the week before, or None.

    Markets double and halve; what is off by more than a factor of four is rather a scope or a filter that changed.
    """
    week = [day - dt.timedelta(days=back) for back in range(1, 8)]
    sizes = [lake.snapshot(EVENTS.name, one).rows for one in week if lake.has(EVENTS.name, one)]
    usual = statistics.median(sizes) if len(sizes) >= _FEWEST_DAYS else 0
    if not usual or usual / _FACTOR <= rows <= usual * _FACTOR:
        return None
    return f"{day} has {rows} events, the days before it {usual:.0f}: did the scope or the endpoint change?"


def seal_problem(lake: Lake, day: dt.date, seal: Seal | None) -> str | None:
    """Why the published events of `day` are not those that it is sealed with, or None.

    Late events and a repeated seal change the count at once; `events` follows only when it is computed again.
    """
    if not lake.has(EVENTS.name, day) or (seal is not None and seal.dropped_at is not None):
        return None
    if seal is None:
        return f"day {day} is not sealed"
    if seal.unsealed_reason is not None:
        return f"day {day} is not sealed any more: {seal.unsealed_reason}"
    rows = lake.snapshot(EVENTS.name, day).rows
    return (
        None
        if rows == seal.n_events
        else f"events {day} holds {rows} events, but the day is sealed with {seal.n_events}"
    )


def first_outdated(lake: Lake, days: Sequence[dt.date], seals: Mapping[dt.date, Seal]) -> tuple[dt.date, str] | None:
    """The earliest of `days` whose published events are not those of its seal, with the reason."""
    found = ((day, seal_problem(lake, day, seals.get(day))) for day in sorted(days))
    return next(((day, reason) for day, reason in found if reason), None)
