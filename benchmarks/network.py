"""The copy network's counting beside the joins that it replaces, and its growth with a window of thirty days.

All contenders start from the same integer-coded columns in memory and count, for every (leader, wallet), the first buys
within 30 s after the leader's on the same coin. Ours goes on to the null and the false discovery rate in the same time.
CPU seconds, so that another process costs nobody anything. `NETWORK_FIRST_BUYS` sets the first buys a day of the window
(by default a tenth of what mainnet is expected to have) and `NETWORK_DAYS` its lengths.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Measured
from benchmarks.network_race import CONTENDERS, SLOT_MS, save
from copytrader_assets.analysis.day_buys import DayBuys
from copytrader_assets.analysis.network import copy_network
from copytrader_assets.analysis.payers import LINK_SCHEMA
from copytrader_assets.assets.network import LakeDay
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import FIRST_BUYS
from copytrader_core.settings import NetworkSettings

_LEADERS = 318
_ROUNDS = 5
_COINS_OF_LEADERS = 200_000
_SHARES_OF_LEADERS = np.linspace(1, 5, _LEADERS) / np.linspace(1, 5, _LEADERS).sum()
_SLOTS_A_DAY = 216_000
_DAY = date(2026, 1, 1)


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
    return _race() + _window()


def _race() -> list[Measured]:
    """First buys per CPU second, every contender in a process of its own and once a round; prints its memory."""
    names = [name for name in CONTENDERS if name != "Polars join" or importlib.util.find_spec("polars")]
    if len(names) < len(CONTENDERS):
        print("Polars is not installed here: `pip install polars` beside the project and run again to see it")
    coded = planted(1, 1_000_000, 120_000, 30_000)
    n = len(coded.columns["mint"])
    with tempfile.TemporaryDirectory(prefix="network-race-") as folder, ExitStack() as stack:
        save(Path(folder), coded.columns, coded.leaders)
        racers = {name: stack.enter_context(_racer(name, folder)) for name in names}
        rounds = [{name: _asked(racer) for name, racer in racers.items()} for _ in range(_ROUNDS + 1)][1:]
    measured = []
    for name in names:
        mine = [one[name] for one in rounds]
        assert {one["counted"] for one in mine} == {rounds[0][names[0]]["counted"]}, f"{name} counts otherwise"
        seconds = statistics.median(one["seconds"] for one in mine)
        print(
            f"{name}: {seconds:.2f} CPU s, {mine[-1]['peak']:,.0f} MB at most, {mine[-1]['before']:,.0f} to begin with"
        )
        measured.append(Measured(name, "first buys", tuple(n / one["seconds"] for one in mine)))
    ratios = [one["pandas merge"]["seconds"] / one[names[0]]["seconds"] for one in rounds]
    print(f"the pandas merge takes {statistics.median(ratios):.1f} times as long, round by round")
    return measured


@contextmanager
def _racer(name: str, folder: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.network_race", name, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as racer:
        yield racer


def _asked(racer: subprocess.Popen[str]) -> dict[str, Any]:
    """One round. The first one of a process is not counted: it takes the kernels from the disk."""
    assert racer.stdin is not None
    assert racer.stdout is not None
    racer.stdin.write("again\n")
    racer.stdin.flush()
    return dict(json.loads(racer.stdout.readline()))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
    facts = {"n_mints": str(len(day.mints)), "slot_ms": repr(SLOT_MS), "events_hash": ""}
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
        slot_ms=SLOT_MS,
    )
    assert found.edges.num_rows
    return time.process_time() - began
