"""The columns of what is proven after the fact: the shadow book of refused signals, and record against replay.

Not here: how they are computed (analysis/shadow.py, analysis/parity.py).
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from copytrader_assets.analysis.parity import CAUSES
from copytrader_assets.tables import Column, Table, count

_SIGNAL: Final = (
    Column("mode", pa.string(), "paper or live", nullable=False, isin=("paper", "live")),
    Column("leader", pa.string(), "the wallet that bought", nullable=False),
    Column("mint", pa.string(), "the coin", nullable=False),
    Column("sig", pa.string(), "the leader's transaction", nullable=False),
)
_KEY: Final = ("mode", "sig", "mint", "leader")

SHADOW_BOOK: Final = Table(
    "shadow_book",
    "Every signal that the executor refused on the day, bought alone on re-executed reserves and sold by the exit "
    "that it would have had.",
    (
        *_SIGNAL,
        Column("code", pa.string(), "the guard or rule that refused it", nullable=False),
        Column("also", pa.string(), "the codes of the others that would have refused it, by commas", nullable=False),
        Column(
            "outcome",
            pa.string(),
            "LANDED, REVERTED at its bound, LOST on its way as some are, or why it could not be followed",
            nullable=False,
            isin=("LANDED", "REVERTED", "LOST", "NO_MARKET", "TOO_LATE", "NO_PLAN", "NOT_ON_TAPE"),
        ),
        Column("pnl_lamports", pa.int64(), "what it would have brought, every cost in: missed, or (negative) avoided"),
        Column("spend_lamports", pa.int64(), "what would have been paid in"),
        Column("exit_reason", pa.string(), "what would have sold it; open: held at the end of the day"),
    ),
    _KEY,
)
LANDINGS: Final = Table(
    "landings",
    "Our own live orders of the window that came to an end, by side and by how late they landed, as known at the end "
    "of the day.",
    (
        Column("side", pa.string(), "BUY or SELL", nullable=False, isin=("BUY", "SELL")),
        Column(
            "slots_late",
            pa.int32(),
            "slots from the leader's buy, or from the first attempt to sell, to the landing, with an error or without; "
            "-1: never landed",
            nullable=False,
            ge=-1,
        ),
        count("n_orders", "how many", nullable=False),
        Column("as_of", pa.date32(), "the last day that is known", nullable=False),
    ),
    ("side", "slots_late"),
)
PARITY: Final = Table(
    "parity",
    "Every decision of the day beside its replay: taken again from its inputs, its buy executed again on the tape.",
    (
        *_SIGNAL,
        Column("slot", pa.int64(), "the slot of the decision", nullable=False, ge=0),
        Column("code", pa.string(), "the decision", nullable=False),
        Column("code_again", pa.string(), "the decision taken again; NULL where its settings are lost"),
        Column("cause", pa.string(), "where record and replay part", nullable=False, isin=CAUSES),
        Column("slots_late", pa.int64(), "slots between decision and landing"),
        Column("quoted_tokens_raw", pa.int64(), "coins at the decision's quote", ge=0),
        Column("replayed_tokens_raw", pa.int64(), "coins by the tape at the slot of the landing", ge=0),
        Column("tokens_raw", pa.int64(), "coins that were got", ge=0),
        Column("pnl_lamports", pa.int64(), "what the round trip brought"),
        Column("replayed_pnl_lamports", pa.int64(), "what it brings on the tape, alone on its coin"),
    ),
    _KEY,
)
