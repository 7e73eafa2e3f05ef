"""One row per wallet: how it trades, as of the end of a day. The formulas are in docs/methods.md.

Pure: Arrow in, Arrow out. In two steps, so that wallets can be measured in buckets: `measure` sums up the facts of some
wallets, `publishable` estimates across all of them. What belongs elsewhere: the facts of a day (day_facts), round trips
(ledger), the network scores (network, scores), and reading or publishing tables (assets).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.activity import activity
from copytrader_assets.analysis.columns import floats, places
from copytrader_assets.analysis.day_facts import DayFacts
from copytrader_assets.analysis.exit_style import ClosedTrips, exit_styles
from copytrader_assets.analysis.grouped import Flags, Floats, Groups, Ints
from copytrader_assets.analysis.holds import holds
from copytrader_assets.analysis.outcomes import MOST_ROI, money, targets, wins
from copytrader_assets.analysis.sample import Sample
from copytrader_assets.analysis.shrinkage import shrink, shrink_means
from copytrader_assets.analysis.stability import stability
from copytrader_assets.analysis.window import TripWindow
from copytrader_core.settings import PatternSettings

Columns = dict[str, object]

_QUICK_LOSS_MS = 60_000
"""Where the coin's price path is unknown, a loss taken within this time counts as taken soon after a fall."""
_RATES = {
    "win_rate": ("won", "sample_trades"),
    "win_rate_all": ("won_all", "all_trades"),
    "hold_over": ("held_over", "hold_over_trials"),
}
"""Estimated rates: the columns of their successes and trials."""


def measure(
    facts: DayFacts,
    names: Sequence[str],
    window: TripWindow,
    *,
    as_of: date,
    history: date,
    settings: PatternSettings,
    until_ns: int | None = None,
) -> Columns:
    """The measures of the wallets `names`, with the counts that `publishable` needs. `history`: first observed day.

    `until_ns`: until when what is held was observed, None for the end of the as-of day.
    """
    wallets = pa.array(names, pa.string())
    sample = Sample.of(facts, wallets, window, as_of, history, until_ns)
    columns: Columns = {"wallet": np.array(names, dtype=object), "since_ns": sample.since_ns}
    columns |= wins(sample) | activity(sample) | money(sample) | targets(sample) | stability(sample)
    columns |= holds(sample, round(settings.hold_over_seconds * 1000))
    return columns | _styles(sample, settings) | _slippage(sample)


def publishable(
    parts: Sequence[Columns],
    schema: pa.Schema,
    *,
    aliases: Mapping[str, str | None],
    as_of: date,
    window: TripWindow,
    scores: pa.Table | None = None,
) -> pa.Table:
    """One table (`schema`, by wallet) of the measures of all buckets, with what is estimated across the wallets.

    `scores`: wallet, followership_score, leader_score. A wallet without a finished trip in the window has no row.
    """
    if not parts:
        return pa.schema([field.with_nullable(True) for field in schema]).empty_table()
    columns = _together(parts)
    some = np.asarray(columns["sample_trades"]) > 0
    some_wallets = np.flatnonzero(some).astype(np.int64)
    columns = {name: _taken(values, some_wallets) for name, values in columns.items()}
    columns["all_trades"] = np.asarray(columns["sample_trades"]) + np.asarray(columns["marked_trades"])
    names = pa.array(columns["wallet"], pa.string())
    columns |= _rates(columns) | _returns(columns) | _network(scores, names)
    columns["alias"] = pa.array([aliases.get(name) for name in names.to_pylist()], pa.string())
    columns["as_of"] = pa.array([as_of] * len(names), pa.date32())
    columns["window_name"] = pa.array([window.name] * len(names), pa.string())
    table = pa.table({field.name: _column(columns[field.name], field) for field in schema})
    return table.sort_by("wallet")


