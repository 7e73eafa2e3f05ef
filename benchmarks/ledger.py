"""Events to round trips: our fold, sort included, beside a pandas groupby-apply FIFO ledger on the same rows."""

from __future__ import annotations

import random
from collections import deque

import pandas as pd
import pyarrow as pa

from benchmarks.measure import Measured, race
from copytrader_assets.analysis.ledger import Carry, fold
from copytrader_assets.analysis.trip_rows import movements, trades_table
from copytrader_assets.schemas import EVENTS
from copytrader_core.records import WSOL
from copytrader_core.settings import LedgerSettings

_EVENTS = 60_000
_WALLETS = 1_500
_MINTS = 400
_DAY_END_NS = 1_760_400_000_000_000_000


def run() -> list[Measured]:
    """Both make the same number of closed round trips, which is checked before anything is timed."""
    events = _events()
    frame = events.select(["slot", "tx_index", "wallet", "mint", "action", "base_raw", "quote_raw"]).to_pandas()
    ours, theirs = _fold(events), _pandas(frame)
    assert ours == theirs, f"the ledgers disagree: {ours} and {theirs} closed trips"

    def fold_all() -> int:
        _fold(events)
        return _EVENTS

    def pandas_all() -> int:
        _pandas(frame)
        return _EVENTS

    return race({"our fold": fold_all, "pandas groupby-apply": pandas_all}, "events", rounds=3)


def _fold(events: pa.Table) -> int:
    return int(trades_table(fold(Carry(), movements(events), _DAY_END_NS, LedgerSettings()).finished).num_rows)


def _pandas(frame: pd.DataFrame) -> int:
    ordered = frame.sort_values(["slot", "tx_index"])
    return int(
        ordered.groupby(["wallet", "mint"], sort=False)[["action", "base_raw", "quote_raw"]].apply(_closed).sum()
    )


def _closed(group: pd.DataFrame) -> int:
    lots: deque[list[int]] = deque()
    held = bought = closed = 0
    for action, base, quote in group.itertuples(index=False):
        if action == "BUY":
            lots.append([int(base), int(quote)])
            held, bought = held + int(base), bought + int(base)
            continue
        left = min(int(base), held)
        held -= left
        while left:
            taken = min(left, lots[0][0])
            lots[0][0] -= taken
            left -= taken
            if not lots[0][0]:
                lots.popleft()
        if held <= max(1, bought * 0.001) and bought:
            closed, held, bought = closed + 1, 0, 0
            lots.clear()
    return closed


def _events() -> pa.Table:
    """A planted day: every position is opened, half of them sold in two steps, some in one, some kept."""
    rng = random.Random(7)
    held: dict[tuple[int, int], int] = {}
    rows = []
    for number in range(_EVENTS):
        key = (rng.randrange(_WALLETS), rng.randrange(_MINTS))
        if held and rng.random() < 0.5:
            key = rng.choice(list(held.keys())) if rng.random() < 0.02 else next(iter(held))
        rows.append(_event(number, key, held, rng))
    columns = {name: [row.get(name) for row in rows] for name in EVENTS.arrow.names}
    return pa.table(columns, schema=EVENTS.arrow)


def _event(
    number: int, key: tuple[int, int], held: dict[tuple[int, int], int], rng: random.Random
) -> dict[str, object]:
    if key in held:
        action, base = "SELL", held[key] if rng.random() < 0.6 else held[key] // 2 + 1
        held[key] -= base
        if not held[key]:
            del held[key]
    else:
        action, base = "BUY", rng.randrange(10**9, 10**12)
        held[key] = base
    return {
        "ts_ns": _DAY_END_NS - 80_000_000_000_000 + number * 1_000_000_000,
        "slot": 400_000_000 + number,
        "tx_index": number % 50,
        "sig": f"sig{number}",
        "outer_ix": 0,
        "inner_ix": -1,
        "event_seq": 0,
        "wallet": f"wallet{key[0]}",
        "fee_payer": f"wallet{key[0]}",
        "program": "p",
        "action": action,
        "mint": f"mint{key[1]}",
        "base_mint": f"mint{key[1]}",
        "quote_mint": WSOL,
        "base_raw": base,
        "quote_raw": rng.randrange(10**7, 10**10),
        "swap_fee_raw": 0,
        "tx_fee_lamports": 5000,
        "tip_lamports": 0,
    }
