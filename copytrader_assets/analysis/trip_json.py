"""`meta_json` of round trips, written byte by byte in a compiled kernel: one object a row, keys in order, no spaces.

Millions of rows make an object a row too slow. Not here: which trips, and the other columns (trip_rows.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_core.compiled import uncounted
from copytrader_core.wide import ONE, ZERO, Words, difference, divided

_PAD = 32
_HUNDRED = np.uint64(100)
_TENS = np.array([10**n for n in range(20)], np.uint64)
_PAIRS = np.frombuffer("".join(f"{n:02d}" for n in range(100)).encode(), np.uint8)
_TEN_19 = np.uint64(10**19)
_TWO = np.uint64(2)
# Three numbers of 32 bits and two full stops.
_LONGEST_PATH = 35
_63 = np.uint64(63)
_ZERO_DIGIT = np.uint8(48)
_QUOTE, _BACKSLASH, _SPACE = 34, 92, 32

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]
Numbers = NDArray[np.uint64]


class TextColumn(NamedTuple):
    """Texts as offsets and bytes; `plain` where JSON needs no escapes in any of them."""

    offsets: Rows
    content: Bytes
    plain: bool


class LegColumns(NamedTuple):
    """Legs, laid flat: those of row r are `starts[r]` to `starts[r + 1]`. `paid_in` is a code of other quotes or -1."""

    starts: Rows
    sig: TextColumn
    outer_ix: NDArray[np.int32]
    inner_ix: NDArray[np.int32]
    event_seq: NDArray[np.int32]
    ts_ns: Rows
    qty: Numbers
    proceeds: Words
    cost: Words
    paid_in: NDArray[np.int32]


class LotColumns(NamedTuple):
    """Lots, laid flat as legs are."""

    starts: Rows
    qty: Numbers
    cost: Words
    left: Numbers


class TripColumns(NamedTuple):
    """What all trips have."""

    decimals: NDArray[np.int8]
    fees: Words
    legs: LegColumns
    quotes: TextColumn


class EndColumns(NamedTuple):
    """What finished trips have."""

    left: Words
    is_dead: NDArray[np.bool_]
    died_ts_ns: int
    unbacked: Numbers
    unbacked_proceeds: Words


class CoinColumns(NamedTuple):
    """What open trips have; reserves and mark count where `marked`."""

    last_trade: Rows
    base: Numbers
    reserve: Numbers
    mark: Numbers
    marked: NDArray[np.bool_]
    lots: LotColumns


class Sink(NamedTuple):
    """Where the bytes go; `at[0]` is the next free place."""

    content: Bytes
    at: Rows


def text_column(offsets: Rows, content: Bytes) -> TextColumn:
    """Texts with the knowledge whether any of them needs escapes."""
    used = content[offsets[0] : offsets[-1]]
    return TextColumn(offsets, content, bool(_is_plain(used)))


@uncounted
def _is_plain(content: Bytes) -> bool:
    bad = 0
    for byte in content:
        bad += (byte == _QUOTE) | (byte == _BACKSLASH) | (byte < _SPACE)
    return bad == 0


def finished_json(trips: TripColumns, ends: EndColumns) -> pa.Array:
    """One object a finished trip."""
    buffer, sink, offsets = _room(trips, 0)
    _write_finished(sink, offsets, trips, ends)
    return _as_texts(buffer, offsets)


def open_json(trips: TripColumns, coins: CoinColumns) -> pa.Array:
    """One object an open trip."""
    buffer, sink, offsets = _room(trips, len(coins.lots.qty))
    _write_open(sink, offsets, trips, coins)
    return _as_texts(buffer, offsets)


def path_texts(outer: NDArray[np.int32], inner: NDArray[np.int32], seq: NDArray[np.int32]) -> pa.Array:
    """`outer.inner.seq` of each row."""
    buffer, sink, offsets = _sink(_LONGEST_PATH * len(outer), len(outer))
    _write_paths(sink, offsets, outer, inner, seq)
    return _as_texts(buffer, offsets)


def _room(trips: TripColumns, lots: int) -> tuple[pa.Buffer, Sink, NDArray[np.int32]]:
    """Bytes enough for everything at its longest."""
    legs, texts = trips.legs, len(trips.decimals)
    legs_of_others = int(np.count_nonzero(legs.paid_in >= 0))
    longest_quote = int(np.diff(trips.quotes.offsets).max(initial=0))
    sigs = int(legs.sig.offsets[-1] - legs.sig.offsets[0]) * (1 if legs.sig.plain else 6)
    size = 512 * texts + 256 * len(legs.qty) + sigs + 160 * lots + legs_of_others * (6 * longest_quote + 3)
    return _sink(size, texts)


def _sink(size: int, texts: int) -> tuple[pa.Buffer, Sink, NDArray[np.int32]]:
    """Bytes of Arrow's pool, which does not take them anew for every part, and the offsets of so many texts."""
    buffer = pa.allocate_buffer(size + _PAD)
    return buffer, Sink(np.frombuffer(buffer, np.uint8), np.zeros(1, np.int64)), np.zeros(texts + 1, np.int32)


