"""`make bench [ONLY=name]`: runs every benchmark of this folder and prints one table each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks import (
    backtest,
    day,
    decoding,
    grid,
    hot_path,
    ingest,
    lakeread,
    landing,
    ledger,
    network,
    patterns,
    signing,
    whole_day,
    wire_path,
)
from benchmarks.measure import Measured

BENCHMARKS: dict[str, Callable[[], list[Measured]]] = {
    "backtest": backtest.run,
    "day": day.run,
    "decoding": decoding.run,
    "grid": grid.run,
    "hot_path": hot_path.run,
    "ingest": ingest.run,
    "lakeread": lakeread.run,
    "landing": landing.run,
    "ledger": ledger.run,
    "network": network.run,
    "patterns": patterns.run,
    "signing": signing.run,
    "whole_day": whole_day.run,
    "wire_path": wire_path.run,
}


def main() -> int:
    """Runs the benchmarks named in ONLY (comma separated), all by default."""
    names = [n for n in os.environ.get("ONLY", "").split(",") if n] or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        print(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    console = Console()
    for name in names:
        table = Table("what", "median", "min", "max", "unit", "ratio to the first", title=name)
        rows = BENCHMARKS[name]()
        for row in rows:
            table.add_row(*row.cells(rows[0]))
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
