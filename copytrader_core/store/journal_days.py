"""A day of the executor's journal as the analysis reads it: decisions with their settings, and what became of each.

Read-only. Not here: what is made of it, and the journal itself (the executor).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import psycopg

from copytrader_core.policy.record import JournalledDecision
from copytrader_core.store.partitions import day_bounds_ns

__all__ = ["decisions_of"]

_DECISIONS: Final = """
SELECT d.mode, d.leader, d.mint, d.leader_sig, d.slot, d.payload -> 'inputs', d.payload -> 'decision',
       (SELECT s.payload -> 'settings' FROM exec_journal s
        WHERE s.mode = d.mode AND s.seq < d.seq AND s.kind IN ('RUN', 'SETTINGS') AND s.payload ? 'settings'
        ORDER BY s.seq DESC LIMIT 1),
       (SELECT json_build_object('kind', o.kind, 'slot', o.slot, 'payload', o.payload) FROM exec_journal o
        WHERE o.intent_id = d.intent_id AND o.mode = d.mode AND o.kind IN ('FILL', 'REVERTED', 'EXPIRED')
        ORDER BY o.seq DESC LIMIT 1),
       (SELECT json_build_object('kind', o.kind, 'slot', o.slot, 'payload', o.payload) FROM exec_journal o
        WHERE o.leader_sig = d.leader_sig AND o.mint = d.mint AND o.mode = d.mode AND o.kind = 'FILL'
          AND o.payload ->> 'side' = 'SELL'
        ORDER BY o.seq DESC LIMIT 1)
FROM exec_journal d
WHERE d.kind = 'DECISION' AND d.at_ns >= %(start)s AND d.at_ns < %(end)s AND d.leader IS NOT NULL
ORDER BY d.mode, d.seq
"""


def decisions_of(connection: psycopg.Connection[Any], day: dt.date) -> list[JournalledDecision]:
    """Every decision of the UTC day, by the clock of the executor, each mode in order."""
    start, end = day_bounds_ns(day)
    return [JournalledDecision(*row) for row in connection.execute(_DECISIONS, {"start": start, "end": end}).fetchall()]
