"""The end of a day: bags of dead coins become losses, leftovers of coins that nobody trades are forgotten.

Also what a bag is worth then. Not here: the events of the day (ledger_kernel.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from copytrader_assets.analysis.coin_facts import PairMarks
from copytrader_assets.analysis.ledger_kernel import COST, DEAD, HELD, MATCHED, QUOTE, STATUS, Rows
from copytrader_core.compiled import kernel, uncounted
from copytrader_core.settings import LedgerSettings
from copytrader_core.wide import ONE, ZERO, Words, sell_quote, share

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


@uncounted
def bury(trips: Rows, sums: Words, quiet: Rows, marks: PairMarks, rule: DeadRule) -> None:
    """Of the trips `quiet`, whose coins nobody trades, those become DEAD that nothing is bid for.

    `marks` stand in the order of `quiet`. Unknown reserves are not an empty pool. Without SOL there is no threshold:
    nothing at all must be bid.
    """
    for place in range(len(quiet)):
        trip = quiet[place]
        if not marks.known[place]:
            continue
        bid = sell_quote(marks.base[place], marks.reserve[place], sums[trip, HELD + 1], sums[trip, HELD])
        if bid < (rule.least_lamports if trips[trip, QUOTE] == rule.sol else ONE):
            trips[trip, STATUS] = DEAD
            sums[trip, MATCHED], sums[trip, MATCHED + 1] = sums[trip, COST], sums[trip, COST + 1]


@kernel
def executable(held: Words, base: Words, reserve: Words, fee_ppm: NDArray[np.int32]) -> NDArray[np.uint64]:
    """What each bag would bring if it were sold at once: the quote of the reserves less the swap fee, rounded down."""
    result = np.empty(len(held), np.uint64)
    for row in range(len(held)):
        gross = sell_quote(base[row], reserve[row], held[row, 1], held[row, 0])
        _, fee, rest = share(ZERO, gross, np.uint64(fee_ppm[row]), _MILLION)
        result[row] = gross - fee - (ONE if rest else ZERO)
    return result
