"""One row per wallet: how it trades, as of the end of a day. The formulas are in docs/methods.md.

Pure: Arrow in, Arrow out. What belongs elsewhere: round trips (ledger), the network scores (network, scores), and
reading or publishing tables (assets).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis.columns import flags, floats, ints, places
from copytrader_assets.analysis.exit_context import fell_before_exit, sold_in_parts
from copytrader_assets.analysis.exit_style import ClosedTrips, exit_styles
from copytrader_assets.analysis.grouped import Flags, Floats, Groups, Ints, count, distinct, ratio, total
from copytrader_assets.analysis.shrinkage import shrink
from copytrader_assets.analysis.slippage import entry_slippage
from copytrader_assets.analysis.survival import median_hold_ms
from copytrader_assets.analysis.window import NS_PER_DAY, NS_PER_HOUR, NS_PER_MS, Window
from copytrader_core.records import LAMPORTS_PER_SOL
from copytrader_core.settings import PatternSettings

PATTERN_SCHEMA = pa.schema(
    [
        pa.field("wallet", pa.string(), nullable=False),
        ("alias", pa.string()),
        pa.field("sample_days", pa.int64(), nullable=False),
        pa.field("sample_trades", pa.int64(), nullable=False),
        ("win_rate", pa.float64()),
        ("win_rate_shrunk", pa.float64()),
        ("win_rate_lo", pa.float64()),
        ("win_rate_hi", pa.float64()),
        ("avg_daily_trades", pa.float64()),
        ("avg_entry_sol", pa.float64()),
        ("p50_entry_sol", pa.float64()),
        ("p90_entry_sol", pa.float64()),
        ("p50_hold_ms", pa.int64()),
        ("p90_hold_ms", pa.int64()),
        ("km_p50_hold_ms", pa.int64()),
        ("p50_target_x", pa.float64()),
        ("p90_target_x", pa.float64()),
        ("typical_exit_style", pa.string()),
        ("exit_style_confidence", pa.float64()),
        ("slippage_pctl_95", pa.float64()),
        ("avg_pnl_sol", pa.float64()),
        ("pnl_sol", pa.float64()),
        ("pnl_volatility_sol", pa.float64()),
        ("followership_score", pa.float64()),
        ("leader_score", pa.float64()),
        ("preferred_time_window", pa.string()),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)
"""The columns of `wallet_patterns` without those that a release adds."""

_QUICK_LOSS_MS = 60_000
"""Where the coin's price path is unknown, a loss taken within this time counts as taken soon after a fall."""


def wallet_patterns(
    trips: pa.Table,
    open_positions: pa.Table,
    events: pa.Table,
    *,
    wallets: Mapping[str, str | None],
    as_of: date,
    settings: PatternSettings,
    scores: pa.Table | None = None,
    observed_days: int | None = None,
    slot_ms: float = 400.0,
) -> pa.Table:
    """The fingerprints of `wallets` (address to alias) as of the end of `as_of`, by address (PATTERN_SCHEMA).

    `trips`: rows of the lake's `trades` that closed or died in the window; INCOMPLETE ones and what lies outside the
    window are left out. `open_positions`: what is held at the end of `as_of`. `events`: the window's events, of every
    wallet for the price paths (the wallets' own suffice for everything else). `scores`: wallet, followership_score,
    leader_score. `observed_days`: complete days in the window; by default from the first day that the input shows.
    A wallet without a trip in the window has no row.
    """
    window = Window.ending(as_of, settings.window_days)
    names = pa.array(sorted(wallets), pa.string())
    sample = _Sample.of(trips, names, window, settings.last_trades)
    days = observed_days or _observed_days(trips, events, window)
    columns: dict[str, object] = {
        "wallet": names,
        "alias": pa.array([wallets[name] for name in names.to_pylist()], pa.string()),
        "as_of": pa.array([as_of] * len(names), pa.date32()),
    }
    columns |= _activity(sample, days) | _win_rates(sample) | _money(sample) | _targets(sample)
    columns |= _holds(sample, open_positions, names) | _styles(sample, events, settings, slot_ms)
    columns |= {"slippage_pctl_95": _slippage(events, names, window)} | _network(scores, names)
    table = pa.table(
        {field.name: _column(columns[field.name], field) for field in PATTERN_SCHEMA}, schema=PATTERN_SCHEMA
    )
    return table.filter(pa.array(sample.size > 0))