def _as_texts(buffer: pa.Buffer, offsets: NDArray[np.int32]) -> pa.Array:
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), buffer.slice(0, int(offsets[-1])))


def _padded(text: bytes) -> Bytes:
    """A text of at most _PAD bytes as `_text` writes it: padded, then its length."""
    return np.frombuffer(text.ljust(_PAD) + bytes([len(text)]), np.uint8)


_DECIMALS = _padded(b'"decimals":')
_FEES = _padded(b',"fee_lamports":')
_LEGS = _padded(b',"legs":[')
_COST = _padded(b'{"cost_raw":')
_PATH = _padded(b',"path":"')
_PROCEEDS = _padded(b'","proceeds_raw":')
_QTY = _padded(b',"qty_raw":')
_SIG = _padded(b',"sig":"')
_TS = _padded(b'","ts_ns":')
_LEFT_QTY = _padded(b',"left_qty_raw":')
_DIED = _padded(b',"died_ts_ns":')
_OTHERS = _padded(b',"other_quotes":["')
_UNBACKED = _padded(b',"unbacked":{"proceeds_raw":')
_COIN = _padded(b'{"coin":{"last_trade_ts_ns":')
_BASE = _padded(b',"reserve_base_raw":')
_RESERVE = _padded(b',"reserve_quote_raw":')
_AFTER_COIN = _padded(b"},")
_LOTS = _padded(b',"lots":[')
_LEFT = _padded(b',"left_raw":')
_MARK = _padded(b',"mark_quote_raw":')
_NULL = _padded(b"null")
_ESCAPE = _padded(b"\\u00")
_NEXT_TEXT = _padded(b'","')
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@uncounted
def _write_finished(sink: Sink, offsets: NDArray[np.int32], trips: TripColumns, ends: EndColumns) -> None:
    for row in range(len(trips.decimals)):
        _byte(sink, 123)
        _number_after(sink, _DECIMALS, trips.decimals[row])
        if ends.is_dead[row]:
            _number_after(sink, _DIED, ends.died_ts_ns)
        _fees(sink, trips, row)
        if ends.left[row, 0] | ends.left[row, 1]:
            _wide_after(sink, _LEFT_QTY, ends.left, row)
        _legs(sink, trips.legs, row)
        _other_quotes(sink, trips, row)
        if ends.unbacked[row]:
            _wide_after(sink, _UNBACKED, ends.unbacked_proceeds, row)
            _unsigned_after(sink, _QTY, ends.unbacked[row])
            _byte(sink, 125)
        _byte(sink, 125)
        offsets[row + 1] = sink.at[0]


@uncounted
def _write_open(sink: Sink, offsets: NDArray[np.int32], trips: TripColumns, coins: CoinColumns) -> None:
    for row in range(len(trips.decimals)):
        _number_after(sink, _COIN, coins.last_trade[row])
        if coins.marked[row]:
            _unsigned_after(sink, _BASE, coins.base[row])
            _unsigned_after(sink, _RESERVE, coins.reserve[row])
        _text(sink, _AFTER_COIN)
        _number_after(sink, _DECIMALS, trips.decimals[row])
        _fees(sink, trips, row)
        _legs(sink, trips.legs, row)
        _lots(sink, coins.lots, row)
        if coins.marked[row]:
            _unsigned_after(sink, _MARK, coins.mark[row])
        else:
            _text(sink, _MARK)
            _text(sink, _NULL)
        _other_quotes(sink, trips, row)
        _byte(sink, 125)
        offsets[row + 1] = sink.at[0]


@uncounted
def _fees(sink: Sink, trips: TripColumns, row: int) -> None:
    if trips.fees[row, 0] | trips.fees[row, 1]:
        _wide_after(sink, _FEES, trips.fees, row)


@uncounted
def _legs(sink: Sink, legs: LegColumns, row: int) -> None:
    _text(sink, _LEGS)
    for leg in range(legs.starts[row], legs.starts[row + 1]):
        if leg > legs.starts[row]:
            _byte(sink, 44)
        _wide_after(sink, _COST, legs.cost, leg)
        _text(sink, _PATH)
        _path(sink, legs.outer_ix[leg], legs.inner_ix[leg], legs.event_seq[leg])
        _wide_after(sink, _PROCEEDS, legs.proceeds, leg)
        _unsigned_after(sink, _QTY, legs.qty[leg])
        _text(sink, _SIG)
        _quoted(sink, legs.sig, leg)
        _number_after(sink, _TS, legs.ts_ns[leg])
        _byte(sink, 125)
    _byte(sink, 93)


@uncounted
def _path(sink: Sink, outer: int, inner: int, seq: int) -> None:
    _number(sink, outer)
    _byte(sink, 46)
    _number(sink, inner)
    _byte(sink, 46)
    _number(sink, seq)


