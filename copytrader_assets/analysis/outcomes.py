"""What came of a wallet's trips: wins, multiples, profits, and the run of profits over the days.

Sums of SOL are of whole lamports, which float64 adds exactly up to 2^53 of them (nine million SOL).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from copytrader_assets.analysis.grouped import Floats, Groups, Ints, count, ratio, total
from copytrader_assets.analysis.sample import Counted, Sample
from copytrader_assets.analysis.window import NS_PER_DAY, day_number
from copytrader_core.records import LAMPORTS_PER_SOL

MOST_ROI = 4.0
"""Where pnl / cost is estimated, a trip counts with at most this: one coin of a hundredfold must not make a leader."""


def wins(sample: Sample) -> dict[str, Floats | Ints]:
    """Win rates: of all finished trips (DEAD = loss, whatever it sold before), of CLOSED ones, with open bags.

    An open position counts where it has a mark: as won where it would end above its cost if it were sold at once.
    """
    trips, opened, n = sample.trips, sample.opened, sample.n
    closed = count(trips.codes, trips.flags("closed"), n)
    won = count(trips.codes, trips.flags("won"), n)
    mark = opened.floats("marked_pnl_raw")
    marked = count(opened.codes, np.isfinite(mark), n)
    ahead = count(opened.codes, mark > 0, n)
    return {
        "sample_trades": sample.size,
        "closed_trades": closed,
        "dead_trades": sample.size - closed,
        "open_trades": opened.per_wallet(n),
        "marked_trades": marked,
        "win_rate": ratio(won, sample.size),
        "win_rate_closed": ratio(won, closed),
        "win_rate_all": ratio(won + ahead, sample.size + marked),
        "won": won,
        "won_all": won + ahead,
    }


def targets(sample: Sample) -> dict[str, Floats | Ints]:
    """Realised multiples of the CLOSED trips, and the best multiples that all of them reached while held."""
    trips, n = sample.trips, sample.n
    realised = Groups.of(trips.codes, np.where(trips.flags("closed"), trips.floats("multiple"), np.nan), n)
    best = Groups.of(trips.codes, trips.floats("best_x"), n)
    return {
        "p50_target_x": realised.quantile(0.5),
        "p90_target_x": realised.quantile(0.9),
        "p50_best_x": best.quantile(0.5),
        "p90_best_x": best.quantile(0.9),
        "best_x_trades": best.sizes,
    }


def money(sample: Sample) -> dict[str, Floats | Ints]:
    """Entry sizes and profits in SOL, over the trips that are quoted in SOL; pnl / cost over all of them."""
    n, trips = sample.n, sample.trips
    paid = trips.where(np.isfinite(trips.floats("cost_lamports")))
    cost, pnl = paid.floats("cost_lamports"), paid.floats("pnl_lamports")
    size = paid.per_wallet(n)
    entries = Groups.of(paid.codes, cost / LAMPORTS_PER_SOL, n)
    pnl_sol = np.where(size > 0, total(paid.codes, pnl, n) / LAMPORTS_PER_SOL, np.nan)
    mean = ratio(pnl_sol, size)
    return {
        "avg_entry_sol": ratio(total(paid.codes, cost, n) / LAMPORTS_PER_SOL, size),
        "p50_entry_sol": entries.quantile(0.5),
        "p90_entry_sol": entries.quantile(0.9),
        "pnl_sol": pnl_sol,
        "avg_pnl_sol": mean,
        "pnl_volatility_sol": _spread(paid.codes, pnl / LAMPORTS_PER_SOL, mean, size),
        **_returns(trips, n),
        **_days(sample, paid),
    }


def _returns(trips: Counted, n: int) -> dict[str, Floats | Ints]:
    """pnl / cost: its plain mean, and count, mean and variance of the capped values for the estimate."""
    roi = trips.floats("multiple") - 1
    known = np.isfinite(roi)
    codes, roi = trips.codes[known], roi[known]
    size = np.bincount(codes, minlength=n)
    capped = np.clip(roi, -1, MOST_ROI)
    mean = ratio(total(codes, capped, n), size)
    return {
        "roi_mean": ratio(total(codes, roi, n), size),
        "roi_trades": size.astype(np.int64),
        "roi_capped": mean,
        "roi_variance": _spread(codes, capped, mean, size) ** 2,
    }


def _days(sample: Sample, paid: Counted) -> dict[str, Floats | Ints]:
    """Profit by day, realised and marked; its spread, and the largest fall of its running sum.

    The worth of day d is the pnl of the trips that ended in the window up to d, plus the marked pnl of what was opened
    in the window and held at the end of d. The running sum starts at 0 before the first day.
    """
    n = sample.n
    pnl_by_day = _grid(sample, paid.codes, paid.ints("end_ns") // NS_PER_DAY, paid.floats("pnl_lamports"))
    marks = sample.marks
    marked = _grid(sample, marks.codes, marks.ints("day"), marks.floats("pnl_lamports"))
    worth = (np.cumsum(pnl_by_day, axis=1) + marked) / LAMPORTS_PER_SOL
    change = np.diff(worth, axis=1, prepend=0.0)
    # Days before a wallet's own window are all 0: only those that it has count.
    observed = np.arange(worth.shape[1])[None, :] >= worth.shape[1] - sample.days[:, None]
    mean = change.sum(axis=1) / sample.days
    squares = np.where(observed, (change - mean[:, None]) ** 2, 0).sum(axis=1)
    high = np.maximum(np.maximum.accumulate(worth, axis=1), 0)
    some = (paid.per_wallet(n) > 0) | (marks.per_wallet(n) > 0)
    return {
        "open_pnl_sol": np.where(_marked_now(sample), marked[:, -1] / LAMPORTS_PER_SOL, np.nan),
        "avg_daily_pnl_sol": np.where(some, mean, np.nan),
        "daily_pnl_volatility_sol": np.where(some, np.sqrt(ratio(squares, np.maximum(sample.days - 1, 0))), np.nan),
        "max_drawdown_sol": np.where(some, (high - worth).max(axis=1), np.nan),
    }


def _marked_now(sample: Sample) -> NDArray[np.bool_]:
    today = sample.marks.where(sample.marks.ints("day") == day_number(sample.as_of))
    return today.per_wallet(sample.n) > 0


def _grid(sample: Sample, codes: Ints, day: Ints, values: Floats) -> Floats:
    """Sums by wallet and day, from the first day of the longest window to the as-of day."""
    width = int(sample.days.max(initial=1))
    column = day - (day_number(sample.as_of) + 1 - width)
    return np.asarray(np.bincount(codes * width + column, values, sample.n * width).reshape(sample.n, width))


def _spread(codes: Ints, values: Floats, mean: Floats, size: Ints) -> Floats:
    """Standard deviation (n - 1) of each group's values; NaN below two."""
    squares = total(codes, (values - mean[codes]) ** 2, len(mean))
    return np.sqrt(ratio(squares, np.maximum(size - 1, 0)))
