"""The fold as a compiled kernel: moves of one (wallet, coin) after the other, first in, first out, in exact integers.

Everything is an integer code or a row number; amounts have 64 bits, sums 128 (wide.py). Lots, legs and the events of a
group are linked by row numbers. Not here: texts, Arrow, files (trip_tables.py), and the end of the day (day_end.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from copytrader_assets.analysis.wide import (
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

_TEN_DIGITS = 1_000_000_000

Codes = NDArray[np.int32]
Rows = NDArray[np.int64]
Amounts = NDArray[np.uint64]


class Moves(NamedTuple):
    """BUYs and SELLs in chain order. `row` of the n-th in the pool of chain places is `first_row + n`."""

    wallet: Codes
    mint: Codes
    quote: Codes
    alias: Codes
    is_sell: NDArray[np.bool_]
    base: Amounts
    paid: Amounts
    fee: Amounts
    decimals: NDArray[np.int8]


class Places(NamedTuple):
    """Where things stand in the chain, of carried opens, carried legs and moves, in this order."""

    slot: Rows
    sig_offsets: Rows
    sig_bytes: NDArray[np.uint8]
    outer_ix: Codes
    inner_ix: Codes
    event_seq: Codes


class Trips(NamedTuple):
    """Round trips. Codes are -1 for NULL, rows and links -1 for none."""

    wallet: Codes
    mint: Codes
    quote: Codes
    alias: Codes
    open_row: Rows
    decimals: NDArray[np.int8]
    n_buys: Codes
    n_legs: Codes
    bought: Words
    cost: Words
    held: Words
    sold: Words
    proceeds: Words
    matched: Words
    fees: Words
    status: NDArray[np.int8]
    close_row: Rows
    close_place: Codes
    unbacked: Amounts
    unbacked_proceeds: Words
    first_lot: Rows
    last_lot: Rows
    first_leg: Rows
    last_leg: Rows


class Lots(NamedTuple):
    """Buys of `qty` coins for `cost`, of which `left` are not yet matched."""

    qty: Amounts
    cost: Words
    left: Amounts
    next: Rows


class Legs(NamedTuple):
    """Sells of a trip with the cost that they matched; `paid_in` is another quote's code, -1 for the trip's own."""

    row: Rows
    qty: Amounts
    proceeds: Words
    cost: Words
    paid_in: Codes
    next: Rows


class Leftovers(NamedTuple):
    """Coins that finished trips left behind as dust: they have no cost."""

    wallet: Codes
    mint: Codes
    quote: Codes
    qty: Words


class Purses(NamedTuple):
    """The state of one (wallet, coin) by quote while its events are read: the open trip, and what was written off."""

    quote: Codes
    trip: Rows
    left_over: Words


class Book(NamedTuple):
    """All state of a bucket. Trips, lots and legs that were carried stand first in their arrays."""

    trips: Trips
    lots: Lots
    legs: Legs
    carried: Leftovers
    leftovers: Leftovers
    purses: Purses
    counts: Rows
    unseen: Words


class Rules(NamedTuple):
    """When nothing is left, and which codes mean SOL and the empty alias."""

    dust_raw: np.uint64
    dust_parts: np.uint64
    dust_whole: np.uint64
    sol: int
    empty_alias: int


@njit(cache=True, nogil=True, error_model="numpy")
def fold(book: Book, moves: Moves, places: Places, order: Rows, first_row: int, rules: Rules) -> None:
    """Moves `book` over everything in `order`: numbers of carried trips, carried leftovers and moves, in this order.

    Those of one (wallet, coin) must stand together, carried ones first, then moves in chain order.
    """
    trips, carried = book.trips, book.carried
    n_trips, n_carried = book.counts[N_TRIPS], len(carried.wallet)
    wallet, mint = np.int32(-1), np.int32(-1)
    for number in order:
        if number < n_trips:
            owner, coin = trips.wallet[number], trips.mint[number]
        elif number < n_trips + n_carried:
            owner, coin = carried.wallet[number - n_trips], carried.mint[number - n_trips]
        else:
            move = number - n_trips - n_carried
            owner, coin = moves.wallet[move], moves.mint[move]
        if owner != wallet or coin != mint:
            _put_away(book, wallet, mint)
            wallet, mint = owner, coin
        if number < n_trips:
            book.purses.trip[_purse(book, trips.quote[number])] = number
        elif number < n_trips + n_carried:
            _carry_leftover(book, number - n_trips)
        elif moves.is_sell[move]:
            _sell(book, moves, places, move, first_row + move, rules)
        else:
            _buy(book, moves, move, first_row + move, rules)
    _put_away(book, wallet, mint)


@njit(cache=True, nogil=True, error_model="numpy")
def _carry_leftover(book: Book, number: int) -> None:
    purse = _purse(book, book.carried.quote[number])
    add_wide(book.purses.left_over, purse, book.carried.qty[number, 1], book.carried.qty[number, 0])


@njit(cache=True, nogil=True, error_model="numpy")
def _purse(book: Book, quote: int) -> int:
    """The purse of the present (wallet, coin) for `quote`, an empty one if there was none."""
    purses, used = book.purses, book.counts[N_PURSES]
    for purse in range(used):
        if purses.quote[purse] == quote:
            return int(purse)
    purses.quote[used], purses.trip[used] = quote, -1
    purses.left_over[used, 0] = purses.left_over[used, 1] = ZERO
    book.counts[N_PURSES] = used + 1
    return int(used)


@njit(cache=True, nogil=True, error_model="numpy")
def _put_away(book: Book, wallet: int, mint: int) -> None:
    """The last event of a (wallet, coin) was read: what it left over is kept."""
    purses, left = book.purses, book.leftovers
    for purse in range(book.counts[N_PURSES]):
        if purses.left_over[purse, 0] | purses.left_over[purse, 1]:
            number = book.counts[N_LEFTOVERS]
            left.wallet[number], left.mint[number], left.quote[number] = wallet, mint, purses.quote[purse]
            left.qty[number, 0], left.qty[number, 1] = purses.left_over[purse, 0], purses.left_over[purse, 1]
            book.counts[N_LEFTOVERS] = number + 1
    book.counts[N_PURSES] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _buy(book: Book, moves: Moves, move: int, row: int, rules: Rules) -> None:
    purse = _purse(book, moves.quote[move])
    trip = book.purses.trip[purse]
    if trip < 0:
        if moves.base[move] == ZERO:
            return
        trip = book.purses.trip[purse] = _opened(book.trips, book.counts, moves, move, row)
    elif book.trips.alias[trip] < 0 or book.trips.alias[trip] == rules.empty_alias:
        book.trips.alias[trip] = moves.alias[move]
    _add_lot(book, trip, moves.base[move], moves.paid[move], _in_quote(book.trips, trip, moves.fee[move], rules))


@njit(cache=True, nogil=True, error_model="numpy")
def _opened(trips: Trips, counts: Rows, moves: Moves, move: int, row: int) -> int:
    trip = counts[N_TRIPS]
    counts[N_TRIPS] = trip + 1
    trips.wallet[trip], trips.mint[trip], trips.quote[trip] = moves.wallet[move], moves.mint[move], moves.quote[move]
    trips.alias[trip], trips.decimals[trip], trips.open_row[trip] = moves.alias[move], moves.decimals[move], row
    return int(trip)


@njit(cache=True, nogil=True, error_model="numpy")
def _in_quote(trips: Trips, trip: int, fee: np.uint64, rules: Rules) -> np.uint64:
    """The fee in the trip's own money: all of it for SOL, else 0 and it is only noted."""
    if trips.quote[trip] == rules.sol:
        return fee
    add(trips.fees, trip, fee)
    return ZERO


