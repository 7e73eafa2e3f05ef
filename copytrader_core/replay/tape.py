"""A stretch of the market in columns: every trade in chain order, with what it takes to execute it again.

Rows of one coin are chained, so that following a coin costs only its own trades. Not here: where columns come from, and
what is done with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from copytrader_core.compiled import kernel
from copytrader_core.errors import DataError
from copytrader_core.replay.execution import NO_VENUE

Ints: TypeAlias = NDArray[np.int64]
Small: TypeAlias = NDArray[np.int8]

SLOT_NS: Final = 400_000_000
_NS_PER_SECOND: Final = 1_000_000_000
AMOUNTS: Final = (
    "base_raw",
    "quote_raw",
    "net_raw",
    "reserve_base_raw",
    "reserve_quote_raw",
    "real_base_raw",
    "real_quote_raw",
)
FEES: Final = ("lp_bps", "protocol_bps", "creator_bps")
NEXT_FEES: Final = ("next_lp_bps", "next_protocol_bps", "next_creator_bps")


@dataclass(frozen=True, slots=True)
class Tape:
    """Trades in chain order; every array has one value a row.

    `tx_index` is the place in the block (-1: unknown), `tx` numbers transactions from 0. `venue` and `kind` are
    `execution`'s. `base`, `quote` (what the wallet paid or got) and `net` (what moved the price) are raw units;
    `after_base` and `after_quote` the effective reserves after the trade, `real_base` and `real_quote` what the venue
    then holds (a pool: `after_base`, its vault). `fees` (n, 3) are the trade's basis points for LP, protocol and
    creator, `next_fees` (n, 3) what the next trader pays. `following` is the place of the coin's next row, -1 at its
    last; rows without a venue of ours are in no chain.
    """

    slot: Ints
    tx_index: NDArray[np.int32]
    tx: NDArray[np.int32]
    coin: NDArray[np.int32]
    wallet: NDArray[np.int32]
    pair: NDArray[np.int32]
    is_buy: NDArray[np.bool_]
    venue: Small
    kind: Small
    base: Ints
    quote: Ints
    net: Ints
    after_base: Ints
    after_quote: Ints
    real_base: Ints
    real_quote: Ints
    fees: NDArray[np.int16]
    next_fees: NDArray[np.int16]
    following: NDArray[np.int32]
    first: NDArray[np.int32]
    """By coin: the place of its first row, -1 where it has none."""
    mints: Sequence[str]
    wallets: Sequence[str]
    n_pairs: int

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]], mints: Sequence[str], wallets: Sequence[str]) -> Tape:
        """From the columns of the lake's `tape`, in its order; `mint` and `wallet` are places in the two sequences.

        Raises DataError where slots or transactions go back.
        """
        slot, tx = np.asarray(columns["slot"], np.int64), np.asarray(columns["tx"], np.int32)
        if len(slot) and ((np.diff(slot) < 0).any() or (np.diff(tx) < 0).any()):
            raise DataError("the tape is not in chain order: materialize it again")
        coin, wallet = (np.asarray(columns[name], np.int32) for name in ("mint", "wallet"))
        key = coin.astype(np.int64) * max(1, len(wallets)) + wallet
        distinct, pair = np.unique(key, return_inverse=True)
        venue = np.asarray(columns["venue"], np.int8)
        following = np.full(len(slot), -1, np.int32)
        first = np.full(len(mints), -1, np.int32)
        chain(coin, venue, following, first)
        amounts = (np.ascontiguousarray(columns[name], dtype=np.int64) for name in AMOUNTS)
        base, quote, net, after_base, after_quote, real_base, real_quote = amounts
        fees, next_fees = (
            np.stack([columns[name].astype(np.int16) for name in names], axis=1) for names in (FEES, NEXT_FEES)
        )
        return cls(
            slot=slot,
            tx_index=np.asarray(columns["tx_index"], np.int32),
            tx=tx,
            coin=coin,
            wallet=wallet,
            pair=pair.astype(np.int32),
            is_buy=np.asarray(columns["is_buy"], np.bool_),
            venue=venue,
            kind=np.asarray(columns["kind"], np.int8),
            base=base,
            quote=quote,
            net=net,
            after_base=after_base,
            after_quote=after_quote,
            real_base=real_base,
            real_quote=real_quote,
            fees=np.ascontiguousarray(fees),
            next_fees=np.ascontiguousarray(next_fees),
            following=following,
            first=first,
            mints=mints,
            wallets=wallets,
            n_pairs=len(distinct),
        )

    def __len__(self) -> int:
        return len(self.slot)

    def end_of(self, slot: int) -> int:
        """The place behind the last row of `slot` and before."""
        return int(self.slot.searchsorted(slot, side="right"))


@kernel
def chain(coin, venue, following, first):
    """Links the rows of each coin, backwards."""
    for i in range(len(coin) - 1, -1, -1):
        if venue[i] != NO_VENUE:
            following[i] = first[coin[i]]
            first[coin[i]] = i


def slot_ends(first: int, anchors: Ints) -> Ints:
    """When each slot from `first` on is over, by `slot_times`' anchors: the first that is late enough ends a wait."""
    slots = first + np.arange(len(anchors), dtype=np.int64)
    return np.asarray(np.maximum.accumulate(anchors[:, 3] + (slots - anchors[:, 2]) * SLOT_NS))


@kernel
def slot_times(slot, second, anchor_slot, anchor, begun, over, anchors):
    """The chain clock at each slot from `slot[0]` to `slot[-1]`, everything before it heard.

    `slot` ascends, `second` is the block time of each in whole seconds, (`anchor_slot`, `anchor` in ns) where the clock
    stood before. `begun` and `over` (n,) take ns that never go back, before and after the slot's own block time is
    known, `anchors` (n, 4) what other slots are told by: slot and ns, before and after. The rule is that of
    `executor.clock.ChainClock`: 400 ms a slot, moved only where a block time proves the estimate wrong.
    """
    latest = np.int64(0)
    row = 0
    for at in range(slot[0], slot[-1] + 1):
        place = at - slot[0]
        guess = anchor + (at - anchor_slot) * SLOT_NS
        latest = max(latest, guess)
        begun[place], anchors[place, 0], anchors[place, 1] = latest, anchor_slot, anchor
        if slot[row] == at:
            told = second[row] * _NS_PER_SECOND
            if guess < told:
                anchor_slot, anchor = at, told
            elif guess >= told + _NS_PER_SECOND:
                anchor_slot, anchor = at, told + _NS_PER_SECOND - 1
            latest = max(latest, anchor + (at - anchor_slot) * SLOT_NS)
            row += 1
        over[place], anchors[place, 2], anchors[place, 3] = latest, anchor_slot, anchor
