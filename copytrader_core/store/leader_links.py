"""Filling `raw_events.leader_wallet`, the one column that is written after an event has landed.

Works inside the caller's transaction. Not here: which buy followed whom.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import psycopg

from copytrader_core.store.partitions import day_bounds_ns

Link: TypeAlias = tuple[str, int, int, int, str]
"""(sig, outer_ix, inner_ix, event_seq, leader)."""

_TABLE: Final = """
CREATE TEMP TABLE leaders_of_day (
    sig TEXT, outer_ix INTEGER, inner_ix INTEGER, event_seq INTEGER, leader_wallet TEXT
) ON COMMIT DROP
"""
_COPY: Final = "COPY leaders_of_day (sig, outer_ix, inner_ix, event_seq, leader_wallet) FROM STDIN"
# The bounds leave every other day's partition alone.
_FILL: Final = """
UPDATE raw_events e SET leader_wallet = l.leader_wallet FROM leaders_of_day l
WHERE (e.sig, e.outer_ix, e.inner_ix, e.event_seq) = (l.sig, l.outer_ix, l.inner_ix, l.event_seq)
  AND e.ts_ns >= %(start)s AND e.ts_ns < %(end)s AND e.leader_wallet IS DISTINCT FROM l.leader_wallet
"""
_CLEAR: Final = """
UPDATE raw_events e SET leader_wallet = NULL
WHERE e.ts_ns >= %(start)s AND e.ts_ns < %(end)s AND e.leader_wallet IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM leaders_of_day l
    WHERE (e.sig, e.outer_ix, e.inner_ix, e.event_seq) = (l.sig, l.outer_ix, l.inner_ix, l.event_seq))
"""


def fill_leaders(connection: psycopg.Connection[Any], day: dt.date, links: Iterable[Link]) -> int:
    """Makes the day's leaders exactly `links` and returns how many rows changed; the same again changes none."""
    start, end = day_bounds_ns(day)
    connection.execute("DROP TABLE IF EXISTS leaders_of_day")
    connection.execute(_TABLE)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for link in links:
            copy.write_row(link)
    connection.execute("ANALYZE leaders_of_day")
    bounds = {"start": start, "end": end}
    return sum(connection.execute(statement, bounds).rowcount for statement in (_CLEAR, _FILL))
