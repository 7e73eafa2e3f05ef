"""One coin's market followed along a tape, with our trades in it: where it stands, and when an exit would fall due."""

from __future__ import annotations

from typing import Final

import numpy as np

from copytrader_core.compiled import kernel
from copytrader_core.replay.execution import CURVE, POOL, kept, proceeds_of, step

NOTHING: Final = -1


@kernel
def follow(
    pair, is_buy, venue, kind, base, quote, net, after_base, after_quote, real_base, fees, following,
    at, k, until, is_moved, shift, left, short, first_pair,
):  # fmt: skip
    """(row that governs the market, the coin's next row) after all of its rows before `until`.

    `at` is the governing row so far (-1: none), `k` the next row of the coin. Where the market `is_moved`, `shift`
    (4,: base and quote of curve and pool) is changed in place, as are `left` and `short` (by pair of the coin, from
    `first_pair` on).
    """
    while 0 <= k < until:
        p = pair[k] - first_pair
        place = 2 if venue[k] == POOL else 0
        if is_moved:
            left[p] += base[k] if is_buy[k] else -base[k]
            shift[place], shift[place + 1], short[p] = step(
                kind[k], venue[k], base[k], quote[k], net[k], fees[k, 0], fees[k, 1], fees[k, 2],
                after_base[k], after_quote[k], real_base[k], shift[place], shift[place + 1], left[p], short[p],
            )  # fmt: skip
        if at < 0 or venue[k] == POOL or venue[at] == CURVE:
            at = k
        k = following[k]
    return at, k


@kernel
def look_ahead(
    tx, pair, is_buy, venue, kind, base, quote, net, after_base, after_quote, real_base, real_quote, fees, next_fees,
    following, at, k, until, shift, left, short, first_pair, coins, cost, tx_cost, target, stop, trailing,
    trailing_from, peak, any_quote, kept_short,
):  # fmt: skip
    """(row, peak before it): the last row of the first transaction after which a position of `coins` is due to be sold.

    Row -1: none before `until`. `any_quote` waits for a quote alone. Nothing is changed: `kept_short` (as long as the
    tape) holds what has to be put back.
    """
    cb, cq, pb, pq = shift[0], shift[1], shift[2], shift[3]
    first, found, n = k, NOTHING, 0
    while 0 <= k < until:
        p = pair[k] - first_pair
        left[p] += base[k] if is_buy[k] else -base[k]
        kept_short[n] = short[p]
        n += 1
        if venue[k] == POOL:
            pb, pq, short[p] = step(
                kind[k], POOL, base[k], quote[k], net[k], fees[k, 0], fees[k, 1], fees[k, 2],
                after_base[k], after_quote[k], real_base[k], pb, pq, left[p], short[p],
            )  # fmt: skip
        else:
            cb, cq, short[p] = step(
                kind[k], CURVE, base[k], quote[k], net[k], fees[k, 0], fees[k, 1], fees[k, 2],
                after_base[k], after_quote[k], real_base[k], cb, cq, left[p], short[p],
            )  # fmt: skip
        if at < 0 or venue[k] == POOL or venue[at] == CURVE:
            at = k
        if following[k] < 0 or tx[following[k]] != tx[k]:
            in_pool = venue[at] == POOL
            db, dq = (pb, pq) if in_pool else (cb, cq)
            b, q = after_base[at] + db, after_quote[at] + dq
            worth = np.int64(-1)
            if b > 0 and q > 0 and (in_pool or real_base[at] + db > 0):
                moved = proceeds_of(b, q, coins)
                if moved <= real_quote[at] + dq:
                    worth = kept(moved, next_fees[at, 0], next_fees[at, 1], next_fees[at, 2])
            if worth >= 0:
                multiple = (worth - tx_cost) / cost
                top = max(peak, multiple)
                fallen = trailing > 0.0 and top >= trailing_from and multiple <= top * (1 - trailing)
                if any_quote or multiple <= stop or multiple >= target or fallen:
                    found = k
                    k = following[k]
                    break
                peak = top
        k = following[k]
    seen = first
    for _ in range(n):
        p = pair[seen] - first_pair
        left[p] -= base[seen] if is_buy[seen] else -base[seen]
        seen = following[seen]
    _put_back(pair, following, first, short, first_pair, kept_short, n)
    return found, peak


@kernel
def _put_back(pair, following, first, short, first_pair, kept_short, n):
    """The first value kept of each pair is the one from before: later ones must not win."""
    rows = np.empty(n, np.int64)
    seen = first
    for i in range(n):
        rows[i] = seen
        seen = following[seen]
    for i in range(n - 1, -1, -1):
        short[pair[rows[i]] - first_pair] = kept_short[i]
