"""Single buys by hand, and a crowd around them, for cases small enough to see."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from planted_network import END_NS, WSOL


def buy(wallet: str, coin: int, slot: int, tx: int = 5, payer: str | None = None) -> dict:
    at_ns = END_NS - 86_400_000_000_000 + slot * 400_000_000
    place = {"outer_ix": 0, "inner_ix": -1, "event_seq": 0, "quote_mint": WSOL, "quote_raw": 10**9, "action": "BUY"}
    row = {
        "slot": slot,
        "tx_index": tx,
        "wallet": wallet,
        "fee_payer": payer or wallet,
        "mint": f"coin-{coin}",
        "sig": f"{wallet}-{coin}-{slot}",
    }
    return row | place | {"ts_ns": at_ns}


def table(rows: list[dict]) -> pa.Table:
    """The rows among a crowd that buys other coins."""
    rng = np.random.default_rng(3)
    crowd = [buy(f"crowd-{i % 97}", 1000 + i % 211, int(rng.integers(0, 216_000)), i % 50) for i in range(4000)]
    found = pa.Table.from_pylist(rows + crowd)
    return found.set_column(1, "tx_index", found["tx_index"].cast(pa.int32()))
