"""Checks that look across days and tables: the chain of carried states, the balance of coins.

Rules of single tables stand in schemas.py. Each function returns messages; publishing decides what they mean.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.ledger import Folded
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import before
from copytrader_assets.schemas import AMOUNT, EVENTS, OPEN_POSITIONS, TRADES

GENESIS: Final = "genesis"
PARENT: Final = "parent_hash"
EVENTS_HASH: Final = "events_hash"
BALANCE: Final = "balance"
CONTINUITY: Final = "carry_forward_continuity"


def first_break(lake: Lake, last: dt.date) -> tuple[dt.date, str] | None:
    """The earliest day up to `last` whose round trips were not computed from what is published now, with the reason.

    Dagster does not show this by itself: recomputing one day leaves every later day standing on the old one.
    """
    found: tuple[dt.date, str] | None = None
    day = last
    while lake.has(OPEN_POSITIONS.name, day):
        reason = _broken(lake, day)
        found = (day, reason) if reason else found
        if lake.snapshot(OPEN_POSITIONS.name, day).facts.get(PARENT) == GENESIS:
            break
        day = before(day)
    return found


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


def balance_problem(events: pa.Table, before_raw: int, after_raw: int, folded: Folded) -> str | None:
    """A message unless bought - sold = change of what is held - sold unseen + forgotten, in raw coins.

    `before_raw` and `after_raw` are what the carry holds, written-off coins included; bought and sold are summed here
    over the events themselves, independently of the ledger.
    """
    priced = events.filter(pc.and_(pc.is_valid(events["mint"]), pc.is_valid(events["quote_mint"])))
    flow = _sum(priced, "BUY") - _sum(priced, "SELL")
    change = after_raw - before_raw - folded.unbacked_qty_raw + folded.forgotten_qty_raw
    return None if flow == change else f"the events moved {flow} raw coins, the positions {change}"


def _sum(events: pa.Table, action: str) -> int:
    amounts = events.filter(pc.equal(events["action"], action))["base_raw"]
    return int(pc.sum(amounts.cast(AMOUNT)).as_py() or 0)
