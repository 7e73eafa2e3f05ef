"""`copytrader ingest`: the worker in the foreground."""

from __future__ import annotations

from pathlib import Path

import typer
import uvloop
from psycopg.conninfo import conninfo_to_dict

from copytrader_cli.endpoints import endpoints_of
from copytrader_core.service import Service
from copytrader_core.settings import settings
from copytrader_core.store.postgres import database_url
from ingest_worker import logs
from ingest_worker.health import Limits
from ingest_worker.logs import LogFormat
from ingest_worker.memory import calm_collector
from ingest_worker.monitor import monitored
from ingest_worker.scope import Scope, ScopeRules
from ingest_worker.subscription import Filter, Shape
from ingest_worker.telemetry import Telemetry
from ingest_worker.worker import Options, run

app = typer.Typer(help="Run the ingest worker in the foreground.")


@app.command()
def ingest(
    endpoint: list[str] = typer.Option(
        None,
        metavar="HOST:PORT",
        help="Yellowstone endpoint; repeat it for others to fall back to; default from the settings",
    ),
    x_token: str = typer.Option(
        None, metavar="T", help="the provider's token; other users can see it, prefer the file"
    ),
    x_token_file: list[Path] = typer.Option(
        None, metavar="F", help="file that holds the provider's token; one for all endpoints, or one for each in order"
    ),
    tls: bool = typer.Option(
        None, "--tls/--no-tls", help="TLS with verification; default: for every host but this machine"
    ),
    until_idle: float = typer.Option(
        None, min=0.1, metavar="SECONDS", help="end after so long without a block, transaction or block_meta"
    ),
    from_slot: int = typer.Option(None, min=0, metavar="N", help="replay from this slot instead of the checkpoint"),
    shape: Shape = typer.Option(
        Shape.BLOCKS, help="blocks: one message a slot; transactions: for providers without a blocks filter"
    ),
    scope: Scope = typer.Option(
        Scope.ALL,
        help="all: every event of the programs; touched: of coins that a tracked wallet has traded, and a sample of "
        "the others; tracked: of tracked wallets only (no follow_edges)",
    ),
    filter: Filter = typer.Option(  # noqa: A002 the option's name
        Filter.PROGRAMS, help="programs: everything of the two programs; wallets: what names a tracked wallet only"
    ),
    chunk: int = typer.Option(
        None, min=1, metavar="N", help="filter wallets: wallets per subscription, by the provider's cap (default 50)"
    ),
    complete_start: bool = typer.Option(
        False,
        "--complete-start",
        help="declare, in a fresh database, that the first block that comes is the first of its chain, so that its day "
        "is sealed too; without it the day on which ingestion began stays open, because its beginning was not seen",
    ),
    metrics_port: int = typer.Option(
        None, min=0, max=65535, metavar="N", help="serve /metrics and /healthz on 127.0.0.1:N, 0: nowhere (the default)"
    ),
    log_format: LogFormat = typer.Option(LogFormat.TEXT, help="text: event key=value; json: one document a line"),
) -> None:
    """Land every event of pump.fun and PumpSwap in raw_events, resuming where the last run ended.

    SIGTERM and Ctrl-C commit and end within 5 seconds. A second worker on the same database waits for the first to end.
    """
    logs.configure(log_format)
    configured = settings().ingest
    first, *fallbacks = endpoints_of(endpoint or [], x_token, x_token_file or [], tls)
    options = Options(
        endpoint=first,
        fallbacks=tuple(fallbacks),
        return_after_seconds=configured.return_after_seconds,
        filter=filter,
        chunk=chunk or configured.wallets_per_stream,
        database_url=database_url(),
        shape=shape,
        scope=ScopeRules(
            scope,
            sample_fraction=configured.sample_fraction,
            lookback_seconds=configured.lookback_minutes * 60,
            lookback_bytes=configured.lookback_mb * 2**20,
        ),
        from_slot=from_slot,
        until_idle=until_idle,
        complete_start=complete_start,
        commit_rows=configured.commit_rows,
        commit_every_ms=configured.commit_every_ms,
        stall_seconds=configured.stall_seconds,
    )
    logs.configure(log_format, secrets=_secrets(options))
    calm_collector()
    uvloop.run(_run_watched(options, configured.metrics_port if metrics_port is None else metrics_port))


async def _run_watched(options: Options, port: int) -> None:
    """The worker, seen by the service manager if there is one, and on `port` if it is not 0."""
    telemetry = Telemetry(
        Limits(stall_seconds=options.stall_seconds),
        max_clock_offset_seconds=settings().ingest.max_clock_offset_seconds,
    )
    async with monitored(telemetry, Service.from_environment(), port or None):
        await run(options, observer=telemetry)


def _secrets(options: Options) -> list[str | None]:
    """What no log line may show."""
    password = conninfo_to_dict(options.database_url).get("password")
    return [*(endpoint.x_token for endpoint in options.endpoints), None if password is None else str(password)]
