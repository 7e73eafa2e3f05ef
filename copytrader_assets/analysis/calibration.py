"""Expected against realised: what our own copies did, and whether a leader has become another one since.

Every finished copy of ours becomes a score z = (min(max(x, low), high) - m) / s: x its return, low and high the caps of
the replayed copies, m and s mean and spread of the leader's replayed copies between them, drawn together over all
leaders. As long as the leader is what its replayed copies say, z has mean 0 and spread 1.

Drift (Page 1954): C_t = max(0, C_(t-1) - z_t - 0.35), alarm above 9. Of leaders that do not change at most 5 % raise it
within 200 copies; a fall by 0.8 s or more is found within 50.
Kill line (Robbins 1970): the leader is given up when S_n = z_1 + .. + z_n falls below
-sqrt((n + r) log((n + r) / (r a^2))), r = 20, a = 2 x 5 %. It holds at every n at once: of leaders as good as their
replayed copies at most 5 % are ever given up, however long they are watched.

Not here: what follows for size and price (tiers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

# Its parts are loaded when they are first used: statistics alone take as long as all of Dagster.
import scipy

from copytrader_assets.analysis.grouped import Flags, Floats, Ints, ratio

ALLOWANCE: Final = 0.35
ALARM: Final = 9.0
FALSE_KILLS: Final = 0.05
_SETTLING: Final = 20.0
_DECILES: Final = 10
_NORMAL_95: Final = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class OwnCopies:
    """Our own copies in order of time, one element each. Unknown is NaN.

    `expected_*` stood in the decision: share that lands, slots late, return of a landed copy. Premiums are what we paid
    above, and got below, the quote of the decision, in basis points. `returns` is known once everything is sold.
    """

    leader: Ints
    landed: Flags
    expected_landing: Floats
    expected_slots: Floats
    slots_late: Floats
    entry_premium_bps: Floats
    exit_premium_bps: Floats
    expected_returns: Floats
    returns: Floats

    def at(self, places: Ints) -> OwnCopies:
        """Those at some places, in that order."""
        return OwnCopies(*(getattr(self, name)[places] for name in OwnCopies.__slots__))


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What replayed copies of a leader return between the caps: mean and spread."""

    low: float
    high: float
    mean: float
    spread: float

    def scores(self, returns: Floats) -> Floats:
        """z of each return."""
        return np.asarray((np.clip(returns, self.low, self.high) - self.mean) / max(self.spread, 1e-9))


def drift(scores: Floats) -> Floats:
    """C_t after each score; an alarm is what exceeds ALARM."""
    steps = np.concatenate([[0.0], np.cumsum(-scores - ALLOWANCE)])
    return np.asarray((steps - np.minimum.accumulate(steps))[1:])


def kill_line(n: Floats | Ints) -> Floats:
    """The sum of n scores below which a leader is given up."""
    total = np.asarray(n, dtype=np.float64) + _SETTLING
    return np.asarray(-np.sqrt(total * np.log(total / (_SETTLING * (2 * FALSE_KILLS) ** 2))))


@dataclass(frozen=True, slots=True)
class Record:
    """One leader's copies so far. Means are NaN where nothing is known; sums of scores are 0."""

    decided: int
    landed: int
    expected_landing: float
    landing_p_value: float
    """Chance of so few landing if the expected share is right."""
    expected_slots: float
    slots_late: float
    entry_premium_bps: float
    entry_premium_se_bps: float
    exit_premium_bps: float
    finished: int
    expected_x: float
    realised_x: float
    score: float
    kill_line: float
    cusum: float
    drifted: bool
    killed: bool

    @classmethod
    def none(cls) -> Record:
        """The record of no copies."""
        nothing = float("nan")
        return cls(
            decided=0,
            landed=0,
            expected_landing=nothing,
            landing_p_value=1.0,
            expected_slots=nothing,
            slots_late=nothing,
            entry_premium_bps=nothing,
            entry_premium_se_bps=nothing,
            exit_premium_bps=nothing,
            finished=0,
            expected_x=nothing,
            realised_x=nothing,
            score=0.0,
            kill_line=float(kill_line(np.zeros(1))[0]),
            cusum=0.0,
            drifted=False,
            killed=False,
        )

    @property
    def shortfall(self) -> float:
        """How many standard errors the returns lie below what was expected; 0 without any."""
        return max(0.0, -self.score / np.sqrt(self.finished)) if self.finished else 0.0


