"""The columns of the tape: a day's trades with what it takes to execute them again, and the slots that they fell into.

Not here: how they are made (analysis/tape_rows.py), and what replays them.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from copytrader_assets.tables import Column, Table

_RAW: Final = {
    "base_raw": "coins moved, raw; 0 for a deposit or withdrawal",
    "quote_raw": "what the wallet paid or got, swap fees included, raw",
    "net_raw": "what moved the price: without swap fees, raw",
    "reserve_base_raw": "effective base reserve after the trade; 0 without a venue",
    "reserve_quote_raw": "effective quote reserve after the trade",
    "real_base_raw": "what the venue can still sell; below 0 where virtual reserves are absurd",
    "real_quote_raw": "what the venue holds: real SOL of the curve, the pool's vault",
}
_BPS: Final = {
    "lp_bps": "LP fee that this trader paid",
    "protocol_bps": "protocol fee that this trader paid",
    "creator_bps": "creator fee or cashback that this trader paid",
    "next_lp_bps": "LP fee of the next trader",
    "next_protocol_bps": "protocol fee of the next trader",
    "next_creator_bps": "creator fee of the next trader",
}

TAPE: Final = Table(
    "tape",
    "Every trade of the day in chain order, with the reserves that it left and how it came about, so that it can be "
    "executed again on other reserves.",
    (
        Column("slot", pa.int64(), "slot", nullable=False, ge=0),
        Column("tx_index", pa.int32(), "place in the block; -1 where no source knows it", nullable=False, ge=-1),
        Column("tx", pa.int32(), "transactions of the day with trades, counted from 0", nullable=False, ge=0),
        Column("outer_ix", pa.int32(), "top-level instruction", nullable=False, ge=0),
        Column("inner_ix", pa.int32(), "inner instruction, -1 = top level", nullable=False, ge=-1),
        Column("event_seq", pa.int32(), "event of that instruction", nullable=False, ge=0),
        Column("ts_ns", pa.int64(), "block time, ns UTC", nullable=False, ge=0),
        Column("sig", pa.string(), "transaction signature", nullable=False, repeats=False),
        Column("wallet", pa.string(), "the trader", nullable=False),
        Column("mint", pa.string(), "the coin", nullable=False),
        Column("quote_mint", pa.string(), "what it is paid in"),
        Column("is_buy", pa.bool_(), "whether the wallet got coins", nullable=False),
        Column("venue", pa.int8(), "0 curve, 1 the coin's own pool, 2 no market that is traded", nullable=False, ge=0),
        Column("kind", pa.int8(), "0 exact-in buy, 1 exact-out buy, 2 sale, 3 completes the curve, 4 other", ge=0),
        *(
            Column(name, pa.int64(), about, nullable=False, ge=None if "real" in name else 0, repeats=False)
            for name, about in _RAW.items()
        ),
        *(Column(name, pa.int16(), about, nullable=False, ge=0) for name, about in _BPS.items()),
    ),
    ("sig", "outer_ix", "inner_ix", "event_seq"),
)
TAPE_SLOTS: Final = Table(
    "tape_slots",
    "The day's slots with their block times: the clock of a replay. Slots without trades count too, where known.",
    (
        Column("slot", pa.int64(), "slot", nullable=False, ge=0, repeats=False),
        Column("seconds", pa.int64(), "block time, s UTC", nullable=False, ge=0),
    ),
    ("slot",),
)
