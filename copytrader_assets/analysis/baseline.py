"""How often chance alone would have a wallet buy within T seconds after a leader: the baseline that edges report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Floats, Ints
from copytrader_assets.analysis.habits import N_STRATA, Habits


def by_chance(
    buys: FirstBuys, habits: Habits, leader: Ints, follower: Ints, seconds: Sequence[int], slot_ms: float
) -> dict[int, Floats]:
    """For each pair and each T in `seconds` the share of the leader's buys that chance follows within T.

    The follower's habit is read from its buys outside the leader's windows of the longest T, so that the following
    itself does not count as habit: share_T = sum_s (n_Ws - x_Ws) / (N_s - N_Ls) * N_Ls(T) / n_L.
    """
    shares = {T: np.zeros(len(leader)) for T in seconds}
    for one in np.unique(leader):
        pairs = np.flatnonzero(leader == one)
        own = buys.of_wallet(int(one))
        near = {T: buys.followers(own, int(T * 1000 / slot_ms)) for T in seconds}
        inside = {T: np.bincount(habits.stratum[near[T]], minlength=N_STRATA) for T in seconds}
        longest = max(seconds)
        habit = _outside(buys, habits, near[longest], inside[longest], follower[pairs])
        for T in seconds:
            shares[T][pairs] = np.minimum(habit @ inside[T] / max(len(own), 1), 1.0)
    return shares


def _outside(buys: FirstBuys, habits: Habits, near: Ints, inside: Ints, followers: Ints) -> Floats:
    """Each follower's share of everybody's buys outside the windows, by stratum (followers x strata)."""
    row = np.full(len(buys.wallets), -1, dtype=np.int64)
    row[followers] = np.arange(len(followers))
    mine = row[buys.wallet[near]]
    near, mine = near[mine >= 0], mine[mine >= 0]
    taken = np.bincount(mine * N_STRATA + habits.stratum[near], minlength=len(followers) * N_STRATA)
    own = habits.wallet[followers] - taken.reshape(len(followers), N_STRATA)
    return np.asarray(own / np.maximum(habits.everybody - inside, 1))
