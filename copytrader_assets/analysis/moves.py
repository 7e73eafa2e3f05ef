"""What the ledger reads of events: the BUYs and SELLs with their amounts, in chain order, texts as dictionaries.

Also which bucket a wallet belongs to, and texts as integer codes shared by several tables. Not here: what the moves do
to a position (ledger_kernel.py), and the coins' last trades and reserves (coin_facts.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from copytrader_core.compiled import kernel

TEXT = pa.dictionary(pa.int32(), pa.string())
EVENT_COLUMNS = (
    "slot",
    "tx_index",
    "sig",
    "outer_ix",
    "inner_ix",
    "event_seq",
    "ts_ns",
    "wallet",
    "alias",
    "fee_payer",
    "action",
    "mint",
    "quote_mint",
    "base_raw",
    "quote_raw",
    "tx_fee_lamports",
    "tip_lamports",
    "amount_out",
)
"""The columns of `events` that `moves` needs."""
DICTIONARIES = ("alias", "action", "quote_mint")
"""Those of them that a reader should give as dictionaries where it can."""
MOVES = pa.schema(
    [
        ("slot", pa.int64()),
        ("tx_index", pa.int32()),
        ("sig", pa.large_string()),
        ("outer_ix", pa.int32()),
        ("inner_ix", pa.int32()),
        ("event_seq", pa.int32()),
        ("ts_ns", pa.int64()),
        ("wallet", pa.string()),
        ("alias", TEXT),
        ("mint", pa.string()),
        ("quote_mint", TEXT),
        ("is_sell", pa.bool_()),
        ("base_raw", pa.uint64()),
        ("quote_raw", pa.uint64()),
        ("fee_lamports", pa.uint64()),
        ("decimals", pa.int8()),
    ]
)
"""`tx_index` is -1 where it is unknown; `fee_lamports` is the transaction's fee and tip, NULL where another wallet
paid them."""
_CHAIN_ORDER = ("slot", "tx_index", "sig", "outer_ix", "inner_ix", "event_seq")
_DEFAULT_DECIMALS = 6
_MOST_DECIMALS = 18
_CRC = np.array([zlib.crc32(bytes([255 - n])) ^ 0xFF000000 for n in range(256)], np.uint32)


def moves(events: pa.Table) -> pa.Table:
    """The rows of `events` (lake columns, EVENT_COLUMNS at least) that move a position, as MOVES, in their order."""
    return as_moves(with_payer(events.select(EVENT_COLUMNS)).filter(pa.array(moves_a_position(events))))


def moves_a_position(events: pa.Table) -> NDArray[np.bool_]:
    """Which rows of `events` move one."""
    result = kinds(events["action"], "BUY", "SELL") >= 0
    for name in ("mint", "quote_mint", "base_raw"):
        if events[name].null_count:
            result &= pc.is_valid(events[name]).to_numpy()
    return result


def with_payer(events: pa.Table) -> pa.Table:
    """`events` with `pays`, whether the wallet paid the transaction's fee, in place of who did."""
    pays = pc.equal(events["wallet"].cast(pa.string()), events["fee_payer"].cast(pa.string()))
    return events.drop_columns(["fee_payer"]).append_column("pays", pc.fill_null(pays, False))


def as_moves(events: pa.Table) -> pa.Table:
    """Rows that move a position, with `pays`, as MOVES; `wallet` and `mint` may be codes, and then stay codes."""
    columns = {field.name: events[field.name] for field in MOVES if field.name not in _COLUMNS}
    columns |= {name: make(events) for name, make in _COLUMNS.items()}
    return pa.table({f.name: _cast(columns[f.name], f.type) for f in MOVES})


def kinds(column: pa.ChunkedArray, *values: str) -> NDArray[np.int8]:
    """The place of each text among `values`, -1 for all others. Of a dictionary every text is looked at once."""
    wanted = pa.array(values, pa.string())
    parts = [_kinds(chunk, wanted) for chunk in column.chunks]
    return np.concatenate([np.zeros(0, np.int8), *parts])


def _kinds(texts: pa.Array, wanted: pa.Array) -> NDArray[np.int8]:
    if not pa.types.is_dictionary(texts.type):
        return np.asarray(pc.fill_null(pc.index_in(texts, wanted), -1).to_numpy(), np.int8)
    found = np.append(_kinds(texts.dictionary, wanted), np.int8(-1))
    return np.asarray(found[pc.fill_null(texts.indices, -1).to_numpy()])


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if kind == TEXT and not pa.types.is_dictionary(column.type):
        return pc.dictionary_encode(column)
    is_coded = kind == pa.string() and column.type == pa.int32()
    return column if column.type == kind or is_coded else column.cast(kind)


def _fee(events: pa.Table) -> pa.ChunkedArray:
    fee, tip = (pc.fill_null(events[name].cast(pa.uint64()), 0) for name in ("tx_fee_lamports", "tip_lamports"))
    return pc.if_else(events["pays"], pc.add(fee, tip), pa.scalar(None, pa.uint64()))


def _decimals(events: pa.Table) -> pa.ChunkedArray:
    """The coin's decimals, read off the buy's human amount; pump.fun's 6 where there is none. For reading only."""
    human = np.nan_to_num(np.asarray(pc.fill_null(events["amount_out"], 0.0).to_numpy()), posinf=0.0)
    base = events["base_raw"].to_numpy().astype(np.float64)
    known = (human > 0) & (base > 0)
    with np.errstate(over="ignore"):
        ratio = np.divide(base, human, out=np.ones_like(human), where=known)
    guess = np.rint(np.log10(ratio))
    good = known & (guess >= 0) & (guess <= _MOST_DECIMALS)
    return pa.chunked_array([np.where(good, guess, _DEFAULT_DECIMALS).astype(np.int8)])


