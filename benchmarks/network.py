"""The copy network's counting beside the joins that it replaces, and its growth with a window of thirty days.

All contenders start from the same integer-coded columns in memory and count, for every (leader, wallet), the first buys
within 30 s after the leader's on the same coin. Ours goes on to the null and the false discovery rate in the same time.
CPU seconds, so that another process costs nobody anything. `NETWORK_FIRST_BUYS` sets the first buys a day of the window
(by default a tenth of what mainnet is expected to have) and `NETWORK_DAYS` its lengths.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.measure import Measured
from copytrader_assets.analysis.chance import benjamini_hochberg, poisson_tail
from copytrader_assets.analysis.day_buys import DayBuys
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.follow_sweep import sweep
from copytrader_assets.analysis.found_edges import testable_pairs
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.network import copy_network
from copytrader_assets.analysis.payers import LINK_SCHEMA
from copytrader_assets.assets.network import LakeDay
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import FIRST_BUYS
from copytrader_core.settings import NetworkSettings

_SLOT_MS = 400.0
_HORIZON = 75
_MIN_FOLLOWED = 5
_LEADERS = 318
_ROUNDS = 3
_COINS_OF_LEADERS = 200_000
_SHARES_OF_LEADERS = np.linspace(1, 5, _LEADERS) / np.linspace(1, 5, _LEADERS).sum()
_SLOTS_A_DAY = 216_000
_DAY = date(2026, 1, 1)
Counted = dict[tuple[int, int], int]
# What a contender has counted, as a dictionary when asked: making one is no part of the race.
Answer = Callable[[], Counted]


@dataclass(frozen=True, slots=True)
class Coded:
    """First buys as columns, and the codes of the leaders."""

    columns: dict[str, np.ndarray]
    n_wallets: int
    leaders: np.ndarray

    def day(self, number: int) -> DayBuys:
        """The same as the reduced day of that number: coins of its own, the wallets of every day."""
        mints = pa.array([f"coin-{number}-{n}" for n in range(int(self.columns["mint"].max()) + 1)])
        wallets = pa.array([f"wallet-{n:08d}" for n in range(self.n_wallets)])
        c, size = self.columns, np.full(len(self.columns["mint"]), 0.5)
        return DayBuys(mints, wallets, c["mint"], c["wallet"], c["slot"] + number * _SLOTS_A_DAY, c["tx"], size)


def planted(seed: int, n: int, n_wallets: int, n_mints: int, n_copiers: int = 60) -> Coded:
    """A day: buys come soon after launch, busy wallets and hot coins are few, a leader buys some 600 coins."""
    rng = np.random.default_rng(seed)
    wallet = (n_wallets * rng.random(n) ** 2.2).astype(np.int64)
    mint = (n_mints * rng.random(n) ** 2.2).astype(np.int64)
    launch = rng.integers(0, _SLOTS_A_DAY, n_mints)
    age = np.minimum(rng.lognormal(3.0, 1.6, n), _SLOTS_A_DAY).astype(np.int64)
    # The same leaders and copiers every day, whatever else the seed makes different.
    leaders = np.sort(np.random.default_rng(0).choice(n_wallets // 40, _LEADERS, replace=False))
    n_led = min(_COINS_OF_LEADERS, n // 4)
    wallet[:n_led] = rng.choice(leaders, n_led, p=rng.permutation(_SHARES_OF_LEADERS))
    mint, wallet, slot = _with_copiers(rng, leaders, n_wallets, n_copiers, mint, wallet, launch[mint] + age)
    tx = rng.integers(0, 1200, len(mint))
    order = np.lexsort((tx, slot, mint))
    pair = (mint * n_wallets + wallet)[order]
    first = np.sort(np.unique(pair, return_index=True)[1])
    keep = order[first]
    keep = keep[slot[keep] < _SLOTS_A_DAY]
    columns = {"mint": mint[keep], "wallet": wallet[keep], "slot": slot[keep], "tx": tx[keep]}
    return Coded(columns, n_wallets, leaders)


def _with_copiers(
    rng: np.random.Generator, leaders: np.ndarray, n_wallets: int, n: int, *rows: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Some quiet wallets follow a leader on half of its coins."""
    mint, wallet, slot = rows
    parts = [rows]
    for copier, leader in zip(n_wallets - 1 - np.arange(n), np.resize(leaders, n), strict=True):
        led = np.flatnonzero(wallet == leader)
        led = led[rng.random(len(led)) < 0.5]
        parts.append((mint[led], np.full(len(led), copier), slot[led] + rng.integers(1, 12, len(led))))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def run() -> list[Measured]:
    """The race on a million first buys, then the window of thirty days."""
    coded = planted(1, 1_000_000, 120_000, 30_000)
    frame = pd.DataFrame(coded.columns)
    mints, wallets = (pa.array(np.arange(n).astype(str)) for n in (30_000, coded.n_wallets))
    day = _Columns(coded, mints, wallets)
    contenders: dict[str, Callable[[], Answer]] = {
        "sweep + null + BH": lambda: _ours(day),
        "pandas merge": lambda: _pandas(frame, coded.leaders),
        "DuckDB join on the coin": lambda: _duckdb(frame, coded.leaders),
    }
    if polars := _polars_or_none():
        contenders["Polars join"] = lambda: _polars(polars, coded)
    expected = _ours(day)()
    measured = [_timed(name, contender, expected, len(frame)) for name, contender in contenders.items()]
    if polars is None:
        print("Polars is not installed here: `pip install polars` beside the project and run again to see it")
    return measured + _window()


