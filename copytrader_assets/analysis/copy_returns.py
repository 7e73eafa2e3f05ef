"""What copies of each leader returned, one cell of latency and size at a time: means that outliers cannot carry.

A return is profit over the size that was meant to be spent. A few copies return many times their size, some lose nearly
all, and a mean of a hundred copies is then a handful of them. So each return is split at two caps that all leaders
share: what lies between them is the leader's own mean; what lies beyond is the rate at which the leader goes there,
drawn towards the common rate (beta-binomial), times how far beyond, drawn towards the common distance. Summed over all
leaders nothing is lost, so the means keep their level.

Copies of one coin on one day stand and fall together: errors are those of sums over coin-days (Liang and Zeger 1986).
Not here: comparing leaders (adaptive_shrinkage), verdicts (copy_value).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.grouped import Flags, Floats, Groups, Ints, distinct, ratio, weighed
from copytrader_assets.analysis.shrinkage import shrink, spread_between

CAPS: Final = (0.10, 0.95)
"""The quantiles of all landed copies at which a return stops being its leader's own."""
_MOST_BEYOND = 0.95
"""How far beyond a cap one copy counts as its leader's: up to this quantile of all that are."""
_POOLED_CLUSTERS = 10
"""A leader's spread counts as if the common one had been seen in so many coin-days more."""
_LEAST_VARIANCE = 1e-12
_CERTAINTY = 1.645
"""How many standard errors leaders must differ beyond chance before they are taken to differ."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Replayed copies of one cell as arrays: leader code, coin-day code, day code, landed, return, state bucket."""

    leader: Ints
    cluster: Ints
    day: Ints
    landed: Flags
    returns: Floats
    bucket: Ints

    @classmethod
    def none(cls) -> Copies:
        """No copies."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing.astype(np.bool_), nothing.astype(np.float64), nothing)


@dataclass(frozen=True, slots=True)
class Means:
    """What the landed copies of each leader returned. Arrays by leader code; NaN where a leader has none.

    `own` is the mean between the caps with its standard error, `tail` what is expected beyond them with its variance;
    `clusters` is the number of coin-days.
    """

    signals: Ints
    landed: Ints
    days: Ints
    clusters: Ints
    raw: Floats
    median: Floats
    own: Floats
    error: Floats
    tail: Floats
    tail_variance: Floats
    caps: tuple[float, float]

    @property
    def spread(self) -> Floats:
        """Standard deviation of one copy's return between the caps, NaN without copies."""
        return np.where(self.landed > 0, self.error, np.nan) * np.sqrt(self.landed)


def buckets_of(venue: pa.ChunkedArray, real_quote: pa.ChunkedArray, edges_sol: Sequence[float]) -> Ints:
    """The state bucket of each signal: real SOL on the curve between `edges_sol`, the last bucket for pools."""
    sol = np.nan_to_num(pc.fill_null(real_quote, 0).to_numpy().astype(np.float64)) / 1e9
    on_curve = np.searchsorted(np.asarray(edges_sol), sol, side="right")
    in_pool = pc.fill_null(pc.equal(venue, "amm"), False).to_numpy(zero_copy_only=False)
    return np.where(in_pool, len(edges_sol) + 1, on_curve).astype(np.int64)


Cells = Mapping[tuple[int, int], Copies]
"""Copies by (latency in slots, size in lamports)."""


def day_cells(table: pa.Table, leaders: Sequence[str], edges_sol: Sequence[float]) -> Cells:
    """The copies of one day, rows as in `copies`; those of other leaders are left out."""
    leader = pc.index_in(table["leader"], pa.array(leaders, pa.string()))
    table = table.filter(leader.is_valid())
    code = leader.drop_null().to_numpy().astype(np.int64)
    coins = table["mint"].combine_chunks().dictionary_encode()
    latency, size = (table[name].to_numpy().astype(np.int64) for name in ("latency_slots", "size_lamports"))
    every = Copies(
        leader=code,
        cluster=code * len(coins.dictionary) + coins.indices.to_numpy().astype(np.int64),
        day=np.zeros(len(code), dtype=np.int64),
        landed=np.asarray(pc.equal(table["outcome"], "LANDED").to_numpy(zero_copy_only=False)),
        returns=table["pnl_lamports"].to_numpy() / np.maximum(size, 1),
        bucket=buckets_of(table["venue"], table["real_quote_lamports"], edges_sol),
    )
    cells = np.unique(np.column_stack([latency, size]), axis=0).tolist()
    return {(late, spend): _only(every, (latency == late) & (size == spend)) for late, spend in cells}


def joined_cells(days: Sequence[Cells]) -> Cells:
    """The copies of several days in order: days are numbered, coin-days of different days are different."""
    parts: dict[tuple[int, int], list[Copies]] = {}
    first = 0
    for number, day in enumerate(days):
        for cell, copies in day.items():
            here = replace(copies, day=np.full_like(copies.day, number), cluster=copies.cluster + first)
            parts.setdefault(cell, []).append(here)
        first += max((int(copies.cluster.max(initial=-1)) for copies in day.values()), default=-1) + 1
    return {cell: _joined(found) for cell, found in sorted(parts.items())}


