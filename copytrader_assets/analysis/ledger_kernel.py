"""The fold as a compiled kernel: moves of one (wallet, coin) after the other, first in, first out, in exact integers.

Everything is an integer code or a row number; amounts have 64 bits, sums 128 (wide.py). Trips, lots and legs are rows
of few arrays, so that one of them lies together in memory; lots and legs of a trip are linked by row numbers.
Not here: texts and Arrow (trip_tables.py), and the end of the day (day_end.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from copytrader_core.compiled import uncounted
from copytrader_core.wide import (
    ONE,
    ZERO,
    Words,
    add,
    add_wide,
    at_most,
    difference,
    product,
    share,
    signed_share,
    subtract,
)

OPEN, CLOSED, DEAD = range(3)
N_TRIPS, N_LOTS, N_LEGS, N_LEFTOVERS, N_PURSES, PLACE, N_COUNTS = range(7)
"""What `Book.counts` holds: how many of each there are, and how many trips the present event has closed."""
WALLET, MINT, QUOTE, ALIAS = range(4)
"""Columns of codes, of moves and, the first ones, of trips and leftovers. -1 is NULL."""
OPEN_ROW, DECIMALS, N_BUYS, TRIP_LEGS, STATUS, CLOSE_ROW, CLOSE_PLACE, FIRST_LOT, LAST_LOT, FIRST_LEG, LAST_LEG = range(
    4, 15
)
TRIP_COLUMNS = 15
"""Columns of `Book.trips`; rows and links are -1 for none."""
BOUGHT, COST, HELD, SOLD, PROCEEDS, MATCHED, FEES, UNBACKED, UNBACKED_PROCEEDS = range(0, 18, 2)
SUM_COLUMNS = 18
"""Columns of `Book.sums`: the low words of what a trip sums."""
LOT_QTY, LOT_LEFT, LOT_COST = range(3)
LOT_COLUMNS = 4
"""Columns of `Book.lots`: buys of `qty` coins for `cost` (two words), of which `left` are not yet matched."""
LEG_ROW, LEG_PAID_IN, LEG_NEXT = range(3)
"""Columns of `Book.legs`: sells of a trip. `paid_in` is another quote's code, -1 for the trip's own."""
LEG_QTY, LEG_PROCEEDS, LEG_COST = 0, 1, 3
LEG_SUM_COLUMNS = 5
PURSE_QUOTE, PURSE_TRIP = range(2)
BASE, PAID, FEE = range(3)
_TEN_DIGITS = 1_000_000_000

Codes = NDArray[np.int32]
Rows = NDArray[np.int64]


class Moves(NamedTuple):
    """BUYs and SELLs in chain order: codes and amounts by column. The n-th stands in row `first_row + n` of places."""

    codes: Codes
    amounts: Words
    is_sell: NDArray[np.bool_]
    decimals: NDArray[np.int8]


class Places(NamedTuple):
    """Where things stand in the chain, of carried opens, carried legs and moves, in this order."""

    slot: Rows
    sig_offsets: Rows
    sig_bytes: NDArray[np.uint8]
    outer_ix: Codes
    inner_ix: Codes
    event_seq: Codes


class Book(NamedTuple):
    """All state of a bucket. Trips, lots and legs that were carried stand first in their arrays.

    A row holds anything until it is used; only `counts`, `unseen` and what was carried mean something at first.

    `leftovers` are coins that finished trips left behind as dust, without cost; `carried_...` those of earlier days. A
    purse is the state of the present (wallet, coin) in one quote: its open trip, and what was written off.
    """

    trips: Rows
    sums: Words
    lots: Words
    lot_next: Rows
    legs: Rows
    leg_sums: Words
    carried: Codes
    carried_qty: Words
    leftovers: Codes
    leftover_qty: Words
    purses: Rows
    purse_qty: Words
    counts: Rows
    unseen: Words


class Rules(NamedTuple):
    """When nothing is left, and which codes mean SOL and the empty alias."""

    dust_raw: np.uint64
    dust_parts: np.uint64
    dust_whole: np.uint64
    sol: int
    empty_alias: int


@uncounted
def fold(book: Book, moves: Moves, places: Places, order: Rows, first_row: int, rules: Rules) -> None:
    """Moves `book` over everything in `order`: numbers of carried trips, carried leftovers and moves, in this order.

    Those of one (wallet, coin) must stand together, carried ones first, then moves in chain order.
    """
    n_trips = int(book.counts[N_TRIPS])
    n_carried = n_trips + len(book.carried)
    wallet, mint = -1, -1
    for number in order:
        owner, coin = _owner(book, moves, number, n_trips, n_carried)
        if owner != wallet or coin != mint:
            _put_away(book, wallet, mint)
            wallet, mint = owner, coin
        if number >= n_carried:
            move = number - n_carried
            if moves.is_sell[move]:
                _sell(book, moves, places, move, first_row + move, rules)
            else:
                _buy(book, moves, move, first_row + move, rules)
        elif number >= n_trips:
            _carry_leftover(book, number - n_trips)
        else:
            book.purses[_purse(book, book.trips[number, QUOTE]), PURSE_TRIP] = number
    _put_away(book, wallet, mint)


@uncounted
def _owner(book: Book, moves: Moves, number: int, n_trips: int, n_carried: int) -> tuple[int, int]:
    if number >= n_carried:
        return int(moves.codes[number - n_carried, WALLET]), int(moves.codes[number - n_carried, MINT])
    if number >= n_trips:
        return int(book.carried[number - n_trips, WALLET]), int(book.carried[number - n_trips, MINT])
    return int(book.trips[number, WALLET]), int(book.trips[number, MINT])


@uncounted
def _carry_leftover(book: Book, number: int) -> None:
    purse = _purse(book, int(book.carried[number, QUOTE]))
    add_wide(book.purse_qty, purse, 0, book.carried_qty[number, 1], book.carried_qty[number, 0])


@uncounted
def _purse(book: Book, quote: int) -> int:
    """The purse of the present (wallet, coin) for `quote`, an empty one if there was none."""
    used = int(book.counts[N_PURSES])
    for purse in range(used):
        if book.purses[purse, PURSE_QUOTE] == quote:
            return purse
    book.purses[used, PURSE_QUOTE], book.purses[used, PURSE_TRIP] = quote, -1
    book.purse_qty[used, 0] = book.purse_qty[used, 1] = ZERO
    book.counts[N_PURSES] = used + 1
    return used


@uncounted
def _put_away(book: Book, wallet: int, mint: int) -> None:
    """The last event of a (wallet, coin) was read: what it left over is kept."""
    for purse in range(book.counts[N_PURSES]):
        high, low = book.purse_qty[purse, 1], book.purse_qty[purse, 0]
        if high | low:
            left = book.counts[N_LEFTOVERS]
            book.leftovers[left, WALLET], book.leftovers[left, MINT] = wallet, mint
            book.leftovers[left, QUOTE] = book.purses[purse, PURSE_QUOTE]
            book.leftover_qty[left, 0], book.leftover_qty[left, 1] = low, high
            book.counts[N_LEFTOVERS] = left + 1
    book.counts[N_PURSES] = 0


@uncounted
def _buy(book: Book, moves: Moves, move: int, row: int, rules: Rules) -> None:
    purse = _purse(book, int(moves.codes[move, QUOTE]))
    trip = book.purses[purse, PURSE_TRIP]
    if trip < 0:
        if moves.amounts[move, BASE] == ZERO:
            return
        trip = book.purses[purse, PURSE_TRIP] = _opened(book, moves, move, row)
    elif book.trips[trip, ALIAS] < 0 or book.trips[trip, ALIAS] == rules.empty_alias:
        book.trips[trip, ALIAS] = moves.codes[move, ALIAS]
    fee = _in_quote(book, trip, moves.amounts[move, FEE], rules)
    _add_lot(book, trip, moves.amounts[move, BASE], moves.amounts[move, PAID], fee)


@uncounted
def _opened(book: Book, moves: Moves, move: int, row: int) -> int:
    trip = int(book.counts[N_TRIPS])
    book.counts[N_TRIPS] = trip + 1
    for column in range(4):
        book.trips[trip, column] = moves.codes[move, column]
    book.trips[trip, DECIMALS], book.trips[trip, OPEN_ROW] = moves.decimals[move], row
    book.trips[trip, N_BUYS] = book.trips[trip, TRIP_LEGS] = book.trips[trip, CLOSE_PLACE] = 0
    book.trips[trip, STATUS], book.trips[trip, CLOSE_ROW] = OPEN, -1
    for column in range(FIRST_LOT, TRIP_COLUMNS):
        book.trips[trip, column] = -1
    for column in range(SUM_COLUMNS):
        book.sums[trip, column] = ZERO
    return trip


@uncounted
def _in_quote(book: Book, trip: int, fee: np.uint64, rules: Rules) -> np.uint64:
    """The fee in the trip's own money: all of it for SOL, else 0 and it is only noted."""
    if book.trips[trip, QUOTE] == rules.sol:
        return fee
    add(book.sums, trip, FEES, fee)
    return ZERO