def record(copies: OwnCopies, yardstick: Yardstick) -> Record:
    """The record of one leader's copies. Drift and kill are of any moment of it: what was crossed stays crossed."""
    n, landed = len(copies.landed), int(copies.landed.sum())
    expected = _mean(copies.expected_landing)
    known = np.isfinite(copies.returns)
    scores = yardstick.scores(copies.returns[known])
    sums, cusum = np.cumsum(scores), drift(scores)
    lines = kill_line(np.arange(1, len(scores) + 1))
    return Record(
        decided=n,
        landed=landed,
        expected_landing=expected,
        landing_p_value=float(scipy.stats.binom.cdf(landed, n, expected)) if n and np.isfinite(expected) else 1.0,
        expected_slots=_mean(copies.expected_slots),
        slots_late=_mean(copies.slots_late),
        entry_premium_bps=_mean(copies.entry_premium_bps),
        entry_premium_se_bps=_error(copies.entry_premium_bps),
        exit_premium_bps=_mean(copies.exit_premium_bps),
        finished=len(scores),
        expected_x=_mean(copies.expected_returns[known]),
        realised_x=_mean(copies.returns[known]),
        score=float(sums[-1]) if len(sums) else 0.0,
        kill_line=float(kill_line(np.array([len(scores)]))[0]),
        cusum=float(cusum[-1]) if len(cusum) else 0.0,
        drifted=bool((cusum > ALARM).any()),
        killed=bool((sums < lines).any()),
    )


@dataclass(frozen=True, slots=True)
class Bins:
    """A reliability table: in each bin the number, mean expected and realised value, and the latter's 90 % interval."""

    number: Ints
    expected: Floats
    realised: Floats
    low: Floats
    high: Floats


def reliability(expected: Floats, realised: Floats, bins: int = _DECILES) -> Bins:
    """Realised against expected by tenth of what was expected; pairs of which one is unknown are left out."""
    known = np.isfinite(expected) & np.isfinite(realised)
    expected, realised = expected[known], realised[known]
    order = np.argsort(expected, kind="stable")
    code = np.empty(len(order), dtype=np.int64)
    code[order] = np.arange(len(order)) * bins // max(len(order), 1)
    number = np.bincount(code, minlength=bins).astype(np.int64)
    mean = [ratio(np.bincount(code, weights=values, minlength=bins), number) for values in (expected, realised)]
    deviation = (realised - mean[1][code]) ** 2 if len(code) else realised
    variance = ratio(np.bincount(code, weights=deviation, minlength=bins), np.maximum(number - 1, 0))
    half = _NORMAL_95 * np.sqrt(variance / np.maximum(number, 1))
    return Bins(number, mean[0], mean[1], mean[1] - half, mean[1] + half)


def probability_transform(returns: Floats, leader: Ints, replayed: Sequence[Floats]) -> Floats:
    """Where each return lies among the replayed ones of its leader, 0 to 1; NaN where there are none or it is unknown.

    Uniform, if our copies are drawn from what was replayed (Dawid 1984). Ties count half.
    """
    places = np.full(len(returns), np.nan)
    for code, one in enumerate(replayed):
        mine = (leader == code) & np.isfinite(returns)
        if len(one):
            ordered = np.sort(one)
            below, upto = (np.searchsorted(ordered, returns[mine], side) for side in ("left", "right"))
            places[mine] = (below + upto) / (2 * len(ordered))
    return places


def place_bins(places: Floats) -> Bins:
    """How our returns spread over the tenths of the replayed ones: a tenth in each is expected."""
    known = np.clip(places[np.isfinite(places)], 0, 1)
    number = np.histogram(known, _DECILES, (0.0, 1.0))[0].astype(np.int64)
    total = max(len(known), 1)
    low, high = (scipy.stats.beta.ppf(q, number + 0.5, len(known) - number + 0.5) for q in (0.05, 0.95))
    share = number / total
    return Bins(number, np.full(_DECILES, 1 / _DECILES), share, np.minimum(low, share), np.maximum(high, share))


def uniformity(places: Floats) -> float:
    """P-value of the places being uniform (Kolmogorov and Smirnov); 1 where there are none."""
    known = places[np.isfinite(places)]
    return float(scipy.stats.kstest(known, "uniform").pvalue) if len(known) else 1.0


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _error(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