def _only(copies: Copies, here: Flags) -> Copies:
    return Copies(*(getattr(copies, name)[here] for name in Copies.__slots__))


def _joined(parts: Sequence[Copies]) -> Copies:
    return Copies(*(np.concatenate([getattr(part, name) for part in parts]) for name in Copies.__slots__))


def means_of(copies: Copies, n_leaders: int) -> Means:
    """The means of every leader's landed copies in one cell."""
    landed = _only(copies, copies.landed)
    low, high = np.quantile(landed.returns, CAPS) if len(landed.returns) else (0.0, 0.0)
    own = np.clip(landed.returns, low, high)
    count = np.bincount(landed.leader, minlength=n_leaders).astype(np.int64)
    mean = ratio(weighed(landed.leader, own, n_leaders), count)
    coin_days = _CoinDays.of(landed)
    clusters = np.bincount(coin_days.owner, minlength=n_leaders).astype(np.int64)
    lost, lost_variance = _beyond(coin_days, low - np.minimum(landed.returns, low), clusters)
    won, won_variance = _beyond(coin_days, np.maximum(landed.returns, high) - high, clusters)
    return Means(
        signals=np.bincount(copies.leader, minlength=n_leaders).astype(np.int64),
        landed=count,
        days=distinct(landed.leader, landed.day, n_leaders),
        clusters=clusters,
        raw=ratio(weighed(landed.leader, landed.returns, n_leaders), count),
        median=Groups.of(landed.leader, landed.returns, n_leaders).quantile(0.5),
        own=mean,
        error=_error(coin_days, own - mean[landed.leader], clusters, count),
        tail=won - lost,
        tail_variance=won_variance + lost_variance,
        caps=(float(low), float(high)),
    )


@dataclass(frozen=True, slots=True)
class _CoinDays:
    """The coin-days of the copies: whose each is, which one each copy belongs to, and how many copies it has."""

    owner: Ints
    position: Ints
    copies: Ints

    @classmethod
    def of(cls, copies: Copies) -> _CoinDays:
        names, position = np.unique(copies.cluster, return_inverse=True)
        owner = np.zeros(len(names), dtype=np.int64)
        owner[position] = copies.leader
        return cls(owner, position, np.bincount(position, minlength=len(names)).astype(np.int64))

    def sums(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.position, weights=values, minlength=len(self.owner)))


def _error(coin_days: _CoinDays, residuals: Floats, clusters: Ints, count: Ints) -> Floats:
    """The standard error of each leader's mean from its coin-days' sums of residuals; infinite without copies.

    The variance of one copy that this implies is drawn towards the common one: three equal copies are no certainty.
    """
    squares = np.bincount(coin_days.owner, weights=coin_days.sums(residuals) ** 2, minlength=len(count))
    freedom, copies = np.maximum(clusters - 1, 0), np.maximum(count, 1)
    variance = squares * clusters / np.maximum(freedom, 1) / copies
    pooled = float((freedom * variance).sum() / max(int(freedom.sum()), 1))
    steady = (_POOLED_CLUSTERS * pooled + freedom * variance) / (_POOLED_CLUSTERS + freedom)
    return np.where(count > 0, np.sqrt(np.maximum(steady, _LEAST_VARIANCE) / copies), np.inf)


def _beyond(coin_days: _CoinDays, distance: Floats, clusters: Ints) -> tuple[Floats, Floats]:
    """How far each leader's copies are expected to lie beyond a cap on average, and the variance of that.

    A coin-day is one trial, however many copies of it there are; its win is the share of them beyond the cap.
    """
    beyond = distance > 0
    if not beyond.any():
        return np.zeros(len(clusters)), np.zeros(len(clusters))
    shares = coin_days.sums(beyond.astype(np.float64)) / coin_days.copies
    times = np.asarray(np.bincount(coin_days.owner, weights=shares, minlength=len(clusters)), dtype=np.float64)
    rates = shrink(times, clusters)
    strength = rates.prior_alpha + rates.prior_beta + clusters
    relative = (1 - rates.mean) / rates.mean / (strength + 1)
    far, far_relative = _distances(coin_days, distance, times)
    mean = rates.mean * far
    return mean, mean**2 * (relative + far_relative)


def _distances(coin_days: _CoinDays, distance: Floats, times: Floats) -> tuple[Floats, Floats]:
    """The distance beyond the cap that each leader's copies have once they are there, and its relative variance."""
    found = distance[distance > 0]
    counted = np.minimum(distance, np.quantile(found, _MOST_BEYOND))
    common, variance = float(counted[distance > 0].mean()), float(counted[distance > 0].var())
    sums = np.bincount(coin_days.owner, weights=coin_days.sums(counted) / coin_days.copies, minlength=len(times))
    known = times > 0
    own, error2 = np.where(known, sums / np.maximum(times, 1e-9), common), variance / np.maximum(times, 1e-9)
    weight = np.where(known, spread_between(own[known], error2[known], _CERTAINTY), 0.0)
    weight = weight / (weight + error2 + _LEAST_VARIANCE)
    mean = common + weight * (own - common)
    pooled = float(found.var() / found.mean() ** 2 / len(found))
    return mean / common * float(found.mean()), weight * error2 / common**2 + pooled
