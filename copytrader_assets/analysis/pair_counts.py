"""The raw record of (leader, follower) pairs: opportunities, how many were followed how fast, lags and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from copytrader_assets.analysis.first_buys import Codes, FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Groups, Ints, ratio, total
from copytrader_assets.analysis.lags import median_slots

WITHIN_SECONDS = (2, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class PairCounts:
    """One element per pair. `followed[T]` counts the opportunities that were followed within T seconds.

    An opportunity is a first buy of the leader of a coin that the follower had not bought before it. Lags in ms and
    sizes in SOL are those of what was followed within 30 s; `same_slot` counts what landed in the leader's own slot,
    `preceded` the coins that the follower bought first, up to 30 s ahead of the leader, `slots_seen[d]` the follows
    that came d slots later.
    """

    leader: Ints
    follower: Ints
    opportunities: Ints
    followed: dict[int, Ints]
    same_slot: Ints
    preceded: Ints
    slots_seen: Ints
    slot_ms: Floats
    lag_p90_ms: Floats
    size_sol: Floats

    def take(self, keep: Flags) -> PairCounts:
        """The pairs that `keep` marks."""
        return PairCounts.joined([self], keep)

    @classmethod
    def joined(cls, parts: Sequence[PairCounts], keep: Flags | slice = slice(None)) -> PairCounts:
        """All pairs of `parts` that `keep` marks."""

        def column(name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])[keep]

        followed = {
            seconds: np.concatenate([part.followed[seconds] for part in parts])[keep] for seconds in WITHIN_SECONDS
        }
        names = [field.name for field in fields(cls) if field.name != "followed"]
        return cls(followed=followed, **{name: column(name) for name in names})

    def probability(self, seconds: int) -> Floats:
        """Raw share of opportunities followed within `seconds`."""
        return ratio(self.followed[seconds], self.opportunities)

    def lag_p50_ms(self) -> Floats:
        """The median lag of each pair, finer than a slot; NaN where nothing was followed."""
        return median_slots(self.slots_seen) * self.slot_ms


def count_pairs(buys: FirstBuys, leader: Ints, follower: Ints, slot_ms: float, since_slot: int = 0) -> PairCounts:
    """The record of each pair (leader[i], follower[i]); one pass over the followers' buys for each leader.

    Only what the leader bought from `since_slot` on counts. Pairs come back leader by leader.
    """
    empty = np.zeros(0, dtype=np.int64)
    parts = [_of_leader(buys, int(one), follower[leader == one], slot_ms, since_slot) for one in np.unique(leader)]
    return PairCounts.joined(parts or [_of_leader(buys, 0, empty, slot_ms, since_slot)])


@dataclass(frozen=True, slots=True)
class Met:
    """The coins that a leader and one of its followers both bought: elements of follower and leader, row of follower.

    `opportunities` counts for each follower what the leader bought before it, or it never did.
    """

    at: Ints
    source: Ints
    pair: Ints
    later: Flags
    own: Codes

    @classmethod
    def of(cls, buys: FirstBuys, leader: int, followers: Ints, since_slot: int = 0) -> Met:
        """Looked up by coin: one place a coin, then one pass over the followers' buys."""
        own = buys.of_wallet(leader) if len(buys) else np.zeros(0, dtype=np.int32)
        own = own[buys.slot[own] >= since_slot]
        led = np.full(buys.n_mints, -1, dtype=np.int64)
        led[buys.mint[own]] = own
        at = buys.of_wallets(followers).astype(np.int64)
        pair = np.repeat(np.arange(len(followers)), buys.per_wallet[followers])
        met = led[buys.mint[at]] >= 0
        at, pair = at[met], pair[met]
        source = led[buys.mint[at]]
        return cls(at, source, pair, buys.is_later(at, source), own)


def _of_leader(buys: FirstBuys, leader: int, followers: Ints, slot_ms: float, since_slot: int) -> PairCounts:
    """The record of one leader with each of `followers`."""
    met = Met.of(buys, leader, followers, since_slot)
    at, source, pair, later = met.at, met.source, met.pair, met.later
    opportunities = len(met.own) - np.bincount(pair[~later], minlength=len(followers))
    ahead = buys.is_later(source, at) & (buys.slot[source] - buys.slot[at] <= WITHIN_SECONDS[-1] * 1000 / slot_ms)
    preceded = pair[ahead]
    at, pair, source = at[later], pair[later], source[later]
    slots = (buys.slot[at] - buys.slot[source]).astype(np.int64)
    soon = {seconds: slots <= seconds * 1000 / slot_ms for seconds in WITHIN_SECONDS}
    within = soon[WITHIN_SECONDS[-1]]
    lags = Groups.of(pair[within], slots[within].astype(np.float64) * slot_ms, len(followers))
    width = int(WITHIN_SECONDS[-1] * 1000 / slot_ms) + 1
    seen = np.bincount(pair[within] * width + slots[within], minlength=len(followers) * width)
    sizes = buys.size_sol[at[within]].astype(np.float64)
    paid = np.bincount(pair[within][np.isfinite(sizes)], minlength=len(followers))
    return PairCounts(
        leader=np.full(len(followers), leader, dtype=np.int64),
        follower=followers,
        opportunities=opportunities.astype(np.int64),
        followed={seconds: np.bincount(pair[near], minlength=len(followers)) for seconds, near in soon.items()},
        same_slot=np.bincount(pair[slots == 0], minlength=len(followers)),
        preceded=np.bincount(preceded, minlength=len(followers)),
        slots_seen=seen.reshape(len(followers), width),
        slot_ms=np.full(len(followers), slot_ms),
        lag_p90_ms=lags.quantile(0.9),
        size_sol=ratio(total(pair[within], sizes, len(followers)), paid),
    )
