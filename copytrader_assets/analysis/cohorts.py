"""Wallets that land in the same slot again and again: one actor behind several wallets, as bundles at launch are.

A pair is one actor if it shares slots far more often than each one's habits make likely, on most coins of both, and
hardly ever meets otherwise: whoever reacts to the other spills over into the next slot now and then. Two copiers of one
trigger with one latency look the same from their own buys alone, so a pair whose common slots somebody else's buys
announce is left apart. Not here: other evidence, and what is made of the pairs (`entities`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.chance import binomial_tail, poisson_tail
from copytrader_assets.analysis.first_buys import Codes, FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.windows import Windows
from copytrader_core.compiled import kernel

MIN_TOGETHER = 5
"""Coins on which two wallets must have landed in one slot."""
SHARE_OF_BOTH = 0.5
"""Least share of each one's coins that they share a slot on."""
SHARE_OF_MEETINGS = 0.9
"""Least share of the coins that both bought within the horizon on which it was in one slot."""
MAX_P = 1e-6
MAX_GROUP = 40
"""A slot in which more wallets than this buy one coin says nothing about any two of them."""
SAMPLE = 16
"""Buys of a wallet at which partners are looked for, evenly spread over all of them."""
SEEN_IN_SAMPLE = 3
_WALLETS_AT_ONCE = 8192
ANNOUNCED_SHARE = 0.6
MAX_P_ANNOUNCED = 1e-4


@dataclass(frozen=True, slots=True)
class Cohorts:
    """Pairs of wallet codes with the number of coins on which they shared a slot, and the first and last such slot."""

    one: Ints
    other: Ints
    together: Ints
    share: Floats
    first_slot: Ints
    last_slot: Ints


def cohorts(buys: FirstBuys, habits: Habits, horizon: int) -> Cohorts:
    """The pairs of wallets that are one actor by their slots; `horizon` in slots."""
    per_wallet = buys.per_wallet
    one, other = _candidates(buys, np.flatnonzero(per_wallet >= MIN_TOGETHER))
    together, met, first, last = _meetings(buys, one, other, horizon)
    enough = (together >= MIN_TOGETHER) & (together >= SHARE_OF_MEETINGS * met)
    enough &= together >= SHARE_OF_BOTH * np.maximum(per_wallet[one], per_wallet[other])
    one, other, together, first, last = (column[enough] for column in (one, other, together, first, last))
    likely = poisson_tail(together, _by_chance(buys, habits, one, other)) <= MAX_P
    likely[likely] = ~_announced(buys, one[likely], other[likely], horizon)
    share = together / np.maximum(np.maximum(per_wallet[one], per_wallet[other]), 1)
    one, other, together, first, last = (column[likely] for column in (one, other, together, first, last))
    return Cohorts(one, other, together, share[likely], first, last)


