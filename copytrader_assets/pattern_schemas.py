"""The columns and rules of the fingerprints: `wallet_patterns`, and `wallet_windows` with the same measures by window.

Not here: the other tables (schemas.py), and the formulas (docs/methods.md, analysis/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from copytrader_assets.tables import Column, Rule, Table, count, floating, milliseconds, ordered, share

if TYPE_CHECKING:
    import pandas as pd

_STYLES: Final = ("time_stop", "target_x", "panic_dump", "scale_out", "mixed")
HOURS = 24


def _estimate(name: str, about: str, ge: float, le: float | None) -> tuple[Column, ...]:
    """A shrunken estimate and its 90 % interval."""
    return (
        floating(f"{name}_shrunk", f"{about}: posterior mean", ge=ge, le=le),
        floating(f"{name}_lo", f"{about}: posterior 5 %", ge=ge, le=le),
        floating(f"{name}_hi", f"{about}: posterior 95 %", ge=ge, le=le),
    )


_NAMES = (Column("wallet", pa.string(), "the tracked wallet", nullable=False), Column("alias", pa.string(), "its name"))
_SAMPLE = (
    count("sample_days", "days of the window with a finished trip", nullable=False),
    count("sample_trades", "finished COMPLETE trips in the window", nullable=False),
    count("closed_trades", "of them CLOSED", nullable=False),
    count("dead_trades", "of them DEAD", nullable=False),
    count("open_trades", "COMPLETE positions opened in the window and held at its end", nullable=False),
    count("marked_trades", "of them with a known sell quote", nullable=False),
)
_WINS = (
    share("win_rate", "raw share with pnl > 0, DEAD = loss"),
    *_estimate("win_rate", "win_rate", 0, 1),
    share("win_rate_closed", "raw share of the CLOSED trips with pnl > 0: losers that were never sold are missing"),
    share("win_rate_all", "raw share of finished trips and marked open positions that are above their cost"),
    *_estimate("win_rate_all", "win_rate_all", 0, 1),
)
_ACTIVITY = (
    floating("avg_daily_trades", "finished trips a day", ge=0),
    floating("burstiness", "-1 a clockwork, 0 at random, 1 all at once", ge=-1, le=1),
    count("burstiness_gaps", "times between opens that it is read from", nullable=False),
    Column("opens_by_hour", pa.list_(pa.int32()), "opened trips in each UTC hour, 0 to 23", nullable=False),
    Column("preferred_time_window", pa.string(), "UTC hours of most activity"),
)
_SIZES = (
    floating("avg_entry_sol", "mean open_cost of a trip", ge=0),
    floating("p50_entry_sol", "median entry", ge=0),
    floating("p90_entry_sol", "90th percentile entry", ge=0),
)
_HOLDS = (
    milliseconds("p50_hold_ms", "median hold of CLOSED trips"),
    milliseconds("p90_hold_ms", "90th percentile hold of CLOSED trips"),
    milliseconds("km_p50_hold_ms", "median hold, censored trips included (Kaplan-Meier)"),
    milliseconds("km_p90_hold_ms", "90th percentile hold, censored trips included (Kaplan-Meier)"),
    count("censored_holds", "open and DEAD trips among them", nullable=False),
    milliseconds("hold_over_ms", "the hold that the next columns speak of (a setting)"),
    count("hold_over_trials", "trips of which it is known whether they were held longer", nullable=False),
    share("hold_over", "raw share of them that was"),
    *_estimate("hold_over", "hold_over", 0, 1),
)
_TARGETS = (
    floating("p50_target_x", "median multiple of CLOSED trips"),
    floating("p90_target_x", "90th percentile multiple of CLOSED trips"),
    floating("p50_best_x", "median of the highest multiple that was reached while held"),
    floating("p90_best_x", "its 90th percentile"),
    count("best_x_trades", "trips whose price path is known", nullable=False),
)
_EXITS = (
    Column("typical_exit_style", pa.string(), "how it leaves", isin=_STYLES),
    share("exit_style_confidence", "share of CLOSED trips that show the style"),
)
_SLIPPAGE = (
    count("slippage_buys", "buys with known reserves", nullable=False),
    floating("slippage_p50", "median of what a buy paid above the spot just before it"),
    floating("slippage_pctl_95", "95th percentile of entry slippage"),
    floating("slippage_fee_p50", "its part that is swap fees, median"),
    floating("slippage_fee_p95", "95th percentile"),
    floating("slippage_impact_p50", "its part that the buy itself moved, median"),
    floating("slippage_impact_p95", "95th percentile"),
    count("slippage_delay_buys", "buys of coins that had a price in an earlier slot", nullable=False),
    floating("slippage_delay_p50", "move from the last price of an earlier slot to the spot just before, median"),
    floating("slippage_delay_p95", "95th percentile"),
)
_MONEY = (
    floating("avg_pnl_sol", "mean pnl of a trip"),
    floating("pnl_sol", "sum of pnl"),
    floating("pnl_volatility_sol", "spread of pnl between trips (standard deviation)", ge=0),
    floating("roi_mean", "mean of pnl / cost"),
    *_estimate("roi", "pnl / cost, capped", -1, None),
    floating("open_pnl_sol", "pnl of the marked open positions"),
    floating("avg_daily_pnl_sol", "realised and marked pnl a day"),
    floating("daily_pnl_volatility_sol", "spread of it between days (standard deviation)", ge=0),
    floating("max_drawdown_sol", "largest fall of its running sum from a high before", ge=0),
)
_STABILITY = (
    share("stability", "1: weeks differ no more than chance; 0: nothing but weeks differs"),
    share("stability_win", "the same for wins alone"),
    share("stability_multiple", "for multiples"),
    share("stability_hold", "for holds"),
    share("stability_size", "for entry sizes"),
    count("stability_weeks", "weeks with enough trips", nullable=False),
)
_SCORES = (share("followership_score", "how many copy it"), share("leader_score", "how well it leads"))
_AS_OF = Column("as_of", pa.date32(), "the day whose end this is", nullable=False)
_MEASURES = (
    *_SAMPLE, *_WINS, *_ACTIVITY, *_SIZES, *_HOLDS, *_TARGETS, *_EXITS, *_SLIPPAGE, *_MONEY, *_STABILITY,
)  # fmt: skip


def _adds_up(total: str, *parts: str) -> Rule:
    return Rule(f"{total} = {' + '.join(parts)}", lambda f: f[total] == sum(f[part] for part in parts))


def _needs_sample(sample: str, *names: str) -> tuple[Rule, ...]:
    """A statistic is known exactly where it has a sample."""
    return tuple(Rule(f"{name} is NULL exactly without {sample}", _known(name, sample)) for name in names)


def _known(name: str, sample: str) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda f: f[name].notna() == (f[sample] > 0)


def _hours_add_up(frame: pd.DataFrame) -> pd.Series:
    import numpy as np

    known = frame["opens_by_hour"].notna()
    hours = [opens if there else () for opens, there in zip(frame["opens_by_hour"], known, strict=True)]
    whole = np.array([len(opens) == HOURS and min(opens) >= 0 for opens in hours], dtype=bool)
    sums = np.array([sum(opens) for opens in hours], dtype=np.int64)
    return (frame["sample_trades"] == sums) & whole


_RULES = (
    Rule("a fingerprint has a finished trip", lambda f: f["sample_trades"] >= 1),
    ordered("sample_days", "sample_trades"),
    _adds_up("sample_trades", "closed_trades", "dead_trades"),
    ordered("marked_trades", "open_trades"),
    *(
        ordered(f"{name}_lo", f"{name}_shrunk", f"{name}_hi")
        for name in ("win_rate", "win_rate_all", "hold_over", "roi")
    ),
    ordered("win_rate", "win_rate_closed"),
    ordered("p50_entry_sol", "p90_entry_sol"),
    ordered("p50_hold_ms", "p90_hold_ms"),
    ordered("km_p50_hold_ms", "km_p90_hold_ms"),
    ordered("p50_target_x", "p90_target_x"),
    ordered("p50_best_x", "p90_best_x"),
    ordered("slippage_p50", "slippage_pctl_95"),
    *(ordered(f"slippage_{part}_p50", f"slippage_{part}_p95") for part in ("fee", "impact", "delay")),
    ordered("best_x_trades", "sample_trades"),
    ordered("slippage_delay_buys", "slippage_buys"),
    Rule("opens_by_hour has 24 counts that add up to sample_trades", _hours_add_up),
    Rule("censored_holds are at most the DEAD and the open trips", lambda f: f["censored_holds"] >= f["dead_trades"]),
    *_needs_sample("closed_trades", "win_rate_closed", "p50_hold_ms", "p90_hold_ms"),
    *_needs_sample("hold_over_trials", "hold_over"),
    *_needs_sample("best_x_trades", "p50_best_x", "p90_best_x"),
    *_needs_sample("slippage_buys", "slippage_p50", "slippage_pctl_95", "slippage_fee_p50", "slippage_impact_p50"),
    *_needs_sample("slippage_delay_buys", "slippage_delay_p50", "slippage_delay_p95"),
)

WALLET_PATTERNS = Table(
    "wallet_patterns",
    "Fingerprints of the tracked wallets as of the end of the day.",
    (*_NAMES, *_MEASURES, *_SCORES, _AS_OF),
    ("wallet",),
    _RULES,
)
WALLET_WINDOWS = Table(
    "wallet_windows",
    "The same measures over other windows: last days, last trips, lifetime; one row a wallet and window.",
    (
        *_NAMES,
        Column("window_name", pa.string(), "7d, last50 or lifetime", nullable=False),
        Column("since_ns", pa.int64(), "from when on the wallet's trips count, ns UTC", nullable=False, ge=0),
        *_MEASURES,
        _AS_OF,
    ),
    ("wallet", "window_name"),
    _RULES,
)
