"""Estimates of many leaders drawn together by what all of them look like, however their true values are spread.

Estimate y_i has a known error s_i. The true values are z_i'b + u_i; u is a mixture of normals around 0 with scales
from 0 (everybody is what z says) to the largest spread seen, so the prior can be a point, a bell, or long-tailed.
Weights and b are fitted to all leaders at once (EM on the marginal likelihood), the point at 0 with a head start, so
that spread must be shown. Posteriors carry the error of b: with few leaders the centre itself is not known.

Sources: Stephens 2017, "False discovery rates: a new deal" (Biostatistics 18:2), with its penalty on the null weight;
Efron 2011, "Tweedie's formula and selection bias" (why such posteriors need no further correction for looking at many).
Not here: what the estimates are of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from copytrader_assets.analysis.grouped import Floats

_HEAD_START = 10.0
"""As if so many leaders more had been seen that do not differ."""
_STEP = np.sqrt(2.0)
_MAX_SCALES = 24
_ROUNDS = 100
_TOLERANCE = 1e-5
_SLOPE_SPREAD = 0.05
"""Before any data a slope is worth this much for one standard deviation of its covariate."""
_BISECTIONS = 40
_WIDE = 12.0


@dataclass(frozen=True, slots=True)
class Posterior:
    """Each leader's posterior: a mixture of normals, one row a leader, one column a scale of the prior."""

    weights: Floats
    means: Floats
    spreads: Floats

    @property
    def mean(self) -> Floats:
        """Posterior means."""
        return np.asarray((self.weights * self.means).sum(1))

    @property
    def spread(self) -> Floats:
        """Posterior standard deviations."""
        second = (self.weights * (self.means**2 + self.spreads**2)).sum(1)
        return np.asarray(np.sqrt(np.maximum(second - self.mean**2, 0)))

    def probability_above(self, threshold: float) -> Floats:
        """Posterior probability that each true value is above `threshold`."""
        return np.asarray((self.weights * ndtr((self.means - threshold) / self.spreads)).sum(1))

    def quantile(self, q: float) -> Floats:
        """The q-quantile of each posterior, by bisection."""
        low = (self.means - _WIDE * self.spreads).min(1)
        high = (self.means + _WIDE * self.spreads).max(1)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = (self.weights * ndtr((middle[:, None] - self.means) / self.spreads)).sum(1)
            low, high = np.where(below < q, middle, low), np.where(below < q, high, middle)
        return np.asarray((low + high) / 2)

    def shifted(self, by: Floats, variance: Floats) -> Posterior:
        """The posterior of the sum with something independent that has mean `by` and `variance`."""
        return Posterior(self.weights, self.means + by[:, None], np.sqrt(self.spreads**2 + variance[:, None]))


def shrink_adaptively(estimates: Floats, errors: Floats, covariates: Floats | None = None) -> Posterior:
    """Posteriors of all leaders. `errors` are standard errors above 0; `covariates` one row a leader, standardised.

    A leader with an infinite error has no data of its own and gets the prior.
    """
    design = (
        np.ones((len(estimates), 1)) if covariates is None else np.column_stack([np.ones(len(estimates)), covariates])
    )
    known = np.isfinite(errors)
    y, s2 = np.where(known, estimates, 0.0), np.where(known, errors, 0.0) ** 2
    scales2 = _scales(y[known], s2[known]) ** 2
    weights, slopes, covariance = _fit(y[known], s2[known], design[known], scales2)
    return _posterior(y, s2, known, design, scales2, weights, slopes, covariance)


def _scales(y: Floats, s2: Floats) -> Floats:
    """0 and a geometric grid from a tenth of the smallest error to twice what spread the estimates could hide."""
    if not len(y):
        return np.array([0.0, 1.0])
    least = np.sqrt(s2.min()) / 10
    most = 2 * np.sqrt(max(float(np.max((y - np.median(y)) ** 2 - s2)), 0.0)) or 8 * least
    n = int(np.ceil(np.log(max(most, 8 * least) / least) / np.log(_STEP))) + 1
    step = _STEP if n <= _MAX_SCALES else (most / least) ** (1 / (_MAX_SCALES - 1))
    return np.append(0.0, least * step ** np.arange(min(n, _MAX_SCALES)))


def _fit(y: Floats, s2: Floats, design: Floats, scales2: Floats) -> tuple[Floats, Floats, Floats]:
    """Weights of the scales, the centre's coefficients, and the covariance of these."""
    ridge = np.zeros((design.shape[1], design.shape[1]))
    ridge[1:, 1:] = np.eye(design.shape[1] - 1) / _SLOPE_SPREAD**2
    variance = scales2[None, :] + s2[:, None]
    weights = np.full(len(scales2), 1 / len(scales2))
    head_start = np.where(scales2 == 0, _HEAD_START, 0.0)
    precision = np.full(len(y), 1.0) if not len(y) else 1 / (s2 + np.var(y))
    slopes, covariance = _weighted(y, precision, design, ridge)
    for _ in range(_ROUNDS):
        share = _responsibilities((y - design @ slopes)[:, None], variance, weights)
        new = (share.sum(0) + head_start) / (len(y) + _HEAD_START)
        slopes, covariance = _weighted(y, (share / variance).sum(1), design, ridge)
        change, weights = float(np.abs(new - weights).max()), new
        if change < _TOLERANCE:
            break
    return weights, slopes, covariance


def _weighted(y: Floats, precision: Floats, design: Floats, ridge: Floats) -> tuple[Floats, Floats]:
    normal = (design * precision[:, None]).T @ design + ridge + 1e-9 * np.eye(design.shape[1])
    covariance = np.asarray(np.linalg.inv(normal), dtype=np.float64)
    return covariance @ (design.T @ (precision * y)), covariance


def _responsibilities(residuals: Floats, variance: Floats, weights: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        log = np.log(weights)[None, :] - 0.5 * (np.log(variance) + residuals**2 / variance)
    share = np.exp(log - log.max(1, keepdims=True))
    return np.asarray(share / share.sum(1, keepdims=True))


def _posterior(
    y: Floats,
    s2: Floats,
    known: np.ndarray,
    design: Floats,
    scales2: Floats,
    weights: Floats,
    slopes: Floats,
    covariance: Floats,
) -> Posterior:
    centre = design @ slopes
    doubt = np.einsum("ij,jk,ik->i", design, covariance, design)
    total = scales2[None, :] + s2[:, None]
    share = _responsibilities((y - centre)[:, None], np.maximum(total, 1e-18), weights)
    share = np.where(known[:, None], share, weights[None, :])
    own = np.where(known[:, None], scales2[None, :] / np.maximum(total, 1e-18), 0.0)
    means = centre[:, None] + own * (y - centre)[:, None]
    inside = np.where(known[:, None], own * s2[:, None], scales2[None, :])
    spreads = np.sqrt(np.maximum(inside + (1 - own) ** 2 * doubt[:, None], 1e-18))
    return Posterior(share, means, spreads)
