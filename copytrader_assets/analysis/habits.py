"""The null of the copy network: what a wallet's own habits and the coin's crowd make of a pair without any following.

Every first buy falls into a stratum by the coin's age (its time since the first buy seen of it). Within a stratum s,
N_s first buys were made, n_Ws of them by wallet W, and N_Ls of them by anybody within the horizon after leader L
bought that coin. If W does not follow L, its buys fall among the N_s at random, so the number that lands in L's windows
is a sum of hypergeometric counts with mean sum_s n_Ws N_Ls / N_s. That conditions on the coin's buy intensity (a busy
coin has more buys in the window), on W's participation, and on W's own profile of time since launch: a sniper that buys
everything at launch is expected in every early window. The upper tail is bounded by the Poisson tail of that mean
(a hypergeometric count is less spread). Sources: Tumminello et al. 2011 (hypergeometric null of co-occurrence),
Curme et al. 2015 (lagged links under many tests).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Floats, Ints

AGE_SECONDS = (1.0, 3.0, 10.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0)
"""Borders of the age strata; the last stratum has no end."""
N_STRATA = len(AGE_SECONDS) + 1


@dataclass(frozen=True, slots=True)
class Habits:
    """First buys by stratum: of each element, of everybody, and of each wallet (wallets x strata)."""

    stratum: Ints
    everybody: Ints
    wallet: Ints

    @classmethod
    def of(cls, buys: FirstBuys, slot_ms: float) -> Habits:
        """Count every first buy into its stratum."""
        launch = np.searchsorted(buys.mint, np.arange(buys.n_mints))
        age_ms = (buys.slot - buys.slot[launch[buys.mint]]) * slot_ms
        stratum = np.searchsorted(np.array(AGE_SECONDS) * 1000, age_ms, side="right")
        wallet = np.bincount(buys.wallet * N_STRATA + stratum, minlength=len(buys.wallets) * N_STRATA)
        return cls(stratum, np.bincount(stratum, minlength=N_STRATA), wallet.reshape(len(buys.wallets), N_STRATA))

    def expected(self, follower: Ints, exposure: Floats) -> Floats:
        """Mean number of the followers' buys inside windows that hold `exposure` (pairs x strata) of all first buys."""
        share = exposure / np.maximum(self.everybody, 1)
        return np.asarray((self.wallet[follower] * share).sum(axis=1))