def _timed(name: str, contender: Callable[[], Answer], expected: Counted, n: int) -> Measured:
    """First buys per CPU second; prints the seconds and by how much the process has grown."""
    seconds, before = [], _peak_mb()
    for _ in range(_ROUNDS):
        began = time.process_time()
        counted = contender()
        seconds.append(time.process_time() - began)
        assert counted() == expected, f"{name} counts otherwise"
    print(f"{name}: {sorted(seconds)[_ROUNDS // 2]:.2f} CPU s, {_peak_mb() - before:,.0f} MB above {before:,.0f}")
    return Measured(name, "first buys", tuple(n / s for s in seconds))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ours(day: _Columns) -> Answer:
    """Put in place, swept, tested and corrected; the counts are returned for the comparison."""
    buys, leaders = FirstBuys.of_days([day]), day.coded.leaders
    swept = sweep(buys, Habits.of(buys, _SLOT_MS), leaders, _HORIZON, _MIN_FOLLOWED)
    q = benjamini_hochberg(poisson_tail(swept.followed, swept.expected), testable_pairs(buys, leaders, _MIN_FOLLOWED))
    assert (q <= 0.05).any()
    columns = (swept.leader, swept.follower, swept.followed)
    return lambda: {(a, b): n for a, b, n in zip(*(c.tolist() for c in columns), strict=True)}


@dataclass(frozen=True, slots=True)
class _Columns:
    """The coded day without names: the others have none either."""

    coded: Coded
    mints: pa.Array
    wallets: pa.Array

    def names(self) -> tuple[pa.Array, pa.Array]:
        return self.mints, self.wallets

    def coins(self) -> tuple[np.ndarray, int]:
        return self.coded.columns["mint"], int(self.coded.columns["slot"].min())

    def buys(self) -> DayBuys:
        none, c = pa.array([], pa.string()), self.coded.columns
        return DayBuys(none, none, c["mint"], c["wallet"], c["slot"], c["tx"], np.zeros(len(c["mint"])))


def _pandas(frame: pd.DataFrame, leaders: np.ndarray) -> Answer:
    led = frame[frame.wallet.isin(leaders)]
    met = led.merge(frame, on="mint", suffixes=("_l", "_f"))
    lag = met.slot_f - met.slot_l
    later = (lag > 0) | ((lag == 0) & (met.tx_f > met.tx_l))
    counts = met[later & (lag <= _HORIZON)].groupby(["wallet_l", "wallet_f"]).size()
    often = counts[counts >= _MIN_FOLLOWED]
    return lambda: often.to_dict()


