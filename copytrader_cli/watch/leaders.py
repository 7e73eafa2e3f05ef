"""The leaders of the release in force, and what each of them is doing now. From Postgres alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

__all__ = ["Leader", "read_leaders"]

_MOST: Final = 40
_NS_PER_HOUR: Final = 3_600_000_000_000
# The last hour of the market's own time, so that a replayed market has leaders that live too.
_LEADERS: Final = """
WITH chosen AS (
    SELECT p.wallet, COALESCE(w.alias, p.alias) AS name, p.win_rate, p.sample_trades, p.p50_hold_ms, p.leader_score,
           (SELECT count(*) FROM follow_edges e WHERE e.leader = p.wallet) AS followers
    FROM wallet_patterns p LEFT JOIN wallets w ON w.wallet = p.wallet
    ORDER BY p.leader_score DESC NULLS LAST, p.sample_trades DESC, p.wallet LIMIT %(most)s)
SELECT c.*, last.ts_ns, last.action, held.n AS holds
FROM chosen c
LEFT JOIN LATERAL (
    SELECT ts_ns, action FROM raw_events e
    WHERE e.wallet = c.wallet AND e.ts_ns >= %(since_ns)s ORDER BY ts_ns DESC LIMIT 1) last ON TRUE
LEFT JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT 1 FROM raw_events e
        WHERE e.wallet = c.wallet AND e.ts_ns >= %(since_ns)s AND action IN ('BUY', 'SELL')
        GROUP BY mint
        HAVING sum(CASE action WHEN 'BUY' THEN base_raw ELSE -base_raw END) > 0.001 * sum(base_raw)) coins) held ON TRUE
ORDER BY c.leader_score DESC NULLS LAST, c.sample_trades DESC, c.wallet
"""
_NEWEST: Final = "SELECT block_time FROM ingest_checkpoint WHERE stream = 'confirmed'"


@dataclass(frozen=True, slots=True)
class Leader:
    """One leader. Of the last recorded hour: `last_ns` and `last_action` its newest event, `holds` coins bought in it
    and not sold since; None and 0 where there was none.
    """

    wallet: str
    name: str | None
    win_rate: float | None
    sample_trades: int
    p50_hold_ms: int | None
    followers: int
    last_ns: int | None
    last_action: str | None
    holds: int


def read_leaders(connection: psycopg.Connection[Any]) -> Sequence[Leader]:
    """The best leaders first, 40 at most; empty where nothing has been released."""
    cursor = connection.cursor(row_factory=dict_row)
    newest = cursor.execute(_NEWEST.encode()).fetchone()
    at_ns = int(newest["block_time"] or 0) * 1_000_000_000 if newest else 0
    rows = cursor.execute(_LEADERS.encode(), {"most": _MOST, "since_ns": at_ns - _NS_PER_HOUR}).fetchall()
    return [
        Leader(
            row["wallet"],
            row["name"],
            row["win_rate"],
            row["sample_trades"],
            row["p50_hold_ms"],
            row["followers"],
            row["ts_ns"],
            row["action"],
            row["holds"] or 0,
        )
        for row in rows
    ]