@uncounted
def _add_lot(book: Book, trip: int, qty: np.uint64, paid: np.uint64, fee: np.uint64) -> None:
    trips, lots, lot = book.trips, book.lots, book.counts[N_LOTS]
    book.counts[N_LOTS] = lot + 1
    lots[lot, LOT_QTY] = lots[lot, LOT_LEFT] = qty
    lots[lot, LOT_COST], lots[lot, LOT_COST + 1] = paid, ZERO
    add(lots, lot, LOT_COST, fee)
    add(book.sums, trip, BOUGHT, qty)
    add(book.sums, trip, HELD, qty)
    add_wide(book.sums, trip, COST, lots[lot, LOT_COST + 1], lots[lot, LOT_COST])
    trips[trip, N_BUYS] += 1
    book.lot_next[lot] = -1
    if trips[trip, FIRST_LOT] < 0:
        trips[trip, FIRST_LOT] = lot
    else:
        book.lot_next[trips[trip, LAST_LOT]] = lot
    trips[trip, LAST_LOT] = lot


@uncounted
def _sell(book: Book, moves: Moves, places: Places, move: int, row: int, rules: Rules) -> None:
    book.counts[PLACE] = 0
    base, quote = moves.amounts[move, BASE], int(moves.codes[move, QUOTE])
    purse = _purse(book, quote)
    trip = book.purses[purse, PURSE_TRIP]
    matched = _up_to(book.sums, trip, HELD, base) if trip >= 0 else ZERO
    backed = matched + _take_left_over(book, purse, base - matched)
    if trip >= 0:
        fee = _in_quote(book, trip, moves.amounts[move, FEE], rules)
        high, low = difference(ZERO, moves.amounts[move, PAID], ZERO, fee)
        if backed < base:
            high, low = _backed_part(book.sums, trip, high, low, backed, base)
        _leave(book, purse, row, matched, backed, high, low, -1, rules)
    if backed < base:
        add(book.unseen, 0, 0, _leave_others(book, places, quote, row, base - backed, rules))


