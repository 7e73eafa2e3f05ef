"""What Dagster's UI shows of values and calibration beside their numbers. Not here: how plots are drawn."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import dagster as dg
import pyarrow as pa

from copytrader_assets.charts import expected_and_realised
from copytrader_assets.drawing import as_markdown, bars
from copytrader_assets.publish import Shown
from copytrader_core.settings import CopySettings

_MOST_LEADERS: Final = 20


def values_shown(rows: pa.Table, copies: CopySettings) -> dict[str, Shown]:
    """How many leaders got which verdict, and the best of them at the reference latency and size."""
    size = round(copies.reference_size_sol * 1e9)
    here = [r for r in rows.to_pylist() if (r["latency_slots"], r["size_lamports"]) == (copies.reference_latency, size)]
    counts = Counter(row["verdict"] for row in here)
    names = ("COPY", "UNPROVEN", "UNCOPYABLE")
    picture = bars(f"{len(here)} leaders by verdict", names, [counts[name] for name in names])
    ranked = sorted(here, key=lambda row: -row["value_lo_x"])[:_MOST_LEADERS]
    return {
        "leaders": len(here),
        **{name.lower(): counts[name] for name in names},
        "verdicts": dg.MetadataValue.md(as_markdown(picture, "verdicts")),
        "ranking": dg.MetadataValue.md("\n".join(_ranking(ranked))),
    }


def _ranking(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| leader | verdict | tier | copies | value | at least | capacity SOL | slots late | rule |"]
    lines.append("|---|---|---|---:|---:|---:|---:|---:|---|")
    for row in rows:
        numbers = f"{row['n_landed']} | {row['value_x']:.1%} | {row['value_lo_x']:.1%}"
        limits = " | ".join("" if row[n] is None else f"{row[n]:.2f}" for n in ("capacity_sol", "break_even_slots"))
        lines.append(f"| {row['leader']} | {row['verdict']} | {row['tier']} | {numbers} | {limits} | {row['rule']} |")
    return lines


def calibration_shown(bins: pa.Table) -> dict[str, Shown]:
    """The reliability of our copies' returns, where there are any."""
    rows = [row for row in bins.to_pylist() if row["kind"] == "return"]
    if not rows:
        return {"copies": 0}
    plot = expected_and_realised([(row["expected"], row["realised"]) for row in rows])
    picture = dg.MetadataValue.md(as_markdown(plot, "returns: expected and realised"))
    return {"copies": sum(row["n_copies"] for row in rows), "reliability": picture}