@njit(cache=True, nogil=True, error_model="numpy")
def _add_lot(book: Book, trip: int, qty: np.uint64, paid: np.uint64, fee: np.uint64) -> None:
    trips, lots, lot = book.trips, book.lots, book.counts[N_LOTS]
    book.counts[N_LOTS] = lot + 1
    lots.qty[lot], lots.left[lot], lots.next[lot] = qty, qty, -1
    lots.cost[lot, 0], lots.cost[lot, 1] = paid, ZERO
    add(lots.cost, lot, fee)
    add(trips.bought, trip, qty)
    add(trips.held, trip, qty)
    add_wide(trips.cost, trip, lots.cost[lot, 1], lots.cost[lot, 0])
    trips.n_buys[trip] += 1
    if trips.first_lot[trip] < 0:
        trips.first_lot[trip] = lot
    else:
        lots.next[trips.last_lot[trip]] = lot
    trips.last_lot[trip] = lot


@njit(cache=True, nogil=True, error_model="numpy")
def _sell(book: Book, moves: Moves, places: Places, move: int, row: int, rules: Rules) -> None:
    book.counts[PLACE] = 0
    trips, base = book.trips, moves.base[move]
    purse = _purse(book, moves.quote[move])
    trip = book.purses.trip[purse]
    matched = _up_to(trips.held, trip, base) if trip >= 0 else ZERO
    backed = matched + _take_left_over(book.purses, purse, base - matched)
    if trip >= 0:
        fee = _in_quote(trips, trip, moves.fee[move], rules)
        high, low = difference(ZERO, moves.paid[move], ZERO, fee)
        if backed < base:
            trips.unbacked[trip] = base - backed
            high, low = _backed_part(trips, trip, high, low, backed, base)
        _leave(book, purse, row, matched, backed, high, low, -1, rules)
    if backed < base:
        add(book.unseen, 0, _leave_others(book, places, moves.quote[move], row, base - backed, rules))


