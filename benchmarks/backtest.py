"""How fast the executor's engine walks a made-up market of 20,000 coins, and how fast copies of its leaders are made.

Every leader's buy passes the seed's rule, so that as many decisions, orders and re-executed coins as possible fall on
the events. The same day in fresh processes, with their memory: backtest_process.py. Beside it, if NAUTILUS_PYTHON names
a Python that has nautilus_trader, its engine on as many trade ticks; if FREQTRADE_PYTHON names one that has freqtrade,
its backtest on a fifth as many candles.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.backtest_process import tell
from benchmarks.event_day import size_of
from benchmarks.market_tape import DAY, market, release
from benchmarks.measure import Measured, race
from copytrader_assets.analysis.copies import copies_of, copy_exits_of
from copytrader_assets.lake import Lake
from copytrader_assets.tape_reader import read_tape
from copytrader_core.records import Release
from copytrader_core.replay.day import TapeDay
from copytrader_core.replay.warm import warm
from copytrader_core.settings import Settings
from executor.backtest.account import Account
from executor.backtest.walk import Walker

_WIDE = 10_000.0
_CHANGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "policy": {"require_positive_ev": False},
    "risk": {
        "max_exposure_sol": _WIDE,
        "max_open_positions": 1_000,
        "max_exposure_per_leader_sol": _WIDE,
        "max_loss_per_hour_sol": _WIDE,
        "max_loss_per_day_sol": _WIDE,
    },
    "executor": {"paper_balance_sol": _WIDE},
}
_SETTINGS = Settings(**_CHANGES)


def run() -> list[Measured]:
    """Events of the tape per second: walked from memory, from the file on, and made into copies."""
    events = size_of(1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.at(folder)
        tape, slots = market(events)
        wanted = release(tape)
        lake.publish([lake.stage("tape", DAY, tape, {}), lake.stage("tape_slots", DAY, slots, {})])
        del tape, slots
        warm()
        day = read_tape(lake, DAY, wanted.patterns)
        leaders = dict(wanted.patterns)

        def walked() -> int:
            return _walk(day, wanted, events)

        def from_file() -> int:
            return _walk(read_tape(lake, DAY, wanted.patterns), wanted, events)

        def copied() -> int:
            copies_of(day, leaders, {}, _SETTINGS)
            copy_exits_of(day, leaders, _SETTINGS)
            return events

        contenders = {"live decide(), walked": walked, "the same from the file on": from_file, "copies": copied}
        found = race(contenders, "events", 3)
        tell(lake, wanted, _CHANGES, events)
    others = [*_elsewhere("nautilus_trader", "nautilus_ticks.py", "ticks through its venue", events)]
    others += _elsewhere("freqtrade", "freqtrade_candles.py", "candles of 20 pairs", events // 5)
    return [*found, *others]


def _walk(day: TapeDay, wanted: Release, events: int) -> int:
    account = Account(keep_refusals=False)
    walker = Walker(_SETTINGS, account.hear)
    walker.walk(day, wanted)
    walker.finish()
    return events


def _elsewhere(package: str, script: str, what: str, events: int) -> list[Measured]:
    """The speed of another engine under a Python of its own, three times; nothing where there is none."""
    variable = f"{package.partition('_')[0].upper()}_PYTHON"
    python = os.environ.get(variable)
    if not python:
        print(f"{package} is not measured: {variable} names no Python that has it")
        return []
    speeds = []
    for _ in range(3):
        command = [python, str(Path(__file__).with_name(script)), str(events)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        n, seconds = done.stdout.split()[-2:]
        speeds.append(int(n) / float(seconds))
    return [Measured(f"{package}, {what}", "events", tuple(speeds))]
