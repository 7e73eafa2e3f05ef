"""A recorded day from the lake's file to the report, each step in a fresh process: its CPU seconds and peak memory.

`copytrader backtest` is run as a user runs it: with one walk (`--no-baselines --no-shadow`, what the bars are for), and
with all that it does by itself, three walks and the shadow book. Then the page of the report with nothing in it but
what the command kept. All of a process counts, imports and machine code included; the kernels have been compiled
before. Left out: making the tape, and what the report asks Postgres for. Linux only.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks.market_tape import DAY
from copytrader_assets.lake import Lake
from copytrader_assets.schemas import WALLET_PATTERNS
from copytrader_core.records import Release
from copytrader_core.settings import Settings

CPU_BAR_SECONDS: Final = 4.0
MEMORY_BAR_MB: Final = 400
ROUNDS: Final = 3
_ROOT: Final = Path(__file__).parents[1]
_COMMAND: Final = (sys.executable, "-m", "copytrader_cli.main", "backtest", "--from", str(DAY), "--to", str(DAY))
_STEPS: Final[Mapping[str, Sequence[str]]] = {
    "one walk": (*_COMMAND, "--no-baselines", "--no-shadow"),
    "three walks and the shadow book": _COMMAND,
    "its part of the report": (sys.executable, "-m", "benchmarks.backtest_process"),
}
# A process starts with its parent's peak. This one between is small.
_BETWEEN: Final = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def tell(lake: Lake, release: Release, settings: Mapping[str, Mapping[str, Any]], events: int) -> None:
    """Prints the median CPU seconds and the highest peak of each step, for a lake that holds the day's tape."""
    before = DAY - dt.timedelta(days=1)
    lake.publish([lake.stage(WALLET_PATTERNS.name, before, _patterns(release), {})])
    home = f"{lake.root}/.home"
    names = {
        f"COPYTRADER_{part}__{name}".upper(): value
        for part, values in settings.items()
        for name, value in values.items()
    }
    environment = {name: json.dumps(value) for name, value in names.items()}
    environment |= {"COPYTRADER_HOME": home, "COPYTRADER_LAKE": str(lake.root), "PYTHONPATH": str(_ROOT)}
    print(f"{events:,} events, fresh processes; bars for one walk: {CPU_BAR_SECONDS:.0f} CPU s, {MEMORY_BAR_MB} MB")
    for name, command in _STEPS.items():
        runs = [_run(command, environment) for _ in range(ROUNDS)]
        seconds, peak = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
        print(f"  {name}: {seconds:.1f} CPU s, peak {peak:.0f} MB")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    between = [sys.executable, "-c", _BETWEEN, *command]
    done = subprocess.run(between, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    status, seconds, peak = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return seconds, peak


def _patterns(release: Release) -> pa.Table:
    """The fingerprints that a release is made of; what it does not hold is empty."""
    empty: dict[str, Any] = {"opens_by_hour": [0] * 24, "as_of": DAY - dt.timedelta(days=1)}
    empty |= {field.name: 0 for field in WALLET_PATTERNS.arrow if pa.types.is_integer(field.type)}
    known = [
        {**empty, **{name: getattr(one, name) for name in one.__match_args__ if name in WALLET_PATTERNS.names}}
        for one in release.patterns.values()
    ]
    loose = pa.schema([field.with_nullable(True) for field in WALLET_PATTERNS.arrow])
    return WALLET_PATTERNS.conform(pa.Table.from_pylist(known, loose))


def _report() -> None:
    """The page that `copytrader report` writes, with nothing in it but the backtest and its guards."""
    from copytrader_cli.report.backtest_facts import walked
    from copytrader_cli.report.collect import Decisions, Platform, ReportFacts
    from copytrader_cli.report.html import page

    settings = Settings()
    found = walked(settings.home_path, Lake.at(settings.lake_location), settings)
    facts = ReportFacts(
        as_of=None, days=(), n_wallets=0, n_coins=0, leaders=(), edges=(), mode="paper", own=(), reverted_lamports=0,
        decisions=Decisions({}), platform=Platform(0, None, "ACTIVE", (), 0), names={},
    )  # fmt: skip
    (settings.home_path / "report.html").write_text(page(facts, dt.datetime.now(dt.UTC), walked=found))


if __name__ == "__main__":
    _report()