@dataclass(frozen=True, slots=True)
class _Sample:
    """The trips that count, with their wallet codes and the time since which each wallet is observed."""

    table: pa.Table
    codes: Ints
    n: int
    since_ns: Ints
    window: Window

    @classmethod
    def of(cls, trips: pa.Table, names: pa.Array, window: Window, last: int | None) -> _Sample:
        """COMPLETE trips of the wallets that ended in the window; at most the last `last` of each wallet."""
        ended = _end_ns(trips, window)
        keep = pc.and_(pc.is_in(trips["wallet"], names), pc.equal(trips["basis"], "COMPLETE"))
        keep = pc.and_(keep, pc.is_in(trips["status"], pa.array(["CLOSED", "DEAD"])))
        inside = (ended >= window.start_ns) & (ended < window.end_ns) & keep.to_numpy(zero_copy_only=False)
        table, ended = trips.filter(pa.array(inside)), ended[inside]
        codes = places(table["wallet"], names)
        since = np.full(len(names), window.start_ns, dtype=np.int64)
        if last is not None:
            recent = _recency(codes, ended, np.asarray(ints(table, "open_slot"))) < last
            np.maximum.at(since, codes[~recent], ended[~recent])
            table, codes = table.filter(pa.array(recent)), codes[recent]
        return cls(table, codes, len(names), since, window)

    @property
    def size(self) -> Ints:
        """Trips of each wallet."""
        return np.bincount(self.codes, minlength=self.n).astype(np.int64)

    @property
    def closed(self) -> Flags:
        """Trips that ended with a sale."""
        return flags(pc.equal(self.table["status"], "CLOSED"))

    @property
    def multiple(self) -> Floats:
        """Proceeds over cost, in the coin's own quote; NaN where nothing was paid."""
        return ratio(floats(self.table, "close_proceeds_raw"), floats(self.table, "open_cost_raw"))


def _activity(sample: _Sample, days: int) -> dict[str, object]:
    """How often and when: days with an ended trip, trips per observed day, the hours that hold half of the opens."""
    day = _end_ns(sample.table, sample.window) // NS_PER_DAY
    hour = ints(sample.table, "open_ts_ns") // NS_PER_HOUR % 24
    opens = np.bincount(sample.codes * 24 + hour, minlength=sample.n * 24).reshape(sample.n, 24)
    return {
        "sample_days": distinct(sample.codes, day, sample.n),
        "sample_trades": sample.size,
        "avg_daily_trades": sample.size / days,
        "preferred_time_window": preferred_hours(opens),
    }


def preferred_hours(opens: NDArray[np.int_]) -> NDArray[np.object_]:
    """The shortest circular run of UTC hours that holds half of each row's opens, as "HH-HH" (end exclusive).

    Of several, the one with most opens, then the earliest start.
    """
    result = np.full(len(opens), None, dtype=object)
    half = opens.sum(axis=1) / 2
    running = np.zeros_like(opens)
    undecided = half > 0
    for width in range(1, 25):
        running = running + np.roll(opens, -(width - 1), axis=1)
        best = running.argmax(axis=1)
        done = undecided & (running[np.arange(len(opens)), best] >= half)
        for row in np.flatnonzero(done):
            result[row] = f"{best[row]:02d}-{(best[row] + width) % 24:02d}"
        undecided &= ~done
    return result


