"""What copying each leader is worth, by latency and size: posteriors over all leaders, capacity, and a verdict.

The means of copy_returns are drawn together over all leaders (adaptive_shrinkage), each cell of the grid by itself. A
leader is worth copying only if two things hold at my latency and some size: the lower 5 % bound of its posterior is
above zero, and its own record, not drawn towards anybody, stands out of all leaders looked at with a false discovery
rate of at most `max_false_share` (Benjamini and Hochberg 1995). The first asks whether it is good, the second whether
it was only picked: when the common mean is a little above zero by luck, the first alone would let everybody in.

Not here: the replay of copies, tiers (calibration), the exits (leader_exits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

# Its parts are loaded when they are first used: statistics alone take as long as all of Dagster.
import scipy

from copytrader_assets.analysis.adaptive_shrinkage import shrink_adaptively
from copytrader_assets.analysis.calibration import Yardstick
from copytrader_assets.analysis.chance import benjamini_hochberg
from copytrader_assets.analysis.copy_returns import Cells, Copies, Means, day_cells, joined_cells, means_of
from copytrader_assets.analysis.grouped import Floats
from copytrader_assets.analysis.shrinkage import shrink
from copytrader_assets.analysis.state_offsets import StateOffsets, state_offsets, state_shares
from copytrader_core.policy.coin_state import STATE_EDGES_SOL, STATE_NAMES
from copytrader_core.records import LAMPORTS_PER_SOL, Verdict
from copytrader_core.settings import CopySettings

LOW, HIGH = 0.05, 0.95
_LEAST_FOLLOWED = 10
"""Leaders with a forecast of inflow below which it says nothing about the others."""
_N_STATES: Final = len(STATE_NAMES)


@dataclass(frozen=True, slots=True)
class Cell:
    """One latency and size: raw means, and the posterior of a landed copy's return. Arrays by leader."""

    means: Means
    landed: Floats
    """Posterior share that lands."""
    revert: float
    """What a copy that does not land loses, as a share of its size, on average."""
    mean: Floats
    low: Floats
    high: Floats
    p_positive: Floats
    p_value: Floats
    """Of the leader's own record, if its true mean is zero or less."""

    def per_signal(self, landed_return: Floats) -> Floats:
        """The return of a signal, landed or not, from that of a landed copy."""
        return np.asarray(self.landed * landed_return - (1 - self.landed) * self.revert)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One element a leader: its verdict with its reason, and the numbers behind it. SOL and slots; NaN is unknown."""

    verdict: list[Verdict]
    reason: list[str]
    q_value: Floats
    capacity_sol: Floats
    capacity_low_sol: Floats
    capacity_high_sol: Floats
    break_even_slots: Floats


@dataclass(frozen=True, slots=True)
class CopyValues:
    """Everything of one as-of day. `cells` by (latency in slots, size in lamports); arrays by leader."""

    leaders: Sequence[str]
    cells: Mapping[tuple[int, int], Cell]
    verdicts: Verdicts
    offsets: StateOffsets
    offsets_of: Floats
    """The offsets of each leader (row) in each state against its own mix of states."""
    reference: Copies
    """The copies of the reference cell."""

    def yardstick(self, leader: int, settings: CopySettings) -> Yardstick | None:
        """What our own copies of a leader are held against; None where it has no replayed ones."""
        cell = self.cells.get(reference_cell(settings))
        if cell is None or not cell.means.landed[leader]:
            return None
        inside = float(cell.mean[leader] - cell.means.tail[leader])
        return Yardstick(*cell.means.caps, inside, float(cell.means.spread[leader]))


def cells_of_day(copies: pa.Table, leaders: Sequence[str]) -> Cells:
    """One day of `copies` in the narrow form that windows are put together from."""
    return day_cells(copies, leaders, STATE_EDGES_SOL)


def copy_values(
    days: Sequence[Cells],
    leaders: Sequence[str],
    settings: CopySettings,
    inflow_sol: Mapping[str, float] | None = None,
) -> CopyValues:
    """The values of `leaders` from the days of the window, each by `cells_of_day` of the same leaders.

    `inflow_sol`: what each leader's followers are expected to buy behind us at the reference latency; leaders that are
    alike in this are drawn towards each other. Cells outside of the settings' grid are left out, those that no copy
    fell into are missing.
    """
    n, sizes = len(leaders), {round(sol * LAMPORTS_PER_SOL) for sol in settings.sizes_sol}
    found = {k: c for k, c in joined_cells(days).items() if k[0] in settings.latencies and k[1] in sizes}
    covariates = _covariates(leaders, inflow_sol or {})
    cells = {key: _cell(copies, n, covariates) for key, copies in found.items()}
    copies = found.get(reference_cell(settings)) or Copies.none()
    offsets = state_offsets(copies, n, _N_STATES)
    against_mix = offsets.for_mix(state_shares(copies, n, _N_STATES))
    return CopyValues(leaders, cells, verdicts(cells, n, settings), offsets, against_mix, copies)


def reference_cell(settings: CopySettings) -> tuple[int, int]:
    """The latency in slots and the size in lamports at which leaders are compared."""
    return settings.reference_latency, round(settings.reference_size_sol * LAMPORTS_PER_SOL)


def _covariates(leaders: Sequence[str], inflow_sol: Mapping[str, float]) -> Floats | None:
    """The logarithm of the inflow, standardised; None where too few have any."""
    inflow = np.log1p(np.array([inflow_sol.get(leader, 0.0) for leader in leaders], dtype=np.float64))
    if np.count_nonzero(inflow) < _LEAST_FOLLOWED or inflow.std() == 0:
        return None
    return np.asarray((inflow - inflow.mean()) / inflow.std())[:, None]


def _cell(copies: Copies, n: int, covariates: Floats | None) -> Cell:
    means = means_of(copies, n)
    own = shrink_adaptively(means.own, means.error, covariates)
    posterior = own.shifted(means.tail, means.tail_variance)
    mean = posterior.mean
    lost = ~copies.landed
    with np.errstate(invalid="ignore"):
        t = (means.own + means.tail) / np.sqrt(means.error**2 + means.tail_variance)
    return Cell(
        means=means,
        landed=shrink(means.landed, means.signals).mean,
        revert=float(-copies.returns[lost].mean()) if lost.any() else 0.0,
        mean=mean,
        low=np.minimum(posterior.quantile(LOW), mean),
        high=np.maximum(posterior.quantile(HIGH), mean),
        p_positive=posterior.probability_above(0.0),
        p_value=np.nan_to_num(scipy.stats.t.sf(t, np.maximum(means.clusters - 1, 1)), nan=1.0),
    )


def verdicts(cells: Mapping[tuple[int, int], Cell], n: int, settings: CopySettings) -> Verdicts:
    """The verdict on each leader at the reference latency, over the sizes of the grid."""
    latency, size = reference_cell(settings)
    at_latency = {s: cell for (late, s), cell in cells.items() if late == latency}
    if not at_latency:
        unknown = np.full(n, np.nan)
        return Verdicts(["UNPROVEN"] * n, ["no copies"] * n, np.ones(n), unknown, unknown, unknown, unknown)
    sizes = np.array(sorted(at_latency)) / LAMPORTS_PER_SOL
    ordered = [at_latency[s] for s in sorted(at_latency)]
    low, mean, high = (
        np.column_stack([c.per_signal(getattr(c, name)) for c in ordered]) for name in ("low", "mean", "high")
    )
    q = benjamini_hochberg(np.column_stack([c.p_value for c in ordered]).min(1), n)
    by_latency = {late: cell for (late, s), cell in sorted(cells.items()) if s == size}
    said = [_said(i, ordered, low, mean, high, sizes, q, settings) for i in range(n)]
    capacity, least, most = (np.array([last_crossing(sizes, row) for row in values]) for values in (mean, low, high))
    verdict, reason = [one for one, _ in said], [one for _, one in said]
    return Verdicts(verdict, reason, q, capacity, least, most, _break_even(by_latency, n))


def _said(
    i: int,
    cells: Sequence[Cell],
    low: Floats,
    mean: Floats,
    high: Floats,
    sizes: Floats,
    q: Floats,
    settings: CopySettings,
) -> tuple[Verdict, str]:
    copies = max(int(c.means.landed[i]) for c in cells)
    coin_days = max(int(c.means.clusters[i]) for c in cells)
    late = f"{settings.reference_latency} slots late"
    least = (settings.min_copies, settings.min_coin_days)
    if copies < least[0] or coin_days < least[1]:
        return (
            "UNPROVEN",
            f"{copies} landed copies of {coin_days} coin-days; needed: {least[0]} of {least[1]}",
        )
    best = int(low[i].argmax())
    if high[i].max() < 0:
        return "UNCOPYABLE", f"{late} a copy loses at every size, {mean[i].max():.1%} at the best"
    if low[i, best] <= 0:
        return "UNPROVEN", f"{late} its value may be {low[i, best]:.1%} at the best size, {sizes[best]:g} SOL"
    if q[i] > settings.max_false_share:
        return (
            "UNPROVEN",
            f"of {len(q)} leaders some do as well by chance: q {q[i]:.2f}, at most {settings.max_false_share:g}",
        )
    return "COPY", f"{late} worth {mean[i, best]:.1%} at {sizes[best]:g} SOL, at least {low[i, best]:.1%}"


def last_crossing(at: Floats, values: Floats) -> float:
    """Where `values` fall below zero for good, linear between the points `at`; 0 where they never are above.

    The last point where they still are above zero there: what lies beyond was not replayed.
    """
    above = np.flatnonzero(values > 0)
    if not len(above):
        return 0.0
    last = int(above[-1])
    if last == len(at) - 1:
        return float(at[-1])
    share = values[last] / (values[last] - values[last + 1])
    return float(at[last] + share * (at[last + 1] - at[last]))


def _break_even(by_latency: Mapping[int, Cell], n: int) -> Floats:
    """How many slots late a copy of the reference size may land until it is worth nothing."""
    if not by_latency:
        return np.full(n, np.nan)
    at = np.array(list(by_latency), dtype=np.float64)
    values = np.column_stack([cell.per_signal(cell.mean) for cell in by_latency.values()])
    return np.array([last_crossing(at, row) for row in values])
