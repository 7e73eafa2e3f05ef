"""Explaining-away: of all wallets that a follower seems to follow, which ones does it really follow?

Two copiers of one leader (siblings) follow each other by every pairwise test, and so do the ends of a chain. Here the
candidate leaders of one follower compete in one model. Every coin that a candidate bought while the follower had not is
an opportunity; candidate c draws the follower in within the horizon with probability r_c, independently (noisy-or):

    P(bought within the horizon of the candidates E) = 1 - prod over E (1 - r_c),   P(not followed) = 1 - r_c each.

Candidates that are not selected keep their chance rate b_c. Forward selection adds the candidate that raises the
log-likelihood most, backward elimination drops one that the others made superfluous. In a sibling pair the slow one's
buys are explained by the leader, also where the fast one stayed out; in a chain they are explained by the middle
wallet, because the leader alone draws nobody in. Candidates are the tracked leaders whose pair passed every other test,
and the untracked wallets that came before the follower as often (they explain, but give no edge).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Its parts are loaded when they are first used: statistics alone take as long as all of Dagster.
import scipy

from copytrader_assets.analysis.baseline import by_chance
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.found_edges import FoundEdges
from copytrader_assets.analysis.grouped import Flags, Floats, Ints, weighed
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.pair_counts import count_pairs
from copytrader_assets.analysis.windows import Windows
from copytrader_core.settings import NetworkSettings

MIN_GAIN = 6.0
"""Log-likelihood that a leader must add given the others (twice that is 12: one in 2,000 by chance)."""
EQUAL_GAIN = 1.0
"""Candidates whose gains differ by less explain equally well: then the earliest of them is the leader."""
MAX_RIVALS = 8
"""Untracked wallets that may explain one follower."""
RIVAL_SHARE = 0.7
"""A rival came before the follower at least this share of the times that its best tracked leader did."""
RIVAL_SAME_SLOT = 0.5
MAX_REFUTED = 0.02
MIN_ALONE = 3
_EM_STEPS = 40


def surviving(buys: FirstBuys, habits: Habits, edges: FoundEdges, settings: NetworkSettings, slot_ms: float) -> Flags:
    """Which of `edges` remain when the leaders of each follower compete."""
    horizon = int(settings.horizon_seconds * 1000 / slot_ms)
    leader, follower = edges.counts.leader, edges.counts.follower
    rival_leader, rival_follower, rival_chance = _rivals(buys, habits, edges, settings, slot_ms)
    keep = np.zeros(len(leader), dtype=np.bool_)
    for one in np.unique(follower):
        mine = np.flatnonzero(follower == one)
        others = np.flatnonzero(rival_follower == one)
        candidates = np.concatenate([leader[mine], rival_leader[others]])
        chance = np.concatenate([edges.baseline_30s[mine], rival_chance[others]])
        chosen = select(opportunities(buys, int(one), candidates, horizon), chance, settings.min_excess)
        keep[mine] = chosen[: len(mine)]
    return keep


def _rivals(
    buys: FirstBuys, habits: Habits, edges: FoundEdges, settings: NetworkSettings, slot_ms: float
) -> tuple[Ints, Ints, Floats]:
    """(rival, follower, chance rate): wallets without an edge that often bought just before a follower of one."""
    horizon = int(settings.horizon_seconds * 1000 / slot_ms)
    leader, follower = [], []
    windows, per_wallet = Windows.over(buys), buys.per_wallet
    for one in np.unique(edges.counts.follower):
        mine = edges.counts.follower == one
        who, before = windows.before(buys.of_wallet(int(one)), horizon)
        often = (before >= RIVAL_SHARE * edges.counts.followed[30][mine].max()) & (who != one)
        often &= ~np.isin(who, edges.counts.leader[mine])
        who, before = who[often], before[often]
        often = who[np.argsort(-before / per_wallet[who], kind="stable")[:MAX_RIVALS]]
        leader.append(often)
        follower.append(np.full(len(often), one))
    empty = np.zeros(0, dtype=np.int64)
    counts = count_pairs(buys, np.concatenate([empty, *leader]), np.concatenate([empty, *follower]), slot_ms)
    chance = by_chance(buys, habits, counts.leader, counts.follower, (5, 30), slot_ms)[30]
    real = counts.probability(30) - chance >= settings.min_excess
    real &= counts.same_slot <= RIVAL_SAME_SLOT * counts.followed[30]
    return counts.leader[real], counts.follower[real], chance[real]


@dataclass(frozen=True, slots=True)
class Opportunities:
    """Coins (rows) by candidates (columns): followed within the horizon, not followed; mean lead in slots."""

    followed: Flags
    ignored: Flags
    lead_slots: Floats


def opportunities(buys: FirstBuys, follower: int, candidates: Ints, horizon: int) -> Opportunities:
    """What the follower did after each candidate's first buys of coins that it had not bought yet."""
    bought = np.full(buys.n_mints, len(buys), dtype=np.int64)
    own = buys.of_wallet(follower)
    bought[buys.mint[own]] = own
    at = buys.of_wallets(candidates).astype(np.int64)
    column = np.repeat(np.arange(len(candidates)), buys.per_wallet[candidates])
    answer = bought[buys.mint[at]]
    never = answer == len(buys)
    open_still = never | buys.is_later(np.where(never, 0, answer), at)
    at, column, answer = at[open_still], column[open_still], answer[open_still]
    coins, row = np.unique(buys.mint[at], return_inverse=True)
    soon = answer < len(buys)
    soon[soon] = buys.slot[answer[soon]] - buys.slot[at[soon]] <= horizon
    followed = np.zeros((len(coins), len(candidates)), dtype=np.bool_)
    ignored = np.zeros_like(followed)
    followed[row[soon], column[soon]] = True
    ignored[row[~soon], column[~soon]] = True
    lead = weighed(column[soon], (buys.slot[answer[soon]] - buys.slot[at[soon]]).astype(np.float64), len(candidates))
    return Opportunities(followed, ignored, lead / np.maximum(followed.sum(axis=0), 1))


