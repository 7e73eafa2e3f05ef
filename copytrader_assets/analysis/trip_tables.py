"""Round trips as exact Arrow tables: what the ledger carries from day to day, and what it hands to publishing.

Between the kernel's arrays and the published rows (trip_rows.py): every integer, no text made of them yet. Texts that
repeat are dictionaries. Not here: matching (ledger_kernel.py) and the stored files (lake.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from copytrader_assets.analysis.coin_facts import LAST_TRADES, MARKS, CoinFacts
from copytrader_assets.analysis.ledger_kernel import Book, Leftovers, Legs, Lots, Rows, Trips
from copytrader_assets.analysis.moves import TEXT, text_buffers
from copytrader_assets.analysis.wide import Words, wide_array, wide_words
from copytrader_assets.schemas import AMOUNT

LOT = pa.struct([("qty_raw", pa.uint64()), ("cost_raw", AMOUNT), ("left_raw", pa.uint64())])
LEG = pa.struct(
    [
        ("sig", pa.large_string()),
        ("outer_ix", pa.int32()),
        ("inner_ix", pa.int32()),
        ("event_seq", pa.int32()),
        ("ts_ns", pa.int64()),
        ("qty_raw", pa.uint64()),
        ("proceeds_raw", AMOUNT),
        ("cost_raw", AMOUNT),
        ("other_quote", pa.string()),
    ]
)
_IDENTITY = [
    ("wallet", TEXT),
    ("alias", TEXT),
    ("mint", TEXT),
    ("quote_mint", TEXT),
    ("open_sig", pa.large_string()),
    ("open_outer_ix", pa.int32()),
    ("open_inner_ix", pa.int32()),
    ("open_event_seq", pa.int32()),
    ("open_ts_ns", pa.int64()),
    ("open_slot", pa.int64()),
    ("decimals", pa.int8()),
    ("n_buys", pa.int32()),
    ("bought_raw", AMOUNT),
    ("cost_raw", AMOUNT),
    ("held_raw", AMOUNT),
    ("sold_raw", AMOUNT),
    ("proceeds_raw", AMOUNT),
    ("matched_raw", AMOUNT),
    ("fee_lamports", AMOUNT),
    ("legs", pa.list_(LEG)),
]
_COIN = [
    ("last_trade_ts_ns", pa.int64()),
    ("reserve_base_raw", pa.uint64()),
    ("reserve_quote_raw", pa.uint64()),
    ("fee_ppm", pa.int32()),
]
FINISHED = pa.schema(
    [
        *_IDENTITY,
        ("is_dead", pa.bool_()),
        ("close_slot", pa.int64()),
        ("end_tx_index", pa.int32()),
        ("end_place", pa.int32()),
        ("unbacked_qty_raw", pa.uint64()),
        ("unbacked_proceeds_raw", AMOUNT),
    ]
)
"""Trips that closed or died. `end_tx_index` and `end_place` (among the trips that one sale closed) order them."""
HELD = pa.schema([*_IDENTITY, ("lots", pa.list_(LOT)), *_COIN])
"""Open trips, with the lots that are left and the coin's last state."""
WRITTEN_OFF = pa.schema(
    [("wallet", TEXT), ("mint", TEXT), ("quote_mint", TEXT), ("qty_raw", AMOUNT), ("last_trade_ts_ns", pa.int64())]
)
"""Coins that finished trips left behind, and that are still traded."""
# Columns of HELD that open_positions has too, under these names.
PUBLISHED: Mapping[str, str] = {
    **{name: name for name in ("wallet", "alias", "mint", "quote_mint", "open_sig", "open_ts_ns", "open_slot")},
    "n_buys": "n_buys",
    "bought_raw": "open_qty_raw",
    "cost_raw": "open_cost_raw",
    "sold_raw": "close_qty_raw",
    "proceeds_raw": "close_proceeds_raw",
}


