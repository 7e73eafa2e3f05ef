"""The columns and rules of the copies: what following each leader's buys would have brought.

Not here: how copies are replayed, the statistics (analysis/copy_value, analysis/leader_exits), the other tables.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from copytrader_assets.tables import Column, Rule, Table

_OUTCOMES: Final = ("LANDED", "REVERTED", "NO_MARKET")
_SIGNAL = (
    Column("leader", pa.string(), "the tracked wallet that bought", nullable=False),
    Column("mint", pa.string(), "the coin", nullable=False),
    Column("sig", pa.string(), "the leader's transaction", nullable=False),
    Column("slot", pa.int64(), "its slot", nullable=False, ge=0),
)
_RESULT = (
    Column("spend_lamports", pa.int64(), "all that was paid in: swap, network, tip, failed attempts", nullable=False),
    Column("pnl_lamports", pa.int64(), "profit with every cost in; REVERTED: the lost fee", nullable=False),
    Column("hold_ms", pa.int64(), "from our buy to our sale, or to the end of the day", ge=0),
    Column("exit_reason", pa.string(), "what sold it"),
    Column("censored", pa.bool_(), "held at the end of the day, marked at the sell quote", nullable=False),
)

COPIES = Table(
    "copies",
    "Copies of the day's leader buys, replayed on re-executed reserves: one row for each latency and size, under the "
    "exit rule that had been chosen for the leader by the day before.",
    (
        *_SIGNAL,
        Column("tx_index", pa.int32(), "its place in the block", ge=0),
        Column("ts_ns", pa.int64(), "its block time, ns UTC", nullable=False, ge=0),
        Column("venue", pa.string(), "where the coin traded at the signal", isin=("curve", "amm")),
        Column("real_quote_lamports", pa.int64(), "the coin's real SOL at the signal; a pool's vault", ge=0),
        Column("leader_size_lamports", pa.int64(), "what the leader paid", nullable=False, ge=0),
        Column("latency_slots", pa.int16(), "slots after the leader at which we land", nullable=False, ge=0),
        Column("size_lamports", pa.int64(), "what we spend on the swap", nullable=False, ge=1),
        Column("rule", pa.string(), "the exit rule", nullable=False),
        Column("outcome", pa.string(), "what became of the buy", nullable=False, isin=_OUTCOMES),
        *_RESULT,
        Column("entry_premium_bps", pa.float64(), "our average price over the leader's", finite=False),
    ),
    ("leader", "mint", "sig", "latency_slots", "size_lamports"),
    (
        Rule("what landed was held", lambda f: (f["outcome"] == "LANDED") == f["hold_ms"].notna()),
        Rule("what did not land earns nothing", lambda f: (f["outcome"] == "LANDED") | (f["pnl_lamports"] <= 0)),
    ),
)
COPY_EXITS = Table(
    "copy_exits",
    "The same buys at the reference latency and size under every exit rule of the family, and under the seed's exit.",
    (*_SIGNAL, Column("rule", pa.string(), "the exit rule, or seed", nullable=False), *_RESULT),
    ("leader", "mint", "sig", "rule"),
)
