"""The end of a day: bags of dead coins become losses, leftovers of coins that nobody trades are forgotten.

Also what a bag is worth then. Not here: the events of the day (ledger_kernel.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from copytrader_assets.analysis.coin_facts import PairMarks
from copytrader_assets.analysis.ledger_kernel import DEAD, Leftovers, Trips
from copytrader_assets.analysis.wide import ONE, ZERO, Words, add_wide, sell_quote, share
from copytrader_core.settings import LedgerSettings

_NS_PER_HOUR = 3_600_000_000_000
_MILLION = np.uint64(1_000_000)


class DeadRule(NamedTuple):
    """A coin is quiet when it was last traded at `oldest_ns` or before; a bag is worthless below the threshold."""

    oldest_ns: int
    least_lamports: np.uint64
    sol: int

    @classmethod
    def of(cls, day_end_ns: int, rules: LedgerSettings, sol: int) -> DeadRule:
        """The rule for a day that ends with `day_end_ns`; `sol` is SOL's code among the quotes."""
        oldest = day_end_ns - math.ceil(rules.dead_after_hours * _NS_PER_HOUR)
        return cls(oldest, np.uint64(rules.dead_quote_lamports), sol)


@njit(cache=True, nogil=True, error_model="numpy")
def bury(
    trips: Trips, still_open: NDArray[np.int64], marks: PairMarks, last_trade: NDArray[np.int64], rule: DeadRule
) -> None:
    """Trips of quiet coins that nothing is bid for become DEAD. `marks` are those of `still_open`, in its order.

    Unknown reserves are not an empty pool. Without SOL there is no threshold: nothing at all must be bid.
    """
    for place in range(len(still_open)):
        trip = still_open[place]
        if last_trade[trips.mint[trip]] > rule.oldest_ns or not marks.known[place]:
            continue
        bid = sell_quote(marks.base[place], marks.reserve[place], trips.held[trip, 1], trips.held[trip, 0])
        if bid < (rule.least_lamports if trips.quote[trip] == rule.sol else ONE):
            trips.status[trip] = DEAD
            trips.matched[trip, 0], trips.matched[trip, 1] = trips.cost[trip, 0], trips.cost[trip, 1]


@njit(cache=True, nogil=True, error_model="numpy")
def kept_leftovers(
    left: Leftovers, count: int, last_trade: NDArray[np.int64], oldest_ns: int, forgotten: Words
) -> NDArray[np.bool_]:
    """Which of the first `count` leftovers are kept; the others are added to `forgotten`."""
    kept = np.empty(count, np.bool_)
    for number in range(count):
        kept[number] = last_trade[left.mint[number]] > oldest_ns
        if not kept[number]:
            add_wide(forgotten, 0, left.qty[number, 1], left.qty[number, 0])
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def executable(held: Words, base: Words, reserve: Words, fee_ppm: NDArray[np.int32]) -> NDArray[np.uint64]:
    """What each bag would bring if it were sold at once: the quote of the reserves less the swap fee, rounded down."""
    result = np.empty(len(held), np.uint64)
    for row in range(len(held)):
        gross = sell_quote(base[row], reserve[row], held[row, 1], held[row, 0])
        _, fee, rest = share(ZERO, gross, np.uint64(fee_ppm[row]), _MILLION)
        result[row] = gross - fee - (ONE if rest else ZERO)
    return result
