"""One recorded trade executed again on other reserves, to the lamport: compiled, one call a trade.

A market that our trades have moved is kept as its distance from the recorded one, `shift_base` and `shift_quote` in raw
units, by venue. A recorded trade tells the reserves that it met; those plus the shift are what it would have met, and
what it leaves there, less what it left in the record, is the shift after it. Zero stays zero, so that a market without
our trades is the record itself.

Everybody does again what they did: an exact-in buy spends the same, an exact-out buy takes the same coins, a sale gives
the same coins, as far as its wallet has them (`short_of`: a wallet that got fewer coins than in the record has to leave
that many unsold in the end). The venues' arithmetic is `copytrader_core.pump`'s, which tests hold this to. Bounds that
others set to their price are not in the record: their trades go through.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from copytrader_core.compiled import kernel, uncounted
from copytrader_core.wide import divided, product

BUY_IN: Final = 0
"""Spends an exact amount."""
BUY_OUT: Final = 1
"""Takes an exact number of coins."""
SELL: Final = 2
COMPLETE: Final = 3
"""A buy that empties the curve, whatever is left on it."""
RAW: Final = 4
"""Moved the reserves in a way that no formula of ours gives: moves them by the same amounts again."""

CURVE: Final = 0
POOL: Final = 1
NO_VENUE: Final = 2
"""A trade that tells no market of ours: another quote, or a pool that the coin did not migrate to."""

_BPS: Final = 10_000
_LIMIT: Final = np.int64(1) << 62


@uncounted
def ratio(a, b, d):
    """a * b // d of non-negative int64, `_LIMIT` where that does not fit."""
    if d <= 0:
        return np.int64(0)
    high, low = product(np.uint64(a), np.uint64(b))
    if high >= np.uint64(d):
        return _LIMIT
    quotient = divided(high, low, np.uint64(d))[0]
    return _LIMIT if quotient >= np.uint64(_LIMIT) else np.int64(quotient)


@uncounted
def fee(amount, bps):
    """`pump.fees.fee`."""
    return (amount * bps + _BPS - 1) // _BPS


@uncounted
def net_of_fees(spend, lp, protocol, creator):
    """`pump.curve.net_of_fees`."""
    net = spend * _BPS // (_BPS + lp + protocol + creator)
    excess = net + fee(net, lp) + fee(net, protocol) + fee(net, creator) - spend
    return net - excess if excess > 0 else net


@uncounted
def coins_for(base, quote, net):
    """`pump.curve.base_for`; 0 for what buys nothing."""
    return ratio(net - 1, base, quote + net - 1) if net > 1 else np.int64(0)


@uncounted
def cost_of(is_pool, base, quote, coins):
    """What `coins` cost before fees: `pump.curve.cost_for`, `pump.amm.buy_exact_out`. `coins` is below `base`."""
    if is_pool:
        whole = ratio(quote, coins, base - coins)
        return whole if exactly(quote, coins, base - coins) else whole + 1
    return ratio(coins, quote, base - coins) + 1


@uncounted
def exactly(a, b, d):
    """Whether d divides a * b."""
    high, low = product(np.uint64(a), np.uint64(b))
    return divided(high % np.uint64(d), low, np.uint64(d))[1] == np.uint64(0)


@uncounted
def proceeds_of(base, quote, coins):
    """What selling `coins` takes off the venue, before fees: `pump.curve.proceeds_for`."""
    return ratio(coins, quote, base + coins)


@uncounted
def kept(net, lp, protocol, creator):
    """What of a sale's `net` reaches the seller."""
    return net - fee(net, lp) - fee(net, protocol) - fee(net, creator)


