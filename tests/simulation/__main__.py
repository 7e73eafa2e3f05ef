"""Runs worlds: `python -m tests.simulation` for many seeds, `--seed 17` for one again, `--crash-at K` for one kill.

The executor's own glue is the default subject; `--toy` takes the tests' little trader. Exit status 1: something that
must hold did not.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.simulation.story import STORY, Death, Report, Story, Subject, deaths
from tests.simulation.toy import subject as toy
from tests.simulation.world import World

_HASH_SEED = "PYTHONHASHSEED"


def main() -> int:
    """The command."""
    options = _options()
    if os.environ.get(_HASH_SEED) != "0":
        # The order of a set of texts differs from process to process unless this is fixed at the start.
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, _HASH_SEED: "0"}
        )
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL, format="%(name)s: %(message)s")
    # A process that dies between making a coroutine and starting it leaves one behind.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    reports = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for report in (map if options.jobs == 1 else pool.map)(partial(_told, options), seeds):
            reports.append(report)
            _tell(report, options)
    _sum_up(reports)
    return 1 if any(report.violations for report in reports) else 0


def _told(options: argparse.Namespace, seed: int) -> Report:
    subject = toy() if options.toy else _executor()
    return run_seed(subject, seed, Story(options.deaths, options.slots), options.crash_at)


def run_seed(subject: Subject, seed: int, story: Story = STORY, crash_at: int | None = None) -> Report:
    """One world. `crash_at`: its first process dies at this step, and no other ever does; 0 for no death at all."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory if memory.is_dir() else None))
    try:
        plan: Iterator[Death] = deaths(seed)
        if crash_at is not None:
            plan = iter([Death(crash_at, "between", 200_000_000)] if crash_at else [])
        began = time.process_time()
        # When garbage is collected depends on what ran before; finalizers must not run at other steps for that.
        gc.disable()
        # Nor is what the programs themselves are made of looked through after every world.
        gc.freeze()
        report = World(seed, folder, story).run(subject, plan)
        report.cpu_seconds = time.process_time() - began
        return report
    finally:
        gc.enable()
        gc.collect()
        gc.unfreeze()
        shutil.rmtree(folder, ignore_errors=True)


def _executor() -> Subject:
    from tests.simulation.glue import EXECUTOR

    return EXECUTOR


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="this world alone")
    parser.add_argument("--crash-at", type=int, metavar="K", help="one death, at step K of the first process; 0: none")
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--deaths", type=int, default=STORY.deaths, help="kills in a world (default: %(default)s)")
    parser.add_argument(
        "--slots", type=int, default=STORY.slots, help="slots of a world at most (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="worlds at the same time (default: %(default)s)")
    parser.add_argument("--toy", action="store_true", help="the tests' little trader instead of the executor")
    parser.add_argument("-v", "--verbose", action="store_true", help="what the processes log, and every world's facts")
    return parser.parse_args()


def _tell(report: Report, options: argparse.Namespace) -> None:
    for violation in report.violations:
        print(f"seed {report.seed}: {violation}")
    if options.verbose:
        facts = f"{report.deaths} deaths, {report.steps} steps, {report.sends} sends, landed {dict(report.landed)}"
        print(f"seed {report.seed}: {facts}, faults {dict(+report.struck)}, digest {report.digest[:16]}")
    if report.violations:
        print(f"again: python -m tests.simulation --seed {report.seed}{' --toy' if options.toy else ''} -v")


def _sum_up(reports: list[Report]) -> None:
    landed: Counter[str] = sum((report.landed for report in reports), Counter())
    places: set[str] = set().union(*(report.places for report in reports))
    failed = sum(bool(report.violations) for report in reports)
    print(
        f"{len(reports)} worlds, {failed} failed: {sum(report.deaths for report in reports)} crash points at"
        f" {len(places)} places, {sum(report.steps for report in reports)} steps, landed {dict(landed)},"
        f" {sum(report.cpu_seconds for report in reports):.1f} s CPU"
    )


if __name__ == "__main__":
    sys.exit(main())
