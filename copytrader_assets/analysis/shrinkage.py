"""Rates and means of small samples, pulled towards what wallets like them do: empirical Bayes.

Wins of wallet i are Binomial(n_i, theta_i) and theta_i is Beta(m * s, (1 - m) * s). The mean m and the strength s are
fitted to all wallets (maximum of the beta-binomial marginal likelihood under weak priors); each wallet's posterior is
Beta(m s + wins, (1 - m) s + losses). Means are Normal(theta_i, v_i / n_i), theta_i Normal(mu, tau^2), in the same way.
Sources: Efron and Morris 1975; Gelman et al., Bayesian Data Analysis, chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Its parts are loaded when they are first used: statistics alone take as long as all of Dagster.
import scipy
from scipy.special import betainc, betaincinv, betaln, expit

from copytrader_assets.analysis.grouped import Floats, Ints

_STRENGTH_CENTRE = np.log(20.0)
_STRENGTH_SPREAD = 1.5
"""A weak prior on log s: one wallet alone must neither teach nothing nor claim certainty."""
_VARIANCE_WEIGHT = 10
_LEAST_VARIANCE = 1e-12
_NORMAL_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class ShrunkenRates:
    """Posterior mean and equal-tailed 90 % interval of each rate, and the prior that all of them share."""

    mean: Floats
    low: Floats
    high: Floats
    prior_alpha: float
    prior_beta: float

    def probability_above(self, threshold: float, wins: Ints, trials: Ints) -> Floats:
        """Posterior probability that each rate is above `threshold`."""
        return np.asarray(1 - betainc(self.prior_alpha + wins, self.prior_beta + trials - wins, threshold))


def shrink(wins: Ints | Floats, trials: Ints) -> ShrunkenRates:
    """Shrunken win rates of all wallets; a wallet without trials gets the prior itself. Wins may be shares of one."""
    alpha, beta = _fit_prior(wins.astype(np.float64), trials.astype(np.float64))
    a, b = alpha + wins, beta + trials - wins
    mean = a / (a + b)
    # Where nearly nobody wins, the mean of the posterior can lie outside its own quantiles.
    low, high = np.minimum(betaincinv(a, b, 0.05), mean), np.maximum(betaincinv(a, b, 0.95), mean)
    return ShrunkenRates(mean, np.asarray(low), np.asarray(high), alpha, beta)


def _fit_prior(wins: Floats, trials: Floats) -> tuple[float, float]:
    """The Beta prior that makes the wallets' records most likely."""

    def loss(x: Floats) -> float:
        mean, strength = expit(x[0]), np.exp(x[1])
        alpha, beta = mean * strength, (1 - mean) * strength
        evidence = np.sum(betaln(alpha + wins, beta + trials - wins) - betaln(alpha, beta))
        weak = np.log(mean) + np.log1p(-mean) - ((x[1] - _STRENGTH_CENTRE) / _STRENGTH_SPREAD) ** 2 / 2
        return float(-(evidence + weak))

    pooled = (wins.sum() + 1) / (trials.sum() + 2)
    start = np.array([np.log(pooled / (1 - pooled)), _STRENGTH_CENTRE])
    best = scipy.optimize.minimize(loss, start, method="L-BFGS-B", bounds=[(-10, 10), (-1, 12)])
    mean, strength = expit(best.x[0]), np.exp(best.x[1])
    return float(mean * strength), float((1 - mean) * strength)


@dataclass(frozen=True, slots=True)
class ShrunkenMeans:
    """Posterior mean and 90 % interval of each mean."""

    mean: Floats
    low: Floats
    high: Floats


def shrink_means(means: Floats, variances: Floats, sizes: Ints) -> ShrunkenMeans:
    """Shrunken means of all wallets from the mean, variance (n - 1; NaN below two) and number of each one's values.

    A wallet's variance is itself drawn towards the pooled one, as if that had been seen in _VARIANCE_WEIGHT values
    more: three lucky trips of equal size are not certainty. All sizes must be 1 or more.
    """
    variances = _steadied(variances, sizes)
    error = variances / sizes
    mu, tau2 = _fit_normal(means, error, float(np.average(variances, weights=sizes)))
    weight = tau2 / (tau2 + error)
    mean = mu + weight * (means - mu)
    half = _NORMAL_95 * np.sqrt(weight * error)
    return ShrunkenMeans(mean, mean - half, mean + half)


def _steadied(variances: Floats, sizes: Ints) -> Floats:
    freedom = np.where(np.isfinite(variances), sizes - 1, 0)
    pooled = float(np.sum(freedom * np.nan_to_num(variances)) / max(int(freedom.sum()), 1))
    mixed = (_VARIANCE_WEIGHT * pooled + freedom * np.nan_to_num(variances)) / (_VARIANCE_WEIGHT + freedom)
    return np.asarray(np.maximum(mixed, _LEAST_VARIANCE))


def _fit_normal(means: Floats, error: Floats, scale: float) -> tuple[float, float]:
    """Mean and variance of the prior that make the wallets' means most likely; a weak prior on its spread.

    That spread is expected to be a third of the spread of single trips, give or take a factor of e.
    """
    expected = np.log(scale / 9)

    def centre(tau2: float) -> float:
        return float(np.average(means, weights=1 / (tau2 + error)))

    def loss(log_tau2: float) -> float:
        tau2 = np.exp(log_tau2)
        total = tau2 + error
        evidence = -0.5 * np.sum(np.log(total) + (means - centre(tau2)) ** 2 / total)
        return float(-evidence + ((log_tau2 - expected) / 2) ** 2 / 2)

    best = scipy.optimize.minimize_scalar(loss, bounds=(expected - 14, expected + 7), method="bounded")
    tau2 = float(np.exp(best.x))
    return centre(tau2), tau2


def spread_between(values: Floats, error2: Floats, certainty: float = 0.0) -> float:
    """The variance of the true values behind `values` with squared errors `error2`, zero where chance explains it all.

    The moment estimate of DerSimonian and Laird 1986; with `certainty` only what exceeds chance by so many standard
    errors counts.
    """
    freedom = len(values) - 1
    if freedom < 1:
        return 0.0
    precision = 1 / np.maximum(error2, _LEAST_VARIANCE)
    scatter = float((precision * (values - np.average(values, weights=precision)) ** 2).sum())
    scale = float(precision.sum() - (precision**2).sum() / precision.sum())
    return float(max(0.0, scatter - freedom - certainty * np.sqrt(2 * freedom)) / scale)