@dataclass(frozen=True, slots=True)
class Carry:
    """Everything that a day needs of the days before it: HELD and WRITTEN_OFF.

    `written_off` coins have no cost, and they back a later sale only after the coins that a new trip bought.
    """

    held: pa.Table
    written_off: pa.Table

    @classmethod
    def nothing(cls) -> Carry:
        """Before the first event."""
        return cls(HELD.empty_table(), WRITTEN_OFF.empty_table())

    def facts(self) -> CoinFacts:
        """What was known of the coins when this was written; of coins that nobody held, nothing."""
        trades = pa.concat_tables(table.select(LAST_TRADES.names) for table in (self.held, self.written_off))
        return CoinFacts(_first_of(trades, ["mint"]), _first_of(self.held.select(MARKS.names), ["mint", "quote_mint"]))

    def stored(self) -> pa.Table:
        """The companion of the day's open_positions: what those rows do not say, then what was written off."""
        rest = self.held.drop_columns(list(PUBLISHED))
        gone = _with_plain_texts(self.written_off)
        return pa.concat_tables([rest, gone], promote_options="default").replace_schema_metadata(None)

    @classmethod
    def read(cls, open_positions: pa.Table, stored: pa.Table) -> Carry:
        """What `stored` wrote beside `open_positions` (the columns of PUBLISHED at least), in the same order."""
        rows = open_positions.num_rows
        held = {name: open_positions[published] for name, published in PUBLISHED.items()}
        held |= {name: stored[name].slice(0, rows) for name in HELD.names if name not in PUBLISHED}
        return cls(_shaped(held, HELD), _shaped({n: stored[n].slice(rows) for n in WRITTEN_OFF.names}, WRITTEN_OFF))


def _with_plain_texts(table: pa.Table) -> pa.Table:
    plain = [field.with_type(pa.string()) if field.type == TEXT else field for field in table.schema]
    return table.cast(pa.schema(plain))


