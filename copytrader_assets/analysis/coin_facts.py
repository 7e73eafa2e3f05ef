"""What a day's events say of the coins themselves: when each was last traded, and the last reserves of each pair.

One pass over all events, in chain order, in as many parts as the caller likes. Not here: what it means for a position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis.moves import TEXT, kinds
from copytrader_assets.analysis.text_codes import TextCodes
from copytrader_core.compiled import uncounted
from copytrader_core.wide import ONE, ZERO, Words, share

COIN_COLUMNS = (
    "action",
    "mint",
    "quote_mint",
    "ts_ns",
    "quote_raw",
    "swap_fee_raw",
    "reserve_base_raw",
    "reserve_quote_raw",
)
"""The columns of `events` that the facts are read from."""
LAST_TRADES = pa.schema([("mint", TEXT), ("last_trade_ts_ns", pa.int64())])
MARKS = pa.schema(
    [
        ("mint", TEXT),
        ("quote_mint", TEXT),
        ("reserve_base_raw", pa.uint64()),
        ("reserve_quote_raw", pa.uint64()),
        ("fee_ppm", pa.int32()),
    ]
)
"""Reserves are NULL where none were seen. `fee_ppm`: swap fee in millionths of the quote before fees, NULL where no
trade has shown it yet."""
# A fee is rounded up three times or so: below this quote that would be more than 0.03 % of it.
_TELLING_QUOTE = np.uint64(10_000)
_MILLION = np.uint64(1_000_000)
_OTHER, _BUY, _SELL, _SWAP = range(4)
_NEVER = np.iinfo(np.int64).min
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class CoinFacts:
    """`trades`: LAST_TRADES, one row a coin. `marks`: MARKS, one row a (coin, quote) that was seen."""

    trades: pa.Table
    marks: pa.Table

    @classmethod
    def nothing(cls) -> CoinFacts:
        """Before the first event."""
        return cls(LAST_TRADES.empty_table(), MARKS.empty_table())

    def after(self, events: pa.Table) -> CoinFacts:
        """These facts moved over `events` (COIN_COLUMNS at least), which must be later and in chain order."""
        watch = CoinWatch(self, TextCodes())
        watch.see(events)
        return watch.facts()


class CoinWatch:
    """Facts that move over one part of the events after the other."""

    def __init__(self, facts: CoinFacts, coins: TextCodes) -> None:
        """`coins` gives coins and quotes their codes; it may grow between the parts."""
        self._coins = coins
        trades, mint, quote = (
            self._codes(column) for column in (facts.trades["mint"], facts.marks["mint"], facts.marks["quote_mint"])
        )
        self._last = np.full(len(coins), _NEVER, np.int64)
        self._last[trades] = facts.trades["last_trade_ts_ns"].to_numpy()
        self._pairs, self._used = _known_pairs(facts.marks, mint, quote, len(coins)), len(mint)

    def see(self, events: pa.Table) -> None:
        """The next part (COIN_COLUMNS at least), in chain order; `mint` may be codes of `coins`."""
        mint, quote = (self._codes(events[name]) for name in ("mint", "quote_mint"))
        self._last = _extended(self._last, len(self._coins), _NEVER)
        self._pairs = _with_room(self._pairs, len(self._coins), self._used + events.num_rows)
        self._used = int(_see(_seen(events, mint, quote), self._last, self._pairs, self._used))

    def facts(self) -> CoinFacts:
        """The facts after all that was seen."""
        names = self._coins.names()
        return CoinFacts(_last_trades(self._last, names), _marks(self._pairs, self._used, names))

    def _codes(self, column: pa.ChunkedArray) -> NDArray[np.int32]:
        coded = column if column.type == pa.int32() else self._coins.codes(column)
        return np.asarray(pc.fill_null(coded, -1).to_numpy(), np.int32)


class _Seen(NamedTuple):
    """The events, as the kernel reads them."""

    action: NDArray[np.int8]
    mint: NDArray[np.int32]
    quote: NDArray[np.int32]
    ts_ns: NDArray[np.int64]
    paid: NDArray[np.uint64]
    fee: NDArray[np.uint64]
    fee_known: NDArray[np.bool_]
    base: NDArray[np.uint64]
    reserve: NDArray[np.uint64]
    has_reserves: NDArray[np.bool_]


class _Pairs(NamedTuple):
    """(coin, quote) pairs, those of one coin chained from `head[coin]` by `next`, -1 ends the chain."""

    head: NDArray[np.int32]
    next: NDArray[np.int32]
    mint: NDArray[np.int32]
    quote: NDArray[np.int32]
    base: NDArray[np.uint64]
    reserve: NDArray[np.uint64]
    marked: NDArray[np.bool_]
    fee_ppm: NDArray[np.int32]


def _seen(events: pa.Table, mint: NDArray[np.int32], quote: NDArray[np.int32]) -> _Seen:
    known = [pc.is_valid(events[name]) for name in ("reserve_base_raw", "reserve_quote_raw", "swap_fee_raw")]
    columns = (
        kinds(events["action"], "BUY", "SELL", "SWAP") + np.int8(_BUY),
        mint,
        quote,
        events["ts_ns"].to_numpy(),
        _unsigned(events, "quote_raw"),
        _unsigned(events, "swap_fee_raw"),
        known[2].to_numpy(),
        _unsigned(events, "reserve_base_raw"),
        _unsigned(events, "reserve_quote_raw"),
        pc.and_(known[0], known[1]).to_numpy(),
    )
    return _Seen(*(_read_only(column) for column in columns))


def _read_only(column: NDArray[Any]) -> NDArray[Any]:
    """Of one type for the compiler, for which arrays that can be written are another one."""
    same = column.view()
    same.flags.writeable = False
    return same


def _unsigned(events: pa.Table, name: str) -> NDArray[np.uint64]:
    return np.asarray(pc.fill_null(events[name], 0).to_numpy(), np.uint64)


def _known_pairs(marks: pa.Table, mint: NDArray[np.int32], quote: NDArray[np.int32], coins: int) -> _Pairs:
    known = marks.num_rows
    pairs = _Pairs(
        np.full(coins, -1, np.int32),
        np.full(known, -1, np.int32),
        np.zeros(known, np.int32),
        np.zeros(known, np.int32),
        np.array(_unsigned(marks, "reserve_base_raw")),
        np.array(_unsigned(marks, "reserve_quote_raw")),
        np.array(pc.is_valid(marks["reserve_base_raw"]).to_numpy()),
        np.array(pc.fill_null(marks["fee_ppm"], -1).to_numpy()),
    )
    _chain(pairs, mint, quote)
    return pairs


def _with_room(pairs: _Pairs, coins: int, least: int) -> _Pairs:
    """The same pairs in arrays for at least so many, of so many coins."""
    return _Pairs(
        _extended(pairs.head, coins, -1),
        _extended(pairs.next, least, -1),
        _extended(pairs.mint, least, 0),
        _extended(pairs.quote, least, 0),
        _extended(pairs.base, least, 0),
        _extended(pairs.reserve, least, 0),
        _extended(pairs.marked, least, 0),
        _extended(pairs.fee_ppm, least, -1),
    )


def _extended(array: NDArray[Number], least: int, filler: int) -> NDArray[Number]:
    """`array` itself or, if it is too small, the beginning of one of at least twice its size."""
    if least <= len(array):
        return array
    larger = np.full(max(least, 2 * len(array)), filler, array.dtype)
    larger[: len(array)] = array
    return larger


@uncounted
def _chain(pairs: _Pairs, mint: NDArray[np.int32], quote: NDArray[np.int32]) -> None:
    for pair in range(len(mint)):
        _add_pair(pairs, pair, mint[pair], quote[pair])


@uncounted
def _add_pair(pairs: _Pairs, pair: int, mint: int, quote: int) -> None:
    pairs.mint[pair], pairs.quote[pair] = mint, quote
    pairs.next[pair] = pairs.head[mint]
    pairs.head[mint] = pair


@uncounted
def _find(pairs: _Pairs, mint: int, quote: int) -> int:
    pair = pairs.head[mint]
    while pair >= 0 and pairs.quote[pair] != quote:
        pair = pairs.next[pair]
    return int(pair)


@uncounted
def _see(seen: _Seen, last: NDArray[np.int64], pairs: _Pairs, used: int) -> int:
    """Moves `last` and `pairs` over the events; returns how many pairs there are now."""
    for row in range(len(seen.action)):
        mint, quote, action = seen.mint[row], seen.quote[row], seen.action[row]
        if mint < 0 or quote < 0:
            continue
        if action != _OTHER:
            last[mint] = seen.ts_ns[row]
        if action == _SWAP:
            last[quote] = seen.ts_ns[row]
        pair = _find(pairs, mint, quote)
        if pair < 0:
            pair, used = used, used + 1
            _add_pair(pairs, pair, mint, quote)
        _mark(seen, row, pairs, pair)
    return used


@uncounted
def _mark(seen: _Seen, row: int, pairs: _Pairs, pair: int) -> None:
    if seen.has_reserves[row]:
        pairs.base[pair], pairs.reserve[pair] = seen.base[row], seen.reserve[row]
        pairs.marked[pair] = True
    if seen.fee_known[row] and (seen.action[row] == _BUY or seen.action[row] == _SELL):
        paid, fee = seen.paid[row], seen.fee[row]
        is_sell = seen.action[row] == _SELL
        gross = paid + fee if is_sell else paid - fee
        # Where the sum or the difference left 64 bits, the trade tells nothing.
        fits = gross >= paid if is_sell else fee <= paid
        if fits and gross >= _TELLING_QUOTE and fee <= gross:
            _, ppm, rest = share(ZERO, fee, _MILLION, gross)
            pairs.fee_ppm[pair] = np.int32(ppm + (ONE if rest else ZERO))


def _last_trades(last: NDArray[np.int64], names: pa.Array) -> pa.Table:
    coins = np.flatnonzero(last != _NEVER)
    return pa.Table.from_arrays([_texts(coins, names), pa.array(last[coins])], schema=LAST_TRADES)


def _marks(pairs: _Pairs, used: int, names: pa.Array) -> pa.Table:
    fee, unmarked = pairs.fee_ppm[:used], ~pairs.marked[:used]
    columns = [
        _texts(pairs.mint[:used], names),
        _texts(pairs.quote[:used], names),
        pa.array(pairs.base[:used], mask=unmarked),
        pa.array(pairs.reserve[:used], mask=unmarked),
        pa.array(fee, mask=fee < 0),
    ]
    return pa.Table.from_arrays(columns, schema=MARKS)


def _texts(codes: NDArray[np.int32] | NDArray[np.int64], names: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names)


class PairMarks(NamedTuple):
    """Reserves and fee of given (coin, quote) pairs; `known` is false where no reserves were seen."""

    known: NDArray[np.bool_]
    base: Words
    reserve: Words
    fee_ppm: NDArray[np.int32]


def look_up(
    facts: CoinFacts, mint: NDArray[np.int32], mints: pa.Array, quote: NDArray[np.int32], quotes: pa.Array
) -> PairMarks:
    """The marks of pairs that are given as codes of the dictionaries `mints` and `quotes`."""
    codes = [
        pc.fill_null(pc.index_in(facts.marks[name].cast(pa.string()), names), -1).to_numpy().astype(np.int64)
        for name, names in (("mint", mints), ("quote_mint", quotes))
    ]
    rows = np.flatnonzero((codes[0] >= 0) & (codes[1] >= 0))
    keys = codes[0][rows] * len(quotes) + codes[1][rows]
    order = np.argsort(keys)
    wanted = mint.astype(np.int64) * len(quotes) + quote
    places = np.minimum(np.searchsorted(keys, wanted, sorter=order), max(len(keys) - 1, 0))
    found = rows[order[places]] if len(rows) else np.zeros(len(wanted), np.int64)
    there = keys[order[places]] == wanted if len(rows) else np.zeros(len(wanted), bool)
    marked = pc.is_valid(facts.marks["reserve_base_raw"]).to_numpy()
    known = there & marked[found] if len(rows) else there
    base, reserve, fee = (_picked(facts.marks, name, found, there) for name in MARKS.names[2:])
    return PairMarks(known, base, reserve, fee)


def _picked(marks: pa.Table, name: str, rows: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[Any]:
    values = pc.fill_null(marks[name], -1 if name == "fee_ppm" else 0).to_numpy()
    missing = np.asarray(-1 if name == "fee_ppm" else 0, values.dtype)
    return np.where(known, values[rows], missing) if len(values) else np.full(len(rows), missing)


def last_trades(facts: CoinFacts, mints: pa.Array) -> NDArray[np.int64]:
    """When each of `mints` was last traded; the far future where no trade is known, so that it counts as alive."""
    rows = pc.index_in(mints, facts.trades["mint"].cast(pa.string()).combine_chunks())
    never = pa.scalar(np.iinfo(np.int64).max, pa.int64())
    return np.asarray(pc.fill_null(facts.trades["last_trade_ts_ns"].take(rows), never).to_numpy(), np.int64)
