"""Recorded trades to the rows of a tape: what the next trader pays, and how each trade came about. Arrays only."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from copytrader_core.compiled import kernel
from copytrader_core.pump.fees import CURVE_FEES, POOL_FEES, Fees
from copytrader_core.replay.execution import CURVE, NO_VENUE, POOL, RAW, classify

_EARLY_BPS: Final = 100
"""What the curve charged before its events told fees (`pump.rows`)."""
LARGEST: Final = 1 << 48
"""Amounts of quote up to this many raw units are executed again: 281,000 SOL."""


def next_fees(
    venue: NDArray[np.int8],
    coin: NDArray[np.int32],
    told: NDArray[np.int64],
    cashback: NDArray[np.int64],
    known: NDArray[np.int16],
) -> NDArray[np.int16]:
    """(n, 3) basis points for LP, protocol and creator that the next trader of the coin pays after each row.

    `told` (n, 3) is what the event says, -1 for nothing; `known` (coins, 3), what each coin's pool charged last, is
    kept up to date. The rule is `executor.market_book`'s: who pays nothing (the
    mayhem agent, a deposit) tells nothing, and a cashback coin's trader is given the creator's share.
    """
    found = np.zeros((len(venue), 3), np.int16)
    _next_fees(venue, coin, told, cashback, np.array(_values(CURVE_FEES.flat), np.int16), known, found)
    return found


def usual_pool_fees(n_coins: int) -> NDArray[np.int16]:
    """(n_coins, 3): what a pool of which nothing is known yet is taken to charge."""
    return np.tile(np.array(_values(POOL_FEES.tiers[0].fees), np.int16), (n_coins, 1))


def own_fees(
    venue: NDArray[np.int8],
    told: NDArray[np.int64],
    following: NDArray[np.int16],
    fee: NDArray[np.int64],
) -> NDArray[np.int16]:
    """(n, 3) basis points that each row's own trader paid; `following` are `next_fees`, `fee` the amounts."""
    own = following.copy()
    own[fee <= 0] = 0
    untold = (fee > 0) & (told[:, 1] <= 0) & (venue == CURVE)
    own[untold] = np.array([0, _EARLY_BPS, 0], np.int16)
    return own


def kinds(
    venue: NDArray[np.int8],
    is_trade: NDArray[np.bool_],
    is_buy: NDArray[np.bool_],
    amounts: tuple[NDArray[np.int64], ...],
    fees: NDArray[np.int16],
) -> NDArray[np.int8]:
    """How each trade came about; RAW for what is no trade. `amounts`: base, quote, net, after_base, after_quote,
    real_base."""
    base, quote, net, after_base, after_quote, real_base = amounts
    found = np.full(len(venue), RAW, np.int8)
    classify(venue, is_buy, base, quote, net, fees, after_base, after_quote, real_base, found)
    found[~is_trade | (venue == NO_VENUE)] = RAW
    return found


def _values(fees: Fees) -> tuple[int, int, int]:
    return fees.lp_bps, fees.protocol_bps, fees.creator_bps


@kernel
def _next_fees(venue, coin, told, cashback, curve, known, found):
    for i in range(len(venue)):
        if venue[i] == NO_VENUE:
            continue
        usual = curve if venue[i] == CURVE else known[coin[i]]
        if told[i, 1] <= 0:
            found[i, 0], found[i, 1], found[i, 2] = usual[0], usual[1], usual[2]
        else:
            creator = max(told[i, 2], 0)
            if creator == 0 and cashback[i] > 0:
                creator = usual[2]
            found[i, 0], found[i, 1], found[i, 2] = max(told[i, 0], 0), told[i, 1], creator
        if venue[i] == POOL:
            known[coin[i], 0], known[coin[i], 1], known[coin[i], 2] = found[i, 0], found[i, 1], found[i, 2]
