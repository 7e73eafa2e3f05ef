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

from copytrader_core.compiled import inner, kernel
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
    first_pair: NDArray[np.int32]
    """By coin, and one more: `pair` numbers coins and wallets, those of a coin one after the other from here on."""
    mints: Sequence[str]
    wallets: Sequence[str]

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]], mints: Sequence[str], wallets: Sequence[str]) -> Tape:
        """From the columns of the lake's `tape`, in its order; `mint` and `wallet` are places in the two sequences,
        `fees` and `next_fees` (n, 3) hold the columns FEES and NEXT_FEES.

        Raises DataError where slots or transactions go back.
        """
        slot, tx = np.asarray(columns["slot"], np.int64), np.asarray(columns["tx"], np.int32)
        if (slot[1:] < slot[:-1]).any() or (tx[1:] < tx[:-1]).any():
            raise DataError("the tape is not in chain order: materialize it again")
        coin, wallet = (np.asarray(columns[name], np.int32) for name in ("mint", "wallet"))
        pair, first_pair = np.empty(len(slot), np.int32), np.zeros(len(mints) + 1, np.int32)
        number_pairs(coin, wallet, len(mints), len(wallets), pair, first_pair)
        venue = np.asarray(columns["venue"], np.int8)
        following = np.full(len(slot), -1, np.int32)
        first = np.full(len(mints), -1, np.int32)
        chain(coin, venue, following, first)
        amounts = (np.ascontiguousarray(columns[name], dtype=np.int64) for name in AMOUNTS)
        base, quote, net, after_base, after_quote, real_base, real_quote = amounts
        fees, next_fees = (np.ascontiguousarray(columns[name], np.int16) for name in ("fees", "next_fees"))
        return cls(
            slot=slot,
            tx_index=np.asarray(columns["tx_index"], np.int32),
            tx=tx,
            coin=coin,
            wallet=wallet,
            pair=pair,
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
            fees=fees,
            next_fees=next_fees,
            following=following,
            first=first,
            first_pair=first_pair,
            mints=mints,
            wallets=wallets,
        )

    def __len__(self) -> int:
        return len(self.slot)

    @property
    def n_pairs(self) -> int:
        """How many pairs of a coin and a wallet there are."""
        return int(self.first_pair[-1])

    def end_of(self, slot: int) -> int:
        """The place behind the last row of `slot` and before."""
        return int(self.slot.searchsorted(slot, side="right"))


@kernel
def number_pairs(coin, wallet, n_coins, n_wallets, pair, first_pair):
    """Fills `pair` and `first_pair`: pairs are numbered by coin, then by wallet."""
    rows = _sorted(coin, n_coins, _sorted(wallet, n_wallets, np.arange(len(coin)).astype(np.int32)))
    n, before = 0, -1
    for row in rows:
        if before < 0 or coin[row] != coin[before] or wallet[row] != wallet[before]:
            n += 1
        pair[row], first_pair[coin[row] + 1], before = n - 1, n, row
    for place in range(1, len(first_pair)):
        first_pair[place] = max(first_pair[place], first_pair[place - 1])


@inner
def _sorted(key, n_keys, rows):
    """Rows by their keys below `n_keys`; those of one key stay in order. Linear, and in the memory of the result."""
    places = np.zeros(n_keys + 1, np.int64)
    for one in key:
        places[one + 1] += 1
    places = np.cumsum(places)
    found = np.empty_like(rows)
    for row in rows:
        found[places[key[row]]] = row
        places[key[row]] += 1
    return found


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
