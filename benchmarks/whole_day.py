"""A whole day from Postgres to fingerprints: raw_events to sealed Parquet, round trips, positions, wallet_patterns.

Every stage does what its asset does, rules and publishing included; dagster's own start-up is left out. EVENTS names
the sizes, comma separated (1,000,000 by default; 10000000 is the full day: with LEAN=1 some 15 GB of disk, else 45),
LEAN=1 leaves the two JSON columns empty. Each size is loaded into an embedded Postgres and measured in a process of
its own, for its peak memory. CPU seconds of the server are those of the backends that ended meanwhile (Linux only).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa

from benchmarks import event_day
from benchmarks.event_day import DAY, Names, json_columns
from benchmarks.measure import Measured
from benchmarks.synthetic_day import Sizes, market, rows
from copytrader_assets.analysis.fingerprint import measure, publishable
from copytrader_assets.analysis.trip_checks import repeated_keys
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.analysis.window import TripWindow
from copytrader_assets.lake import Lake
from copytrader_assets.ledger_day import LedgerDay, ledger_day
from copytrader_assets.partials import Partials
from copytrader_assets.resources import Warehouse
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES, WALLET_PATTERNS, Table
from copytrader_core.settings import LedgerSettings, PatternSettings
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate

_TRACKED = 318
_PART = 200_000


@dataclass(slots=True)
class Run:
    """What the stages hand to each other."""

    lake: Lake
    rules: LedgerSettings
    day: LedgerDay | None = None


def _events(run: Run) -> None:
    with Warehouse().read_day(DAY) as (seal, parts):
        staged = _write(run.lake, EVENTS, parts)
    assert seal is not None
    assert staged == seal.n_events, f"{staged} of {seal.n_events} events were read"


def _round_trips(run: Run) -> None:
    run.day = ledger_day(run.lake, DAY, Carry.nothing(), run.rules)
    assert run.day.flow.problem is None, run.day.flow.problem
    for trips in (run.day.finished, [run.day.carry.held]):
        assert repeated_keys(trips) == []


def _trades(run: Run) -> None:
    assert run.day is not None
    _write(run.lake, TRADES, run.day.trades(run.rules))


def _positions(run: Run) -> None:
    assert run.day is not None
    _write(run.lake, OPEN_POSITIONS, run.day.open_positions(run.rules), run.day.carry.stored())
    run.day = None


def _patterns(run: Run) -> None:
    rules, wallets = PatternSettings(), Warehouse().tracked_wallets()
    window = TripWindow(f"{rules.window_days}d", rules.window_days, rules.last_trades)
    with Partials.open(run.lake, wallets, rules.path_days) as partials:
        measured = [
            measure(partials.over([DAY], some), some.to_pylist(), window, as_of=DAY, history=DAY, settings=rules)
            for some in partials.buckets([DAY])
        ]
    found = publishable(measured, WALLET_PATTERNS.arrow, aliases=wallets, as_of=DAY, window=window)
    assert found.num_rows
    _write(run.lake, WALLET_PATTERNS, [found])


def _write(lake: Lake, table: Table, parts: Iterable[pa.Table], companion: pa.Table | None = None) -> int:
    """Checked, staged and published; returns how many rows."""

    def checked() -> Iterator[pa.Table]:
        for part in parts:
            conforming = table.conform(part)
            assert table.violations(conforming) == ()
            yield conforming

    loose = pa.schema([field.with_nullable(True) for field in table.arrow])
    staged = lake.stage_parts(table.name, DAY, loose, checked(), {}, companion, repeating=table.repeating)
    lake.publish([staged])
    return staged.rows


STAGES: dict[str, Callable[[Run], None]] = {
    "Postgres to sealed Parquet": _events,
    "events to round trips": _round_trips,
    "trades written": _trades,
    "open_positions written": _positions,
    "wallet_patterns": _patterns,
}


def run() -> list[Measured]:
    """One row a stage and size, and one for the whole with CPU time and peak memory in its name."""
    sizes = [int(size) for size in os.environ.get("EVENTS", "1_000_000").split(",")]
    return [row for size in sizes for row in _of_size(size)]


def _of_size(events: int) -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="copytrader-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg", durable=False)
        try:
            url = server.start()
            load(url, Sizes(events), with_json=not os.environ.get("LEAN"))
            _child(url, "warm")  # a process that finds its kernels compiled and the server warm is the usual one
            one = _child(url, "measured")
        finally:
            server.remove()
    rows = [Measured(f"{events:,}: {stage}", "events", (events / one[stage],)) for stage in STAGES]
    seconds = sum(one[stage] for stage in STAGES)
    cpu = f"{one['cpu_seconds']:.0f} + {one['server_cpu_seconds']:.0f} CPU s here and in Postgres"
    return [
        *rows,
        Measured(f"{events:,}: all, {seconds:.1f} s, {cpu}, {one['peak_mb']:,.0f} MB", "events", (events / seconds,)),
    ]


def load(url: str, sizes: Sizes, *, with_json: bool) -> None:
    """Migrates the database and fills it with the day and the tracked wallets, the busiest ones."""
    migrate(url)
    rng = np.random.default_rng(1)
    who, what = Names(rng, sizes.wallets, 3), Names(rng, sizes.coins, 5)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        tracked = [(wallet,) for wallet in who.address.slice(0, _TRACKED).to_pylist()]
        cursor.executemany("INSERT INTO wallets (wallet, is_tracked) VALUES (%s, true)", tracked)
    event_day.fill(url, _tables(rng, sizes, who, what, with_json))


def _tables(rng: np.random.Generator, sizes: Sizes, who: Names, what: Names, with_json: bool) -> Iterator[pa.Table]:
    made = market(rng, sizes, 0)
    for start in range(0, len(made.wallet), _PART):
        part = slice(start, start + _PART)
        table = rows(rng, made, part, who.address, what.address, DAY)
        if with_json:
            wallet, coin = made.wallet[part].astype(np.int64), made.coin[part].astype(np.int64)
            reserves = tuple(table[f"reserve_{side}_raw"].to_numpy().astype(np.int64) for side in ("base", "quote"))
            place = made.slot[part] - made.slot[0]
            for name, values in json_columns(rng, wallet, coin, who, what, (reserves[0], reserves[1]), place).items():
                table = table.set_column(table.schema.get_field_index(name), name, values)
        yield table.select([name for name in table.column_names if table[name].null_count < table.num_rows])


def _child(url: str, mark: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.whole_day", mark]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"DATABASE_URL": url}
    )
    return dict(json.loads(done.stdout))


def _measure() -> dict[str, float]:
    """The seconds of each stage, and what the process and the server took in all."""
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="copytrader-bench-") as folder:
        state, before = Run(Lake(Path(folder)), LedgerSettings()), _server_cpu_seconds()
        for name, stage in STAGES.items():
            began, used = time.perf_counter(), time.process_time()
            stage(state)
            seconds[name] = time.perf_counter() - began
            mine, theirs = time.process_time() - used, _server_cpu_seconds() - before
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{name}: {seconds[name]:.1f} s, {mine:.1f} CPU s, server so far {theirs:.1f}, {peak:,.0f} MB",
                file=sys.stderr,
            )
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}
    return seconds | took | {"server_cpu_seconds": _server_cpu_seconds() - before}


def _server_cpu_seconds() -> float:
    """CPU time of the server's backends that have ended; 0 where the system does not tell."""
    with Warehouse().connection() as connection:
        found = connection.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)").fetchone()
    stat = Path("/proc") / str(found[0] if found else 0) / "stat"
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(json.dumps(_measure()))
