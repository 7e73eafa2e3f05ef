"""`copytrader backfill`: history through a node's JSON-RPC."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from solders.pubkey import Pubkey

from copytrader_cli.days import one_day
from copytrader_core.errors import ConfigError, DataError
from copytrader_core.settings import settings
from copytrader_core.solana.rpc import is_loopback
from copytrader_core.store.postgres import database_url
from ingest_worker.backfill import Options, run
from ingest_worker.backfill_desk import Observer, Summary
from ingest_worker.backfill_wallets import Period

app = typer.Typer(help="Hydrate history and fill gaps through RPC.")

_LINE_SECONDS = 5.0


@app.command()
def backfill(
    since: Annotated[str, typer.Option(metavar="DATE", help="first day of the wallets' history, YYYY-MM-DD (UTC)")],
    wallet: Annotated[list[str] | None, typer.Option(metavar="W", help="hydrate this wallet; may be repeated")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="fill every open gap, then hydrate every imported wallet")
    ] = False,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="last day, included; default now")] = None,
    rpc: Annotated[
        str | None,
        typer.Option(metavar="URL", help="the node; other users can see it: prefer COPYTRADER_RPC_URL or rpc_url_file"),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, metavar="N", help="requests a second, 0 = no limit; default rpc_rate, none on loopback"),
    ] = None,
) -> None:
    """Land what the stream has missed and what wallets did before it began; may be repeated, stopped and killed.

    Every run goes on where the last one ended, beside a running ingest too. SIGTERM and Ctrl-C commit first.
    """
    wanted = _wallets(wallet or [], all_)
    period = _period(since, until)
    url = _rpc_url(rpc)
    if rate is None:
        rate = None if is_loopback(url) else settings().rpc_rate
    options = Options(url, database_url(), period, wanted, rate or None)
    with _observing() as observer:
        summary = asyncio.run(run(options, observer))
    print(summary)
    _conclude(summary)


def _conclude(summary: Summary) -> None:
    """Exit status and last words."""
    if summary.stopped_by is not None:
        print("stopped; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130 if summary.stopped_by is signal.SIGINT else 0)
    if summary.open_gaps:
        raise DataError("; ".join(summary.open_gaps))


def _wallets(given: list[str], everything: bool) -> tuple[str, ...] | None:
    if bool(given) == everything:
        raise typer.BadParameter("give either --wallet W (may be repeated) or --all", param_hint="--wallet / --all")
    for text in given:
        try:
            Pubkey.from_string(text)
        except ValueError:
            raise typer.BadParameter(f"expected a wallet's address, found {text!r}", param_hint="--wallet") from None
    return None if everything else tuple(dict.fromkeys(given))


def _period(since: str, until: str | None) -> Period:
    """The days from `since` to `until`, both included."""
    first = one_day(since, "--since")
    last = None if until is None else one_day(until, "--until")
    if last is not None and last < first:
        raise typer.BadParameter(f"{last} lies before --since {first}", param_hint="--until")
    return Period(_start(first), None if last is None else _start(last + timedelta(days=1)))


def _start(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _rpc_url(given: str | None) -> str:
    """The option, else the environment, else the file that the settings name."""
    url = given or settings().rpc_url
    file = settings().rpc_url_file
    if url is None and file is not None:
        url = _read(file)
    if url is None:
        raise ConfigError(
            "no RPC node is known: give --rpc URL, set COPYTRADER_RPC_URL, or name a file as rpc_url_file"
        )
    return url


def _read(path: Path) -> str:
    try:
        url = path.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the RPC URL file {path} cannot be read: {error}") from error
    if not url:
        raise ConfigError(f"the RPC URL file {path} is empty: it must hold the node's URL")
    return url


@contextmanager
def _observing() -> Iterator[Observer]:
    """A progress bar where somebody looks, plain lines elsewhere; both on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)


class _Bar:
    """An observer that draws a bar for the part at hand; parts that are done leave the screen."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def say(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False)

    def begin(self, what: str, total: int | None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total)

    def advance(self, steps: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, steps)


class _Lines:
    """An observer that writes a line now and then."""

    def __init__(self) -> None:
        self._what = ""
        self._total: int | None = None
        self._done = 0
        self._said_at = time.monotonic()

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def begin(self, what: str, total: int | None) -> None:
        self._what, self._total, self._done = what, total, 0

    def advance(self, steps: int) -> None:
        self._done += steps
        if time.monotonic() - self._said_at >= _LINE_SECONDS:
            self._said_at = time.monotonic()
            self.say(f"{self._what}: {self._done}" + ("" if self._total is None else f" of {self._total}"))