def select(seen: Opportunities, chance: Floats, min_excess: float) -> Flags:
    """The candidates that explain the follower: forward selection with backward elimination."""
    model = _NoisyOr.of(seen, np.clip(chance, 1e-6, 0.5))
    chosen = np.zeros(len(chance), dtype=np.bool_)
    best, rates = model.fit(chosen)
    for _ in range(2 * len(chance)):
        values = {c: model.fit(_toggled(chosen, c))[0] for c in np.flatnonzero(~chosen).tolist()}
        highest = max(values.values(), default=best)
        if highest - best < MIN_GAIN:
            break
        equals = [c for c, value in values.items() if value >= highest - EQUAL_GAIN]
        chosen = _toggled(chosen, max(equals, key=lambda c: seen.lead_slots[c]))
        best, rates = model.fit(chosen)
        chosen, best, rates = _pruned(model, chosen, best, rates)
    for _ in range(len(chance)):
        swap = _impostor(seen, model, chosen, min_excess)
        if swap is None:
            break
        chosen = _toggled(_toggled(chosen, swap[0]), swap[1])
        best, rates = model.fit(chosen)
    while (refuted := _refuted(seen, chosen, rates, model.chance + min_excess)) >= 0:
        chosen = _toggled(chosen, refuted)
        best, rates = model.fit(chosen)
    return chosen & (rates - model.chance >= min_excess)


def _impostor(seen: Opportunities, model: _NoisyOr, chosen: Flags, min_excess: float) -> tuple[int, int] | None:
    """(chosen candidate, another that it stands in for), or None.

    A sibling with the follower's own taste in their leader's buys predicts it better than the leader does. But where
    the sibling bought alone it draws nobody, and where the leader bought alone it does.
    """
    present = seen.followed | seen.ignored
    for c in np.flatnonzero(chosen).tolist():
        for other in np.flatnonzero(~chosen & present.any(axis=0)).tolist():
            with_it, without = present[:, c] & ~present[:, other], present[:, other] & ~present[:, c]
            drawn, led = int((seen.followed[:, c] & with_it).sum()), int((seen.followed[:, other] & without).sum())
            both = present[:, c] & present[:, other]
            together = int((seen.followed[:, c] & both).sum()) / max(int(both.sum()), 1)
            floor = max(together / 2, model.chance[c] + min_excess)
            refuted = scipy.stats.binom.cdf(drawn, int(with_it.sum()), floor) < MAX_REFUTED
            by_chance = scipy.stats.binom.sf(led - 1, int(without.sum()), model.chance[other] + min_excess / 2)
            if refuted and led >= MIN_ALONE and by_chance < MAX_REFUTED:
                return c, other
    return None


