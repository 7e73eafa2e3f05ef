"""How often chance alone would have a wallet buy within T seconds after a leader: the baseline that edges report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import Codes, FirstBuys
from copytrader_assets.analysis.grouped import Floats, Ints, weighed
from copytrader_assets.analysis.habits import Habits


def by_chance(
    buys: FirstBuys, habits: Habits, leader: Ints, follower: Ints, seconds: Sequence[int], slot_ms: float
) -> dict[int, Floats]:
    """For each pair and each T in `seconds` the share of the leader's buys that chance follows within T.

    The follower's habit is read from its buys outside the leader's windows of the longest T, so that the following
    itself does not count as habit: share_T = sum_s (n_Ws - x_Ws) / (N_s - N_Ls) * N_Ls(T) / n_L.
    """
    shares = {limit: np.zeros(len(leader)) for limit in seconds}
    for one in np.unique(leader):
        pairs = np.flatnonzero(leader == one)
        own = buys.of_wallet(int(one))
        inside = {limit: habits.after(buys, own, int(limit * 1000 / slot_ms)) for limit in seconds}
        longest = max(seconds)
        outside = _outside(buys, own, follower[pairs], int(longest * 1000 / slot_ms))
        for limit in seconds:
            rate = inside[limit] / np.maximum(habits.everybody - inside[longest], 1)
            chance = outside.total(rate[habits.stratum[outside.at]]) / max(len(own), 1)
            shares[limit][pairs] = np.minimum(chance, 1.0)
    return shares


@dataclass(frozen=True, slots=True)
class _Outside:
    """Buys of several followers outside one leader's windows: elements and the row of their follower."""

    at: Ints
    row: Ints
    n: int

    def total(self, weights: Floats) -> Floats:
        """Sum of `weights` (one for each element) by follower."""
        return weighed(self.row, weights, self.n)


def _outside(buys: FirstBuys, own: Codes, followers: Ints, slots: int) -> _Outside:
    """The followers' buys that are not within `slots` slots after the leader's buy of the same coin."""
    led = np.full(buys.n_mints, -1, dtype=np.int64)
    led[buys.mint[own]] = own
    at = buys.of_wallets(followers).astype(np.int64)
    row = np.repeat(np.arange(len(followers)), buys.per_wallet[followers])
    source = led[buys.mint[at]]
    inside = (source >= 0) & buys.is_later(at, source) & (buys.slot[at] - buys.slot[source] <= slots)
    return _Outside(at[~inside], row[~inside], len(followers))
