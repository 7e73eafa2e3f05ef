"""One day reduced to what the copy network needs: each wallet's first buy of each coin, in integer codes.

A day of events is some twenty times as large. Order and time come from (slot, tx_index), never from a timestamp.
Accounts that are no traders (the protocol's own, fee and tip accounts, the mayhem agent) are left out here, once.
Not here: what several days make together (`first_buys`), who is whose wallet (`entities`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, floats, ints
from copytrader_assets.analysis.grouped import Flags, Floats, Ints, weighed
from copytrader_core.pump.addresses import NEVER_TRADERS
from copytrader_core.records import LAMPORTS_PER_SOL, WSOL

BUY_COLUMNS = (
    "slot",
    "tx_index",
    "outer_ix",
    "inner_ix",
    "event_seq",
    "ts_ns",
    "wallet",
    "mint",
    "quote_mint",
    "quote_raw",
)
"""What `reduced` reads of the BUY rows."""
_MOST_LAMPORTS = 9.2e18
ROW_SCHEMA = pa.schema(
    [
        pa.field("mint_code", pa.int32(), nullable=False),
        pa.field("wallet_code", pa.int32(), nullable=False),
        pa.field("slot", pa.int64(), nullable=False),
        ("tx_index", pa.int32()),
        ("paid_lamports", pa.int64()),
    ]
)
"""A day's rows by coin and within it in chain order; NULL tx_index: unknown; NULL paid: not in SOL."""


@dataclass(frozen=True, slots=True)
class DayBuys:
    """A day's first buys by coin and within it in chain order. `mints` and `wallets` are what the codes stand for.

    `tx_index` is -1 where the place in the slot is unknown; `size_sol` is what the transaction paid for the coin in
    all (NaN where the coin is not quoted in SOL).
    """

    mints: pa.Array
    wallets: pa.Array
    mint: Ints
    wallet: Ints
    slot: Ints
    tx_index: Ints
    size_sol: Floats

    def rows(self) -> pa.Table:
        """The day as it stands in the lake (ROW_SCHEMA)."""
        tx = pa.array(self.tx_index, pa.int32(), mask=self.tx_index < 0)
        lamports = np.minimum(np.rint(np.nan_to_num(self.size_sol) * LAMPORTS_PER_SOL), _MOST_LAMPORTS).astype(np.int64)
        paid = pa.array(lamports, mask=np.isnan(self.size_sol))
        return pa.table([self.mint, self.wallet, self.slot, tx, paid], schema=ROW_SCHEMA)

    @classmethod
    def of_rows(cls, rows: pa.Table, mints: pa.Array, wallets: pa.Array) -> DayBuys:
        """The day from its rows in the lake."""
        mint, wallet, slot = (rows[name].to_numpy() for name in ("mint_code", "wallet_code", "slot"))
        tx = pc.fill_null(rows["tx_index"], -1).to_numpy()
        return cls(mints, wallets, mint, wallet, slot, tx, floats(rows, "paid_lamports") / LAMPORTS_PER_SOL)


def reduced(buys: pa.Table) -> DayBuys:
    """The first buys among the BUY rows `buys` (BUY_COLUMNS; any order). Rows without a coin are left out."""
    buys = _in_chain_order(buys.filter(pa.array(is_trader(buys["wallet"]) & flags(pc.is_valid(buys["mint"])))))
    mint, wallet = (_encoded(buys[name]) for name in ("mint", "wallet"))
    width = max(len(wallet.dictionary), 1)
    pair = _indices(mint) * width + _indices(wallet)
    pair, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    slot, tx_index = ints(buys, "slot"), ints(buys, "tx_index", null=-1)
    same = (slot == slot[first][inverse]) & (tx_index == tx_index[first][inverse])
    spent = _spent_sol(buys, inverse[same], same, len(first))
    order = np.lexsort((first, pair // width))
    place, pair = first[order], pair[order]
    return DayBuys(
        mint.dictionary, wallet.dictionary, pair // width, pair % width, slot[place], tx_index[place], spent[order]
    )


def is_trader(column: pa.ChunkedArray) -> Flags:
    """Which of the addresses can be a trader's."""
    return ~flags(pc.is_in(column, pa.array(sorted(NEVER_TRADERS), pa.string())))


def _in_chain_order(buys: pa.Table) -> pa.Table:
    """The rows in chain order; the lake's are already and cost only a look."""
    keys = [ints(buys, name, null=-1) for name in ("slot", "tx_index", "outer_ix", "inner_ix", "event_seq")]
    order = np.lexsort(keys[::-1])
    return buys if np.array_equal(order, np.arange(len(order))) else buys.take(pa.array(order))


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One dictionary-encoded array of a string column."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    return encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded


def _indices(encoded: pa.DictionaryArray) -> Ints:
    """The integer codes of an encoded column."""
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _spent_sol(buys: pa.Table, group: Ints, same: Flags, n: int) -> Floats:
    """What each first buy's transaction paid for the coin, all its events together; NaN where not in SOL."""
    sol = floats(buys, "quote_raw") / LAMPORTS_PER_SOL
    sol[~flags(pc.equal(buys["quote_mint"], WSOL))] = np.nan
    return weighed(group, sol[same], n)
