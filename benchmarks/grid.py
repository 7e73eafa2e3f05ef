"""The whole grid of copies: DAYS (30) days of EVENTS (5,000,000) trades, 318 leaders, all latencies, sizes, exit rules.

A day is read from its file, its signals are copied at 5 latencies and 6 sizes under the rule that the days before have
chosen, and under all 60 exit rules at the reference; then it is reduced. Values and exits of the last day close the
run. That is what `materialize` computes of copies, without Dagster and without writing the rows. Three different days
are made and taken in turn, in a process of their own, so that time and memory are those of the grid. A leader makes
TRADES (20) trades a day, three in four of them buys; known traders whose trips have been counted make some ten a day.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.event_day import size_of
from benchmarks.market_tape import DAY, LEADERS, market, release
from benchmarks.measure import Measured
from copytrader_assets.analysis.copies import copies_of, copy_exits_of
from copytrader_assets.analysis.copy_returns import Cells
from copytrader_assets.analysis.copy_value import cells_of_day, copy_values
from copytrader_assets.analysis.exit_rules import RuleCopies, chosen_rules, joined_rules, rule_copies, rule_values
from copytrader_assets.lake import Lake
from copytrader_assets.tape_reader import read_tape
from copytrader_core.settings import Settings

_MADE = 3
_COIN_TRADES = 150


def run() -> list[Measured]:
    """Days a second, in all and of each part; minutes, CPU time and peak memory stand in the name."""
    events, days = size_of(5_000_000), int(os.environ.get("DAYS", "30"))
    with tempfile.TemporaryDirectory() as folder:
        for n in range(_MADE):
            _child("make", folder, str(events), str(n))
        found = json.loads(_child("run", folder, str(days)))
    whole = (
        f"{days} days of {events:,} trades, {found['signals']:,} signals, {found['copies']:,} copies: "
        f"{found['seconds'] / 60:.1f} min, {found['cpu'] / 60:.1f} CPU min, {found['peak_mb']:,.0f} MB at most"
    )
    parts = [Measured(name, "days", (days / seconds,)) for name, seconds in found["parts"].items()]
    return [Measured(whole, "days", (days / found["seconds"],)), *parts]


def _child(*words: str) -> str:
    command = [sys.executable, "-m", "benchmarks.grid", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _make(folder: str, events: int, number: int) -> None:
    lake, day = Lake.at(folder), DAY + dt.timedelta(days=number)
    share = LEADERS * float(os.environ.get("TRADES", "20")) / events
    tape, slots = market(events, events // _COIN_TRADES, 7 + number, share)
    lake.publish([lake.stage("tape", day, tape, {}), lake.stage("tape_slots", day, slots, {})])
    if number == 0:
        Path(folder, "leaders.json").write_text(json.dumps(sorted(release(tape).patterns)))


class _Clock:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._at = time.process_time()

    def spent(self, part: str) -> None:
        now = time.process_time()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._at
        self._at = now


def _run(folder: str, days: int) -> dict[str, object]:
    lake, config = Lake.at(folder), Settings()
    leaders: list[str] = json.loads(Path(folder, "leaders.json").read_text())
    nobody_known, size = dict.fromkeys(leaders), round(config.copies.reference_size_sol * 1e9)
    cells: list[Cells] = []
    rules: list[RuleCopies] = []
    counts = {"signals": 0, "copies": 0}
    began, clock = time.perf_counter(), _Clock()
    for n in range(days):
        tape = read_tape(lake, DAY + dt.timedelta(days=n % _MADE), leaders)
        clock.spent("reading a day's tape")
        exits = copy_exits_of(tape, nobody_known, config)
        clock.spent("its copies under every exit rule")
        chosen = chosen_rules(rules, leaders) if rules else {}
        clock.spent("the rule of each leader")
        copies = copies_of(tape, nobody_known, chosen, config)
        clock.spent("its copies at every latency and size")
        rules.append(rule_copies(exits, leaders, size))
        cells.append(cells_of_day(copies, leaders))
        clock.spent("both reduced")
        counts["copies"] += copies.num_rows + exits.num_rows
        counts["signals"] += len(set(copies["sig"].to_pylist()))
    clock.spent("counting")
    values = copy_values(cells, leaders, config.copies)
    rule_values(joined_rules(rules), len(leaders))
    clock.spent("values and exits of the last day")
    assert len(values.verdicts.verdict) == len(leaders)
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return counts | {"seconds": seconds, "cpu": cpu, "peak_mb": used.ru_maxrss / 1024, "parts": clock.parts}


if __name__ == "__main__":
    if sys.argv[1] == "make":
        _make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        print(json.dumps(_run(sys.argv[2], int(sys.argv[3]))))
