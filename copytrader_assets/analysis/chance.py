"""What chance alone would make of a pair: nulls, p-values and the control of many tests at once."""

from __future__ import annotations

import numpy as np

# Its parts are loaded when they are first used: statistics alone take as long as all of Dagster.
import scipy
from scipy.special import betainc, gammainc

from copytrader_assets.analysis.grouped import Floats, Ints


def benjamini_hochberg(p: Floats, n_tests: int) -> Floats:
    """q-values of `p` among `n_tests` tests, of which those that are not given have p = 1.

    q of the i-th smallest p is min over j >= i of p_j * n_tests / j. Source: Benjamini and Hochberg 1995.
    """
    order = np.argsort(p)
    scaled = p[order] * n_tests / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def binomial_tail(k: Ints, n: Ints, p: Floats) -> Floats:
    """P(X >= k) for X ~ Binomial(n, p)."""
    k, n = np.maximum(k, 0).astype(np.float64), n.astype(np.float64)
    return np.where(k <= 0, 1.0, betainc(np.maximum(k, 1), np.maximum(n - k + 1, 1e-9), np.clip(p, 0, 1)))


def poisson_tail(k: Ints, mean: Floats) -> Floats:
    """P(X >= k) for X ~ Poisson(mean)."""
    return np.where(k <= 0, 1.0, gammainc(np.maximum(k, 1).astype(np.float64), mean))


def bootstrap_quantile(k: Ints, n: Ints, level: float) -> Floats:
    """The `level` quantile of the bootstrapped share k/n.

    Resampling n yes-or-no outcomes with replacement gives Binomial(n, k/n)/n exactly, so nothing has to be drawn.
    """
    n = np.maximum(n, 1)
    return np.asarray(scipy.stats.binom.ppf(level, n, np.clip(k / n, 0, 1)) / n)
