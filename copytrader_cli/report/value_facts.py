"""What the lake says of copying each leader: values by latency and size, exits, curves, copies, calibration.

Read into plain values. Nothing is drawn here.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from copytrader_cli.report.lines import Line, running_line
from copytrader_core.settings import CopySettings

__all__ = ["Cell", "CopyLine", "LeaderValue", "ValueFacts", "rows_of", "value_facts"]

Row = Mapping[str, Any]
Cell = tuple[int, int]
"""(slots late, lamports)."""
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class CopyLine:
    """Copies of one leader at the reference latency and size, summed up in the order in which they ended."""

    line: Line
    n_landed: int
    n_reverted: int


@dataclass(frozen=True, slots=True)
class LeaderValue:
    """One leader: its row at the reference cell, and of every cell (value, low, high) of a signal as shares."""

    row: Row
    grid: Mapping[Cell, tuple[float | None, float | None, float | None]]


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """As of `as_of`, None where nothing has been replayed. `latencies` in slots, `sizes` in lamports, ascending."""

    as_of: dt.date | None = None
    latencies: Sequence[int] = ()
    sizes: Sequence[int] = ()
    reference: Cell = (0, 0)
    values: Mapping[str, LeaderValue] = field(default_factory=dict)
    exits: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    curves: Mapping[tuple[str, str], Sequence[Row]] = field(default_factory=dict)
    copies: Mapping[str, CopyLine] = field(default_factory=dict)
    calibration: Sequence[Row] = ()
    bins: Sequence[Row] = ()


def rows_of(duck: duckdb.DuckDBPyConnection, query: str, **values: Any) -> list[dict[str, Any]]:
    """The rows of a statement as dictionaries."""
    relation = duck.execute(query, values or None)
    names = [column[0] for column in relation.description or ()]
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


_COPIES = """
SELECT leader, ts_ns, hold_ms, outcome, pnl_lamports FROM copies
WHERE latency_slots = $latency AND size_lamports = $size AND outcome <> 'NO_MARKET'
  AND day > $as_of - $window AND day <= $as_of
"""


def value_facts(duck: duckdb.DuckDBPyConnection, settings: CopySettings) -> ValueFacts:
    """Everything as of the newest day with copy values; calibration of that day too."""
    found = duck.execute("SELECT max(day) FROM copy_value").fetchone()
    as_of = found[0] if found else None
    if as_of is None:
        return ValueFacts()
    rows = rows_of(duck, "SELECT * EXCLUDE (state_x, state_half_x) FROM copy_value WHERE day = $as_of", as_of=as_of)
    latencies = sorted({row["latency_slots"] for row in rows})
    sizes = sorted({row["size_lamports"] for row in rows})
    reference = _reference(latencies, sizes, settings)
    return ValueFacts(
        as_of=as_of,
        latencies=latencies,
        sizes=sizes,
        reference=reference,
        values=_values(rows, reference),
        exits=_grouped(duck, "leader_exits", as_of, "rule"),
        curves=_curves(duck, as_of),
        copies=_copies(duck, as_of, reference, settings.window_days),
        calibration=rows_of(duck, "SELECT * FROM calibration WHERE day = $as_of ORDER BY n_decided DESC", as_of=as_of),
        bins=rows_of(duck, "SELECT * FROM calibration_bins WHERE day = $as_of ORDER BY kind, bin", as_of=as_of),
    )


def _reference(latencies: Sequence[int], sizes: Sequence[int], settings: CopySettings) -> Cell:
    """The settings' reference cell, or the one nearest to it: the lake may have been made under other settings."""
    size = round(settings.reference_size_sol * 1e9)
    return (
        min(latencies, key=lambda slots: abs(slots - settings.reference_latency), default=0),
        min(sizes, key=lambda lamports: abs(lamports - size), default=0),
    )


def _values(rows: Sequence[Row], reference: Cell) -> dict[str, LeaderValue]:
    grids: defaultdict[str, dict[Cell, tuple[float | None, float | None, float | None]]] = defaultdict(dict)
    at_reference = {}
    for row in rows:
        cell = (row["latency_slots"], row["size_lamports"])
        grids[row["leader"]][cell] = (row["value_x"], row["value_lo_x"], row["value_hi_x"])
        if cell == reference:
            at_reference[row["leader"]] = row
    return {leader: LeaderValue(row, grids[leader]) for leader, row in at_reference.items()}


def _grouped(duck: duckdb.DuckDBPyConnection, table: str, as_of: dt.date, order: str) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    query = f"SELECT * FROM {table} WHERE day = $as_of ORDER BY leader, {order}"  # noqa: S608 - names of our own
    for row in rows_of(duck, query, as_of=as_of):
        found[row["leader"]].append(row)
    return dict(found)


def _curves(duck: duckdb.DuckDBPyConnection, as_of: dt.date) -> dict[tuple[str, str], list[Row]]:
    """By leader and curve."""
    found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for leader, rows in _grouped(duck, "exit_curves", as_of, 'curve, "at"').items():
        for row in rows:
            found[leader, row["curve"]].append(row)
    return dict(found)


def _copies(duck: duckdb.DuckDBPyConnection, as_of: dt.date, reference: Cell, window: int) -> dict[str, CopyLine]:
    results: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    landed: defaultdict[str, int] = defaultdict(int)
    latency, size = reference
    for row in rows_of(duck, _COPIES, as_of=as_of, latency=latency, size=size, window=window):
        ended = row["ts_ns"] + (row["hold_ms"] or 0) * _NS_PER_MS
        results[row["leader"]].append((ended, row["pnl_lamports"]))
        landed[row["leader"]] += row["outcome"] == "LANDED"
    return {
        leader: CopyLine(running_line(found), landed[leader], len(found) - landed[leader])
        for leader, found in results.items()
    }