def _shaped(columns: Mapping[str, pa.ChunkedArray], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([_as(columns[field.name], field.type) for field in schema], schema=schema)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if kind == TEXT and column.type != TEXT:
        return pc.dictionary_encode(column)
    return column if column.type == kind else column.cast(kind)


def _first_of(table: pa.Table, key: list[str]) -> pa.Table:
    """One row a key; the rows of one key are all alike."""
    if not table.num_rows:
        return table
    table = table.unify_dictionaries().combine_chunks()
    codes = np.zeros(table.num_rows, np.int64)
    for name in key:
        column = table[name].chunk(0)
        codes = codes * len(column.dictionary) + column.indices.to_numpy()
    return table.take(pa.array(np.unique(codes, return_index=True)[1]))


class Names(NamedTuple):
    """The dictionaries behind the codes of a bucket."""

    wallet: pa.Array
    alias: pa.Array
    mint: pa.Array
    quote: pa.Array


class Pool(NamedTuple):
    """Chain places of carried opens, carried legs and moves, in this order, by row."""

    slot: NDArray[np.int64]
    tx_index: NDArray[np.int32]
    sig: pa.LargeStringArray
    outer_ix: NDArray[np.int32]
    inner_ix: NDArray[np.int32]
    event_seq: NDArray[np.int32]
    ts_ns: NDArray[np.int64]


def finished_table(book: Book, ids: Rows, names: Names, pool: Pool) -> pa.Table:
    """FINISHED rows of the trips `ids`."""
    trips = book.trips
    closed = trips.close_row[ids]
    dead = closed < 0
    columns = _identity(book, ids, names, pool) | {
        "is_dead": pa.array(dead),
        "close_slot": pa.array(pool.slot[closed], mask=dead),
        "end_tx_index": pa.array(pool.tx_index[closed], mask=dead),
        "end_place": pa.array(trips.close_place[ids], mask=dead),
        "unbacked_qty_raw": pa.array(trips.unbacked[ids]),
        "unbacked_proceeds_raw": wide_array(trips.unbacked_proceeds[ids], AMOUNT),
    }
    return pa.Table.from_pydict(columns, schema=FINISHED)


def held_table(book: Book, ids: Rows, names: Names, pool: Pool, coin: Mapping[str, pa.Array]) -> pa.Table:
    """HELD rows of the trips `ids`; `coin` gives the columns of the coin's last state."""
    lots = book.lots
    offsets, chosen = _chained(book.trips.first_lot[ids], lots.next)
    children = [pa.array(lots.qty[chosen]), wide_array(lots.cost[chosen], AMOUNT), pa.array(lots.left[chosen])]
    return pa.Table.from_pydict(
        _identity(book, ids, names, pool) | {"lots": _lists(offsets, children, LOT)} | dict(coin), schema=HELD
    )


def written_off_table(left: Leftovers, ids: Rows, names: Names, last_trade: NDArray[np.int64]) -> pa.Table:
    """WRITTEN_OFF rows of the leftovers `ids`."""
    columns = {
        "wallet": texts(left.wallet[ids], names.wallet),
        "mint": texts(left.mint[ids], names.mint),
        "quote_mint": texts(left.quote[ids], names.quote),
        "qty_raw": wide_array(left.qty[ids], AMOUNT),
        "last_trade_ts_ns": pa.array(last_trade[left.mint[ids]]),
    }
    return pa.Table.from_pydict(columns, schema=WRITTEN_OFF)


def _identity(book: Book, ids: Rows, names: Names, pool: Pool) -> dict[str, pa.Array]:
    trips = book.trips
    rows = trips.open_row[ids]
    return {
        "wallet": texts(trips.wallet[ids], names.wallet),
        "alias": texts(trips.alias[ids], names.alias),
        "mint": texts(trips.mint[ids], names.mint),
        "quote_mint": texts(trips.quote[ids], names.quote),
        "open_sig": pool.sig.take(pa.array(rows)),
        "open_outer_ix": pa.array(pool.outer_ix[rows]),
        "open_inner_ix": pa.array(pool.inner_ix[rows]),
        "open_event_seq": pa.array(pool.event_seq[rows]),
        "open_ts_ns": pa.array(pool.ts_ns[rows]),
        "open_slot": pa.array(pool.slot[rows]),
        "decimals": pa.array(trips.decimals[ids]),
        "n_buys": pa.array(trips.n_buys[ids]),
        "bought_raw": wide_array(trips.bought[ids], AMOUNT),
        "cost_raw": wide_array(trips.cost[ids], AMOUNT),
        "held_raw": wide_array(trips.held[ids], AMOUNT),
        "sold_raw": wide_array(trips.sold[ids], AMOUNT),
        "proceeds_raw": wide_array(trips.proceeds[ids], AMOUNT),
        "matched_raw": wide_array(trips.matched[ids], AMOUNT),
        "fee_lamports": wide_array(trips.fees[ids], AMOUNT),
        "legs": _leg_lists(book.legs, trips.first_leg[ids], names, pool),
    }


def texts(codes: NDArray[np.int32], names: pa.Array) -> pa.DictionaryArray:
    """Codes as a dictionary column that knows no other text than its own; -1 is NULL."""
    used = np.zeros(len(names) + 1, bool)
    used[codes] = True
    used[-1] = False
    renumbered = (np.cumsum(used) - 1).astype(np.int32)[codes]
    dictionary = names.take(pa.array(np.flatnonzero(used[:-1])))
    return pa.DictionaryArray.from_arrays(pa.array(renumbered, mask=codes < 0), dictionary)


def _leg_lists(legs: Legs, first: Rows, names: Names, pool: Pool) -> pa.ListArray:
    offsets, chosen = _chained(first, legs.next)
    rows, paid_in = legs.row[chosen], legs.paid_in[chosen]
    children = [
        pool.sig.take(pa.array(rows)),
        pa.array(pool.outer_ix[rows]),
        pa.array(pool.inner_ix[rows]),
        pa.array(pool.event_seq[rows]),
        pa.array(pool.ts_ns[rows]),
        pa.array(legs.qty[chosen]),
        wide_array(legs.proceeds[chosen], AMOUNT),
        wide_array(legs.cost[chosen], AMOUNT),
        names.quote.take(pa.array(paid_in, mask=paid_in < 0)),
    ]
    return _lists(offsets, children, LEG)


def _lists(offsets: NDArray[np.int32], children: list[pa.Array], kind: pa.StructType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(children, fields=list(kind)))


@njit(cache=True, nogil=True)
def _chained(first: Rows, following: Rows) -> tuple[NDArray[np.int32], Rows]:
    """The linked rows of each chain one after the other, and where each chain begins (n + 1 offsets)."""
    offsets = np.zeros(len(first) + 1, np.int32)
    for chain in range(len(first)):
        row, length = first[chain], 0
        while row >= 0:
            row, length = following[row], length + 1
        offsets[chain + 1] = offsets[chain] + length
    chosen = np.empty(offsets[-1], np.int64)
    for chain in range(len(first)):
        row, place = first[chain], offsets[chain]
        while row >= 0:
            chosen[place] = row
            row, place = following[row], place + 1
    return offsets, chosen


class Flat(NamedTuple):
    """A list column laid flat: its offsets from 0 on, and the children of its structs."""

    offsets: NDArray[np.int64]
    children: Mapping[str, pa.Array]


def laid_flat(column: pa.ChunkedArray) -> Flat:
    """The lists of a column without NULLs."""
    chunks = column.chunks or [pa.array([], column.type)]
    array = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
    offsets = array.offsets.to_numpy().astype(np.int64)
    items = array.flatten()
    children = {field.name: items.field(i) for i, field in enumerate(column.type.value_type)}
    return Flat(offsets - offsets[0], children)


def load_trips(trips: Trips, held: pa.Table, codes: list[NDArray[np.int32]], legs: Flat, lots: Flat) -> None:
    """Puts carried trips into the first rows of the kernel's arrays, chained to their legs and lots."""
    n = held.num_rows
    trips.wallet[:n], trips.alias[:n], trips.mint[:n], trips.quote[:n] = codes
    trips.open_row[:n] = np.arange(n)
    trips.decimals[:n], trips.n_buys[:n] = held["decimals"].to_numpy(), held["n_buys"].to_numpy()
    trips.n_legs[:n] = np.diff(legs.offsets)
    for words, name in _sums(trips):
        words[:n] = wide_words(held[name])
    trips.first_leg[:n], trips.last_leg[:n] = _ends(legs.offsets)
    trips.first_lot[:n], trips.last_lot[:n] = _ends(lots.offsets)


def _sums(trips: Trips) -> list[tuple[Words, str]]:
    names = ("bought_raw", "cost_raw", "held_raw", "sold_raw", "proceeds_raw", "matched_raw", "fee_lamports")
    arrays = (trips.bought, trips.cost, trips.held, trips.sold, trips.proceeds, trips.matched, trips.fees)
    return list(zip(arrays, names, strict=True))


def _ends(offsets: NDArray[np.int64]) -> tuple[Rows, Rows]:
    some = np.diff(offsets) > 0
    return np.where(some, offsets[:-1], -1), np.where(some, offsets[1:] - 1, -1)


def load_lots(lots: Lots, flat: Flat) -> None:
    """Puts carried lots into the first rows."""
    n = int(flat.offsets[-1])
    lots.qty[:n], lots.left[:n] = flat.children["qty_raw"].to_numpy(), flat.children["left_raw"].to_numpy()
    lots.cost[:n] = wide_words(flat.children["cost_raw"])
    lots.next[:n] = _links(flat.offsets)


def load_legs(legs: Legs, flat: Flat, first_row: int, paid_in: NDArray[np.int32]) -> None:
    """Puts carried legs into the first rows; their places begin with row `first_row` of the pool."""
    n = int(flat.offsets[-1])
    legs.row[:n] = np.arange(first_row, first_row + n)
    legs.qty[:n], legs.paid_in[:n] = flat.children["qty_raw"].to_numpy(), paid_in
    legs.proceeds[:n], legs.cost[:n] = (wide_words(flat.children[name]) for name in ("proceeds_raw", "cost_raw"))
    legs.next[:n] = _links(flat.offsets)


def _links(offsets: NDArray[np.int64]) -> Rows:
    links = np.arange(1, offsets[-1] + 1)
    ends = offsets[1:][np.diff(offsets) > 0]
    links[ends - 1] = -1
    return links


def sig_prefix(sigs: pa.ChunkedArray | pa.Array) -> NDArray[np.uint64]:
    """The first eight bytes of each text as a number, so that numbers sort as texts do but for ties."""
    return np.asarray(_prefixes(*text_buffers(sigs)))


@njit(cache=True, nogil=True)
def _prefixes(offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    result = np.zeros(len(offsets) - 1, np.uint64)
    for row in range(len(result)):
        for place in range(8):
            byte = content[offsets[row] + place] if offsets[row] + place < offsets[row + 1] else np.uint8(0)
            result[row] = (result[row] << np.uint64(8)) | np.uint64(byte)
    return result