def _styles(sample: Sample, settings: PatternSettings) -> Columns:
    """The exit style of the CLOSED trips. Holds are counted in slots, which are finer than block times."""
    closed = sample.trips.where(sample.trips.flags("closed"))
    known, quick = closed.flags("fell_known"), closed.floats("hold_ms") <= _QUICK_LOSS_MS
    lost = closed.floats("multiple") < 1
    trips = ClosedTrips(
        codes=closed.codes,
        held=closed.floats("held_slots"),
        multiple=np.nan_to_num(closed.floats("multiple")),
        in_parts=closed.flags("in_parts"),
        after_fall=np.where(known, closed.flags("fell"), quick & lost),
        fall_share=np.where(known, closed.floats("fall_share"), np.nan),
    )
    styles = exit_styles(trips, sample.n, settings.min_style_trades)
    return {"typical_exit_style": styles.style, "exit_style_confidence": styles.confidence}


def _slippage(sample: Sample) -> Columns:
    """Quantiles of what each wallet's buys paid above the spot before them, in its parts too, and of the delay."""
    buys, n = sample.buys, sample.n
    groups = {name: Groups.of(buys.codes, buys.floats(name), n) for name in ("whole", "fee", "impact", "delay")}
    columns: Columns = {
        "slippage_buys": groups["whole"].sizes,
        "slippage_delay_buys": groups["delay"].sizes,
        "slippage_p50": groups["whole"].quantile(0.5),
        "slippage_pctl_95": groups["whole"].quantile(0.95),
    }
    for name in ("fee", "impact", "delay"):
        columns[f"slippage_{name}_p50"] = groups[name].quantile(0.5)
        columns[f"slippage_{name}_p95"] = groups[name].quantile(0.95)
    return columns


def _rates(columns: Columns) -> Columns:
    """The posteriors of all rates; a wallet without a trial has none."""
    result: Columns = {}
    for name, (successes, trials) in _RATES.items():
        n = np.asarray(columns[trials])
        some = n > 0
        rates = shrink(np.asarray(columns[successes])[some], n[some])
        result |= _estimate(name, some, rates.mean, rates.low, rates.high)
    return result


def _returns(columns: Columns) -> Columns:
    """The posterior of pnl / cost, within what it can be."""
    n = np.asarray(columns["roi_trades"])
    some = n > 0
    if not some.any():
        return _estimate("roi", some, *(np.zeros(0) for _ in range(3)))
    means = shrink_means(np.asarray(columns["roi_capped"])[some], np.asarray(columns["roi_variance"])[some], n[some])
    return _estimate("roi", some, *(np.clip(v, -1, MOST_ROI) for v in (means.mean, means.low, means.high)))


def _estimate(name: str, some: Flags, mean: Floats, low: Floats, high: Floats) -> Columns:
    result: Columns = {}
    for part, values in (("shrunk", mean), ("lo", low), ("hi", high)):
        spread = np.full(len(some), np.nan)
        spread[some] = values
        result[f"{name}_{part}"] = spread
    return result


def _network(scores: pa.Table | None, names: pa.Array) -> Columns:
    """The network scores by wallet: 0 for a wallet that nobody follows, NULL where no scores were given."""
    missing = np.full(len(names), np.nan if scores is None else 0.0)
    result: Columns = {}
    for name in ("followership_score", "leader_score"):
        values = missing.copy()
        if scores is not None:
            known = scores.filter(pc.is_in(scores["wallet"], names))
            values[places(known["wallet"], names)] = floats(known, name)
        result[name] = values
    return result


def _together(parts: Sequence[Columns]) -> Columns:
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(arrays: Sequence[object]) -> object:
    if isinstance(arrays[0], pa.Array):
        return pa.concat_arrays(arrays)
    return np.concatenate([np.asarray(array) for array in arrays])


def _taken(values: object, rows: Ints) -> object:
    return values.take(pa.array(rows)) if isinstance(values, pa.Array) else np.asarray(values)[rows]


def _column(values: object, field: pa.Field) -> pa.Array:
    """A result column in its field's type: NaN becomes NULL, integers are rounded half to even."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        rounded = np.rint(values) if pa.types.is_integer(field.type) else values
        return pc.cast(pa.array(rounded, from_pandas=True), field.type)
    return values if isinstance(values, pa.Array) else pa.array(values, field.type)
