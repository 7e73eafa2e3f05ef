"""Round trips as exact Arrow tables: what the ledger carries from day to day, and what it hands to publishing.

Between the kernel's arrays and the published rows (trip_rows.py): every integer, no text made of them yet. Texts that
repeat are dictionaries. Not here: matching (ledger_kernel.py) and the stored files (lake.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_assets.analysis import ledger_kernel as k
from copytrader_assets.analysis.coin_facts import LAST_TRADES, MARKS, CoinFacts
from copytrader_assets.analysis.ledger_kernel import Book, Codes, Rows
from copytrader_assets.analysis.moves import TEXT, text_buffers
from copytrader_assets.analysis.wide_columns import wide_array, wide_words
from copytrader_assets.schemas import AMOUNT
from copytrader_core.compiled import kernel
from copytrader_core.wide import Words

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
        gone = with_plain_texts(self.written_off)
        return pa.concat_tables([rest, gone], promote_options="default").replace_schema_metadata(None)

    @classmethod
    def read(cls, open_positions: pa.Table, stored: pa.Table) -> Carry:
        """What `stored` wrote beside `open_positions` (the columns of PUBLISHED at least), in the same order."""
        rows = open_positions.num_rows
        held = {name: open_positions[published] for name, published in PUBLISHED.items()}
        held |= {name: stored[name].slice(0, rows) for name in HELD.names if name not in PUBLISHED}
        return cls(_shaped(held, HELD), _shaped({n: stored[n].slice(rows) for n in WRITTEN_OFF.names}, WRITTEN_OFF))


def with_plain_texts(table: pa.Table) -> pa.Table:
    """`table` with texts in place of the codes of a dictionary."""
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
    closed, sums = book.trips[ids, k.CLOSE_ROW], np.take(book.sums, ids, axis=0)
    dead = closed < 0
    columns = _identity(book, ids, sums, names, pool) | {
        "is_dead": pa.array(dead),
        "close_slot": pa.array(pool.slot[closed], mask=dead),
        "end_tx_index": pa.array(pool.tx_index[closed], mask=dead),
        "end_place": pa.array(book.trips[ids, k.CLOSE_PLACE].astype(np.int32), mask=dead),
        "unbacked_qty_raw": pa.array(sums[:, k.UNBACKED]),
        "unbacked_proceeds_raw": _sum_column(sums, k.UNBACKED_PROCEEDS),
    }
    return pa.Table.from_pydict(columns, schema=FINISHED)


def held_table(book: Book, ids: Rows, names: Names, pool: Pool, coin: Mapping[str, pa.Array]) -> pa.Table:
    """HELD rows of the trips `ids`; `coin` gives the columns of the coin's last state."""
    offsets, chosen = _chained(book.trips[ids, k.FIRST_LOT], book.lot_next)
    lots = np.take(book.lots, chosen, axis=0)
    children = [pa.array(lots[:, k.LOT_QTY]), wide_array(lots[:, k.LOT_COST :], AMOUNT), pa.array(lots[:, k.LOT_LEFT])]
    return pa.Table.from_pydict(
        _identity(book, ids, np.take(book.sums, ids, axis=0), names, pool)
        | {"lots": _lists(offsets, children, LOT)}
        | dict(coin),
        schema=HELD,
    )


def written_off_table(codes: Codes, qty: Words, names: Names, last_trade: NDArray[np.int64]) -> pa.Table:
    """WRITTEN_OFF rows of leftovers."""
    columns = {
        "wallet": texts(codes[:, k.WALLET], names.wallet),
        "mint": texts(codes[:, k.MINT], names.mint),
        "quote_mint": texts(codes[:, k.QUOTE], names.quote),
        "qty_raw": wide_array(qty, AMOUNT),
        "last_trade_ts_ns": pa.array(last_trade[codes[:, k.MINT]]),
    }
    return pa.Table.from_pydict(columns, schema=WRITTEN_OFF)


def _identity(book: Book, ids: Rows, sums: Words, names: Names, pool: Pool) -> dict[str, pa.Array]:
    # Not by indexing: take is several times as fast, and lets other threads run.
    trips = np.take(book.trips, ids, axis=0)
    rows = trips[:, k.OPEN_ROW]
    return {
        "wallet": texts(trips[:, k.WALLET], names.wallet),
        "alias": texts(trips[:, k.ALIAS], names.alias),
        "mint": texts(trips[:, k.MINT], names.mint),
        "quote_mint": texts(trips[:, k.QUOTE], names.quote),
        "open_sig": pool.sig.take(pa.array(rows)),
        "open_outer_ix": pa.array(np.take(pool.outer_ix, rows)),
        "open_inner_ix": pa.array(np.take(pool.inner_ix, rows)),
        "open_event_seq": pa.array(np.take(pool.event_seq, rows)),
        "open_ts_ns": pa.array(np.take(pool.ts_ns, rows)),
        "open_slot": pa.array(np.take(pool.slot, rows)),
        "decimals": pa.array(trips[:, k.DECIMALS].astype(np.int8)),
        "n_buys": pa.array(trips[:, k.N_BUYS].astype(np.int32)),
        "legs": _leg_lists(book, trips[:, k.FIRST_LEG], names, pool),
        **{name: _sum_column(sums, at) for name, at in _SUMS.items()},
    }


