"""`copytrader executor run | status | halt | reduce | resume | flatten`; locks and nonces have files of their own."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Literal

import psycopg
import typer
import uvloop

from copytrader_cli import executor_status as status_command
from copytrader_cli.amounts import sol
from copytrader_cli.commands import executor_locks, executor_nonce
from copytrader_cli.watch.press import executor_folder, press
from copytrader_core.errors import ConfigError, StoreError
from copytrader_core.geyser.client import Endpoint, parse_endpoint
from copytrader_core.policy.values import TradingState
from copytrader_core.records import Release
from copytrader_core.settings import Settings, settings
from copytrader_core.solana.keys import RedactSecrets, guard_process, load_signer
from copytrader_core.store.postgres import connect, database_url, embedded, plain_url
from executor import feed
from executor.cold import flatten_cold
from executor.control import Control
from executor.desk import Tally
from executor.journal_view import writer_of
from executor.outside import outside, urls_from
from executor.postgres import answers, told
from executor.service import RunOptions
from executor.service import run as run_service
from executor.status import Status, StatusReader
from executor.wal import JournalBusyError

app = typer.Typer(no_args_is_help=True, help="Run and control the executor.")
executor_locks.add_to(app)
executor_nonce.add_to(app)

_log = logging.getLogger(__name__)

Mode = Literal["paper", "live"]
ClockName = Literal["wall", "chain"]
_MODE = typer.Option("paper", "--mode", help="which executor's positions and decisions")


@app.command()
def run(
    mode: Mode = typer.Option("paper", "--mode", help="paper, or live: real orders, signed with the wallet key"),
    endpoint: str | None = typer.Option(None, "--endpoint", metavar="HOST:PORT", help="Yellowstone endpoint"),
    tls: bool | None = typer.Option(
        None, "--tls/--no-tls", help="TLS with verification; default: for every host but this machine"
    ),
    x_token_file: Path | None = typer.Option(None, "--x-token-file", help="file with the provider's token"),
    clock: ClockName = typer.Option("wall", "--clock", help="wall, or chain: timers run in the stream's own time"),
    until_idle: float | None = typer.Option(
        None, "--until-idle", min=0.1, metavar="SECONDS", help="end after so long without transaction or block meta"
    ),
    flatten_at_end: bool = typer.Option(
        False, "--flatten-at-end", help="at the end close what is left at its last quote"
    ),
    replay_from_slot: int | None = typer.Option(
        None, "--replay-from-slot", metavar="N", help="ask for a replay from N"
    ),
) -> None:
    """Follow the released leaders, in the foreground, until SIGTERM, Ctrl-C or --until-idle."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactSecrets())
    config = settings()
    url = _live_database() if mode == "live" else database_url()
    where, options = _endpoint(endpoint, tls, x_token_file), RunOptions(mode, clock, until_idle, flatten_at_end)
    if mode == "live":
        tally = uvloop.run(_live(url, config, where, replay_from_slot, options))
    else:
        stream = feed.updates(where, replay_from_slot, config.ingest.stall_seconds)
        tally = uvloop.run(run_service(url, config, stream, options))
    _print_summary(tally, _after(url, config, mode))


def _live_database() -> str | None:
    """The database of a live run, brought up to date; one that is away is a warning: there may be something to sell.

    None where there has never been one.
    """
    given = settings().database_url
    url = plain_url(given) if given else None
    try:
        # A server that hangs would keep what migrates for ever.
        problem = asyncio.run(answers(url)) if url is not None else None
        if problem is None:
            return database_url()
    except (StoreError, psycopg.Error, OSError) as error:
        problem = told(error)
    _log.warning("no database: %s; exits go on, nothing is bought until it is there", problem)
    return url or embedded().last_url()


def _after(url: str | None, config: Settings, mode: Mode) -> Status:
    """How things stand at the end of a run: by its journal, with the names that Postgres knows if it answers."""
    reader = StatusReader(mode, config.home_path / "executor")
    problem = asyncio.run(answers(url)) if url is not None else "there is none"
    if url is None or problem is not None:
        return reader.read(None, problem)
    with connect(url) as connection:
        return reader.read(connection)


async def _live(
    url: str | None, config: Settings, endpoint: Endpoint, from_slot: int | None, options: RunOptions
) -> Tally:
    """Loads the key, closes the process's memory to others, opens nodes and routes, and trades."""
    nobody = Release("none", "", {}, ()) if url is None else None
    guard_process()
    signer = load_signer(config.executor.key_file)
    async with outside(signer, config.executor, urls_from(config.executor.rpc_url_files)) as world:
        stream = feed.updates(endpoint, from_slot, config.ingest.stall_seconds, signer.address)
        return await run_service(url, config, stream, options, world, nobody)