@uncounted
def _write_paths(
    sink: Sink,
    offsets: NDArray[np.int32],
    outer: NDArray[np.int32],
    inner: NDArray[np.int32],
    seq: NDArray[np.int32],
) -> None:
    for row in range(len(outer)):
        _path(sink, outer[row], inner[row], seq[row])
        offsets[row + 1] = sink.at[0]


@uncounted
def _lots(sink: Sink, lots: LotColumns, row: int) -> None:
    _text(sink, _LOTS)
    for lot in range(lots.starts[row], lots.starts[row + 1]):
        if lot > lots.starts[row]:
            _byte(sink, 44)
        _wide_after(sink, _COST, lots.cost, lot)
        _unsigned_after(sink, _LEFT, lots.left[lot])
        _unsigned_after(sink, _QTY, lots.qty[lot])
        _byte(sink, 125)
    _byte(sink, 93)


@uncounted
def _other_quotes(sink: Sink, trips: TripColumns, row: int) -> None:
    """Each other quote that the coins were sold for, once, in the order in which it appeared."""
    legs, found = trips.legs, 0
    for leg in range(legs.starts[row], legs.starts[row + 1]):
        quote = legs.paid_in[leg]
        if quote < 0 or _appeared(legs, legs.starts[row], leg):
            continue
        _text(sink, _NEXT_TEXT if found else _OTHERS)
        _quoted(sink, trips.quotes, quote)
        found += 1
    if found:
        _byte(sink, _QUOTE)
        _byte(sink, 93)


@uncounted
def _appeared(legs: LegColumns, first: int, leg: int) -> bool:
    for earlier in range(first, leg):  # noqa: SIM110 - generators do not compile
        if legs.paid_in[earlier] == legs.paid_in[leg]:
            return True
    return False


# Places are unsigned: those could not count from the end, so that the compiler need not look, and copies many at once.
@uncounted
def _text(sink: Sink, text: Bytes) -> None:
    """A text of `_padded`: always as many bytes, which are two moves, and the next text overwrites what is too much."""
    at = np.uint64(sink.at[0])
    for place in range(np.uint64(_PAD)):
        sink.content[at + place] = text[place]
    sink.at[0] += text[_PAD]


@uncounted
def _byte(sink: Sink, byte: int) -> None:
    sink.content[np.uint64(sink.at[0])] = byte
    sink.at[0] += 1


@uncounted
def _bytes(sink: Sink, text: Bytes) -> None:
    at = np.uint64(sink.at[0])
    for place in range(np.uint64(len(text))):
        sink.content[at + place] = text[place]
    sink.at[0] += len(text)


@uncounted
def _quoted(sink: Sink, column: TextColumn, row: int) -> None:
    """The text inside JSON quotes."""
    text = column.content[column.offsets[row] : column.offsets[row + 1]]
    if column.plain:
        _bytes(sink, text)
        return
    for byte in text:
        if byte < _SPACE:
            _text(sink, _ESCAPE)
            _byte(sink, _HEX[byte >> 4])
            _byte(sink, _HEX[byte & 15])
            continue
        if byte in (_QUOTE, _BACKSLASH):
            _byte(sink, _BACKSLASH)
        _byte(sink, byte)


@uncounted
def _number_after(sink: Sink, text: Bytes, value: int) -> None:
    _text(sink, text)
    _number(sink, value)


@uncounted
def _unsigned_after(sink: Sink, text: Bytes, value: np.uint64) -> None:
    _text(sink, text)
    _digits(sink, value, 1)


@uncounted
def _wide_after(sink: Sink, text: Bytes, words: Words, row: int) -> None:
    _text(sink, text)
    high, low = words[row, 1], words[row, 0]
    if high >> _63:
        _byte(sink, 45)
        high, low = difference(ZERO, ZERO, high, low)
    if high == ZERO:
        _digits(sink, low, 1)
        return
    # Below 10**38: two halves of 19 digits.
    top, bottom = divided(high, low, _TEN_19)
    _digits(sink, top, 1)
    _digits(sink, bottom, 19)


@uncounted
def _number(sink: Sink, value: int) -> None:
    if value < 0:
        _byte(sink, 45)
        value = -value
    _digits(sink, np.uint64(value), 1)


@uncounted
def _digits(sink: Sink, value: np.uint64, least: int) -> None:
    """`value` with at least so many digits, two at a time from the last one on."""
    count = 1
    while count < len(_TENS) and value >= _TENS[count]:
        count += 1
    count = max(count, least)
    first = np.uint64(sink.at[0])
    at = first + np.uint64(count)
    while at > first + ONE:
        pair = _TWO * (value % _HUNDRED)
        value //= _HUNDRED
        at -= _TWO
        sink.content[at], sink.content[at + ONE] = _PAIRS[pair], _PAIRS[pair + ONE]
    if at > first:
        sink.content[first] = _ZERO_DIGIT + np.uint8(value)
    sink.at[0] += count
