"""`copytrader ingest`: the worker in the foreground."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path

import typer
import uvloop

from copytrader_core.errors import ConfigError
from copytrader_core.geyser.client import Endpoint, parse_endpoint
from copytrader_core.settings import settings
from copytrader_core.store.postgres import database_url
from ingest_worker.subscription import Shape
from ingest_worker.worker import Options, run

app = typer.Typer(help="Run the ingest worker in the foreground.")


class Scope(StrEnum):
    """Which events are kept."""

    ALL = "all"
    TRACKED = "tracked"


@app.command()
def ingest(
    endpoint: str = typer.Option(None, metavar="HOST:PORT", help="Yellowstone endpoint; default from the settings"),
    x_token: str = typer.Option(
        None, metavar="T", help="the provider's token; other users can see it, prefer the file"
    ),
    x_token_file: Path = typer.Option(None, metavar="F", help="file that holds the provider's token"),
    tls: bool = typer.Option(None, "--tls/--no-tls", help="TLS with verification; default from the settings"),
    until_idle: float = typer.Option(
        None, min=0.1, metavar="SECONDS", help="end after so long without a block, transaction or block_meta"
    ),
    from_slot: int = typer.Option(None, min=0, metavar="N", help="replay from this slot instead of the checkpoint"),
    shape: Shape = typer.Option(
        Shape.BLOCKS, help="blocks: one message a slot; transactions: for providers without a blocks filter"
    ),
    scope: Scope = typer.Option(Scope.ALL, help="all: every event of the programs; tracked: of tracked wallets only"),
    complete_start: bool = typer.Option(
        False,
        "--complete-start",
        help="declare, in a fresh database, that the first block that comes is the first of its chain, so that its day "
        "is sealed too; without it the day on which ingestion began stays open, because its beginning was not seen",
    ),
) -> None:
    """Land every event of pump.fun and PumpSwap in raw_events, resuming where the last run ended.

    SIGTERM and Ctrl-C commit and end within 5 seconds. A second worker on the same database waits for the first to end.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    configured = settings().ingest
    options = Options(
        endpoint=_endpoint(endpoint or configured.endpoint, x_token, x_token_file or configured.x_token_file, tls),
        database_url=database_url(),
        shape=shape,
        tracked_only=scope is Scope.TRACKED,
        from_slot=from_slot,
        until_idle=until_idle,
        complete_start=complete_start,
        commit_rows=configured.commit_rows,
        commit_every_ms=configured.commit_every_ms,
        stall_seconds=configured.stall_seconds,
    )
    uvloop.run(run(options))


def _endpoint(address: str, x_token: str | None, x_token_file: Path | None, tls: bool | None) -> Endpoint:
    token = x_token if x_token is not None else _read_token(x_token_file) if x_token_file is not None else None
    return parse_endpoint(address, tls=settings().ingest.tls if tls is None else tls, x_token=token)


def _read_token(path: Path) -> str:
    try:
        token = path.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read: {error}") from error
    if not token:
        raise ConfigError(f"the token file {path} is empty: it must hold the provider's token")
    return token
