"""What lies in the windows after a leader's first buys, counted in one pass without ever being listed.

A window of buy i holds the first buys of the same coin that can have followed i (behind it in chain order) and lie at
most so many slots later. `who` counts by wallet, `strata` by stratum; both may meet an element in several windows only
if their buys are of one coin, which the first buys of one wallet never are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.first_buys import Codes, FirstBuys
from copytrader_assets.analysis.grouped import Flags, Ints
from copytrader_core.compiled import kernel


@dataclass(frozen=True, slots=True)
class Windows:
    """The counters, made once for many leaders: one place a wallet, all zero between two calls."""

    buys: FirstBuys
    counts: Codes
    touched: Codes

    @classmethod
    def over(cls, buys: FirstBuys) -> Windows:
        """Counters for the wallets of `buys`."""
        return cls(buys, np.zeros(len(buys.wallets), np.int32), np.zeros(len(buys.wallets), np.int32))

    def after(self, own: Codes, slots: int, at_least: int, stratum: Codes, inside: Ints) -> tuple[Ints, Ints]:
        """(wallet, how many of its first buys lie within `slots` slots after any of `own`), by wallet, if `at_least`.

        All elements of the windows are added to `inside` by their `stratum` in the same pass.
        """
        b = self.buys
        rows = (b.mint, b.wallet, b.slot, b.tx_index, b.mint_starts)
        n = _count_after(own, slots, *rows, stratum, self.counts, self.touched, inside)
        return self._taken(n, at_least)

    def before(self, own: Codes, slots: int) -> tuple[Ints, Ints]:
        """(wallet, how many of its first buys lie at most `slots` slots before any of `own`), by wallet."""
        b = self.buys
        n = _count_before(own, slots, b.mint, b.wallet, b.slot, b.tx_index, b.mint_starts, self.counts, self.touched)
        return self._taken(n, 1)

    def _taken(self, n: int, at_least: int) -> tuple[Ints, Ints]:
        found = self.touched[:n]
        often = np.sort(found[self.counts[found] >= at_least]).astype(np.int64)
        counts = self.counts[often].astype(np.int64)
        self.counts[found] = 0
        return often, counts


def strata_after(
    buys: FirstBuys, stratum: Codes, n_strata: int, own: Codes, slots: int, without: Flags | None = None
) -> Ints:
    """How many first buys within `slots` slots after any of `own` fall into each stratum.

    `without` marks wallets whose buys do not count.
    """
    inside = np.zeros(n_strata, dtype=np.int64)
    skipped = without if without is not None else np.zeros(0, dtype=np.bool_)
    b = buys
    _strata_after(own, slots, b.mint, b.wallet, b.slot, b.tx_index, b.mint_starts, stratum, skipped, inside)
    return inside


@kernel
def _count_after(
    own: Codes,
    slots: int,
    mint: Codes,
    wallet: Codes,
    slot: Codes,
    tx: Codes,
    starts: Codes,
    stratum: Codes,
    counts: Codes,
    touched: Codes,
    inside: Codes,
) -> int:
    n = 0
    for i in own:
        at, end = slot[i], starts[mint[i] + 1]
        j = i + 1
        while j < end and slot[j] == at and tx[j] == tx[i]:
            j += 1
        while j < end and slot[j] - at <= slots:
            who = wallet[j]
            if counts[who] == 0:
                touched[n] = who
                n += 1
            counts[who] += 1
            inside[stratum[j]] += 1
            j += 1
    return n


@kernel
def _count_before(
    own: Codes,
    slots: int,
    mint: Codes,
    wallet: Codes,
    slot: Codes,
    tx: Codes,
    starts: Codes,
    counts: Codes,
    touched: Codes,
) -> int:
    n = 0
    for i in own:
        at, begin = slot[i], starts[mint[i]]
        j = i - 1
        while j >= begin and slot[j] == at and tx[j] == tx[i]:
            j -= 1
        while j >= begin and at - slot[j] <= slots:
            who = wallet[j]
            if counts[who] == 0:
                touched[n] = who
                n += 1
            counts[who] += 1
            j -= 1
    return n


@kernel
def _strata_after(
    own: Codes,
    slots: int,
    mint: Codes,
    wallet: Codes,
    slot: Codes,
    tx: Codes,
    starts: Codes,
    stratum: Codes,
    skipped: Flags,
    inside: Codes,
) -> None:
    for i in own:
        at, end = slot[i], starts[mint[i] + 1]
        j = i + 1
        while j < end and slot[j] == at and tx[j] == tx[i]:
            j += 1
        while j < end and slot[j] - at <= slots:
            if len(skipped) == 0 or not skipped[wallet[j]]:
                inside[stratum[j]] += 1
            j += 1