@uncounted
def _backed_part(
    sums: Words, trip: int, high: np.uint64, low: np.uint64, backed: np.uint64, base: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """The proceeds of the coins that were seen bought, rounded down; the rest is noted."""
    b_high, b_low = signed_share(high, low, backed, base)
    r_high, r_low = difference(high, low, b_high, b_low)
    sums[trip, UNBACKED] = base - backed
    sums[trip, UNBACKED_PROCEEDS], sums[trip, UNBACKED_PROCEEDS + 1] = r_low, r_high
    return b_high, b_low


@uncounted
def _up_to(words: Words, i: int, at: int, wanted: np.uint64) -> np.uint64:
    return wanted if words[i, at + 1] or words[i, at] >= wanted else words[i, at]


@uncounted
def _take_left_over(book: Book, purse: int, wanted: np.uint64) -> np.uint64:
    """Uses up to `wanted` written-off coins and returns how many there were."""
    taken = _up_to(book.purse_qty, purse, 0, wanted)
    subtract(book.purse_qty, purse, 0, taken)
    return taken


@uncounted
def _leave_others(book: Book, places: Places, quote: int, row: int, wanted: np.uint64, rules: Rules) -> np.uint64:
    """Takes coins out of the wallet's trips in other quotes, oldest first, and returns how many none of them held.

    What was paid for them is in no trip's money: their cost is matched by nothing.
    """
    while wanted:
        purse = _oldest_holder(book, places)
        if purse < 0:
            break
        taken = _up_to(book.sums, book.purses[purse, PURSE_TRIP], HELD, wanted)
        _leave(book, purse, row, taken, taken, ZERO, ZERO, quote, rules)
        wanted -= taken
    return wanted


@uncounted
def _oldest_holder(book: Book, places: Places) -> int:
    oldest, oldest_row = -1, -1
    for purse in range(book.counts[N_PURSES]):
        trip = book.purses[purse, PURSE_TRIP]
        if trip < 0 or not book.sums[trip, HELD] | book.sums[trip, HELD + 1]:
            continue
        row = int(book.trips[trip, OPEN_ROW])
        if oldest < 0 or opened_before(places, row, oldest_row):
            oldest, oldest_row = purse, row
    return oldest


@uncounted
def _leave(
    book: Book,
    purse: int,
    row: int,
    matched: np.uint64,
    sold: np.uint64,
    high: np.uint64,
    low: np.uint64,
    paid_in: int,
    rules: Rules,
) -> None:
    """One more leg, of proceeds high:low; the trip closes where it leaves no more than dust."""
    leg, trip = book.counts[N_LEGS], book.purses[purse, PURSE_TRIP]
    book.counts[N_LEGS] = leg + 1
    add(book.sums, trip, SOLD, sold)
    add_wide(book.sums, trip, PROCEEDS, high, low)
    book.legs[leg, LEG_ROW], book.legs[leg, LEG_PAID_IN] = row, paid_in
    book.leg_sums[leg, LEG_QTY] = sold
    book.leg_sums[leg, LEG_PROCEEDS], book.leg_sums[leg, LEG_PROCEEDS + 1] = low, high
    _link_leg(book, trip, leg)
    _match(book, trip, leg, matched)
    if _is_dust(book.sums, trip, rules):
        _close(book, purse, trip, leg, row)
    else:
        add_wide(book.sums, trip, MATCHED, book.leg_sums[leg, LEG_COST + 1], book.leg_sums[leg, LEG_COST])


@uncounted
def _link_leg(book: Book, trip: int, leg: int) -> None:
    trips = book.trips
    book.legs[leg, LEG_NEXT] = -1
    if trips[trip, FIRST_LEG] < 0:
        trips[trip, FIRST_LEG] = leg
    else:
        book.legs[trips[trip, LAST_LEG], LEG_NEXT] = leg
    trips[trip, LAST_LEG] = leg
    trips[trip, TRIP_LEGS] += 1


@uncounted
def _match(book: Book, trip: int, leg: int, qty: np.uint64) -> None:
    """Takes `qty` coins out of the oldest lots; their cost is rounded down once for the whole leg.

    Only the first and the last lot can be taken in part. What is left of the first fraction is rest / whole, and both
    fractions together make one more where rest / whole + last_rest / last_whole >= 1.
    """
    lots, cost = book.lots, book.leg_sums
    cost[leg, LEG_COST] = cost[leg, LEG_COST + 1] = ZERO
    rest, whole = ZERO, ONE
    subtract(book.sums, trip, HELD, qty)
    while qty:
        lot = book.trips[trip, FIRST_LOT]
        taken = min(qty, lots[lot, LOT_LEFT])
        if taken == lots[lot, LOT_QTY]:
            add_wide(cost, leg, LEG_COST, lots[lot, LOT_COST + 1], lots[lot, LOT_COST])
        else:
            high, low, left = share(lots[lot, LOT_COST + 1], lots[lot, LOT_COST], taken, lots[lot, LOT_QTY])
            add_wide(cost, leg, LEG_COST, high, low)
            if _make_one(rest, whole, left, lots[lot, LOT_QTY]):
                add(cost, leg, LEG_COST, ONE)
            rest, whole = left, lots[lot, LOT_QTY]
        lots[lot, LOT_LEFT] -= taken
        qty -= taken
        if lots[lot, LOT_LEFT] == ZERO:
            book.trips[trip, FIRST_LOT] = book.lot_next[lot]


@uncounted
def _make_one(rest: np.uint64, whole: np.uint64, other_rest: np.uint64, other_whole: np.uint64) -> bool:
    """rest / whole + other_rest / other_whole >= 1, both fractions below 1."""
    if rest == ZERO or other_rest == ZERO:
        return False
    a_high, a_low = product(whole, other_whole - other_rest)
    b_high, b_low = product(rest, other_whole)
    return at_most(a_high, a_low, b_high, b_low)


@uncounted
def _is_dust(sums: Words, trip: int, rules: Rules) -> bool:
    high, low = sums[trip, HELD + 1], sums[trip, HELD]
    if at_most(high, low, ZERO, rules.dust_raw):
        return True
    most_high, most_low, _ = share(sums[trip, BOUGHT + 1], sums[trip, BOUGHT], rules.dust_parts, rules.dust_whole)
    return at_most(high, low, most_high, most_low)


@uncounted
def _close(book: Book, purse: int, trip: int, leg: int, row: int) -> None:
    """The last leg takes what is left of the cost; what is left of the coins is written off."""
    sums, cost = book.sums, book.leg_sums
    cost[leg, LEG_COST + 1], cost[leg, LEG_COST] = difference(
        sums[trip, COST + 1], sums[trip, COST], sums[trip, MATCHED + 1], sums[trip, MATCHED]
    )
    sums[trip, MATCHED], sums[trip, MATCHED + 1] = sums[trip, COST], sums[trip, COST + 1]
    book.trips[trip, STATUS], book.trips[trip, CLOSE_ROW] = CLOSED, row
    book.trips[trip, CLOSE_PLACE] = book.counts[PLACE]
    book.counts[PLACE] += 1
    add_wide(book.purse_qty, purse, 0, sums[trip, HELD + 1], sums[trip, HELD])
    book.purses[purse, PURSE_TRIP] = -1


@uncounted
def opened_before(places: Places, a: int, b: int) -> bool:
    """Whether place `a` is older than `b`, by slot, signature and the text of the path: of nothing but themselves."""
    if places.slot[a] != places.slot[b]:
        return bool(places.slot[a] < places.slot[b])
    order = _compare_sigs(places, a, b)
    if order == 0:
        order = _compare_numbers(places.outer_ix[a], places.outer_ix[b])
    if order == 0:
        order = _compare_numbers(places.inner_ix[a], places.inner_ix[b])
    if order == 0:
        order = _compare_numbers(places.event_seq[a], places.event_seq[b])
    return order < 0


@uncounted
def _compare_sigs(places: Places, a: int, b: int) -> int:
    a_start, a_end = places.sig_offsets[a], places.sig_offsets[a + 1]
    b_start, b_end = places.sig_offsets[b], places.sig_offsets[b + 1]
    for i in range(min(a_end - a_start, b_end - b_start)):
        here, there = np.int64(places.sig_bytes[a_start + i]), np.int64(places.sig_bytes[b_start + i])
        if here != there:
            return int(here - there)
    return int((a_end - a_start) - (b_end - b_start))


@uncounted
def _compare_numbers(a: int, b: int) -> int:
    """Compares the two as text: "10." comes before "2.", for a digit comes after the full stop."""
    if a == b or a <= 0 or b <= 0:
        return int(a - b)
    a_scaled, b_scaled = np.int64(a), np.int64(b)
    while a_scaled < b_scaled and a_scaled < _TEN_DIGITS:
        a_scaled *= 10
    while b_scaled < a_scaled and b_scaled < _TEN_DIGITS:
        b_scaled *= 10
    return int(a - b if a_scaled == b_scaled else a_scaled - b_scaled)
