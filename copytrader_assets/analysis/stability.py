"""Whether a wallet trades the same way from week to week, the newest weeks counting most.

For each figure, y are its values trip by trip, and s2 the variance of y within weeks (pooled). The means of the weeks
m_w (n_w trips, w = 0 the newest) have the exponentially weighted mean m and variance V with weights 0.7^w. Chance alone
gives V an expectation of s2 times E = sum a_w (1 - a_w) / n_w, a_w the normalised weights. What is left over,
v = max(0, V - s2 E), is change of the figure itself, and

    stability = s2 / (s2 + v)

is 1 where weeks differ no more than chance, towards 0 where the week decides everything: one minus the intraclass
correlation (Fisher 1925) with the exponential weights of RiskMetrics (1996).
"""

from __future__ import annotations

import numpy as np

from copytrader_assets.analysis.grouped import Floats, Ints, ratio, total
from copytrader_assets.analysis.sample import Sample
from copytrader_assets.analysis.window import NS_PER_DAY, day_number

WEEK_WEIGHT = 0.7
"""A week counts 0.7 of the one after it: half after two weeks."""
LEAST_TRIPS = 5
"""Weeks with fewer trips say nothing."""
_LEAST_X, _MOST_X = 0.05, 20.0
FIGURES = ("win", "multiple", "hold", "size")


def stability(sample: Sample) -> dict[str, Floats | Ints]:
    """Stability of wins, log multiples, log holds and log entry sizes, their mean, and the number of weeks.

    NaN below two weeks with LEAST_TRIPS trips.
    """
    trips = sample.trips
    week = (day_number(sample.as_of) - trips.ints("end_ns") // NS_PER_DAY) // 7
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "win": trips.flags("won").astype(np.float64),
            "multiple": np.log(np.clip(trips.floats("multiple"), _LEAST_X, _MOST_X)),
            "hold": np.log(trips.floats("held_slots") + 0.5),
            "size": np.where(trips.floats("cost_lamports") > 0, np.log(trips.floats("cost_lamports")), np.nan),
        }
    scores = {name: steadiness(trips.codes, week, values[name], sample.n) for name in FIGURES}
    known = np.stack(list(scores.values()))
    mean = ratio(np.nansum(known, axis=0), np.isfinite(known).sum(axis=0))
    cells, weeks = _cells(trips.codes, week, np.ones(len(week)), sample.n)
    return {
        "stability": mean,
        **{f"stability_{name}": score for name, score in scores.items()},
        "stability_weeks": (cells.reshape(sample.n, weeks) >= LEAST_TRIPS).sum(axis=1),
    }


def steadiness(codes: Ints, week: Ints, values: Floats, n: int) -> Floats:
    """The score of one figure for each of n wallets; `week` counts back from the newest."""
    known = np.isfinite(values)
    codes, week, values = codes[known], week[known], values[known]
    size, weeks = _cells(codes, week, np.ones(len(week)), n)
    cell = codes * weeks + week
    mean = ratio(_cells(codes, week, values, n)[0], size)
    enough = size >= LEAST_TRIPS
    inside = enough[cell]
    squares = total(codes[inside], (values[inside] - mean[cell][inside]) ** 2, n)
    enough, size, mean = enough.reshape(n, weeks), size.reshape(n, weeks), mean.reshape(n, weeks)
    freedom = np.where(enough, size - 1, 0).sum(axis=1)
    within = ratio(squares, freedom)
    weight = np.where(enough, WEEK_WEIGHT ** np.arange(weeks), 0.0)
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    mean = np.where(enough, mean, 0.0)
    centre = (weight * mean).sum(axis=1, keepdims=True)
    between = (weight * (mean - centre) ** 2).sum(axis=1)
    chance = (weight * (1 - weight) / np.maximum(size, 1)).sum(axis=1)
    left = np.maximum(between - within * chance, 0)
    # Rounding leaves a trace of variance where every value is the same.
    tiny = 1e-12 * (1 + centre[:, 0] ** 2)
    score = np.where((within <= tiny) & (left <= tiny), 1.0, ratio(within, within + left))
    return np.where(enough.sum(axis=1) >= 2, score, np.nan)


def _cells(codes: Ints, week: Ints, values: Floats, n: int) -> tuple[Floats, int]:
    """Sums by wallet and week, flat, and the number of weeks."""
    weeks = int(week.max(initial=0)) + 1
    return np.asarray(np.bincount(codes * weeks + week, values, n * weeks)), weeks
