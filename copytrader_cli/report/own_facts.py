"""Our own positions with what their decisions expected and what the leader made of the same buy. Read-only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import psycopg
from psycopg.rows import dict_row

from copytrader_cli.report.value_facts import rows_of
from copytrader_core.records import WSOL

__all__ = ["OwnTrade", "own_mode", "own_trades", "wallet_returns"]


@dataclass(frozen=True, slots=True)
class OwnTrade:
    """A position of ours, open ones with no proceeds. None is unknown.

    `expected_lamports`: what its decision expected it to bring; `wallet_x`: the leader's own return on the same buy.
    """

    leader: str
    mint: str
    opened_ns: int
    closed_ns: int | None
    cost_lamports: int
    proceeds_lamports: int | None
    exit_reason: str | None
    expected_lamports: int | None = None
    wallet_x: float | None = None

    @property
    def pnl_lamports(self) -> int | None:
        """What it brought, all costs off; None while open."""
        return None if self.proceeds_lamports is None else self.proceeds_lamports - self.cost_lamports

    @property
    def wallet_lamports(self) -> int | None:
        """What the leader made of the same buy, had it been as large as ours."""
        return None if self.wallet_x is None else round(self.wallet_x * self.cost_lamports)


_MOST_STREAMED: Final = 500
_POSITIONS: Final = """
SELECT p.leader, p.leader_sig, p.mint, p.opened_ts_ns, p.closed_ts_ns, p.cost_lamports, p.proceeds_lamports,
       p.exit_reason, coalesce(d.copy_mean_x * p.cost_lamports, d.value) AS expected_lamports
FROM exec_positions p LEFT JOIN LATERAL (
    SELECT (payload #>> '{decision,numbers,copy_mean_x}')::DOUBLE PRECISION AS copy_mean_x,
           (payload #>> '{decision,numbers,expected_value_lamports}')::DOUBLE PRECISION AS value
    FROM exec_journal j
    WHERE j.mode = p.mode AND j.kind = 'DECISION' AND j.leader_sig = p.leader_sig AND j.mint = p.mint
      AND j.payload #>> '{decision,code}' = 'ACCEPTED'
    ORDER BY j.seq DESC LIMIT 1
) d ON TRUE
WHERE p.mode = %(mode)s ORDER BY coalesce(p.closed_ts_ns, 9223372036854775807), p.opened_ts_ns
"""
# Days that are not derived yet: what the stream brought of the same wallets and coins, where a trip began with our
# signal and all of it has been sold. Later trips of the same coin are not told apart, so these are left out.
_STREAMED: Final = """
WITH ours AS (SELECT * FROM unnest(%(wallets)s::text[], %(mints)s::text[], %(sigs)s::text[]) AS o (wallet, mint, sig)),
theirs AS (
    SELECT o.wallet, o.mint, o.sig,
           (array_agg(e.sig ORDER BY e.slot, e.tx_index, e.outer_ix, e.inner_ix))[1] AS first_sig,
           sum(e.quote_raw) FILTER (WHERE e.action = 'BUY') AS paid,
           sum(e.quote_raw) FILTER (WHERE e.action = 'SELL') AS got,
           sum(CASE e.action WHEN 'BUY' THEN e.base_raw WHEN 'SELL' THEN -e.base_raw ELSE 0 END) AS held,
           sum(coalesce(e.tx_fee_lamports, 0) + coalesce(e.tip_lamports, 0)) AS fees
    FROM ours o JOIN raw_events e ON e.wallet = o.wallet AND e.mint = o.mint
    WHERE e.ts_ns >= %(since)s AND e.quote_mint = %(wsol)s GROUP BY o.wallet, o.mint, o.sig)
SELECT wallet, mint, sig, ((got - fees) / paid - 1)::DOUBLE PRECISION AS x FROM theirs
WHERE held = 0 AND paid > 0 AND first_sig = sig
"""
_WALLETS: Final = """
SELECT wallet, mint, open_sig, pnl_lamports / open_cost_lamports AS x FROM trades
WHERE list_contains($sigs, open_sig) AND basis = 'COMPLETE' AND pnl_lamports IS NOT NULL AND open_cost_lamports > 0
"""


def own_mode(connection: psycopg.Connection[Any]) -> str:
    """Whose trades the report shows: "live" as soon as there is a live position, else "paper"."""
    row = connection.execute("SELECT EXISTS (SELECT FROM exec_positions WHERE mode = 'live')").fetchone()
    return "live" if row and row[0] else "paper"


def own_trades(connection: psycopg.Connection[Any], duck: duckdb.DuckDBPyConnection, mode: str) -> list[OwnTrade]:
    """Every position of `mode`, closed ones in the order of their closing, then the open ones."""
    rows = connection.cursor(row_factory=dict_row).execute(_POSITIONS, {"mode": mode}).fetchall()
    theirs = wallet_returns(duck, [row["leader_sig"] for row in rows if row["leader_sig"]])
    theirs |= _streamed(
        connection, [row for row in rows if row["leader"] and _key(row) not in theirs], _derived_ns(duck)
    )
    return [
        OwnTrade(
            leader=row["leader"] or "",
            mint=row["mint"],
            opened_ns=row["opened_ts_ns"],
            closed_ns=row["closed_ts_ns"],
            cost_lamports=row["cost_lamports"],
            proceeds_lamports=row["proceeds_lamports"] if row["closed_ts_ns"] else None,
            exit_reason=row["exit_reason"],
            expected_lamports=None if row["expected_lamports"] is None else round(row["expected_lamports"]),
            wallet_x=theirs.get(_key(row)),
        )
        for row in rows
    ]


def wallet_returns(duck: duckdb.DuckDBPyConnection, sigs: list[str]) -> dict[tuple[str, str, str], float]:
    """Returns (profit over cost) of finished trips that began with one of `sigs`, by wallet, coin and signature."""
    found = rows_of(duck, _WALLETS, sigs=sigs) if sigs else []
    return {(row["wallet"], row["mint"], row["open_sig"]): row["x"] for row in found}


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["leader"], row["mint"], row["leader_sig"]


def _derived_ns(duck: duckdb.DuckDBPyConnection) -> int:
    """The end of the newest day with round trips."""
    row = duck.execute("SELECT max(day) + 1 FROM trades").fetchone()
    day = row[0] if row else None
    return 0 if day is None else int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1_000_000_000


def _streamed(
    connection: psycopg.Connection[Any], rows: Sequence[Mapping[str, Any]], since_ns: int
) -> dict[tuple[str, str, str], float]:
    """The same as `wallet_returns` of the newest trades of which the lake knows nothing yet."""
    asked = [row for row in rows if row["leader_sig"] and row["opened_ts_ns"] >= since_ns][-_MOST_STREAMED:]
    if not asked:
        return {}
    wallets, mints, sigs = ([row[name] for row in asked] for name in ("leader", "mint", "leader_sig"))
    values = {"wallets": wallets, "mints": mints, "sigs": sigs, "since": since_ns, "wsol": WSOL}
    return {(w, m, s): x for w, m, s, x in connection.execute(_STREAMED, values).fetchall()}
