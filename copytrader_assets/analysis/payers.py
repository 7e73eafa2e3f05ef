"""Who pays whose transactions, and who trades together in one: direct evidence that wallets have one owner.

A day's links are pairs (wallet, partner) with the number of transactions; over a window they add up. The kinds:
`fee_payer`: the partner paid the fee of the wallet's transactions; `one_transaction`: both traded in the same one.
Not here: which links make one actor (`entities`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, ints
from copytrader_assets.analysis.day_buys import is_trader

FEE_PAYER = "fee_payer"
ONE_TRANSACTION = "one_transaction"
LINK_COLUMNS = ("slot", "tx_index", "sig", "wallet", "fee_payer")
"""What `day_links` reads of the BUY and SELL rows."""
LINK_SCHEMA = pa.schema(
    [
        pa.field("wallet", pa.string(), nullable=False),
        pa.field("partner", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("n_transactions", pa.int64(), nullable=False),
        pa.field("n_of_wallet", pa.int64(), nullable=False),
        pa.field("first_slot", pa.int64(), nullable=False),
        pa.field("last_slot", pa.int64(), nullable=False),
    ]
)
"""`n_of_wallet` counts all transactions of the wallet that day, whoever paid them."""


def day_links(swaps: pa.Table) -> pa.Table:
    """The links of a day's BUY and SELL rows (LINK_COLUMNS; any order), as LINK_SCHEMA, sorted."""
    known = flags(pc.is_valid(swaps["tx_index"])) & is_trader(swaps["wallet"])
    swaps = swaps.select(list(LINK_COLUMNS)).filter(pa.array(known))
    one = swaps.group_by(["slot", "tx_index", "wallet"]).aggregate([("fee_payer", "min"), ("sig", "min")])
    total = one.group_by("wallet").aggregate([("slot", "count")]).rename_columns(["wallet", "n_of_wallet"])
    paid = one.filter(pa.array(flags(pc.not_equal(one["wallet"], one["fee_payer_min"]))))
    paid = paid.filter(pa.array(is_trader(paid["fee_payer_min"])))
    pairs = [_pairs(paid["wallet"], paid["fee_payer_min"], paid["slot"], FEE_PAYER), _together(one)]
    keys = ["wallet", "partner", "kind"]
    links = pa.concat_tables(pairs).group_by(keys).aggregate([("slot", "count"), ("slot", "min"), ("slot", "max")])
    links = links.rename_columns([*keys, "n_transactions", "first_slot", "last_slot"]).join(total, "wallet")
    return links.select(LINK_SCHEMA.names).cast(LINK_SCHEMA).sort_by([(name, "ascending") for name in keys])


def _together(one: pa.Table) -> pa.Table:
    """Each wallet of a transaction beside the first of the same one, by name."""
    one = one.sort_by([(name, "ascending") for name in ("slot", "tx_index", "sig_min", "wallet")])
    slot, tx, sig = ints(one, "slot"), ints(one, "tx_index"), one["sig_min"].combine_chunks()
    new = np.ones(len(slot), dtype=np.bool_)
    if len(slot) > 1:
        other = pc.fill_null(pc.not_equal(sig[1:], sig[:-1]), True).to_numpy(zero_copy_only=False)
        new[1:] = (slot[1:] != slot[:-1]) | (tx[1:] != tx[:-1]) | other
    first = np.maximum.accumulate(np.where(new, np.arange(len(slot)), 0))
    again = np.flatnonzero(~new)
    wallet, partner = one["wallet"].take(pa.array(again)), one["wallet"].take(pa.array(first[again]))
    return _pairs(wallet, partner, one["slot"].take(pa.array(again)), ONE_TRANSACTION)


def _pairs(wallet: pa.ChunkedArray, partner: pa.ChunkedArray, slot: pa.ChunkedArray, kind: str) -> pa.Table:
    named = pa.table({"wallet": wallet, "partner": partner, "slot": slot})
    return named.append_column("kind", pa.array([kind] * len(named), pa.string()))


def joined_links(days: list[pa.Table]) -> pa.Table:
    """The links of several days added up. `n_of_wallet` counts the days on which the pair was seen."""
    keys = ["wallet", "partner", "kind"]
    table = pa.concat_tables([LINK_SCHEMA.empty_table(), *(day.cast(LINK_SCHEMA) for day in days)])
    sums = [("n_transactions", "sum"), ("n_of_wallet", "sum"), ("first_slot", "min"), ("last_slot", "max")]
    added = table.group_by(keys).aggregate(sums).rename_columns([*keys, *(name for name, _ in sums)])
    return added.cast(LINK_SCHEMA).sort_by([(name, "ascending") for name in keys])
