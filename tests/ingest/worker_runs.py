"""Running workers and looking at what they landed, and a TCP proxy that can cut or freeze a database's connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from chain_double import Chain, Server, decode

from copytrader_core.geyser.client import Endpoint
from ingest_worker.landing import Decoder
from ingest_worker.observer import Observer
from ingest_worker.waits import Waits
from ingest_worker.worker import Options, Summary, run

# The waits that only spare a provider, cut short.
QUICK = Waits(
    first_seconds=0.02, most_seconds=0.2, exhausted_seconds=0.05, refused_seconds=0.05, other_endpoint_seconds=0.02,
    look_around_seconds=0.02, first_repair_seconds=0.1, block_seconds=0.2,
)  # fmt: skip
# A ceiling for what must happen some time: a busy machine makes a run slow, and never wrong.
PATIENCE_SECONDS = 240.0
_LOOK_SECONDS = 0.02


async def ingest(
    server: Server,
    url: str,
    *others: Server,
    observer: Observer | None = None,
    done: Callable[[], bool] | None = None,
    token: str | None = None,
    **changes: Any,
) -> Summary:
    """A worker until `done`: unless told otherwise, until everything that `server` holds has been committed by it.

    The other servers are its fallbacks. With `until_idle` it ends by itself, with None there never.
    """
    heard = Heard() if observer is None else observer
    fallbacks = tuple(Endpoint(other.address) for other in others)
    changes = {"commit_every_ms": 20, "hold_seconds": 0.2, "waits": QUICK, "fallbacks": fallbacks, **changes}
    options = Options(Endpoint(server.address, x_token=token), url, **changes)
    if done is None and "until_idle" not in changes:
        done = partial(has_all, heard, server)
    return await ended(options, decode, heard, done)


async def ended(
    options: Options, decoder: Decoder | None, observer: Observer, done: Callable[[], bool] | None
) -> Summary:
    """A worker until `done`, or without it until it ends by itself."""
    stopping = asyncio.Event()
    running = asyncio.create_task(run(options, decoder, observer, stopping))
    try:
        if done is not None:
            watching = asyncio.create_task(until(done))
            await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
            assert running.done() or watching.result() is None
            watching.cancel()
            stopping.set()
        return await (running if options.until_idle is None else asyncio.wait_for(running, PATIENCE_SECONDS))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def has_all(heard: Any, server: Server) -> bool:
    """Whether this run has committed the newest slot of the server's chain, and with it whatever hole lies before."""
    return bool(heard.landed_slot >= server.chain.slots[-1])


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


def landed(url: str) -> list[tuple[Any, ...]]:
    return query(
        url,
        "SELECT slot, tx_index, outer_ix, inner_ix, event_seq, sig, wallet, ts_ns FROM raw_events"
        " ORDER BY slot, tx_index, outer_ix, inner_ix, event_seq",
    )


def open_gaps(url: str) -> list[tuple[int, int]]:
    return query(url, "SELECT from_slot, to_slot FROM ingest_gaps WHERE filled_at IS NULL ORDER BY 1")


def check_nothing_is_silent(url: str, chain: Chain) -> set[int]:
    """Every event stands there exactly once, or its slot stands in an open gap. Returns the slots in open gaps."""
    gaps = open_gaps(url)
    missing = {slot for slot in chain.slots if any(start <= slot <= end for start, end in gaps)}
    closed = {slot for (slot,) in query(url, "SELECT slot FROM ingest_slots")}
    assert closed | missing >= set(chain.slots), "a slot is neither closed nor in a gap"
    found = landed(url)
    assert len(found) == len(set(found))
    assert [row for row in found if row[0] not in missing] == chain.truth(among=set(chain.slots) - missing)
    return missing


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Returns once `condition` holds. It takes so many looks, not seconds: a starved machine stretches them."""
    for _ in range(round(seconds / _LOOK_SECONDS)):
        if condition():
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise AssertionError("it did not happen")


class Heard(Observer):
    """Remembers what a worker said."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.subscriptions: list[tuple[str, int | None]] = []
        self.away: list[float] = []
        self.opened: list[tuple[int, int]] = []
        self.filled: list[tuple[int, int]] = []
        self.checkpoint_slot = self.landed_slot = 0
        self.tip_slot = 0
        self.n_messages = 0
        self.is_ready = self.is_waiting = self.has_stood_by = False

    def ready(self) -> None:
        self.is_ready = True

    def standby(self, waiting: bool) -> None:
        self.is_waiting = waiting
        self.has_stood_by = self.has_stood_by or waiting

    def received(self, n_bytes: int, n_messages: int) -> None:
        self.n_messages += n_messages

    def tip(self, slot: int) -> None:
        self.tip_slot = max(self.tip_slot, slot)

    def checkpoint(self, slot: int) -> None:
        self.checkpoint_slot = slot

    def landed(self, slots: Mapping[int, int]) -> None:
        self.landed_slot = max((self.landed_slot, *slots))

    def gap_opened(self, from_slot: int, to_slot: int, reason: str) -> None:
        self.opened.append((from_slot, to_slot))

    def gap_filled(self, from_slot: int, to_slot: int) -> None:
        self.filled.append((from_slot, to_slot))

    def reconnect(self, reason: str, endpoint: str) -> None:
        self.reasons.append(reason)

    def subscribed(self, endpoint: str, from_slot: int | None) -> None:
        self.subscriptions.append((endpoint, from_slot))

    def database_away(self, seconds: float) -> None:
        self.away.append(seconds)


class Proxy:
    """Between a worker and Postgres. While frozen, connections stay open and nothing goes through."""

    def __init__(self, url: str) -> None:
        self.parts = urlsplit(url)
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.near: list[asyncio.StreamWriter] = []
        self._far: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        credentials = self.parts.netloc.rpartition("@")[0]
        return urlunsplit(self.parts._replace(netloc=f"{credentials}@127.0.0.1:{self.port}"))

    def freeze(self) -> None:
        """From now on nothing goes through."""
        self._thawed.clear()

    def thaw(self) -> None:
        """What was held back goes through."""
        self._thawed.set()

    def target(self, url: str) -> None:
        """The database behind it is another one now."""
        self.parts = urlsplit(url)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cuts every connection and refuses new ones."""
        if self._server is not None:
            self._server.close()
        for writer in (*self.near, *self._far):
            writer.transport.abort()
        self.near.clear()
        self._far.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.near.append(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(self.parts.hostname, self.parts.port)
            self._far.append(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
        if writer in self.near:
            writer.transport.abort()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    await proxy.open()
    try:
        yield proxy
    finally:
        proxy.thaw()
        await proxy.close()
