"""Rates of small samples, pulled towards what wallets like them do: empirical Bayes for win rates.

Wins of wallet i are Binomial(n_i, theta_i) and theta_i is Beta(m * s, (1 - m) * s). The mean m and the strength s are
fitted to all wallets (maximum of the beta-binomial marginal likelihood under weak priors); each wallet's posterior is
Beta(m s + wins, (1 - m) s + losses). Source: Efron and Morris 1975; Gelman et al., Bayesian Data Analysis, chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betainc, betaincinv, betaln, expit

from copytrader_assets.analysis.grouped import Floats, Ints

_STRENGTH_CENTRE = np.log(20.0)
_STRENGTH_SPREAD = 1.5
"""A weak prior on log s: one wallet alone must neither teach nothing nor claim certainty."""


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


def shrink(wins: Ints, trials: Ints) -> ShrunkenRates:
    """Shrunken win rates of all wallets; a wallet without trials gets the prior itself."""
    alpha, beta = _fit_prior(wins.astype(np.float64), trials.astype(np.float64))
    a, b = alpha + wins, beta + trials - wins
    low, high = betaincinv(a, b, 0.05), betaincinv(a, b, 0.95)
    return ShrunkenRates(a / (a + b), np.asarray(low), np.asarray(high), alpha, beta)


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
    best = minimize(loss, start, method="L-BFGS-B", bounds=[(-10, 10), (-1, 12)])
    mean, strength = expit(best.x[0]), np.exp(best.x[1])
    return float(mean * strength), float((1 - mean) * strength)