_COLUMNS = {
    "tx_index": lambda events: pc.fill_null(events["tx_index"], -1),
    "is_sell": lambda events: pa.chunked_array([kinds(events["action"], "SELL") == 0]),
    "quote_raw": lambda events: pc.fill_null(events["quote_raw"], 0),
    "fee_lamports": _fee,
    "decimals": _decimals,
}


def in_chain_order(rows: pa.Table) -> pa.Table:
    """Events or MOVES sorted by (slot, tx_index, outer_ix, inner_ix, event_seq); an unknown tx_index comes first.

    A transaction without an index keeps its events together: sig comes before the path.
    """
    keys = rows.select(_CHAIN_ORDER)
    known = pc.fill_null(keys["tx_index"], -1)
    keys = keys.set_column(keys.schema.get_field_index("tx_index"), "tx_index", known)
    if _is_in_chain_order(keys):
        return rows
    return rows.take(pc.sort_indices(keys, [(name, "ascending") for name in _CHAIN_ORDER]))


def _is_in_chain_order(keys: pa.Table) -> bool:
    slot, index, *path = (np.asarray(keys[name].to_numpy()) for name in _CHAIN_ORDER if name != "sig")
    first = _first_undecided(slot, index)
    if first is None or not len(first):
        return first is not None
    sigs, after = keys["sig"].take(pa.array(first)), keys["sig"].take(pa.array(first + 1))
    if pc.any(pc.greater(sigs, after)).as_py():
        return False
    same = np.asarray(pc.equal(sigs, after).to_numpy())
    return _paths_ascend(first[same], *path)


def _first_undecided(slot: NDArray[np.int64], index: NDArray[np.int32]) -> NDArray[np.int64] | None:
    """The rows whose successor has the same slot and index; None where the two descend."""
    same_slot = slot[1:] == slot[:-1]
    if np.any(slot[1:] < slot[:-1]) or np.any(same_slot & (index[1:] < index[:-1])):
        return None
    return np.flatnonzero(same_slot & (index[1:] == index[:-1]))


def _paths_ascend(rows: NDArray[np.int64], *path: NDArray[np.int32]) -> bool:
    ascends, equal = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    for part in path:
        ascends |= equal & (part[rows] < part[rows + 1])
        equal &= part[rows] == part[rows + 1]
    return bool(np.all(ascends | equal))


def bucket_of(wallets: pa.ChunkedArray | pa.Array, buckets: int) -> NDArray[np.int32]:
    """The bucket of each wallet: CRC-32 of its text modulo `buckets`, the same in every process and on every machine.

    `wallets` may be a dictionary array; no NULLs. Spark's `crc32` and Python's `zlib.crc32` give the same number.
    """
    if isinstance(wallets, pa.ChunkedArray):
        parts = [bucket_of(chunk, buckets) for chunk in wallets.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)
    if pa.types.is_dictionary(wallets.type):
        return np.asarray(bucket_of(wallets.dictionary, buckets)[wallets.indices.to_numpy()])
    offsets, content = text_buffers(wallets)
    return np.asarray((_crc32(offsets, content, _CRC) % np.uint32(buckets)).astype(np.int32))


@kernel
def _crc32(offsets: NDArray[np.int64], content: NDArray[np.uint8], table: NDArray[np.uint32]) -> NDArray[np.uint32]:
    result = np.empty(len(offsets) - 1, np.uint32)
    for row in range(len(result)):
        value = np.uint32(0xFFFFFFFF)
        for place in range(offsets[row], offsets[row + 1]):
            low = (value ^ np.uint32(content[place])) & np.uint32(0xFF)
            value = table[low] ^ (value >> np.uint32(8))
        result[row] = value ^ np.uint32(0xFFFFFFFF)
    return result


def text_buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets (n + 1) and bytes of a text column; a NULL is as empty as ""."""
    whole = texts.cast(pa.large_string())
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks == 1 else pa.concat_arrays([*whole.chunks, pa.array([], whole.type)])
    _, offsets, content = whole.buffers()
    if not len(whole) or offsets is None:
        return np.zeros(len(whole) + 1, np.int64), np.zeros(0, np.uint8)
    places = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    return places, np.frombuffer(content or b"", np.uint8)


def shared_codes(columns: Sequence[pa.ChunkedArray]) -> tuple[list[NDArray[np.int32]], pa.Array]:
    """Each text column as codes of one dictionary, NULL as -1, and the dictionary."""
    joined = _encoded([chunk for column in columns for chunk in column.chunks if len(chunk)])
    if not joined.num_chunks:
        return [np.zeros(0, np.int32) for _ in columns], pa.array([], pa.string())
    codes = np.concatenate([_indices(chunk) for chunk in joined.chunks])
    ends = np.cumsum([len(column) for column in columns])
    return np.split(codes, ends[:-1]), joined.chunk(0).dictionary


def _encoded(chunks: Sequence[pa.Array]) -> pa.ChunkedArray:
    """All chunks with one dictionary. Where one is plain, hashing every row is cheaper than every dictionary."""
    if all(pa.types.is_dictionary(chunk.type) for chunk in chunks):
        whole = pa.chunked_array(chunks, TEXT)
        return whole.unify_dictionaries() if len(chunks) > 1 else whole
    return pc.dictionary_encode(pa.chunked_array([chunk.cast(pa.string()) for chunk in chunks], pa.string()))


def _indices(chunk: pa.DictionaryArray) -> NDArray[np.int32]:
    return np.asarray(pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False), np.int32)
