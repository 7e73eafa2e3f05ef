"""One sweep over every leader's first buys: who came after, how often, and how often by chance.

Co-occurrences are counted where they stand and never listed: only the counts leave.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import Codes, FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.windows import Windows

DEVOTED_SHARE = 0.4
ALWAYS = 0.95


@dataclass(frozen=True, slots=True)
class Sweep:
    """Pairs with at least `min_followed` co-occurrences: their number, and its mean under the null of `habits`."""

    leader: Ints
    follower: Ints
    followed: Ints
    expected: Floats


def sweep(buys: FirstBuys, habits: Habits, leaders: Ints, slots: int, min_followed: int) -> Sweep:
    """Count every wallet's first buys within `slots` slots after each leader's, on the same coin.

    Leaders are shared out to as many threads as there are processors: the compiled loops hold no lock.
    """
    parts = np.array_split(np.asarray(leaders, dtype=np.int64), max(1, min(os.cpu_count() or 1, len(leaders))))
    with ThreadPoolExecutor(len(parts)) as threads:
        swept = list(threads.map(lambda part: _swept(buys, habits, part, slots, min_followed), parts))
    found = [pair for part in swept for pair in part]
    row = np.repeat(np.arange(len(leaders)), [len(one.who) for one in found]).astype(np.int64)
    none = np.zeros(0, dtype=np.int64)
    follower = np.concatenate([none, *(one.who for one in found)])
    followed = np.concatenate([none, *(one.counts for one in found)])
    shares = np.array([one.share for one in found]).reshape(len(leaders), habits.n)
    return Sweep(np.asarray(leaders)[row], follower, followed, _expected(buys, habits, follower, row, shares))


@dataclass(frozen=True, slots=True)
class _OfLeader:
    """Who came after one leader often enough, how often, and the share of each stratum inside its windows."""

    who: Ints
    counts: Ints
    share: Floats


def _swept(buys: FirstBuys, habits: Habits, leaders: Ints, slots: int, min_followed: int) -> list[_OfLeader]:
    """Some leaders, one after the other, with counters of their own."""
    windows, found = Windows.over(buys), []
    per_wallet, aside = buys.per_wallet, np.zeros(len(buys.wallets), dtype=np.bool_)
    for leader in leaders:
        own = buys.of_wallet(int(leader))
        inside = np.zeros(habits.n, dtype=np.int64)
        who, counts = windows.after(own, slots, min_followed, habits.stratum, inside)
        devoted = who[counts >= _devotion(len(own), buys.n_mints) * per_wallet[who]]
        share = _share(buys, habits, own, slots, devoted, aside) if len(devoted) else habits.share(inside)
        found.append(_OfLeader(who, counts, share))
    return found


def _devotion(n_coins: int, n_mints: int) -> float:
    """The share of its buys that a wallet makes in a leader's windows from which on it is no part of the crowd.

    The followers of a popular leader may be most of those who buy so early: judged by each other none would stand out.
    Far above the share of all coins that the leader buys, so that snipers stay in the crowd.
    """
    return min(max(DEVOTED_SHARE, 3 * n_coins / max(n_mints, 1)), ALWAYS)


def _share(buys: FirstBuys, habits: Habits, own: Codes, slots: int, devoted: Ints, aside: Flags) -> Floats:
    """What share of each stratum the crowd without the devoted has inside the leader's windows. `aside` stays false."""
    aside[devoted] = True
    inside = habits.after(buys, own, slots, aside)
    aside[devoted] = False
    gone = np.bincount(habits.stratum[buys.of_wallets(devoted)], minlength=habits.n)
    return habits.share(inside, habits.everybody - gone)


def _expected(buys: FirstBuys, habits: Habits, follower: Ints, row: Ints, shares: Floats) -> Floats:
    """Mean number of each pair's co-occurrences: the follower's profile over strata times the leader's shares.

    One matrix product for all pairs of a part of the wallets: a wallet that meets many leaders is looked at once.
    """
    wallets, place = np.unique(follower, return_inverse=True)
    expected = np.zeros(len(follower))
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(len(wallets) + 1))
    for part, profile in habits.profiles(buys, wallets):
        pairs = order[bounds[part.start] : bounds[part.stop]]
        expected[pairs] = (profile @ shares.T)[place[pairs] - part.start, row[pairs]]
    return expected
