"""One synthetic day through the platform, stage by stage, each size in a process of its own for its peak memory.

EVENTS names the sizes, comma separated (1,000,000 by default; 10000000 is the full day). Stages so far: the lake's
events to round trips, and both tables written to sealed Parquet. A stage is one entry of STAGES.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.ledger import synthetic_lake
from benchmarks.measure import Measured
from benchmarks.synthetic_day import DAY, Sizes
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.lake import Lake
from copytrader_assets.ledger_day import LedgerDay, ledger_day
from copytrader_assets.schemas import OPEN_POSITIONS, TRADES, Table
from copytrader_core.settings import LedgerSettings

_ROUNDS = 2


@dataclass(slots=True)
class Run:
    """What the stages hand to each other."""

    lake: Lake
    rules: LedgerSettings
    day: LedgerDay | None = None


def _round_trips(run: Run) -> None:
    run.day = ledger_day(run.lake, DAY, Carry.nothing(), run.rules)
    assert run.day.flow.problem is None, run.day.flow.problem


def _trades(run: Run) -> None:
    assert run.day is not None
    _write(run.lake, TRADES, run.day.trades(run.rules), None)


def _positions(run: Run) -> None:
    assert run.day is not None
    _write(run.lake, OPEN_POSITIONS, run.day.open_positions(run.rules), run.day.carry.stored())


def _write(lake: Lake, table: Table, parts: Iterator[pa.Table], companion: pa.Table | None) -> None:
    loose = pa.schema([field.with_nullable(True) for field in table.arrow])
    lake.publish([lake.stage_parts(table.name, DAY, loose, parts, {}, companion, repeating=table.repeating)])


STAGES: dict[str, Callable[[Run], None]] = {
    "events to round trips": _round_trips,
    "trades written": _trades,
    "open_positions written": _positions,
}


def run() -> list[Measured]:
    """One row a stage and size, and one for the whole with the peak memory in its name."""
    sizes = [int(size) for size in os.environ.get("EVENTS", "1_000_000").split(",")]
    return [row for size in sizes for row in _of_size(size)]


def _of_size(events: int) -> list[Measured]:
    with synthetic_lake(Sizes(events)) as lake:
        rounds = [_child(lake, "warm"), *(_child(lake, "measured") for _ in range(_ROUNDS))][1:]
    rows = [
        Measured(f"{events:,}: {stage}", "events", tuple(events / one[stage] for one in rounds)) for stage in STAGES
    ]
    seconds = sorted(sum(one[stage] for stage in STAGES) for one in rounds)
    cpu, peak = min(one["cpu_seconds"] for one in rounds), max(one["peak_mb"] for one in rounds)
    name = f"{events:,}: all, {seconds[0]:.1f} s, {cpu:.1f} CPU s, {peak:,.0f} MB at most"
    return [*rows, Measured(name, "events", tuple(events / one for one in seconds))]


def _child(lake: Lake, mark: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.day", str(lake.root), mark]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def _measure(root: Path) -> dict[str, float]:
    """The seconds of each stage, and what the process took in all. Compiled kernels come from the disk."""
    state, seconds = Run(Lake(root), LedgerSettings()), {}
    for name, stage in STAGES.items():
        began = time.perf_counter()
        stage(state)
        seconds[name] = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    return seconds | {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]))))
