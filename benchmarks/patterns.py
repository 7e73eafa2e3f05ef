"""A day of fingerprints: how long the facts of one day take as it grows, with 200,000 wallets of which 318 are tracked.

The round trips of the tracked wallets are planted with the events, so that nothing but reading, paths and measures is
timed. Each size is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Measured
from copytrader_assets.analysis.day_facts import DayFacts
from copytrader_assets.analysis.fingerprint import measure, publishable
from copytrader_assets.analysis.window import TripWindow, start_ns
from copytrader_assets.lake import Lake
from copytrader_assets.partials import Partials
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES, WALLET_PATTERNS
from copytrader_core.records import WSOL
from copytrader_core.settings import PatternSettings

DAY = dt.date(2026, 3, 1)
WALLETS, TRACKED, SLOTS = 200_000, 318, 216_000
PER_COIN, TRIPS = 200, 30
SIZES = (1_000_000, 2_000_000, 4_000_000)


def run() -> list[Measured]:
    """The speed of the facts of a day, by size of the day; then of taking them from the folder, and of the measures."""
    results = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.patterns", str(size)]
        done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        memory = f"peak {done['peak_gb']:.2f} GB, {done['planted_gb']:.2f} GB before"
        results.append(Measured(f"facts of {size:,} events ({memory})", "events", (size / done["computed"],)))
        results.append(Measured("  the same, kept", "events", (size / done["kept"],)))
        results.append(Measured(f"  {done['wallets']} fingerprints of them", "events", (size / done["measured"],)))
    return results


def one_size(n: int) -> dict[str, float]:
    """CPU seconds and memory of one size."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        plant(lake, n)
        planted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wallets = {f"tracked-wallet-with-a-long-address-{w:08d}": None for w in range(TRACKED)}
        computed, kept = (_timed(lambda: _facts(lake, wallets)) for _ in range(2))
        facts = _facts(lake, wallets)
        measured = _timed(lambda: _fingerprints(facts, wallets))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = _fingerprints(facts, wallets).num_rows
    memory = {"peak_gb": peak / 1e6, "planted_gb": planted / 1e6}
    return {"computed": computed, "kept": kept, "measured": measured, "wallets": rows} | memory


def _fingerprints(facts: DayFacts, wallets: dict[str, None]) -> pa.Table:
    window = TripWindow("30d", 30)
    part = measure(facts, sorted(wallets), window, as_of=DAY, history=DAY, settings=PatternSettings())
    return publishable([part], WALLET_PATTERNS.arrow, aliases=wallets, as_of=DAY, window=window)


