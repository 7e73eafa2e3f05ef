"""What days say of our own executor after the fact: its shadow book by guard, how its record equals a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from copytrader_assets.analysis.shadow import GuardAudit, Shadow, audit
from copytrader_cli.report.value_facts import rows_of

__all__ = ["ProofFacts", "proof_facts"]


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """Guards of own trading, the one that avoided most first; decisions by where record and replay part."""

    guards: Sequence[GuardAudit] = ()
    causes: Mapping[str, int] = field(default_factory=dict)


_SHADOWS = """
SELECT leader, mint, sig, code, outcome, coalesce(pnl_lamports, 0) AS pnl, coalesce(spend_lamports, 0) AS spend,
       coalesce(exit_reason, '') AS reason
FROM shadow_book WHERE mode = $mode
"""
_CAUSES = "SELECT cause, count(*) AS n FROM parity WHERE mode = $mode GROUP BY cause ORDER BY n DESC, cause"


def proof_facts(duck: duckdb.DuckDBPyConnection, mode: str) -> ProofFacts:
    """Of every day that has been derived."""
    shadows = [
        Shadow(r["leader"], r["mint"], r["sig"], r["code"], r["outcome"], r["pnl"], r["spend"], r["reason"])
        for r in rows_of(duck, _SHADOWS, mode=mode)
    ]
    return ProofFacts(audit(shadows), {row["cause"]: row["n"] for row in rows_of(duck, _CAUSES, mode=mode)})
