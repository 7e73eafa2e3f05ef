"""Our own positions with what their decisions expected and what the leader made of the same buy. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import duckdb
import psycopg
from psycopg.rows import dict_row

from copytrader_cli.report.value_facts import rows_of

__all__ = ["OwnTrade", "own_mode", "own_trades", "wallet_returns"]


@dataclass(frozen=True, slots=True)
class OwnTrade:
    """A position of ours, open ones with no proceeds. None is unknown.

    `expected_x`: mean return that its decision expected; `wallet_x`: the leader's own return on the same buy.
    """

    leader: str
    mint: str
    opened_ns: int
    closed_ns: int | None
    cost_lamports: int
    proceeds_lamports: int | None
    exit_reason: str | None
    expected_x: float | None = None
    wallet_x: float | None = None

    @property
    def pnl_lamports(self) -> int | None:
        """What it brought, all costs off; None while open."""
        return None if self.proceeds_lamports is None else self.proceeds_lamports - self.cost_lamports

    @property
    def expected_lamports(self) -> int | None:
        """What it was expected to bring."""
        return None if self.expected_x is None else round(self.expected_x * self.cost_lamports)

    @property
    def wallet_lamports(self) -> int | None:
        """What the leader made of the same buy, had it been as large as ours."""
        return None if self.wallet_x is None else round(self.wallet_x * self.cost_lamports)


_POSITIONS: Final = """
SELECT p.leader, p.leader_sig, p.mint, p.opened_ts_ns, p.closed_ts_ns, p.cost_lamports, p.proceeds_lamports,
       p.exit_reason, d.expected_x
FROM exec_positions p LEFT JOIN LATERAL (
    SELECT (payload #>> '{decision,numbers,copy_mean_x}')::DOUBLE PRECISION AS expected_x FROM exec_journal j
    WHERE j.mode = p.mode AND j.kind = 'DECISION' AND j.leader_sig = p.leader_sig AND j.mint = p.mint
      AND j.payload #>> '{decision,code}' = 'ACCEPTED'
    ORDER BY j.seq DESC LIMIT 1
) d ON TRUE
WHERE p.mode = %(mode)s ORDER BY coalesce(p.closed_ts_ns, 9223372036854775807), p.opened_ts_ns
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
    return [
        OwnTrade(
            leader=row["leader"] or "",
            mint=row["mint"],
            opened_ns=row["opened_ts_ns"],
            closed_ns=row["closed_ts_ns"],
            cost_lamports=row["cost_lamports"],
            proceeds_lamports=row["proceeds_lamports"] if row["closed_ts_ns"] else None,
            exit_reason=row["exit_reason"],
            expected_x=row["expected_x"],
            wallet_x=theirs.get((row["leader"], row["mint"], row["leader_sig"])),
        )
        for row in rows
    ]


def wallet_returns(duck: duckdb.DuckDBPyConnection, sigs: list[str]) -> dict[tuple[str, str, str], float]:
    """Returns (profit over cost) of finished trips that began with one of `sigs`, by wallet, coin and signature."""
    found = rows_of(duck, _WALLETS, sigs=sigs) if sigs else []
    return {(row["wallet"], row["mint"], row["open_sig"]): row["x"] for row in found}
