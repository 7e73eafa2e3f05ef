"""Every wallet's first buy of every coin in the window, in chain order: what the copy network is read from.

Days come reduced and in integer codes (`day_buys`) and are put in place one after the other by counting, without a sort
and without ever holding events. Two buys of one transaction, or of one slot where the place in it is unknown, have no
order: neither can have followed the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_assets.analysis.columns import places
from copytrader_assets.analysis.day_buys import DayBuys, reduced
from copytrader_assets.analysis.grouped import Flags, Ints, ranges
from copytrader_assets.analysis.text_codes import TextCodes
from copytrader_core.compiled import kernel

Codes: TypeAlias = NDArray[Any]
"""Integers of 32 bits where many are held, of 64 where few are computed with."""
Sizes: TypeAlias = NDArray[np.float32]
_LAST_SLOT = np.iinfo(np.int64).max
_COUNTED_AT_ONCE = 1 << 24


class DaySource(Protocol):
    """A reduced day: what its codes stand for is asked for first and of all days, its rows one day at a time."""

    def names(self) -> tuple[pa.Array, pa.Array]:
        """Coins and wallets by their code of the day."""

    def coins(self) -> tuple[Ints, int]:
        """The coin of each row, and the first slot."""

    def buys(self) -> DayBuys:
        """The rows."""


@dataclass(frozen=True, slots=True)
class Held:
    """A day that is in memory already."""

    day: DayBuys

    def names(self) -> tuple[pa.Array, pa.Array]:
        """Coins and wallets by their code of the day."""
        return self.day.mints, self.day.wallets

    def coins(self) -> tuple[Ints, int]:
        """The coin of each row, and the first slot."""
        return self.day.mint, int(self.day.slot.min(initial=_LAST_SLOT))

    def buys(self) -> DayBuys:
        """The rows."""
        return self.day


@dataclass(frozen=True, slots=True)
class FirstBuys:
    """One element per (coin, wallet), sorted by coin and within it in chain order.

    Coin m owns the elements mint_starts[m] to mint_starts[m + 1]. `slot` counts from the window's first one, `tx_index`
    is -1 where unknown, `size_sol` NaN where the coin is not quoted in SOL. `base_slot` is the chain's slot 0 of it.
    `by_wallet` lists the elements of each wallet: wallet w owns by_wallet[wallet_starts[w]:wallet_starts[w + 1]].
    """

    wallets: pa.Array
    mint: Codes
    wallet: Codes
    slot: Codes
    tx_index: Codes
    size_sol: Sizes
    mint_starts: Ints
    by_wallet: Codes
    wallet_starts: Ints
    base_slot: int = 0

    @classmethod
    def of(cls, buys: pa.Table) -> FirstBuys:
        """The first buys among the BUY rows `buys` (any order, any wallets; rows without a coin are left out)."""
        return cls.of_days([Held(reduced(buys))])

    @classmethod
    def of_days(cls, days: Sequence[DaySource]) -> FirstBuys:
        """The first buys of several days, given in order."""
        mints, wallets = TextCodes(), TextCodes()
        mint_maps: list[Codes] = []
        wallet_maps: list[Codes] = []
        for day in days:
            for texts, coder, maps in zip(day.names(), (mints, wallets), (mint_maps, wallet_maps), strict=True):
                maps.append(coder.of(texts))
        n_mints, n_wallets, names = len(mints), len(wallets), wallets.names()
        counts = np.zeros(n_mints, dtype=np.int64)
        base = _LAST_SLOT
        for day, mint_codes in zip(days, mint_maps, strict=True):
            coins, first = day.coins()
            counts += np.bincount(mint_codes[coins], minlength=n_mints)
            base = min(base, first)
        starts = np.append(0, np.cumsum(counts))
        wallet, slot, tx = (np.empty(starts[-1], dtype=np.int32) for _ in range(3))
        size = np.empty(starts[-1], dtype=np.float32)
        cursor = starts[:-1].copy()
        for day, mint_codes, wallet_codes in zip(days, mint_maps, wallet_maps, strict=True):
            rows = day.buys()
            own = (rows.mint, rows.wallet, rows.slot, rows.tx_index, rows.size_sol)
            _place(cursor, mint_codes, wallet_codes, base, *own, wallet, slot, tx, size)
        first_slot = int(base) if base != _LAST_SLOT else 0
        return cls._first(names, n_wallets, starts, wallet, slot, tx, size, first_slot)

    @classmethod
    def _first(
        cls,
        names: pa.Array,
        n_wallets: int,
        starts: Ints,
        wallet: Codes,
        slot: Codes,
        tx: Codes,
        size: Sizes,
        base_slot: int,
    ) -> FirstBuys:
        """Indexed, and of each wallet's buys of a coin the first only. The given arrays are overwritten."""
        mint = np.empty(len(wallet), dtype=np.int32)
        starts = starts.copy()
        n = _keep_first(starts, np.full(n_wallets, -1, dtype=np.int32), mint, wallet, slot, tx, size)
        mint, wallet, slot, tx = (column[:n] for column in (mint, wallet, slot, tx))
        size = size[:n]
        by_wallet, wallet_starts = _index(wallet, n_wallets)
        return cls(names, mint, wallet, slot, tx, size, starts, by_wallet, wallet_starts, base_slot)

    def __len__(self) -> int:
        return len(self.wallet)

    @property
    def n_mints(self) -> int:
        """How many coins were bought."""
        return len(self.mint_starts) - 1

    @property
    def n_slots(self) -> int:
        """How many slots lie between the first and the last buy, both included."""
        return int(self.slot.max(initial=0)) + 1

    @property
    def per_wallet(self) -> Ints:
        """How many coins each wallet bought."""
        return np.diff(self.wallet_starts)

    @property
    def launch(self) -> Codes:
        """The slot of each coin's first buy; 0 for a coin without any."""
        last = max(len(self) - 1, 0)
        return self.slot[np.minimum(self.mint_starts[:-1], last)] if len(self) else np.zeros(self.n_mints, np.int32)

    def of_wallet(self, wallet: int) -> Codes:
        """The elements of one wallet."""
        return self.by_wallet[self.wallet_starts[wallet] : self.wallet_starts[wallet + 1]]

    def of_wallets(self, wallets: Ints) -> Codes:
        """The elements of several wallets, one wallet after the other."""
        return self.by_wallet[ranges(self.wallet_starts[wallets], self.wallet_starts[np.asarray(wallets) + 1])]

    def codes_of(self, names: Iterable[str]) -> Ints:
        """The codes of those of `names` that bought anything, ascending."""
        found = places(pa.chunked_array([pa.array(sorted(names), pa.string())]), self.wallets)
        found = found[found >= 0]
        return np.sort(found[self.per_wallet[found] > 0])

    def is_later(self, at: Any, other: Any) -> Flags:
        """Whether each element of `at` stands behind that of `other` on the same coin."""
        same = self.slot[at] == self.slot[other]
        return np.asarray((self.slot[at] > self.slot[other]) | (same & (self.tx_index[at] > self.tx_index[other])))

    def select(self, keep: Flags) -> FirstBuys:
        """Only the elements that `keep` marks."""
        sizes = _counted(self.mint[keep], self.n_mints)
        starts = np.append(0, np.cumsum(sizes))
        by_wallet, wallet_starts = _index(self.wallet[keep], len(self.wallets))
        columns = {name: getattr(self, name)[keep] for name in ("mint", "wallet", "slot", "tx_index", "size_sol")}
        return replace(self, **columns, mint_starts=starts, by_wallet=by_wallet, wallet_starts=wallet_starts)

    def into_merged(self, owner: Ints) -> FirstBuys:
        """The same with wallet w's buys counted as those of wallet `owner[w]`, whose code and name stay.

        The memory of this object goes into the result: it must not be used any more.
        """
        if np.array_equal(owner, np.arange(len(owner))):
            return self
        codes = np.asarray(owner, dtype=np.int32)[self.wallet]
        columns = (codes, self.slot, self.tx_index, self.size_sol)
        return FirstBuys._first(self.wallets, len(self.wallets), self.mint_starts, *columns, base_slot=self.base_slot)


