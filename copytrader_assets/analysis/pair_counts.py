"""The raw record of (leader, follower) pairs: opportunities, how many were followed how fast, lags and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Groups, Ints, ratio, total

WITHIN_SECONDS = (2, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class PairCounts:
    """One element per pair. `followed[T]` counts the opportunities that were followed within T seconds.

    An opportunity is a first buy of the leader of a coin that the follower had not bought before it. Lags in ms and
    sizes in SOL are those of what was followed within 30 s; `same_slot` counts the ones that landed in the leader's slot.
    """

    leader: Ints
    follower: Ints
    opportunities: Ints
    followed: dict[int, Ints]
    same_slot: Ints
    lag_p50_ms: Floats
    lag_p90_ms: Floats
    size_sol: Floats

    def take(self, keep: Flags) -> PairCounts:
        """The pairs that `keep` marks."""
        followed = {seconds: counts[keep] for seconds, counts in self.followed.items()}
        rest = (self.same_slot, self.lag_p50_ms, self.lag_p90_ms, self.size_sol)
        return PairCounts(
            self.leader[keep], self.follower[keep], self.opportunities[keep], followed, *(x[keep] for x in rest)
        )

    def probability(self, seconds: int) -> Floats:
        """Raw share of opportunities followed within `seconds`."""
        return ratio(self.followed[seconds], self.opportunities)


def count_pairs(buys: FirstBuys, leader: Ints, follower: Ints, slot_ms: float) -> PairCounts:
    """The record of each pair (leader[i], follower[i]); one pass over the followers' buys for each leader."""
    parts = [_of_leader(buys, one, follower[leader == one], slot_ms) for one in np.unique(leader)]
    empty = np.zeros(0, dtype=np.int64)
    parts = parts or [_of_leader(buys, 0, empty, slot_ms)]

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in parts])

    followed = {seconds: np.concatenate([part.followed[seconds] for part in parts]) for seconds in WITHIN_SECONDS}
    return PairCounts(
        joined("leader"),
        joined("follower"),
        joined("opportunities"),
        followed,
        joined("same_slot"),
        joined("lag_p50_ms"),
        joined("lag_p90_ms"),
        joined("size_sol"),
    )


def _of_leader(buys: FirstBuys, leader: int, followers: Ints, slot_ms: float) -> PairCounts:
    """The record of one leader with each of `followers`."""
    led = np.full(buys.n_mints, -1, dtype=np.int64)
    own = buys.of_wallet(leader) if len(buys) else followers
    led[buys.mint[own]] = own
    at = buys.of_wallets(followers)
    pair = np.repeat(np.arange(len(followers)), buys.per_wallet[followers])
    met = led[buys.mint[at]] >= 0
    at, pair = at[met], pair[met]
    source = led[buys.mint[at]]
    later = at >= buys.after[source]
    opportunities = len(own) - np.bincount(pair[~later], minlength=len(followers))
    at, pair, source = at[later], pair[later], source[later]
    slots = buys.slot[at] - buys.slot[source]
    soon = {seconds: slots <= seconds * 1000 / slot_ms for seconds in WITHIN_SECONDS}
    lag = lag_ms(buys, source, at, slot_ms)
    within = soon[WITHIN_SECONDS[-1]]
    lags = Groups.of(pair[within], lag[within], len(followers))
    sizes = buys.size_sol[at[within]]
    paid = np.bincount(pair[within][np.isfinite(sizes)], minlength=len(followers))
    return PairCounts(
        leader=np.full(len(followers), leader, dtype=np.int64),
        follower=followers,
        opportunities=opportunities.astype(np.int64),
        followed={seconds: np.bincount(pair[near], minlength=len(followers)) for seconds, near in soon.items()},
        same_slot=np.bincount(pair[slots == 0], minlength=len(followers)),
        lag_p50_ms=lags.quantile(0.5),
        lag_p90_ms=lags.quantile(0.9),
        size_sol=ratio(total(pair[within], sizes, len(followers)), paid),
    )


def lag_ms(buys: FirstBuys, leader_at: Ints, follower_at: Ints, slot_ms: float) -> Floats:
    """Slots between leader and follower in ms; within one slot the share of it that lies between their places."""
    slots = buys.slot[follower_at] - buys.slot[leader_at]
    places = int(buys.tx_index.max(initial=0)) + 1
    inside = (buys.tx_index[follower_at] - buys.tx_index[leader_at]) / places
    return np.asarray(np.where(slots > 0, slots, np.maximum(inside, 0)) * slot_ms)
