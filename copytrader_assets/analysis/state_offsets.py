"""How a copy's return depends on the coin's state at the signal, all leaders pooled.

Within a leader: who buys fresh coins only must not make fresh coins look like that leader. Returns are fitted by
leader + state (alternating means, which is least squares); the states' effects are drawn towards none, with the spread
between states that is seen beyond chance (DerSimonian and Laird 1986).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.copy_returns import CAPS, Copies
from copytrader_assets.analysis.grouped import Floats, Ints, ratio, weighed
from copytrader_assets.analysis.shrinkage import spread_between

_SWEEPS = 30
_NORMAL_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class StateOffsets:
    """By state: the offset of the return against the average state, half of its 90 % interval, and its copies."""

    mean: Floats
    half: Floats
    copies: Ints

    def for_mix(self, shares: Floats) -> Floats:
        """The offsets against what leaders do anyway; `shares` has one row a leader, one column a state."""
        return np.asarray(self.mean[None, :] - (shares @ self.mean)[:, None])


def state_offsets(copies: Copies, n_leaders: int, n_states: int) -> StateOffsets:
    """The offsets from the landed copies of one cell; zero, with no width, where a state was never seen."""
    landed = copies.landed
    leader, state, cluster = copies.leader[landed], copies.bucket[landed], copies.cluster[landed]
    count = np.bincount(state, minlength=n_states).astype(np.int64)
    if not len(leader):
        return StateOffsets(np.zeros(n_states), np.zeros(n_states), count)
    returns = np.clip(copies.returns[landed], *np.quantile(copies.returns[landed], CAPS))
    effect, residuals = _two_way(leader, state, returns, n_leaders, n_states)
    error2 = _errors2(state, cluster, residuals, count)
    known = count > 1
    effect = effect - np.average(effect, weights=count)
    spread2 = spread_between(effect[known], error2[known])
    weight = np.where(known, spread2 / (spread2 + error2 + 1e-12), 0.0)
    return StateOffsets(weight * effect, _NORMAL_95 * np.sqrt(weight * np.where(known, error2, 0.0)), count)


def state_shares(copies: Copies, n_leaders: int, n_states: int) -> Floats:
    """The share of each leader's copies in each state; the common one for a leader without any."""
    counts = np.bincount(copies.leader * n_states + copies.bucket, minlength=n_leaders * n_states)
    table = counts.reshape(n_leaders, n_states).astype(np.float64)
    common = table.sum(0) / max(table.sum(), 1.0)
    total = table.sum(1, keepdims=True)
    return np.asarray(np.where(total > 0, table / np.maximum(total, 1), common))


def _two_way(leader: Ints, state: Ints, returns: Floats, n_leaders: int, n_states: int) -> tuple[Floats, Floats]:
    of_state = np.zeros(n_states)
    per_leader = np.bincount(leader, minlength=n_leaders)
    per_state = np.bincount(state, minlength=n_states)
    for _ in range(_SWEEPS):
        of_leader = np.nan_to_num(ratio(weighed(leader, returns - of_state[state], n_leaders), per_leader))
        of_state = np.nan_to_num(ratio(weighed(state, returns - of_leader[leader], n_states), per_state))
    return of_state, returns - of_leader[leader] - of_state[state]


def _errors2(state: Ints, cluster: Ints, residuals: Floats, count: Ints) -> Floats:
    """Squared standard errors of the states' means from their coin-days' sums of residuals."""
    names, position = np.unique(cluster * len(count) + state, return_inverse=True)
    sums = np.bincount(position, weights=residuals, minlength=len(names))
    squares = np.bincount(names % len(count), weights=sums**2, minlength=len(count))
    return np.asarray(squares / np.maximum(count, 1).astype(np.float64) ** 2)