@kernel
def _place(
    cursor: Codes,
    mint_codes: Codes,
    wallet_codes: Codes,
    base: int,
    day_mint: Codes,
    day_wallet: Codes,
    day_slot: Codes,
    day_tx: Codes,
    day_size: Codes,
    wallet: Codes,
    slot: Codes,
    tx: Codes,
    size: Codes,
) -> None:
    """Appends a day's rows to their coins; `cursor` is where each coin's next row goes."""
    for row in range(len(day_mint)):
        coin = mint_codes[day_mint[row]]
        at = cursor[coin]
        cursor[coin] = at + 1
        wallet[at] = wallet_codes[day_wallet[row]]
        slot[at] = day_slot[row] - base
        tx[at] = day_tx[row]
        size[at] = day_size[row]


@kernel
def _keep_first(starts: Codes, seen: Codes, mint: Codes, wallet: Codes, slot: Codes, tx: Codes, size: Codes) -> int:
    """Moves the first row of each (coin, wallet) forward over the others, in place. Returns how many there are."""
    kept = 0
    begin = starts[0]
    for coin in range(len(starts) - 1):
        end = starts[coin + 1]
        starts[coin] = kept
        for row in range(begin, end):
            who = wallet[row]
            if seen[who] != coin:
                seen[who] = coin
                mint[kept] = coin
                wallet[kept] = who
                slot[kept] = slot[row]
                tx[kept] = tx[row]
                size[kept] = size[row]
                kept += 1
        begin = end
    starts[len(starts) - 1] = kept
    return kept


def _index(wallet: Codes, n_wallets: int) -> tuple[Codes, Ints]:
    """The elements wallet by wallet in order, and where each wallet's begin."""
    starts = np.append(0, np.cumsum(_counted(wallet, n_wallets)))
    by_wallet = np.empty(len(wallet), dtype=np.int32)
    _fill_index(starts[:-1].copy(), wallet, by_wallet)
    return by_wallet, starts


def _counted(codes: Codes, n: int) -> Ints:
    """How often each code stands there, a part at a time: NumPy counts in a copy of twice the size."""
    counts = np.zeros(n, dtype=np.int64)
    for start in range(0, len(codes), _COUNTED_AT_ONCE):
        counts += np.bincount(codes[start : start + _COUNTED_AT_ONCE], minlength=n)
    return counts


@kernel
def _fill_index(cursor: Codes, wallet: Codes, by_wallet: Codes) -> None:
    """A counting sort of the elements by wallet."""
    for row in range(len(wallet)):
        who = wallet[row]
        by_wallet[cursor[who]] = row
        cursor[who] += 1