def _facts(lake: Lake, wallets: dict[str, None]) -> DayFacts:
    with Partials.open(lake, wallets, 7) as partials:
        return partials.of(DAY)


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def plant(lake: Lake, n: int) -> None:
    """A day of `n` events, and the trips that the tracked wallets made on it: a buy and a sell of one coin each."""
    rng = np.random.default_rng(1)
    n_coins, n_trips = n // PER_COIN, TRACKED * TRIPS
    slot = np.sort(rng.integers(0, SLOTS, n))
    coin = (slot * n_coins // SLOTS + rng.integers(0, 50, n)) % n_coins
    wallet = rng.integers(0, WALLETS, n)
    action = rng.random(n) < 0.55
    own = rng.choice(n, n_trips, replace=False)
    trip_wallet = np.arange(n_trips) % TRACKED
    later = np.minimum(own + rng.integers(50, 5_000, n_trips), n - 1)
    order = np.unique(np.concatenate([own, later]), return_index=True)[1]
    own_ok = np.isin(np.arange(n_trips), order) & np.isin(np.arange(n_trips) + n_trips, order) & (later > own)
    own, later, trip_wallet = own[own_ok], later[own_ok], trip_wallet[own_ok]
    coin[later] = coin[own]
    action[own], action[later] = True, False
    names = pa.array([f"tracked-wallet-with-a-long-address-{w:08d}" for w in range(TRACKED)]
                     + [f"some-other-wallet-and-its-long-address{w:08d}" for w in range(WALLETS)])  # fmt: skip
    code = wallet + TRACKED
    code[own] = code[later] = trip_wallet
    coins = pa.array([f"coin-with-an-address-of-forty-four-chars{c:08d}" for c in range(n_coins)])
    price = np.exp(rng.normal(0, 0.5, n))
    ts = start_ns(DAY) + slot * 400_000_000 // 1_000_000_000 * 1_000_000_000
    sig = np.char.add(
        "signature-of-a-transaction-which-in-base58-has-eighty-eight-characters-", np.arange(n).astype(str)
    )
    known = {
        "ts_ns": ts, "slot": slot, "tx_index": (np.arange(n) % 1000).astype(np.int32), "sig": pa.array(sig),
        "outer_ix": np.zeros(n, np.int32), "inner_ix": np.full(n, -1, np.int32), "event_seq": np.zeros(n, np.int32),
        "wallet": names.take(pa.array(code)), "program": pa.array(["p"] * n), "mint": coins.take(pa.array(coin)),
        "action": pa.array(np.where(action, "BUY", "SELL")), "quote_mint": pa.array([WSOL] * n),
        "base_raw": np.full(n, 10**10, np.uint64), "quote_raw": (price * 3e8).astype(np.uint64),
        "swap_fee_raw": (price * 3.75e6).astype(np.uint64), "reserve_base_raw": np.full(n, 10**15, np.uint64),
        "reserve_quote_raw": (price * 3e13).astype(np.uint64),
    }  # fmt: skip
    columns = [pa.array(known[f.name], f.type) if f.name in known else pa.nulls(n, f.type) for f in EVENTS.arrow]
    _publish(lake, EVENTS.name, pa.Table.from_arrays(columns, names=EVENTS.names))
    _publish(lake, TRADES.name, _trips(known, own, later, price))
    _publish(lake, OPEN_POSITIONS.name, OPEN_POSITIONS.arrow.empty_table())


def _trips(known: dict[str, object], own: np.ndarray, later: np.ndarray, price: np.ndarray) -> pa.Table:
    at, end, n = pa.array(own), pa.array(later), len(own)
    cost, proceeds = (price[own] * 3e8).astype(np.int64), (price[later] * 3e8).astype(np.int64)
    ts, slot = np.asarray(known["ts_ns"]), np.asarray(known["slot"])
    values = {
        "wallet": known["wallet"].take(at), "mint": known["mint"].take(at), "quote_mint": known["quote_mint"].take(at),  # type: ignore[attr-defined]
        "open_sig": known["sig"].take(at), "close_sig": known["sig"].take(end), "open_path": ["0.-1.0"] * n,  # type: ignore[attr-defined]
        "open_ts_ns": ts[own], "close_ts_ns": ts[later], "open_slot": slot[own], "close_slot": slot[later],
        "hold_ms": (ts[later] - ts[own]) // 1_000_000, "open_cost_raw": cost, "open_cost_lamports": cost,
        "close_proceeds_raw": proceeds, "pnl_raw": proceeds - cost, "pnl_lamports": proceeds - cost,
        "n_buys": np.ones(n, np.int32), "n_sells": np.ones(n, np.int32), "status": ["CLOSED"] * n,
        "basis": ["COMPLETE"] * n, "meta_json": ['{"legs":[]}'] * n,
    }  # fmt: skip
    columns = [pa.array(values[f.name]).cast(f.type) if f.name in values else pa.nulls(n, f.type) for f in TRADES.arrow]
    return pa.Table.from_arrays(columns, names=TRADES.names)


def _publish(lake: Lake, asset: str, rows: pa.Table) -> None:
    file = lake.file(asset, DAY)
    file.parent.mkdir(parents=True)
    rows = rows.replace_schema_metadata({"copytrader.content_hash": asset})
    pq.write_table(rows, file, compression="zstd", row_group_size=65_536)


if __name__ == "__main__":
    print(json.dumps(one_size(int(sys.argv[1]))))
