"""The backfill: the stream's open gaps and the wallets' histories through JSON-RPC. One run, to its end or a stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from copytrader_core.errors import StoreError
from copytrader_core.solana.rpc import RpcClient, RpcError, RpcUnavailableError
from copytrader_core.store import backfill, wallets
from ingest_worker.backfill_desk import Desk, Observer, Summary
from ingest_worker.backfill_fetch import Fetcher, StopRequestedError
from ingest_worker.backfill_gaps import fill_gaps
from ingest_worker.backfill_wallets import BlockOrders, Period, hydrate

__all__ = ["Options", "run"]

# The session of a backfill that was killed lives on for a moment.
_LOCK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to hydrate; see `copytrader backfill --help`. `wallets` None: every open gap, then every known wallet.

    `width` is how many requests may be under way at the same time.
    """

    rpc_url: str = field(repr=False)
    database_url: str = field(repr=False)
    period: Period
    wallets: tuple[str, ...] | None = None
    rate: float | None = None
    width: int = 8
    patience_seconds: float = 120.0


async def run(options: Options, observer: Observer) -> Summary:
    """Hydrates until everything is there, or SIGTERM or SIGINT ends it; whatever has come by then is committed.

    Raises StoreError, RpcError or DataError where the work cannot go on; the next run goes on from there.
    """
    with _connected(options.database_url) as connection:
        await _lock(connection)
        async with RpcClient(options.rpc_url, rate=options.rate, patience_seconds=options.patience_seconds) as rpc:
            with _stoppable() as stop:
                desk = Desk(rpc, connection, Fetcher(stop.event, options.width), observer, wallets.load(connection))
                try:
                    await _work(desk, options)
                except StopRequestedError:
                    desk.summary.stopped_by = stop.number
                finally:
                    desk.summary.requests, desk.summary.retries = rpc.n_requests, rpc.n_retries
    return desk.summary


async def _work(desk: Desk, options: Options) -> None:
    await desk.fetcher.one(_look_at_history(desk))
    if desk.history_from is not None and desk.history_from > options.period.since:
        begin = datetime.fromtimestamp(desk.history_from, UTC)
        desk.observer.say(
            f"{desk.rpc.label} keeps blocks from {begin:%Y-%m-%d %H:%M} UTC on (slot {desk.first_available}); "
            "what happened before needs --rpc of a node with a longer history"
        )
    orders = BlockOrders(desk)
    try:
        if options.wallets is None:
            await fill_gaps(desk)
        for wallet in options.wallets if options.wallets is not None else desk.wallets:
            await hydrate(desk, orders, wallet, options.period)
    finally:
        await orders.close()
        await desk.recount()


async def _look_at_history(desk: Desk) -> None:
    """Learns how far back the node's blocks go."""
    desk.first_available = await desk.rpc.first_available_block()
    try:
        desk.history_from = await desk.rpc.block_time(desk.first_available)
    except RpcUnavailableError:
        raise
    except RpcError:
        # Archives answer 0 there and have no block time for it: their history has no beginning that matters.
        desk.history_from = None


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            options="-c timezone=UTC -c client_min_messages=warning",
            application_name="copytrader backfill",
        )
    except psycopg.OperationalError as error:
        raise StoreError(f"the database cannot be reached: {str(error).strip()}") from error
    with connection:
        yield connection


async def _lock(connection: psycopg.Connection) -> None:
    give_up_at = time.monotonic() + _LOCK_SECONDS
    while not backfill.try_lock(connection):
        if time.monotonic() >= give_up_at:
            raise StoreError("another backfill is running on this database: wait for its end, or stop it")
        await asyncio.sleep(0.2)


@dataclass(slots=True)
class _Stop:
    """Whether the run was told to end, and by which signal."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    number: signal.Signals | None = None

    def set(self, number: signal.Signals) -> None:
        self.number = number
        self.event.set()


@contextmanager
def _stoppable() -> Iterator[_Stop]:
    """SIGTERM and SIGINT end the run in good order."""
    stop, loop = _Stop(), asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set, number)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