def _refuted(seen: Opportunities, chosen: Flags, rates: Floats, floor: Floats) -> int:
    """The chosen candidate whose own coins speak most against it, or -1.

    On coins that no other chosen candidate bought, a real leader is followed at its rate. Siblings that like the same
    of their leader's buys predict each other beyond the model, but not there. Refuted is a candidate that would be
    followed so rarely there, at half its rate, in less than MAX_REFUTED of all cases, and one that was followed there
    less than MIN_ALONE times while another chosen one was.
    """
    present = (seen.followed | seen.ignored) & chosen
    alone = present & (present.sum(axis=1) == 1)[:, None]
    followed, trials = (seen.followed & alone).sum(axis=0), alone.sum(axis=0)
    tail = np.where(chosen, scipy.stats.binom.cdf(followed, trials, np.maximum(rates / 2, floor)), 1.0)
    if (followed >= MIN_ALONE).any():
        tail[chosen & (followed < MIN_ALONE)] -= 1.0
    worst = int(np.argmin(tail)) if len(tail) else -1
    return worst if chosen.sum() > 1 and tail[worst] < MAX_REFUTED else -1


def _pruned(model: _NoisyOr, chosen: Flags, best: float, rates: Floats) -> tuple[Flags, float, Floats]:
    """Drop what the others have made superfluous, the least useful first."""
    while chosen.sum() > 1:
        value, dropped = max((model.fit(_toggled(chosen, c))[0], c) for c in np.flatnonzero(chosen).tolist())
        if best - value >= MIN_GAIN:
            break
        chosen = _toggled(chosen, dropped)
        best, rates = model.fit(chosen)
    return chosen, best, rates


def _toggled(chosen: Flags, candidate: int) -> Flags:
    """`chosen` with one candidate switched."""
    switched = chosen.copy()
    switched[candidate] = not switched[candidate]
    return switched


@dataclass(frozen=True, slots=True)
class _NoisyOr:
    """The model of one follower on its distinct patterns of followed candidates, with their multiplicities."""

    patterns: Flags
    weights: Ints
    ignored: Ints
    trials: Ints
    chance: Floats

    @classmethod
    def of(cls, seen: Opportunities, chance: Floats) -> _NoisyOr:
        """Compress the coins: only which candidates were followed matters, and how often each was ignored."""
        some = seen.followed[seen.followed.any(axis=1)]
        patterns, weights = np.unique(some, axis=0, return_counts=True) if len(some) else (some, np.zeros(0, np.int64))
        ignored = seen.ignored.sum(axis=0)
        return cls(patterns, weights, ignored, ignored + seen.followed.sum(axis=0), chance)

    def fit(self, chosen: Flags) -> tuple[float, Floats]:
        """Maximum log-likelihood with the chosen candidates' rates free (EM), and all rates."""
        rates = self.chance.copy()
        rates[chosen] = np.maximum(self.chance[chosen], 0.5)
        for _ in range(_EM_STEPS if chosen.any() else 0):
            drawn = np.where(self.patterns, rates, 0.0) / self._drawn(rates)[:, None]
            fitted = (self.weights @ drawn) / np.maximum(self.trials, 1)
            rates[chosen] = np.clip(np.maximum(fitted[chosen], self.chance[chosen]), 1e-6, 1 - 1e-6)
        value = self.weights @ np.log(self._drawn(rates)) + self.ignored @ np.log1p(-rates)
        return float(value), rates

    def _drawn(self, rates: Floats) -> Floats:
        """Probability of each pattern: at least one of its candidates drew the follower in."""
        return np.asarray(-np.expm1(np.where(self.patterns, np.log1p(-rates), 0.0).sum(axis=1)))
