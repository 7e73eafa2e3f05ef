"""How late our own live orders landed, and how many never did, as the executor's journal tells.

A buy is late from its leader's slot on, which is where a backtest decides. A sale is late from the first attempt at it
on: live an attempt that is lost is followed by the next one, so that a sale comes late rather than never. What landed
with an error has landed: whether the price allows it is the replay's own question. Read-only; not here: what is made of
it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import psycopg

from copytrader_core.records import LandingCount, OrderSide
from copytrader_core.store.partitions import day_bounds_ns

__all__ = ["OrderLine", "counted", "own_landings"]

_LOST: Final = -1
_LINES: Final = """
SELECT kind, intent_id, leader_sig || ' ' || mint AS about, slot,
       CASE WHEN kind = 'DECISION' THEN (payload #>> '{inputs,signal,slot}')::BIGINT END AS signal_slot
FROM exec_journal
WHERE mode = 'live' AND intent_id IS NOT NULL AND at_ns >= %(start)s AND at_ns < %(end)s
  AND kind IN ('DECISION', 'EXIT', 'SEND', 'FILL', 'REVERTED', 'EXPIRED', 'ROLLED_BACK')
ORDER BY seq
"""


class OrderLine(NamedTuple):
    """A line of the journal about an order; `about` is the same for a buy and the sales of what it bought."""

    kind: str
    intent_id: str
    about: str
    slot: int
    signal_slot: int | None = None


def own_landings(connection: psycopg.Connection[Any], last: dt.date, window_days: int) -> list[LandingCount]:
    """Our live orders of the `window_days` up to the end of `last` (UTC), as it was known then, by side and slots."""
    start, _ = day_bounds_ns(last - dt.timedelta(days=window_days - 1))
    _, end = day_bounds_ns(last)
    rows = connection.execute(_LINES, {"start": start, "end": end}).fetchall()
    return counted(OrderLine(*row) for row in rows)


def counted(lines: Iterable[OrderLine]) -> list[LandingCount]:
    """Orders that left and have come to an end, by side and slots late (-1: never), in that order."""
    orders = _Orders()
    for line in lines:
        orders.hear(line)
    counts = Counter(orders.ended.values())
    return [LandingCount(side, late, n) for (side, late), n in sorted(counts.items())]


class _Orders:
    """Since when each order is waited for, and how it has ended so far: the last word counts."""

    def __init__(self) -> None:
        self.ended: dict[str, tuple[OrderSide, int]] = {}
        self._since: dict[str, tuple[OrderSide, int]] = {}
        self._sent: set[str] = set()
        self._selling: dict[str, int] = {}
        """The slot of the first attempt at a sale that has not landed yet."""

    def hear(self, line: OrderLine) -> None:
        """Takes the next line."""
        if line.kind == "DECISION" and line.signal_slot is not None:
            self._since[line.intent_id] = ("BUY", line.signal_slot)
        elif line.kind == "EXIT":
            self._since[line.intent_id] = ("SELL", self._selling.setdefault(line.about, line.slot))
        elif line.kind == "SEND":
            self._sent.add(line.intent_id)
        elif line.intent_id in self._since and line.intent_id in self._sent:
            self._ends(line, *self._since[line.intent_id])

    def _ends(self, line: OrderLine, side: OrderSide, since: int) -> None:
        if line.kind == "ROLLED_BACK":
            self.ended.pop(line.intent_id, None)
            if side == "SELL":
                self._selling[line.about] = since
        elif line.kind != "EXPIRED":
            self.ended[line.intent_id] = (side, max(0, line.slot - since))
            self._selling.pop(line.about, None)
        elif side == "BUY":
            self.ended[line.intent_id] = (side, _LOST)
