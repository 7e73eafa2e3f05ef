"""Our own copies as the executor's journal tells of them: what each decision expected, and what became of it.

Read-only. Not here: what follows from it (the analysis), and the journal itself (the executor).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, NamedTuple

import psycopg

from copytrader_core.store.partitions import day_bounds_ns

__all__ = ["OwnCopy", "own_copies"]

# The last word on the buy counts: what was rolled back may have landed again. A sale belongs to the leader's signature.
_COPIES: Final = """
SELECT d.mode, d.leader, d.at_ns,
       (d.payload #>> '{decision,entry,spend_lamports}')::BIGINT AS spend_lamports,
       (d.payload #>> '{decision,numbers,copy_landing}')::DOUBLE PRECISION AS expected_landing,
       (d.payload #>> '{decision,numbers,copy_latency_slots}')::DOUBLE PRECISION AS expected_slots,
       (d.payload #>> '{decision,numbers,copy_mean_x}')::DOUBLE PRECISION AS expected_x,
       b.kind = 'FILL' AS landed,
       CASE WHEN b.kind = 'FILL' THEN b.slot - (d.payload #>> '{inputs,signal,slot}')::BIGINT END AS slots_late,
       CASE WHEN b.kind = 'FILL' THEN
           (b.payload #>> '{expected,base_raw}')::DOUBLE PRECISION
           / nullif((b.payload ->> 'base_raw')::DOUBLE PRECISION, 0)
           * (b.payload ->> 'quote_lamports')::DOUBLE PRECISION
           / nullif((b.payload #>> '{expected,quote_lamports}')::DOUBLE PRECISION, 0) - 1 END AS entry_premium,
       (s.payload ->> 'quote_lamports')::DOUBLE PRECISION
           / nullif((s.payload #>> '{expected,quote_lamports}')::DOUBLE PRECISION, 0) - 1 AS exit_premium,
       (s.payload ->> 'pnl_lamports')::BIGINT AS pnl_lamports
FROM exec_journal d
JOIN LATERAL (
    SELECT kind, slot, payload FROM exec_journal o
    WHERE o.intent_id = d.intent_id AND o.mode = d.mode AND o.at_ns < %(end)s
      AND o.kind IN ('FILL', 'REVERTED', 'EXPIRED', 'ROLLED_BACK')
    ORDER BY o.seq DESC LIMIT 1
) b ON b.kind <> 'ROLLED_BACK'
LEFT JOIN LATERAL (
    SELECT payload FROM exec_journal o
    WHERE o.leader_sig = d.leader_sig AND o.mint = d.mint AND o.mode = d.mode AND o.at_ns < %(end)s
      AND o.kind = 'FILL' AND o.payload ->> 'side' = 'SELL' AND o.payload ? 'pnl_lamports'
    ORDER BY o.seq DESC LIMIT 1
) s ON b.kind = 'FILL'
WHERE d.kind = 'DECISION' AND d.intent_id IS NOT NULL AND d.leader IS NOT NULL
  AND d.payload #>> '{decision,code}' = 'ACCEPTED' AND d.at_ns < %(end)s
ORDER BY d.at_ns, d.seq
"""


class OwnCopy(NamedTuple):
    """One of our copies whose buy came to an end. None is unknown: not expected by its decision, not landed, not sold.

    Premiums are shares: what was paid above, or got above, the quote.
    """

    mode: str
    leader: str
    at_ns: int
    spend_lamports: int
    expected_landing: float | None
    expected_slots: float | None
    expected_x: float | None
    landed: bool
    slots_late: int | None
    entry_premium: float | None
    exit_premium: float | None
    pnl_lamports: int | None


def own_copies(connection: psycopg.Connection[Any], last: dt.date) -> list[OwnCopy]:
    """Every copy decided on up to the end of `last` (UTC), as it was known then, in order of time."""
    _, end = day_bounds_ns(last)
    return [OwnCopy(*row) for row in connection.execute(_COPIES, {"end": end}).fetchall()]
