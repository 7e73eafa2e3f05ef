"""Every wallet's first buy of every coin, in chain order: what the copy network is read from.

Order and time come from (slot, tx_index), never from a timestamp. Two buys of one transaction, or of one slot where
the place in it is unknown, have no order: neither can have followed the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, floats, ints, places
from copytrader_assets.analysis.grouped import Floats, Ints, ranges, weighed
from copytrader_core.records import LAMPORTS_PER_SOL, WSOL

_SLOT_SPACE = np.int64(1) << 32


@dataclass(frozen=True, slots=True)
class FirstBuys:
    """One element per (coin, wallet), sorted by coin and within it in chain order.

    `after[i]` is the first buy of the coin that can have followed buy i; `key` is coin and slot in one integer;
    `size_sol` is what the wallet paid in that transaction (NaN where the coin is not quoted in SOL).
    `by_wallet` lists the elements of each wallet: wallet w owns by_wallet[wallet_starts[w]:wallet_starts[w + 1]].
    """

    wallets: pa.Array
    n_mints: int
    n_slots: int
    mint: Ints
    wallet: Ints
    slot: Ints
    tx_index: Ints
    key: Ints
    after: Ints
    size_sol: Floats
    by_wallet: Ints
    wallet_starts: Ints

    @classmethod
    def of(cls, buys: pa.Table) -> FirstBuys:
        """The first buys among the BUY rows `buys` (any order, any wallets; rows without a coin are left out)."""
        buys = _in_chain_order(buys.filter(pc.is_valid(buys["mint"])))
        mint, wallet = (_encoded(buys[name]) for name in ("mint", "wallet"))
        wallets, mints = wallet.dictionary, mint.dictionary
        pair = _indices(mint) * max(len(wallets), 1) + _indices(wallet)
        pair, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
        slot, tx_index = ints(buys, "slot"), ints(buys, "tx_index", null=-1)
        spent = _spent_sol(buys, inverse, (slot == slot[first][inverse]) & (tx_index == tx_index[first][inverse]))
        order = np.lexsort((first, pair // max(len(wallets), 1)))
        place, pair = first[order], pair[order]
        base = int(slot.min()) if len(slot) else 0
        return cls._indexed(wallets, len(mints), pair, slot[place] - base, tx_index[place], spent[order])

    @classmethod
    def _indexed(cls, wallets: pa.Array, n_mints: int, pair: Ints, slot: Ints, tx: Ints, size: Floats) -> FirstBuys:
        """The sorted first buys with the keys and ends that every sweep needs."""
        mint, wallet = pair // max(len(wallets), 1), pair % max(len(wallets), 1)
        new = np.ones(len(mint), dtype=np.bool_)
        new[1:] = (mint[1:] != mint[:-1]) | (slot[1:] != slot[:-1]) | (tx[1:] != tx[:-1])
        ends = np.append(np.flatnonzero(new)[1:], len(mint)) if len(mint) else np.zeros(0, dtype=np.int64)
        return cls(
            wallets=wallets,
            n_mints=n_mints,
            n_slots=int(slot.max(initial=0)) + 1,
            mint=mint,
            wallet=wallet,
            slot=slot,
            tx_index=tx,
            key=mint * _SLOT_SPACE + slot,
            after=ends[np.cumsum(new) - 1].astype(np.int64),
            size_sol=size,
            by_wallet=np.argsort(wallet, kind="stable"),
            wallet_starts=np.searchsorted(np.sort(wallet), np.arange(len(wallets) + 1)),
        )

    def __len__(self) -> int:
        return len(self.mint)

    def of_wallet(self, wallet: int) -> Ints:
        """The elements of one wallet."""
        return self.by_wallet[self.wallet_starts[wallet] : self.wallet_starts[wallet + 1]]

    def of_wallets(self, wallets: Ints) -> Ints:
        """The elements of several wallets, one wallet after the other."""
        return self.by_wallet[ranges(self.wallet_starts[wallets], self.wallet_starts[wallets + 1])]

    @property
    def per_wallet(self) -> Ints:
        """How many coins each wallet bought."""
        return np.diff(self.wallet_starts)

    def codes_of(self, names: Iterable[str]) -> Ints:
        """The codes of those of `names` that bought anything, ascending."""
        found = places(pa.chunked_array([pa.array(sorted(names), pa.string())]), self.wallets)
        return np.sort(found[found >= 0])

    def until(self, at: Ints, slots: int) -> Ints:
        """The end (exclusive) of what was bought of the same coin within `slots` slots of each element of `at`."""
        return np.searchsorted(self.key, self.key[at] + slots, side="right")

    def followers(self, at: Ints, slots: int) -> Ints:
        """The elements that follow any of `at` on the same coin within `slots` slots."""
        return ranges(self.after[at], np.maximum(self.until(at, slots), self.after[at]))

    def leaders_of(self, at: Ints, slots: int) -> Ints:
        """The elements that came before any of `at` on the same coin, at most `slots` slots earlier."""
        start = np.searchsorted(self.key, np.maximum(self.key[at] - slots, self.mint[at] * _SLOT_SPACE))
        near = ranges(start, at)
        return near[self.after[near] <= np.repeat(at, at - start)]


def _in_chain_order(buys: pa.Table) -> pa.Table:
    """The rows in chain order; the lake's are already and cost only a look."""
    keys = [ints(buys, name, null=-1) for name in ("slot", "tx_index", "outer_ix", "inner_ix", "event_seq")]
    order = np.lexsort(keys[::-1])
    return buys if np.array_equal(order, np.arange(len(order))) else buys.take(pa.array(order))


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One dictionary-encoded array of a string column."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    return encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded


def _indices(encoded: pa.DictionaryArray) -> Ints:
    """The integer codes of an encoded column."""
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _spent_sol(buys: pa.Table, inverse: Ints, same: Ints) -> Floats:
    """What each first buy's transaction paid for the coin, all its events together; NaN where not in SOL."""
    sol = floats(buys, "quote_raw") / LAMPORTS_PER_SOL
    sol[~flags(pc.equal(buys["quote_mint"], WSOL))] = np.nan
    return weighed(inverse[same], sol[same], int(inverse.max(initial=-1)) + 1)