def _win_rates(sample: _Sample) -> dict[str, object]:
    """Raw and shrunken share of trips with a profit. A DEAD trip is a loss, whatever it had sold before."""
    won = (floats(sample.table, "pnl_raw") > 0) & sample.closed
    wins = count(sample.codes, won, sample.n)
    some = sample.size > 0
    rates = shrink(wins[some], sample.size[some])
    result: dict[str, object] = {"win_rate": ratio(wins, sample.size)}
    for name, values in (("shrunk", rates.mean), ("lo", rates.low), ("hi", rates.high)):
        spread = np.full(sample.n, np.nan)
        spread[some] = values
        result[f"win_rate_{name}"] = spread
    return result


def _money(sample: _Sample) -> dict[str, object]:
    """Entry sizes and profits in SOL, over the trips that are quoted in SOL.

    Sums are of whole lamports, which float64 adds exactly up to 2^53 of them (nine million SOL).
    """
    in_sol = flags(pc.is_valid(sample.table["open_cost_lamports"]))
    table, codes = sample.table.filter(pa.array(in_sol)), sample.codes[in_sol]
    cost, pnl = floats(table, "open_cost_lamports"), floats(table, "pnl_lamports")
    size = np.bincount(codes, minlength=sample.n)
    entries = Groups.of(codes, cost / LAMPORTS_PER_SOL, sample.n)
    pnl_sol = np.where(size > 0, total(codes, pnl, sample.n) / LAMPORTS_PER_SOL, np.nan)
    mean = ratio(pnl_sol, size)
    squares = total(codes, (pnl / LAMPORTS_PER_SOL - mean[codes]) ** 2, sample.n)
    return {
        "avg_entry_sol": ratio(total(codes, cost, sample.n) / LAMPORTS_PER_SOL, size),
        "p50_entry_sol": entries.quantile(0.5),
        "p90_entry_sol": entries.quantile(0.9),
        "pnl_sol": pnl_sol,
        "avg_pnl_sol": mean,
        "pnl_volatility_sol": np.sqrt(ratio(squares, np.maximum(size - 1, 0))),
    }


def _targets(sample: _Sample) -> dict[str, object]:
    """Quantiles of proceeds over cost of the CLOSED trips."""
    multiples = Groups.of(sample.codes, np.where(sample.closed, sample.multiple, np.nan), sample.n)
    return {"p50_target_x": multiples.quantile(0.5), "p90_target_x": multiples.quantile(0.9)}


def _holds(sample: _Sample, open_positions: pa.Table, names: pa.Array) -> dict[str, object]:
    """Quantiles of the CLOSED trips' holds, and the Kaplan-Meier median with open and DEAD positions censored."""
    hold = np.where(sample.closed, floats(sample.table, "hold_ms"), np.nan)
    held = Groups.of(sample.codes, hold, sample.n)
    open_rows = open_positions.filter(
        pc.and_(pc.is_in(open_positions["wallet"], names), pc.equal(open_positions["basis"], "COMPLETE"))
    )
    codes = np.concatenate([sample.codes, places(open_rows["wallet"], names)])
    opened = np.concatenate([ints(sample.table, "open_ts_ns"), ints(open_rows, "open_ts_ns")])
    ended = np.concatenate([sample.closed, np.zeros(open_rows.num_rows, dtype=np.bool_)])
    end = np.concatenate([_end_ns(sample.table, sample.window), np.full(open_rows.num_rows, sample.window.end_ns)])
    age = np.where(
        ended, np.concatenate([np.nan_to_num(hold), np.zeros(open_rows.num_rows)]), (end - opened) // NS_PER_MS
    )
    entry = np.maximum(sample.since_ns[codes] - opened, 0) // NS_PER_MS
    km = median_hold_ms(codes, age.astype(np.int64), entry, ended.astype(np.int64), sample.n)
    return {"p50_hold_ms": held.quantile(0.5), "p90_hold_ms": held.quantile(0.9), "km_p50_hold_ms": km}


