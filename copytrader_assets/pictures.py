"""What Dagster's UI shows of a partition beside its numbers: which plots and tables, of which rows.

Not here: how they are drawn (drawing.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import floats, ints
from copytrader_assets.analysis.day_facts import DayFacts
from copytrader_assets.analysis.grouped import Floats
from copytrader_assets.analysis.survival import Observed, ages_of, curve
from copytrader_assets.drawing import as_markdown, bars, steps
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES, WALLET_PATTERNS
from copytrader_core.records import LAMPORTS_PER_SOL

Shown = Mapping[str, dg.MetadataValue]

_BINS = 31
_DAYS_SHOWN = 30
_TICKS_MS = ((1e3, "1 s"), (10e3, "10 s"), (60e3, "1 min"), (600e3, "10 min"), (3600e3, "1 h"), (86400e3, "1 d"))


DRAWN: Final = {TRADES.name: ["hold_ms", "pnl_sol"], OPEN_POSITIONS.name: ["open_ts_ns"]}
"""The columns that the plots of a table are drawn from."""


def table_pictures(asset: str, parts: Sequence[pa.Table]) -> Shown:
    """The plots of a day's rows of `trades` or `open_positions` (their DRAWN columns); nothing for the others."""
    if asset not in DRAWN or not parts:
        return {}
    rows = pa.concat_tables(parts)
    if asset == TRADES.name:
        ended = np.isfinite(floats(rows, "hold_ms"))
        return {
            "pnl_histogram": _picture("pnl of the day's trips, SOL", _histogram(floats(rows, "pnl_sol"))),
            "hold_survival": _holds(
                "still held, trips that closed", np.nan_to_num(floats(rows, "hold_ms"))[ended], ended[ended]
            ),
        }
    if rows.num_rows:
        newest = int(ints(rows, "open_ts_ns").max())
        age_ms = (newest - ints(rows, "open_ts_ns")) / 1e6
        return {"ages": _picture("held coins by age, days", _by_age(age_ms / 86_400_000))}
    return {}


def fingerprint_pictures(
    lake: Lake, day: dt.date, rows: pa.Table, facts: DayFacts, newest_sealed: dt.date | None
) -> Shown:
    """The plots of the fingerprints of `day`: of the trips that they were made of, and of how fresh they are."""
    trips = facts.trips
    pnl = floats(trips, "pnl_lamports") / LAMPORTS_PER_SOL
    ended = trips["closed"].to_numpy()
    opened = np.concatenate([ints(trips, "open_ts_ns"), ints(facts.held, "open_ts_ns")])
    end = np.concatenate(
        [ints(trips, "end_ns"), np.full(facts.held.num_rows, int(ints(trips, "end_ns").max(initial=0)))]
    )
    age = np.maximum(end - opened, 0) / 1e6
    age[: len(ended)] = np.where(ended, np.nan_to_num(floats(trips, "hold_ms")), age[: len(ended)])
    closed = np.append(ended, np.zeros(facts.held.num_rows, dtype=np.bool_))
    return {
        "pnl_histogram": _picture("pnl of the window's trips, SOL", _histogram(pnl)),
        "hold_survival": _holds("still held, open and DEAD ones censored", age, closed),
        "exit_styles": _picture("wallets by exit style", _styles(rows)),
        "row_counts": dg.MetadataValue.md(_row_counts(lake, day, rows.num_rows)),
        "freshness": dg.MetadataValue.md(_freshness(day, newest_sealed)),
        "days_behind": dg.MetadataValue.int((newest_sealed - day).days if newest_sealed else 0),
    }


def _picture(title: str, svg: str) -> dg.MetadataValue:
    return dg.MetadataValue.md(as_markdown(svg, title))


def _histogram(values: Floats) -> str:
    """Bars over the middle 98 % of the values; what lies outside is in the first and the last."""
    title = f"{np.isfinite(values).sum()} trips, SOL won or lost by trip"
    values = values[np.isfinite(values)]
    if not len(values):
        return bars("no trips in SOL", [], [])
    reach = max(abs(float(np.quantile(values, q))) for q in (0.01, 0.99)) or 1.0
    edges = np.linspace(-reach, reach, _BINS + 1)
    counts = np.histogram(np.clip(values, -reach, reach), edges)[0]
    middles = (edges[:-1] + edges[1:]) / 2
    return bars(title, [f"{m:.2g}" for m in middles], counts.tolist(), losses=(middles < -1e-12).tolist())


def _holds(title: str, age_ms: Floats, ended: Floats) -> dg.MetadataValue:
    """The Kaplan-Meier curve of all of them together, over the logarithm of the time."""
    n = len(age_ms)
    zeros = np.zeros(n, dtype=np.int64)
    observed = Observed(zeros, age_ms.astype(np.int64), zeros, np.asarray(ended, dtype=np.int64))
    keys, survival = curve(observed)
    x = np.log10(np.maximum(ages_of(keys), 400))
    svg = steps(f"{title} ({n})", x, survival, [(np.log10(ms), label) for ms, label in _TICKS_MS])
    return dg.MetadataValue.md(as_markdown(svg, title))


def _by_age(days: Floats) -> str:
    edges = [0, 1 / 24, 0.25, 1, 3, 7, 30, np.inf]
    labels = ["< 1 h", "< 6 h", "< 1 d", "< 3 d", "< 7 d", "< 30 d", "older"]
    return bars(f"{len(days)} positions by age", labels, np.histogram(days, edges)[0].tolist())


def _styles(rows: pa.Table) -> str:
    found = pc.value_counts(rows["typical_exit_style"]).to_pylist()
    counts = {one["values"]: one["counts"] for one in found}
    names = ["time_stop", "target_x", "panic_dump", "scale_out", "mixed"]
    return bars(f"{rows.num_rows} wallets by exit style", names, [counts.get(name, 0) for name in names])


def _row_counts(lake: Lake, day: dt.date, here: int) -> str:
    """A table of the newest days, with the rows of each published table."""
    names = (EVENTS.name, TRADES.name, OPEN_POSITIONS.name, WALLET_PATTERNS.name)
    lines = [f"| day | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for back in range(_DAYS_SHOWN):
        date = day - dt.timedelta(days=back)
        counts = [lake.snapshot(name, date).rows if lake.has(name, date) else None for name in names]
        counts[-1] = here if back == 0 else counts[-1]
        if any(count is not None for count in counts):
            lines.append(f"| {date} | {' | '.join('-' if count is None else str(count) for count in counts)} |")
    return "\n".join(lines)


def _freshness(day: dt.date, newest_sealed: dt.date | None) -> str:
    if newest_sealed is None:
        return f"as of {day}; no day is sealed"
    behind = (newest_sealed - day).days
    state = "the newest sealed day" if behind <= 0 else f"{behind} day(s) behind the newest sealed day {newest_sealed}"
    return f"as of {day}: {state}"
