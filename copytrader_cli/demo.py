"""`make demo`: the whole platform on the committed tape of the local chain, in a home of its own.

Everything runs through the same commands that a user calls, as child processes; this module only starts, watches and
stops them. No logic of the platform lives here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console

from copytrader_core.errors import CopytraderError
from simnet.demo_tape import TAPE, TRUTH
from simnet.tape import read_tape
from simnet.truth import Truth, read_truth, write_wallets_db

# The last day is played to the worker and the executor together, faster than it happened.
LIVE_SPEED = 90.0
# A ceiling for what hangs. A slow or busy machine that compiles the kernels of a new checkout meanwhile is no fault.
_PATIENCE_SECONDS = 1_800.0


class DemoError(CopytraderError):
    """A step of the demo ended with an error; its own output says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the tape offers: the days to learn from and where the live day begins."""

    learn_days: tuple[str, ...]
    live_day: str
    last_learn_slot: int
    first_live_slot: int


@dataclass(slots=True)
class Demo:
    """One run: its home, its child processes, its console."""

    home: Path
    console: Console
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """The children's environment: our home, our embedded Postgres whatever the user's DATABASE_URL names."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COPYTRADER_", "DAGSTER_"))}
        for name in ("DATABASE_URL", "PYTHONDONTWRITEBYTECODE"):
            kept.pop(name, None)
        return kept | {"COPYTRADER_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}

    def start(self, *arguments: str, log: str) -> subprocess.Popen[str]:
        """Starts `copytrader ARGUMENTS` with its output in HOME/logs/LOG."""
        path = self.home / "logs" / f"{log}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "copytrader_cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                text=True,
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def finish(self, child: subprocess.Popen[str], log: str, timeout: float = _PATIENCE_SECONDS) -> None:
        """Waits for a child; a failure raises DemoError with the end of its log."""
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DemoError(f"{log} did not end within {timeout:.0f} s:\n{self.tail(log)}") from None
        if code != 0:
            raise DemoError(f"{log} ended with {code}:\n{self.tail(log)}")

    def run(self, *arguments: str, log: str, timeout: float = _PATIENCE_SECONDS) -> None:
        """Starts a command and waits for it."""
        self.finish(self.start(*arguments, log=log), log, timeout)

    def tail(self, log: str, lines: int = 25) -> str:
        """The last lines of a child's log."""
        path = self.home / "logs" / f"{log}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def close(self) -> None:
        """Ends whatever still runs, then the database."""
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(6)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self.home.exists():
            subprocess.run(
                [sys.executable, "-m", "copytrader_cli.main", "db", "stop"],
                env=self.environment(),
                stdout=subprocess.DEVNULL,
                check=False,
            )

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Shows a step while it runs and how long it took."""
        began = time.monotonic()
        with self.console.status(f"{title} ..."):
            yield
        self.console.print(f"[green]done[/green] {title} [dim]({time.monotonic() - began:.1f} s)[/dim]", soft_wrap=True)


def plan_of(tape: Path) -> Plan:
    """Splits the tape at its last UTC day. Raises DemoError for a tape of one day."""
    days: dict[str, tuple[int, int]] = {}
    for block in read_tape(tape).blocks:
        day = time.strftime("%Y-%m-%d", time.gmtime(block.block_time.timestamp))
        first, _ = days.get(day, (block.slot, block.slot))
        days[day] = (first, block.slot)
    names = sorted(days)
    if len(names) < 2:
        raise DemoError(f"{tape} holds {len(names)} day(s), at least two are needed: record a longer one")
    return Plan(tuple(names[:-1]), names[-1], days[names[-2]][1], days[names[-1]][0])


def address_in(log: Path, timeout: float = 120.0) -> str:
    """The HOST:PORT that a server wrote to its log. Raises DemoError if it does not come."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        for word in log.read_text(errors="replace").split() if log.exists() else ():
            if word.startswith("127.0.0.1:") and word.rpartition(":")[2].isdigit():
                return word
        time.sleep(0.05)
    raise DemoError(f"the local chain did not start:\n{log.read_text(errors='replace') if log.exists() else ''}")


def learn(demo: Demo, plan: Plan) -> None:
    """Lands the first days, derives everything from them and releases it."""
    with demo.step("local chain plays " + ", ".join(plan.learn_days) + " into the ingest worker"):
        chain = demo.start(
            "simnet", "play", str(TAPE), "--speed", "0", "--until-slot", str(plan.last_learn_slot), log="chain-learn"
        )
        address = address_in(demo.home / "logs" / "chain-learn.log")
        demo.run("ingest", "--endpoint", address, "--until-idle", "2", "--complete-start", log="ingest")
        chain.send_signal(signal.SIGTERM)
        demo.run("seal", "--from", plan.learn_days[0], "--to", plan.learn_days[-1], log="seal")
    with demo.step(
        "Dagster derives round trips, fingerprints and the copy network (the first time it compiles kernels as well)"
    ):
        demo.run("materialize", "--from", plan.learn_days[0], "--to", plan.learn_days[-1], log="materialize")


def trade(demo: Demo, plan: Plan) -> None:
    """Plays the last day live to the worker and to the executor in paper mode."""
    with demo.step(
        f"{plan.live_day} live at {LIVE_SPEED:.0f} times its pace: worker lands it, executor trades on paper"
    ):
        demo.start(
            *("simnet", "play", str(TAPE), "--speed", str(LIVE_SPEED), "--from-slot", str(plan.first_live_slot)),
            *("--wait-for-clients", "2"),
            log="chain-live",
        )
        address = address_in(demo.home / "logs" / "chain-live.log")
        worker = demo.start("ingest", "--endpoint", address, "--until-idle", "6", log="ingest-live")
        executor = demo.start(
            *("executor", "run", "--mode", "paper", "--endpoint", address, "--clock", "chain"),
            *("--until-idle", "6", "--flatten-at-end"),
            log="executor",
        )
        demo.finish(executor, "executor")
        demo.finish(worker, "ingest-live")


def run(demo: Demo) -> Path:
    """All steps in order; returns the report's path."""
    truth: Truth = read_truth(TRUTH)
    with demo.step("embedded Postgres, schema, wallets with their names"):
        demo.run("db", "url", log="database")
        write_wallets_db(truth, demo.home / "wallets.db")
        demo.run("wallets", "import", str(demo.home / "wallets.db"), log="wallets")
    plan = plan_of(TAPE)
    learn(demo, plan)
    trade(demo, plan)
    report = demo.home / "report.html"
    with demo.step("report: fingerprints, follow graph, paper trades, learned against planted"):
        demo.run("report", "--truth", str(TRUTH), "--out", str(report), log="report")
    return report


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs the demo in `.copytrader/demo`; exit status 0 done, 1 failed, 130 interrupted."""
    console = Console()
    demo = Demo(Path(".copytrader/demo").resolve(), console)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            stack.callback(demo.close)
            demo.close()
            demo.children.clear()
            shutil.rmtree(demo.home, ignore_errors=True)
            demo.home.mkdir(parents=True)
            report = run(demo)
    except KeyboardInterrupt:
        console.print("\n[yellow]stopped[/yellow]: everything that the demo started has ended")
        return 130
    except CopytraderError as error:
        console.print(f"[red]failed[/red] {error}", markup=True, highlight=False)
        return 1
    console.print(f"\nreport      {report}\ntook        {time.monotonic() - began:.0f} s")
    console.print("Dagster UI  COPYTRADER_HOME=.copytrader/demo .venv/bin/copytrader ui")
    console.print("cockpit     COPYTRADER_HOME=.copytrader/demo .venv/bin/copytrader cockpit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