def _candidates(buys: FirstBuys, wallets: Ints) -> tuple[Ints, Ints]:
    """Pairs (one < other) that shared a slot on several of one's sampled buys."""
    pairs = [np.zeros((2, 0), dtype=np.int64)]
    found = np.empty(SAMPLE * MAX_GROUP, dtype=np.int64)
    out = np.empty((2, _WALLETS_AT_ONCE * (len(found) // SEEN_IN_SAMPLE)), dtype=np.int64)
    columns = (buys.by_wallet, buys.wallet_starts, buys.mint, buys.wallet, buys.slot, buys.mint_starts)
    for start in range(0, len(wallets), _WALLETS_AT_ONCE):
        part = wallets[start : start + _WALLETS_AT_ONCE]
        n = _fill_candidates(part, *columns, SAMPLE, SEEN_IN_SAMPLE, MAX_GROUP, found, out)
        pairs.append(np.sort(out[:, :n], axis=0))
    one, other = np.unique(np.concatenate(pairs, axis=1), axis=1)
    return one, other


@kernel
def _fill_candidates(
    wallets: Codes,
    by_wallet: Codes,
    wallet_starts: Codes,
    mint: Codes,
    wallet: Codes,
    slot: Codes,
    mint_starts: Codes,
    sample: int,
    needed: int,
    limit: int,
    found: Codes,
    out: Codes,
) -> int:
    """Writes the pairs into `out` and returns their number; a pair may come twice, from either side."""
    n_out = 0
    for one in wallets:
        own = by_wallet[wallet_starts[one] : wallet_starts[one + 1]]
        n_sampled = min(sample, len(own))
        n = 0
        for k in range(n_sampled):
            at = own[k * len(own) // n_sampled : k * len(own) // n_sampled + 1]
            n += _partners(at, mint, wallet, slot, mint_starts, limit, found[n:])
        partners = np.sort(found[:n])
        begin = 0
        for k in range(1, n + 1):
            if k == n or partners[k] != partners[begin]:
                if k - begin >= needed:
                    out[0, n_out], out[1, n_out] = one, partners[begin]
                    n_out += 1
                begin = k
    return n_out


@kernel
def _partners(sampled: Codes, mint: Codes, wallet: Codes, slot: Codes, starts: Codes, limit: int, found: Codes) -> int:
    """The other wallets of the same coin and slot as each sampled buy, unless there are more than `limit`."""
    n = 0
    for at in sampled:
        begin, end = at, at + 1
        while begin > starts[mint[at]] and slot[begin - 1] == slot[at]:
            begin -= 1
        while end < starts[mint[at] + 1] and slot[end] == slot[at]:
            end += 1
        if end - begin <= limit:
            for j in range(begin, end):
                if j != at:
                    found[n] = wallet[j]
                    n += 1
    return n


def _meetings(buys: FirstBuys, one: Ints, other: Ints, horizon: int) -> tuple[Ints, Ints, Ints, Ints]:
    """For each pair: coins bought in one slot, coins bought within the horizon; first and last common slot."""
    together, met, first, last = (np.zeros(len(one), dtype=np.int64) for _ in range(4))
    place = np.full(buys.n_mints, -1, dtype=np.int32)
    arrays = (buys.by_wallet, buys.wallet_starts, buys.mint, buys.slot)
    _fill_meetings(one, other, *arrays, place, horizon, together, met, first, last)
    return together, met, first, last


@kernel
def _fill_meetings(
    one: Codes,
    other: Codes,
    by_wallet: Codes,
    starts: Codes,
    mint: Codes,
    slot: Codes,
    place: Codes,
    horizon: int,
    together: Codes,
    met: Codes,
    first: Codes,
    last: Codes,
) -> None:
    for pair in range(len(one)):
        for k in range(starts[one[pair]], starts[one[pair] + 1]):
            place[mint[by_wallet[k]]] = by_wallet[k]
        for k in range(starts[other[pair]], starts[other[pair] + 1]):
            at = by_wallet[k]
            there = place[mint[at]]
            if there >= 0 and abs(slot[at] - slot[there]) <= horizon:
                met[pair] += 1
                if slot[at] == slot[there]:
                    if together[pair] == 0:
                        first[pair], last[pair] = slot[at], slot[at]
                    first[pair], last[pair] = min(first[pair], slot[at]), max(last[pair], slot[at])
                    together[pair] += 1
        for k in range(starts[one[pair]], starts[one[pair] + 1]):
            place[mint[by_wallet[k]]] = -1


def _by_chance(buys: FirstBuys, habits: Habits, one: Ints, other: Ints) -> Floats:
    """Mean number of common slots if `other`, with its habits, did not care for `one`."""
    expected = np.zeros(len(one))
    for wallet in np.unique(one):
        mine = np.flatnonzero(one == wallet)
        inside = np.zeros(habits.n, dtype=np.int64)
        _same_slot_strata(buys.of_wallet(int(wallet)), buys.mint, buys.slot, buys.mint_starts, habits.stratum, inside)
        share = habits.share(inside)
        for part, profile in habits.profiles(buys, other[mine]):
            expected[mine[part]] = profile @ share
    return expected


@kernel
def _same_slot_strata(own: Codes, mint: Codes, slot: Codes, starts: Codes, stratum: Codes, inside: Codes) -> None:
    for at in own:
        j = at
        while j > starts[mint[at]] and slot[j - 1] == slot[at]:
            j -= 1
        while j < starts[mint[at] + 1] and slot[j] == slot[at]:
            if j != at:
                inside[stratum[j]] += 1
            j += 1


def _announced(buys: FirstBuys, one: Ints, other: Ints, horizon: int) -> Flags:
    """Pairs whose common slots somebody else's buy comes before, more often than one who buys so much would."""
    windows, per_wallet, announced = Windows.over(buys), buys.per_wallet, np.zeros(len(one), dtype=np.bool_)
    for pair, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        common = _common(buys, a, b)
        who, before = windows.before(common, horizon)
        coverage = per_wallet[who] / max(buys.n_mints, 1)
        often = before >= ANNOUNCED_SHARE * len(common)
        chance = binomial_tail(before, np.full(len(who), len(common)), coverage)
        outside = (who != a) & (who != b) & ~_sharing(buys, common, who)
        announced[pair] = bool((often & outside & (chance <= MAX_P_ANNOUNCED)).any())
    return announced


def _common(buys: FirstBuys, a: int, b: int) -> Codes:
    """a's elements on the coins that both bought in one slot."""
    mine, theirs = buys.of_wallet(a), buys.of_wallet(b)
    _, i, j = np.intersect1d(buys.mint[mine], buys.mint[theirs], assume_unique=True, return_indices=True)
    same = buys.slot[mine[i]] == buys.slot[theirs[j]]
    return np.asarray(mine[i][same])


def _sharing(buys: FirstBuys, common: Codes, who: Ints) -> Flags:
    """Which of `who` bought most of the coins of `common` in the very same slot: members of the same cohort."""
    found = np.empty(len(common) * MAX_GROUP + 1, dtype=np.int64)
    n = _partners(common, buys.mint, buys.wallet, buys.slot, buys.mint_starts, MAX_GROUP, found)
    partner, seen = np.unique(found[:n], return_counts=True)
    return np.isin(who, partner[seen >= SHARE_OF_BOTH * len(common)])