@app.command()
def status(
    mode: Mode = _MODE,
    n_decisions: int = typer.Option(10, "--decisions", help="how many of the last decisions"),
    watch: bool = typer.Option(False, "--watch", help="look again every second until Ctrl-C"),
    as_json: bool = typer.Option(False, "--json", help="one JSON document, amounts in lamports"),
) -> None:
    """Show the trading state, open positions, orders, today's result and the last decisions.

    With the executor running or dead, with Postgres or by the journal's files alone.
    """
    status_command.show(mode, n_decisions, watch=watch, as_json=as_json)


@app.command()
def halt(reason: str = typer.Option("by command", "--reason")) -> None:
    """Send nothing any more, neither buys nor sells, until `resume`."""
    _set("HALTED", flatten=False, reason=reason)
    print("HALTED: nothing is sent any more, exits neither; `copytrader executor resume` ends it")


@app.command()
def reduce(reason: str = typer.Option("by command", "--reason")) -> None:
    """Buy nothing more; exits go on."""
    _set("REDUCING", flatten=False, reason=reason)
    print("REDUCING: no more buys, exits go on; `copytrader executor resume` ends it")


@app.command()
def resume(reason: str = typer.Option("by command", "--reason")) -> None:
    """Trade again."""
    _set("ACTIVE", flatten=False, reason=reason)
    print("ACTIVE: buys are allowed again")


@app.command()
def flatten(mode: Mode = _MODE, reason: str = typer.Option("by command", "--reason")) -> None:
    """Buy nothing more and sell everything now: by the executor that runs, else (live) by this command itself.

    Without an executor it needs the wallet key and one RPC node, nothing else: neither journal, Postgres nor stream.
    """
    _set("REDUCING", flatten=True, reason=reason)
    config = settings()
    if writer_of(config.home_path / "executor" / mode) is not None:
        print(f"REDUCING and flatten: the {mode} executor that runs sells everything now")
    elif mode == "live":
        uvloop.run(_flatten_cold(config))
    else:
        print(
            f"REDUCING and flatten: no {mode} executor runs; the request stands, and the next"
            f" `copytrader executor run --mode {mode}` sells what is held before it does anything else"
        )


async def _flatten_cold(config: Settings) -> None:
    guard_process()
    signer = load_signer(config.executor.key_file)
    print(f"no live executor runs: selling all that {signer.address} holds")
    async with outside(signer, config.executor, urls_from(config.executor.rpc_url_files)) as world:
        try:
            tally = await flatten_cold(config, world)
        except JournalBusyError:
            # A service does not see the kernel's list of locks: there only this tells.
            print("REDUCING and flatten: an executor runs after all, and sells everything now")
            return
    print(f"sold {tally.sold}, {tally.reverted} attempts failed; the wallet holds no coin that could be sold any more")


def _set(state: TradingState, *, flatten: bool, reason: str) -> None:
    try:
        problem = press(Control(state, flatten, reason), start=True)
    except StoreError as error:
        if not flatten:
            raise
        # What is held can be sold all the same.
        problem = str(error)
    if problem is not None:
        print(f"{problem} The folder is {executor_folder()}.", file=sys.stderr)


def _endpoint(address: str | None, tls: bool | None, x_token_file: Path | None) -> Endpoint:
    config = settings().ingest
    token_file = x_token_file or config.x_token_file
    token = None
    if token_file is not None:
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise ConfigError(f"the token file {token_file} cannot be read: {error.strerror}") from error
    return parse_endpoint(address or config.endpoint, tls=config.tls if tls is None else tls, x_token=token)


def _print_summary(tally: Tally, after: Status) -> None:
    taken = tally.decisions.get("ACCEPTED", 0)
    refused = sum(tally.decisions.values()) - taken
    print(f"decisions {taken + refused}: {taken} accepted, {refused} refused")
    for code, count in sorted(tally.decisions.items(), key=lambda item: -item[1]):
        if code != "ACCEPTED":
            print(f"  {count:5d} {code}")
    print(f"fills {tally.bought} buys, {tally.sold} sells; {tally.reverted} reverted, {tally.expired} expired")
    print(f"result of this run {sol(tally.pnl_lamports)}, failed transactions included")
    if tally.latencies_us:
        ordered = sorted(tally.latencies_us)
        print(f"decision latency p50 {ordered[len(ordered) // 2]} us, max {ordered[-1]} us")
    for position in after.positions:
        waiting = position["payload"]["waiting"] or "its exit is not due"
        print(f"still open: {position['mint']} ({position['leader']}), {sol(-position['cost_lamports'])}, {waiting}")
