"""The null of the copy network: what a wallet's habits and the coin's crowd make of a pair without any following.

Every first buy falls into a stratum by the coin's age (time since the first buy seen of it) and the clock. In stratum
s, N_s first buys were made, n_Ws of them by wallet W, and N_Ls of them by anybody within the horizon after leader L
bought that coin. If W does not follow L, its buys fall among the N_s at random, so the number that lands in L's windows
is a sum of hypergeometric counts with mean sum_s n_Ws N_Ls / N_s. That conditions on the coin's buy intensity (a busy
coin has more buys in the window), on W's participation, and on W's own profile of time since launch: a sniper that buys
everything at launch is expected in every early window. The upper tail is bounded by the Poisson tail of that mean
(a hypergeometric count is less spread). Sources: Tumminello et al. 2011 (hypergeometric null of co-occurrence),
Curme et al. 2015 (lagged links under many tests).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import Codes, FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.windows import strata_after
from copytrader_core.compiled import kernel

AGE_SECONDS = (0.4, 0.8, 1.2, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0)
"""Borders of the age strata; the last stratum has no end. Slot by slot at first: of two snipers the faster one comes
before the slower on every coin, and that is no following."""
N_AGES = len(AGE_SECONDS) + 1
WHOLE_WEIGHT = 300.0
AGE_WEIGHT = 30.0
BLOCK_HOURS = 2.0
"""Length of the time strata: wallets trade in sessions, and two that are awake together meet more often."""


_CHUNK_CELLS = 1 << 24
"""Cells of the table of wallets by strata that is in memory at a time."""


@dataclass(frozen=True, slots=True)
class Habits:
    """The stratum of every first buy, and how many first buys of everybody each stratum holds."""

    stratum: Codes
    everybody: Ints

    @classmethod
    def of(cls, buys: FirstBuys, slot_ms: float) -> Habits:
        """Count every first buy into its stratum."""
        borders = np.array(AGE_SECONDS) * 1000 / slot_ms
        block_slots = BLOCK_HOURS * 3_600_000 / slot_ms
        everybody = np.zeros((int((buys.n_slots - 1) // block_slots) + 1) * N_AGES, dtype=np.int64)
        stratum = np.empty(len(buys), dtype=np.int16 if len(everybody) <= np.iinfo(np.int16).max else np.int32)
        _fill_strata(buys.mint_starts, buys.slot, borders, block_slots, stratum, everybody)
        return cls(stratum, everybody)

    @property
    def n(self) -> int:
        """How many strata there are."""
        return len(self.everybody)

    def after(self, buys: FirstBuys, own: Codes, slots: int, without: Flags | None = None) -> Ints:
        """How many first buys within `slots` slots after any of `own` fall into each stratum."""
        return strata_after(buys, self.stratum, self.n, own, slots, without)

    def profiles(self, buys: FirstBuys, wallets: Ints) -> Iterator[tuple[slice, Floats]]:
        """How many first buys each of `wallets` has in each stratum, a part of the wallets at a time."""
        step = max(1, _CHUNK_CELLS // max(self.n, 1))
        for start in range(0, len(wallets), step):
            part = wallets[start : start + step]
            table = np.zeros((len(part), self.n))
            _fill_profiles(buys.by_wallet, buys.wallet_starts, part, self.stratum, table)
            yield slice(start, start + len(part)), table

    def share(self, inside: Ints, everybody: Ints | None = None) -> Floats:
        """The share of each stratum that lies inside windows which hold `inside` of `everybody`'s first buys.

        A stratum with few buys says little, and may hold nobody but the followers themselves. So its share is drawn
        towards that of its age at all times, and that towards the share of all buys (weights of so many buys).
        """
        crowd = self.everybody if everybody is None else everybody
        whole = inside.sum() / max(crowd.sum(), 1)
        of_age = np.arange(len(inside)) % N_AGES
        by_age = (np.bincount(of_age, inside) + WHOLE_WEIGHT * whole) / (np.bincount(of_age, crowd) + WHOLE_WEIGHT)
        return np.asarray((inside + AGE_WEIGHT * by_age[of_age]) / (crowd + AGE_WEIGHT))


@kernel
def _fill_strata(
    starts: Codes, slot: Codes, borders: Floats, block_slots: float, stratum: Codes, everybody: Codes
) -> None:
    """Within a coin the age only grows, so that its border moves on and is never searched for."""
    n_ages = len(borders) + 1
    for coin in range(len(starts) - 1):
        begin, end = starts[coin], starts[coin + 1]
        age = 0
        for row in range(begin, end):
            while age < n_ages - 1 and slot[row] - slot[begin] >= borders[age]:
                age += 1
            block = int(slot[row] // block_slots)
            stratum[row] = block * n_ages + age
            everybody[stratum[row]] += 1


@kernel
def _fill_profiles(by_wallet: Codes, starts: Codes, wallets: Codes, stratum: Codes, table: Floats) -> None:
    for row in range(len(wallets)):
        for at in range(starts[wallets[row]], starts[wallets[row] + 1]):
            table[row, stratum[by_wallet[at]]] += 1.0