@njit(cache=True, nogil=True, error_model="numpy")
def _backed_part(
    trips: Trips, trip: int, high: np.uint64, low: np.uint64, backed: np.uint64, base: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """The proceeds of the coins that were seen bought, rounded down; the rest is noted."""
    b_high, b_low = signed_share(high, low, backed, base)
    r_high, r_low = difference(high, low, b_high, b_low)
    trips.unbacked_proceeds[trip, 0], trips.unbacked_proceeds[trip, 1] = r_low, r_high
    return b_high, b_low


@njit(cache=True, nogil=True, error_model="numpy")
def _up_to(words: Words, i: int, wanted: np.uint64) -> np.uint64:
    return wanted if words[i, 1] or words[i, 0] >= wanted else words[i, 0]


@njit(cache=True, nogil=True, error_model="numpy")
def _take_left_over(purses: Purses, purse: int, wanted: np.uint64) -> np.uint64:
    """Uses up to `wanted` written-off coins and returns how many there were."""
    taken = _up_to(purses.left_over, purse, wanted)
    subtract(purses.left_over, purse, taken)
    return taken


@njit(cache=True, nogil=True, error_model="numpy")
def _leave_others(book: Book, places: Places, quote: int, row: int, wanted: np.uint64, rules: Rules) -> np.uint64:
    """Takes coins out of the wallet's trips in other quotes, oldest first, and returns how many none of them held.

    What was paid for them is in no trip's money: their cost is matched by nothing.
    """
    while wanted:
        purse = _oldest_holder(book, places)
        if purse < 0:
            break
        taken = _up_to(book.trips.held, book.purses.trip[purse], wanted)
        _leave(book, purse, row, taken, taken, ZERO, ZERO, quote, rules)
        wanted -= taken
    return wanted


@njit(cache=True, nogil=True, error_model="numpy")
def _oldest_holder(book: Book, places: Places) -> int:
    trips, purses = book.trips, book.purses
    oldest = -1
    for purse in range(book.counts[N_PURSES]):
        trip = purses.trip[purse]
        if trip < 0 or not trips.held[trip, 0] | trips.held[trip, 1]:
            continue
        if oldest < 0 or opened_before(places, trips.open_row[trip], trips.open_row[purses.trip[oldest]]):
            oldest = purse
    return oldest


@njit(cache=True, nogil=True, error_model="numpy")
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
    trips, legs, leg, trip = book.trips, book.legs, book.counts[N_LEGS], book.purses.trip[purse]
    book.counts[N_LEGS] = leg + 1
    add(trips.sold, trip, sold)
    add_wide(trips.proceeds, trip, high, low)
    legs.row[leg], legs.qty[leg], legs.paid_in[leg], legs.next[leg] = row, sold, paid_in, -1
    legs.proceeds[leg, 0], legs.proceeds[leg, 1] = low, high
    _link_leg(trips, legs, trip, leg)
    _match(book, trip, leg, matched)
    if _is_dust(trips, trip, rules):
        _close(book, purse, trip, leg, row)
    else:
        add_wide(trips.matched, trip, legs.cost[leg, 1], legs.cost[leg, 0])


@njit(cache=True, nogil=True, error_model="numpy")
def _link_leg(trips: Trips, legs: Legs, trip: int, leg: int) -> None:
    if trips.first_leg[trip] < 0:
        trips.first_leg[trip] = leg
    else:
        legs.next[trips.last_leg[trip]] = leg
    trips.last_leg[trip] = leg
    trips.n_legs[trip] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _match(book: Book, trip: int, leg: int, qty: np.uint64) -> None:
    """Takes `qty` coins out of the oldest lots; their cost is rounded down once for the whole leg.

    Only the first and the last lot can be taken in part. What is left of the first fraction is rest / whole, and both
    fractions together make one more where rest / whole + last_rest / last_whole >= 1.
    """
    trips, lots, cost = book.trips, book.lots, book.legs.cost
    cost[leg, 0] = cost[leg, 1] = ZERO
    rest, whole = ZERO, ONE
    subtract(trips.held, trip, qty)
    while qty:
        lot = trips.first_lot[trip]
        taken = min(qty, lots.left[lot])
        if taken == lots.qty[lot]:
            add_wide(cost, leg, lots.cost[lot, 1], lots.cost[lot, 0])
        else:
            high, low, left = share(lots.cost[lot, 1], lots.cost[lot, 0], taken, lots.qty[lot])
            add_wide(cost, leg, high, low)
            if _make_one(rest, whole, left, lots.qty[lot]):
                add(cost, leg, ONE)
            rest, whole = left, lots.qty[lot]
        lots.left[lot] -= taken
        qty -= taken
        if lots.left[lot] == ZERO:
            trips.first_lot[trip] = lots.next[lot]


@njit(cache=True, nogil=True, error_model="numpy")
def _make_one(rest: np.uint64, whole: np.uint64, other_rest: np.uint64, other_whole: np.uint64) -> bool:
    """rest / whole + other_rest / other_whole >= 1, both fractions below 1."""
    if rest == ZERO or other_rest == ZERO:
        return False
    a_high, a_low = product(whole, other_whole - other_rest)
    b_high, b_low = product(rest, other_whole)
    return at_most(a_high, a_low, b_high, b_low)


@njit(cache=True, nogil=True, error_model="numpy")
def _is_dust(trips: Trips, trip: int, rules: Rules) -> bool:
    high, low = trips.held[trip, 1], trips.held[trip, 0]
    if at_most(high, low, ZERO, rules.dust_raw):
        return True
    most_high, most_low, _ = share(trips.bought[trip, 1], trips.bought[trip, 0], rules.dust_parts, rules.dust_whole)
    return at_most(high, low, most_high, most_low)


@njit(cache=True, nogil=True, error_model="numpy")
def _close(book: Book, purse: int, trip: int, leg: int, row: int) -> None:
    """The last leg takes what is left of the cost; what is left of the coins is written off."""
    trips, cost = book.trips, book.legs.cost
    cost[leg, 1], cost[leg, 0] = difference(
        trips.cost[trip, 1], trips.cost[trip, 0], trips.matched[trip, 1], trips.matched[trip, 0]
    )
    trips.matched[trip, 0], trips.matched[trip, 1] = trips.cost[trip, 0], trips.cost[trip, 1]
    trips.status[trip], trips.close_row[trip], trips.close_place[trip] = CLOSED, row, book.counts[PLACE]
    book.counts[PLACE] += 1
    add_wide(book.purses.left_over, purse, trips.held[trip, 1], trips.held[trip, 0])
    book.purses.trip[purse] = -1


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _compare_sigs(places: Places, a: int, b: int) -> int:
    a_start, a_end = places.sig_offsets[a], places.sig_offsets[a + 1]
    b_start, b_end = places.sig_offsets[b], places.sig_offsets[b + 1]
    for i in range(min(a_end - a_start, b_end - b_start)):
        here, there = np.int64(places.sig_bytes[a_start + i]), np.int64(places.sig_bytes[b_start + i])
        if here != there:
            return int(here - there)
    return int((a_end - a_start) - (b_end - b_start))


@njit(cache=True, nogil=True, error_model="numpy")
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