@uncounted
def classified(venue, is_buy, base, quote, net, lp, protocol, creator, after_base, after_quote, real_base):
    """How a recorded trade came about, as its own amounts prove: BUY_IN, BUY_OUT, SELL, COMPLETE, or RAW."""
    if venue == NO_VENUE or base <= 0 or net < 0 or after_base <= 0 or after_quote <= 0 or (is_buy and net == 0):
        return RAW
    is_pool = venue == POOL
    stays = fee(net, lp) if is_pool else np.int64(0)
    if not is_buy:
        before_base, before_quote = after_base - base, after_quote + net - stays
        fits = before_base > 0 and before_quote > 0 and proceeds_of(before_base, before_quote, base) == net
        return SELL if fits else RAW
    before_base, before_quote = after_base + base, after_quote - net - stays
    if before_quote <= 0:
        return RAW
    if not is_pool and real_base <= 0:
        return COMPLETE if cost_of(is_pool, before_base, before_quote, base) == net else RAW
    if net_of_fees(quote, lp, protocol, creator) == net and coins_for(before_base, before_quote, net) == base:
        return BUY_IN
    return BUY_OUT if cost_of(is_pool, before_base, before_quote, base) == net else RAW


@kernel
def classify(venue, is_buy, base, quote, net, fees, after_base, after_quote, real_base, kinds):
    """`classified` for every row; `fees` is (n, 3), `kinds` (n,) int8 takes the result."""
    for i in range(len(kinds)):
        kinds[i] = classified(
            venue[i],
            is_buy[i],
            base[i],
            quote[i],
            net[i],
            fees[i, 0],
            fees[i, 1],
            fees[i, 2],
            after_base[i],
            after_quote[i],
            real_base[i],
        )


@uncounted
def step(kind, venue, base, quote, net, lp, protocol, creator, after_base, after_quote, real_base, db, dq, left, short):
    """(shift_base, shift_quote, short_of) after a recorded trade that met a market shifted by (db, dq).

    `left` is how many coins more its wallet has bought than sold since the shift began, this trade included.
    """
    if kind == RAW or (db == 0 and dq == 0 and short == 0):
        return db, dq, short
    is_pool = venue == POOL
    stays = fee(net, lp) if is_pool else np.int64(0)
    if kind == SELL:
        b, q = after_base - base + db, after_quote + net - stays + dq
        on_curve = np.int64(1) if is_pool else real_base - base + db
        coins = base
        missing = short - max(left, 0)
        if missing > 0:
            given = min(missing, coins)
            coins, short = coins - given, short - given
        if on_curve <= 0 and coins > 0:
            # In this market the curve is complete already: the coins stay with their wallet.
            coins, short = np.int64(0), short - coins
        if coins <= 0 or b <= 0 or q <= 0:
            return b - after_base, q - after_quote, short
        moved = proceeds_of(b, q, coins)
        stays = fee(moved, lp) if is_pool else np.int64(0)
        return b + coins - after_base, q - moved + stays - after_quote, short
    b, q = after_base + base + db, after_quote - net - stays + dq
    on_curve = b - 1 if is_pool else real_base + base + db
    if b <= 0 or q <= 0 or on_curve <= 0:
        return b - after_base, q - after_quote, short + base
    if kind == BUY_IN:
        moved = net_of_fees(quote, lp, protocol, creator)
        coins = coins_for(b, q, moved)
        if coins > on_curve:
            coins = on_curve
            moved = cost_of(is_pool, b, q, coins)
    else:
        coins = on_curve if kind == COMPLETE else min(base, on_curve)
        moved = cost_of(is_pool, b, q, coins)
    if coins <= 0:
        return b - after_base, q - after_quote, short + base
    stays = fee(moved, lp) if is_pool else np.int64(0)
    return b - coins - after_base, q + moved + stays - after_quote, short + base - coins


@kernel
def executed(kind, venue, row, shift, left, short):
    """`step` for callers outside of kernels: `row` (9,) is base, quote, net, three fees, after_base, after_quote,
    real_base; `shift` (2,) is changed in place; the new `short_of` comes back."""
    shift[0], shift[1], after = step(
        kind,
        venue,
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        shift[0],
        shift[1],
        left,
        short,
    )
    return after