def _duckdb(frame: pd.DataFrame, leaders: np.ndarray) -> Answer:
    with duckdb.connect(":memory:") as connection:
        connection.register("buys", frame)
        connection.register("leaders", pd.DataFrame({"wallet": leaders}))
        rows = connection.execute(
            "SELECT l.wallet AS leader, f.wallet AS follower, count(*) AS n"
            " FROM buys l JOIN leaders USING (wallet) JOIN buys f ON f.mint = l.mint"
            f" WHERE f.slot <= l.slot + {_HORIZON} AND (f.slot > l.slot OR (f.slot = l.slot AND f.tx > l.tx))"
            f" GROUP BY 1, 2 HAVING count(*) >= {_MIN_FOLLOWED}"
        ).fetchnumpy()
    return lambda: {(a, b): n for a, b, n in zip(*(column.tolist() for column in rows.values()), strict=True)}


def _polars_or_none() -> Any:
    try:
        return import_module("polars")
    except ImportError:
        return None


def _polars(pl: Any, coded: Coded) -> Answer:
    buys = pl.DataFrame(coded.columns).lazy()
    led = buys.filter(pl.col("wallet").is_in(coded.leaders.tolist()))
    met = led.join(buys, on="mint", suffix="_f").filter(
        (pl.col("slot_f") <= pl.col("slot") + _HORIZON)
        & (
            (pl.col("slot_f") > pl.col("slot"))
            | ((pl.col("slot_f") == pl.col("slot")) & (pl.col("tx_f") > pl.col("tx")))
        )
    )
    counts = met.group_by("wallet", "wallet_f").len().filter(pl.col("len") >= _MIN_FOLLOWED).collect()
    return lambda: {(a, b): n for a, b, n in counts.iter_rows()}


def _window() -> list[Measured]:
    """The whole network of windows in a lake of its own: seconds, memory, and how they grow with the days."""
    a_day = int(os.environ.get("NETWORK_FIRST_BUYS", "500000"))
    leaders: dict[str, str | None] = {}
    measured = []
    with tempfile.TemporaryDirectory(prefix="network-lake-") as folder:
        lake = Lake(Path(folder))
        lengths = [int(days) for days in os.environ.get("NETWORK_DAYS", "10,20,30").split(",")]
        for number in range(max(lengths)):
            coded = planted(7 + number, a_day, max(a_day // 8, 8_000), 30_000)
            leaders = {f"wallet-{code:08d}": None for code in coded.leaders}
            _publish(lake, coded.day(number), _DAY + timedelta(days=number))
        for n_days in lengths:
            seconds = _network(lake, n_days, leaders)
            print(
                f"window of {n_days} days x {a_day:,} first buys x {len(leaders)} leaders: "
                f"{seconds:.0f} CPU s, up to {_peak_mb():,.0f} MB in this process"
            )
            measured.append(Measured(f"{n_days} days", "first buys", (n_days * a_day / seconds,)))
    return measured


def _publish(lake: Lake, day: DayBuys, at: date) -> None:
    names = pa.table({"address": pa.concat_arrays([day.mints, day.wallets])})
    facts = {"n_mints": str(len(day.mints)), "slot_ms": repr(_SLOT_MS), "events_hash": ""}
    rows = FIRST_BUYS.conform(day.rows())
    lake.publish([lake.stage(FIRST_BUYS.name, at, rows, facts, names)])


def _network(lake: Lake, n_days: int, leaders: dict[str, str | None]) -> float:
    began = time.process_time()
    found = copy_network(
        [LakeDay(lake, _DAY + timedelta(days=number)) for number in range(n_days)],
        LINK_SCHEMA.empty_table(),
        leaders=leaders,
        as_of=_DAY + timedelta(days=n_days - 1),
        settings=NetworkSettings(),
        slot_ms=_SLOT_MS,
    )
    assert found.edges.num_rows
    return time.process_time() - began