_SUMS: Mapping[str, int] = {
    "bought_raw": k.BOUGHT,
    "cost_raw": k.COST,
    "held_raw": k.HELD,
    "sold_raw": k.SOLD,
    "proceeds_raw": k.PROCEEDS,
    "matched_raw": k.MATCHED,
    "fee_lamports": k.FEES,
}


def _sum_column(sums: Words, at: int) -> pa.Array:
    return wide_array(sums[:, at : at + 2], AMOUNT)


def texts(codes: NDArray[np.int32] | Rows, names: pa.Array) -> pa.DictionaryArray:
    """Codes as a dictionary column that knows no other text than its own; -1 is NULL."""
    used = np.zeros(len(names) + 1, bool)
    used[codes] = True
    used[-1] = False
    renumbered = (np.cumsum(used) - 1).astype(np.int32)[codes]
    dictionary = names.take(pa.array(np.flatnonzero(used[:-1])))
    return pa.DictionaryArray.from_arrays(pa.array(renumbered, mask=codes < 0), dictionary)


def _leg_lists(book: Book, first: Rows, names: Names, pool: Pool) -> pa.ListArray:
    offsets, chosen = _chained(first, book.legs[:, k.LEG_NEXT])
    legs, sums = np.take(book.legs, chosen, axis=0), np.take(book.leg_sums, chosen, axis=0)
    rows, paid_in = legs[:, k.LEG_ROW], legs[:, k.LEG_PAID_IN]
    children = [
        pool.sig.take(pa.array(rows)),
        pa.array(np.take(pool.outer_ix, rows)),
        pa.array(np.take(pool.inner_ix, rows)),
        pa.array(np.take(pool.event_seq, rows)),
        pa.array(np.take(pool.ts_ns, rows)),
        pa.array(sums[:, k.LEG_QTY]),
        wide_array(sums[:, k.LEG_PROCEEDS : k.LEG_PROCEEDS + 2], AMOUNT),
        wide_array(sums[:, k.LEG_COST : k.LEG_COST + 2], AMOUNT),
        names.quote.take(pa.array(paid_in, mask=paid_in < 0)),
    ]
    return _lists(offsets, children, LEG)


def _lists(offsets: NDArray[np.int32], children: list[pa.Array], kind: pa.StructType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(children, fields=list(kind)))


@kernel
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


def load(book: Book, held: pa.Table, codes: Sequence[Codes], legs: Flat, lots: Flat, paid_in: Codes) -> None:
    """Puts carried trips, their lots and legs into the first rows of the kernel's arrays.

    `codes`: wallet, mint, quote, alias. The places of the trips come first in the pool, then those of the legs.
    """
    n = held.num_rows
    trips = book.trips[:n]
    trips[:] = np.stack(
        [*codes, np.arange(n), *(held[c].to_numpy() for c in ("decimals", "n_buys")), np.diff(legs.offsets),
         np.full(n, k.OPEN), np.full(n, -1), np.zeros(n), *_ends(lots.offsets), *_ends(legs.offsets)], axis=1
    )  # fmt: skip
    book.sums[:n] = 0
    for name, at in _SUMS.items():
        book.sums[:n, at : at + 2] = wide_words(held[name])
    _load_lots(book, lots)
    _load_legs(book, legs, n, paid_in)
    book.counts[[k.N_TRIPS, k.N_LOTS, k.N_LEGS]] = n, lots.offsets[-1], legs.offsets[-1]


def _ends(offsets: NDArray[np.int64]) -> tuple[Rows, Rows]:
    some = np.diff(offsets) > 0
    return np.where(some, offsets[:-1], -1), np.where(some, offsets[1:] - 1, -1)


def _load_lots(book: Book, flat: Flat) -> None:
    lots = book.lots[: flat.offsets[-1]]
    lots[:, k.LOT_QTY], lots[:, k.LOT_LEFT] = (flat.children[name].to_numpy() for name in ("qty_raw", "left_raw"))
    lots[:, k.LOT_COST :] = wide_words(flat.children["cost_raw"])
    book.lot_next[: len(lots)] = _links(flat.offsets)


def _load_legs(book: Book, flat: Flat, first_row: int, paid_in: Codes) -> None:
    n = int(flat.offsets[-1])
    book.legs[:n] = np.stack([np.arange(first_row, first_row + n), paid_in, _links(flat.offsets)], axis=1)
    book.leg_sums[:n, k.LEG_QTY] = flat.children["qty_raw"].to_numpy()
    for name, at in (("proceeds_raw", k.LEG_PROCEEDS), ("cost_raw", k.LEG_COST)):
        book.leg_sums[:n, at : at + 2] = wide_words(flat.children[name])


def _links(offsets: NDArray[np.int64]) -> Rows:
    links = np.arange(1, offsets[-1] + 1)
    ends = offsets[1:][np.diff(offsets) > 0]
    links[ends - 1] = -1
    return links


def sig_prefix(sigs: pa.ChunkedArray | pa.Array) -> NDArray[np.uint64]:
    """The first eight bytes of each text as a number, so that numbers sort as texts do but for ties."""
    return np.asarray(_prefixes(*text_buffers(sigs)))


@kernel
def _prefixes(offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    result = np.zeros(len(offsets) - 1, np.uint64)
    for row in range(len(result)):
        for place in range(8):
            byte = content[offsets[row] + place] if offsets[row] + place < offsets[row + 1] else np.uint8(0)
            result[row] = (result[row] << np.uint64(8)) | np.uint64(byte)
    return result
