"""The ledger: BUYs and SELLs in chain order -> round trips, matched first in, first out, in exact integers.

A position is kept per (wallet, mint, quote_mint), across both venues. Only BUY and SELL move it: a SWAP has no price
in money, and ADD and REMOVE change what is held without buying or selling. Coins bought for one money and sold for
another leave their trip at a price that its money cannot express: it shrinks, and is INCOMPLETE from then on.

`ledger_bucket` is the whole of it, for any set of wallets: Arrow in, Arrow out, no state, no files, no dagster, and its
arguments can be pickled, so that it runs in a thread, in another process, or on another machine. Wallets do not
depend on each other. What they share, the coins' last trades and reserves, is read once over all events
(coin_facts.py) and handed to every bucket. To compute a day in n buckets, on whatever engine:

1. `facts = carry.facts().after(events)`, over all events of the day in chain order;
2. for each bucket b: the moves and the carried rows whose wallet has `bucket_of(wallet, n) == b` go to
   `ledger_bucket(moves(events_b), carry.of_bucket(b, n), facts, day_end_ns, rules)`;
3. the rows of all buckets, each already sorted, are put in one order (trip_order.py) and written out (trip_rows.py).

Any n gives the same rows. Not here: matching itself (ledger_kernel.py), days, files, publishing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis.coin_facts import CoinFacts, PairMarks, last_trades, look_up
from copytrader_assets.analysis.day_end import DeadRule, bury
from copytrader_assets.analysis.ledger_kernel import (
    CLOSE_PLACE,
    CLOSE_ROW,
    CLOSED,
    DEAD,
    HELD,
    LEG_SUM_COLUMNS,
    LOT_COLUMNS,
    MINT,
    N_COUNTS,
    N_LEFTOVERS,
    N_TRIPS,
    OPEN,
    OPEN_ROW,
    QUOTE,
    STATUS,
    SUM_COLUMNS,
    TRIP_COLUMNS,
    WALLET,
    Book,
    Codes,
    Moves,
    Places,
    Rows,
    Rules,
    fold,
)
from copytrader_assets.analysis.moves import bucket_of, in_chain_order, shared_codes, text_buffers
from copytrader_assets.analysis.trip_order import in_order, sorted_by_age
from copytrader_assets.analysis.trip_tables import (
    Carry,
    Flat,
    Names,
    Pool,
    finished_table,
    held_table,
    laid_flat,
    load,
    written_off_table,
)
from copytrader_assets.analysis.wide_columns import unwritten, wide_words
from copytrader_core.compiled import kernel, uncounted
from copytrader_core.records import WSOL
from copytrader_core.settings import LedgerSettings
from copytrader_core.wide import total

# Decimal fractions of this many digits are exact.
_FINEST_DUST = 10**18


@dataclass(frozen=True, slots=True)
class Folded:
    """What one day did to a bucket of wallets.

    `finished`: FINISHED rows in the order of their end. `carry`: the state at the end of the day, the oldest first.
    `unseen_raw`: coins that left without being seen to arrive. `forgotten_raw`: leftovers and dead bags dropped.
    """

    finished: pa.Table
    carry: Carry
    unseen_raw: int
    forgotten_raw: int


def ledger_bucket(moves: pa.Table, carry: Carry, facts: CoinFacts, day_end_ns: int, rules: LedgerSettings) -> Folded:
    """Moves `carry` over one day's `moves` (MOVES, any order) of the same wallets.

    `facts` are those of the end of the day, which is `day_end_ns`. Every sum is exact; the published rows have 38
    digits, which 10**19 events of the largest amounts would not fill.
    """
    moves = in_chain_order(moves)
    desk = _Desk.laid(moves, carry)
    fold(desk.book, desk.moves, desk.places, desk.order, desk.first_row, _rules(desk.names, rules))
    return _closed_day(desk, facts, day_end_ns, rules)


def of_bucket(carry: Carry, bucket: int, buckets: int) -> Carry:
    """The part of `carry` that belongs to the wallets of one bucket."""
    if buckets == 1:
        return carry
    return Carry(*(_of_bucket(table, bucket, buckets) for table in (carry.held, carry.written_off)))


def _of_bucket(table: pa.Table, bucket: int, buckets: int) -> pa.Table:
    return table.filter(pa.array(bucket_of(table["wallet"], buckets) == bucket))


@dataclass(frozen=True, slots=True)
class _Desk:
    """A bucket laid out for the kernel."""

    book: Book
    moves: Moves
    places: Places
    pool: Pool
    names: Names
    order: Rows
    first_row: int

    @classmethod
    def laid(cls, moves: pa.Table, carry: Carry) -> _Desk:
        """Codes, places and room for everything that the moves can make."""
        legs, lots = laid_flat(carry.held["legs"]), laid_flat(carry.held["lots"])
        codes, names = _codes(moves, carry, legs)
        pool = _pool(moves, carry.held, legs)
        offsets, content = text_buffers(pool.sig)
        places = Places(pool.slot, offsets, content, pool.outer_ix, pool.inner_ix, pool.event_seq)
        coded = _moves(moves, codes, places)
        order, room = _grouped(codes, names, coded.is_sell)
        book = _book(carry, codes, legs, lots, coded, room + int(legs.offsets[-1]), len(names.quote))
        return cls(book, coded, places, pool, names, order, carry.held.num_rows + int(legs.offsets[-1]))


@dataclass(frozen=True, slots=True)
class _Codes:
    """Each text as a code: of carried trips, of carried leftovers, of moves."""

    wallet: list[Codes]
    mint: list[Codes]
    quote: list[Codes]
    alias: list[Codes]
    paid_in: Codes


def _codes(moves: pa.Table, carry: Carry, legs: Flat) -> tuple[_Codes, Names]:
    tables = [carry.held, carry.written_off, moves]
    wallet, wallets = shared_codes([table["wallet"] for table in tables])
    mint, mints = shared_codes([table["mint"] for table in tables])
    others = pa.chunked_array([legs.children["other_quote"]])
    (*quote, paid_in), quotes = shared_codes([*(table["quote_mint"] for table in tables), others])
    alias, aliases = shared_codes([carry.held["alias"], moves["alias"]])
    return _Codes(wallet, mint, quote, alias, paid_in), Names(wallets, aliases, mints, quotes)


def _pool(moves: pa.Table, held: pa.Table, legs: Flat) -> Pool:
    sigs = [*held["open_sig"].chunks, legs.children["sig"], *moves["sig"].chunks]
    no_slot = np.zeros(int(legs.offsets[-1]), np.int64)
    carried = len(no_slot) + held.num_rows
    return Pool(
        np.concatenate([held["open_slot"].to_numpy(), no_slot, moves["slot"].to_numpy()]),
        np.concatenate([np.full(carried, -1, np.int32), moves["tx_index"].to_numpy()]),
        pa.concat_arrays(sigs),
        _placed(moves, held, legs, "outer_ix"),
        _placed(moves, held, legs, "inner_ix"),
        _placed(moves, held, legs, "event_seq"),
        _placed(moves, held, legs, "ts_ns"),
    )


def _placed(moves: pa.Table, held: pa.Table, legs: Flat, name: str) -> NDArray[Any]:
    return np.concatenate([held[f"open_{name}"].to_numpy(), legs.children[name].to_numpy(), moves[name].to_numpy()])


def _moves(moves: pa.Table, codes: _Codes, places: Places) -> Moves:
    fee = np.array(pc.fill_null(moves["fee_lamports"], 0).to_numpy())
    pays = pc.is_valid(moves["fee_lamports"]).to_numpy()
    wallets = int(codes.wallet[2].max(initial=-1)) + 1
    _charge_once(codes.wallet[2], places, len(places.slot) - len(fee), pays, fee, wallets)
    amounts = np.stack([moves["base_raw"].to_numpy(), moves["quote_raw"].to_numpy(), fee], axis=1)
    coded = np.stack([codes.wallet[2], codes.mint[2], codes.quote[2], codes.alias[1]], axis=1)
    return Moves(coded, amounts, moves["is_sell"].to_numpy(), moves["decimals"].to_numpy())


@kernel
def _charge_once(
    wallet: Codes, places: Places, first: int, pays: NDArray[np.bool_], fee: NDArray[np.uint64], wallets: int
) -> None:
    """Keeps a transaction's fee on the paying wallet's first move in it. A transaction lies within one slot."""
    newest, before = np.full(wallets, -1, np.int64), np.empty(len(wallet), np.int64)
    for row in range(len(wallet)):
        if not pays[row]:
            continue
        earlier = newest[wallet[row]]
        before[row], newest[wallet[row]] = earlier, row
        while earlier >= 0 and places.slot[first + earlier] == places.slot[first + row]:
            if _same_text(places.sig_offsets, places.sig_bytes, first + earlier, first + row):
                fee[row] = 0
                break
            earlier = before[earlier]


@uncounted
def _same_text(offsets: Rows, content: NDArray[np.uint8], a: int, b: int) -> bool:
    length = offsets[a + 1] - offsets[a]
    if offsets[b + 1] - offsets[b] != length:
        return False
    for place in range(length - 1, -1, -1):  # noqa: SIM110 - generators do not compile
        if content[offsets[a] + place] != content[offsets[b] + place]:
            return False
    return True


def _grouped(codes: _Codes, names: Names, is_sell: NDArray[np.bool_]) -> tuple[Rows, int]:
    """Carried trips, leftovers and moves by (wallet, coin), else in this order; and how many legs they can make."""
    wallet, mint, quote = (np.concatenate(column) for column in (codes.wallet, codes.mint, codes.quote))
    by_mint = _counted(mint, np.arange(len(mint)), len(names.mint))
    order = _counted(wallet, by_mint, len(names.wallet))
    return order, int(_room_for_legs(order, wallet, mint, quote, is_sell, len(names.quote)))


@kernel
def _counted(codes: Codes, rows: Rows, n_codes: int) -> Rows:
    """`rows` sorted by their code, stably: one pass of a radix sort."""
    place = np.zeros(n_codes + 1, np.int64)
    for code in codes:
        place[code + 1] += 1
    place = np.cumsum(place)
    result = np.empty(len(rows), np.int64)
    for row in rows:
        result[place[codes[row]]] = row
        place[codes[row]] += 1
    return result


@kernel
def _room_for_legs(
    order: Rows, wallet: Codes, mint: Codes, quote: Codes, is_sell: NDArray[np.bool_], n_quotes: int
) -> int:
    """At most: every sale takes coins out of the trips in all quotes of its (wallet, coin)."""
    seen, group = np.full(n_quotes, -1, np.int64), -1
    carried, room, sales, quotes = len(wallet) - len(is_sell), 0, 0, 0
    for place in range(len(order)):
        row = order[place]
        if place == 0 or wallet[row] != wallet[order[place - 1]] or mint[row] != mint[order[place - 1]]:
            room += sales * quotes
            group, sales, quotes = group + 1, 0, 0
        if seen[quote[row]] != group:
            seen[quote[row]] = group
            quotes += 1
        if row >= carried and is_sell[row - carried]:
            sales += 1
    return room + sales * quotes


def _book(carry: Carry, codes: _Codes, legs: Flat, lots: Flat, moves: Moves, room_for_legs: int, n_quotes: int) -> Book:
    bought = int(np.count_nonzero(~moves.is_sell))
    trips, lots_room = carry.held.num_rows + bought, int(lots.offsets[-1]) + bought
    gone = carry.written_off
    book = Book(
        unwritten(np.int64, trips, TRIP_COLUMNS),
        unwritten(np.uint64, trips, SUM_COLUMNS),
        unwritten(np.uint64, lots_room, LOT_COLUMNS),
        unwritten(np.int64, lots_room),
        unwritten(np.int64, room_for_legs, 3),
        unwritten(np.uint64, room_for_legs, LEG_SUM_COLUMNS),
        np.stack([codes.wallet[1], codes.mint[1], codes.quote[1]], axis=1),
        wide_words(gone["qty_raw"]),
        unwritten(np.int32, trips + gone.num_rows, 3),
        unwritten(np.uint64, trips + gone.num_rows, 2),
        unwritten(np.int64, n_quotes + 1, 2),
        unwritten(np.uint64, n_quotes + 1, 2),
        np.zeros(N_COUNTS, np.int64),
        np.zeros((1, 2), np.uint64),
    )
    load(book, carry.held, [codes.wallet[0], codes.mint[0], codes.quote[0], codes.alias[0]], legs, lots, codes.paid_in)
    return book


def _rules(names: Names, rules: LedgerSettings) -> Rules:
    dust = Fraction(str(rules.dust_fraction)).limit_denominator(_FINEST_DUST)
    parts, whole = np.uint64(dust.numerator), np.uint64(dust.denominator)
    return Rules(np.uint64(rules.dust_raw), parts, whole, _code(names.quote, WSOL), _code(names.alias, ""))


def _code(names: pa.Array, text: str) -> int:
    """The code of `text`; one that no row has where it is not among them."""
    place = pc.index(names, text).as_py()
    return int(place) if place >= 0 else len(names)


def _closed_day(desk: _Desk, facts: CoinFacts, day_end_ns: int, rules: LedgerSettings) -> Folded:
    book, names = desk.book, desk.names
    last_trade = last_trades(facts, names.mint)
    rule = DeadRule.of(day_end_ns, rules, _code(names.quote, WSOL))
    quiet_coins = last_trade <= rule.oldest_ns
    open_ids = _trips_that(book, OPEN)
    quiet = open_ids[quiet_coins[book.trips[open_ids, MINT]]]
    if len(quiet):
        bury(book.trips, book.sums, quiet, _marks(book, quiet, facts, names), rule)
    dead = _by_age(desk, _trips_that(book, DEAD))
    finished = finished_table(book, np.concatenate([_by_end(book), dead]), names, desk.pool)
    leftovers = book.leftovers[: book.counts[N_LEFTOVERS]]
    gone = quiet_coins[leftovers[:, MINT]]
    forgotten = total(book.leftover_qty[: len(gone)][gone]) + total(book.sums[dead, HELD : HELD + 2])
    written_off = written_off_table(leftovers[~gone], book.leftover_qty[: len(gone)][~gone], names, last_trade)
    return Folded(finished, Carry(_held(desk, facts, last_trade), written_off), total(book.unseen), forgotten)


def _held(desk: _Desk, facts: CoinFacts, last_trade: Rows) -> pa.Table:
    ids = _by_age(desk, _trips_that(desk.book, OPEN))
    return held_table(desk.book, ids, desk.names, desk.pool, _coin(desk.book, ids, facts, desk.names, last_trade))


def _trips_that(book: Book, status: int) -> Rows:
    return np.flatnonzero(book.trips[: book.counts[N_TRIPS], STATUS] == status)


def _by_end(book: Book) -> Rows:
    """The closed trips in the chain order of their closing sale."""
    ids = _trips_that(book, CLOSED)
    trips = np.take(book.trips, ids, axis=0)
    return ids[in_order([trips[:, CLOSE_ROW], trips[:, CLOSE_PLACE]])]


def _by_age(desk: _Desk, ids: Rows) -> Rows:
    rows, pool = desk.book.trips[ids, OPEN_ROW], desk.pool
    path = (pool.outer_ix[rows], pool.inner_ix[rows], pool.event_seq[rows])
    wallets = desk.names.wallet.take(pa.array(desk.book.trips[ids, WALLET]))
    return ids[sorted_by_age(pool.slot[rows], pool.sig.take(pa.array(rows)), path, wallets)]


def _marks(book: Book, ids: Rows, facts: CoinFacts, names: Names) -> PairMarks:
    return look_up(facts, book.trips[ids, MINT], names.mint, book.trips[ids, QUOTE], names.quote)


def _coin(book: Book, ids: Rows, facts: CoinFacts, names: Names, last_trade: Rows) -> dict[str, pa.Array]:
    marks = _marks(book, ids, facts, names)
    return {
        "last_trade_ts_ns": pa.array(last_trade[book.trips[ids, MINT]]),
        "reserve_base_raw": pa.array(marks.base, mask=~marks.known),
        "reserve_quote_raw": pa.array(marks.reserve, mask=~marks.known),
        "fee_ppm": pa.array(marks.fee_ppm, mask=marks.fee_ppm < 0),
    }