def _styles(sample: _Sample, events: pa.Table, settings: PatternSettings, slot_ms: float) -> dict[str, object]:
    """The exit style of the CLOSED trips. Holds are counted in slots, which are finer than block times."""
    table, codes = sample.table.filter(pa.array(sample.closed)), sample.codes[sample.closed]
    fell, known = fell_before_exit(table, events, slot_ms)
    quick = floats(table, "hold_ms") <= _QUICK_LOSS_MS
    trips = ClosedTrips(
        codes=codes,
        held=(ints(table, "close_slot") - ints(table, "open_slot")).astype(np.float64),
        multiple=np.nan_to_num(sample.multiple[sample.closed]),
        in_parts=sold_in_parts(table),
        after_fall=np.where(known, fell, quick),
    )
    styles = exit_styles(trips, sample.n, settings.min_style_trades)
    return {"typical_exit_style": styles.style, "exit_style_confidence": styles.confidence}


def _slippage(events: pa.Table, names: pa.Array, window: Window) -> Floats:
    """The 95th percentile of what each wallet's buys in the window paid above the spot before them."""
    at = ints(events, "ts_ns")
    mine = pc.and_(pc.is_in(events["wallet"], names), pc.equal(events["action"], "BUY")).to_numpy(zero_copy_only=False)
    buys = events.filter(pa.array(mine & (at >= window.start_ns) & (at < window.end_ns)))
    return Groups.of(places(buys["wallet"], names), entry_slippage(buys).whole, len(names)).quantile(0.95)


def _network(scores: pa.Table | None, names: pa.Array) -> dict[str, object]:
    """The network scores by wallet: 0 for a wallet that nobody follows, NULL where no scores were given."""
    missing = np.full(len(names), np.nan if scores is None else 0.0)
    result: dict[str, object] = {}
    for name in ("followership_score", "leader_score"):
        values = missing.copy()
        if scores is not None:
            known = scores.filter(pc.is_in(scores["wallet"], names))
            values[places(known["wallet"], names)] = floats(known, name)
        result[name] = values
    return result


def _observed_days(trips: pa.Table, events: pa.Table, window: Window) -> int:
    """Days from the first that the input shows within the window to `as_of`."""
    seen = np.concatenate([ints(events, "ts_ns"), _end_ns(trips, window)])
    seen = seen[(seen >= window.start_ns) & (seen < window.end_ns)]
    return int((window.end_ns - 1) // NS_PER_DAY - seen.min() // NS_PER_DAY + 1) if len(seen) else window.days


def _end_ns(trips: pa.Table, window: Window) -> Ints:
    """When each trip was closed or declared dead (the last nanosecond of that day); the window's end if unknown."""
    died = pc.extract_regex(trips["meta_json"], r'"died_ts_ns": ?(?P<ns>\d+)')
    died_ns = pc.subtract(pc.cast(pc.struct_field(died, "ns"), pa.int64()), 1)
    return np.asarray(
        pc.fill_null(pc.coalesce(trips["close_ts_ns"], died_ns), window.end_ns - 1).to_numpy(), dtype=np.int64
    )


def _recency(codes: Ints, ended: Ints, opened: Ints) -> Ints:
    """0 for each wallet's latest trip, 1 for the one before it, and so on."""
    order = np.lexsort((-opened, -ended, codes))
    sizes = np.bincount(codes[order]) if len(codes) else np.zeros(0, dtype=np.int64)
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def _column(values: object, field: pa.Field) -> pa.Array:
    """A result column in its field's type: NaN becomes NULL, integers are rounded half to even."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        rounded = np.rint(values) if pa.types.is_integer(field.type) else values
        return pc.cast(pa.array(rounded, from_pandas=True), field.type)
    return values if isinstance(values, pa.Array) else pa.array(values, field.type)
