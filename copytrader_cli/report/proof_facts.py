"""What days say of our own executor after the fact: its shadow book by guard, how its record equals a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from copytrader_assets.analysis.shadow import GuardAudit, Overlap, Shadow, audit, overlaps
from copytrader_cli.report.value_facts import rows_of

__all__ = ["ProofFacts", "proof_facts"]


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """Guards of own trading, the one that avoided most first; decisions by where record and replay part."""

    guards: Sequence[GuardAudit] = ()
    overlaps: Sequence[Overlap] = ()
    causes: Mapping[str, int] = field(default_factory=dict)


# Days of before there was `also` have no such column.
_SHADOWS = "SELECT * FROM shadow_book WHERE mode = $mode"
_CAUSES = "SELECT cause, count(*) AS n FROM parity WHERE mode = $mode GROUP BY cause ORDER BY n DESC, cause"


def proof_facts(duck: duckdb.DuckDBPyConnection, mode: str) -> ProofFacts:
    """Of every day that has been derived."""
    shadows = [_shadow(row) for row in rows_of(duck, _SHADOWS, mode=mode)]
    return ProofFacts(
        audit(shadows), overlaps(shadows), {row["cause"]: row["n"] for row in rows_of(duck, _CAUSES, mode=mode)}
    )


def _shadow(row: Mapping[str, Any]) -> Shadow:
    pnl, spend, reason = row["pnl_lamports"] or 0, row["spend_lamports"] or 0, row["exit_reason"] or ""
    signal = (row["leader"], row["mint"], row["sig"], row["code"])
    return Shadow(*signal, row["outcome"], pnl, spend, reason, tuple(filter(None, (row.get("also") or "").split(","))))
