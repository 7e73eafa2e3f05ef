"""Running workers and looking at what they landed, and a TCP proxy that can cut or freeze a database's connections."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from chain_double import Chain, Server, decode

from copytrader_core.geyser.client import Endpoint
from ingest_worker.observer import SILENT, Observer
from ingest_worker.worker import Options, Summary, run


async def ingest(server: Server, url: str, *others: Server, observer: Observer = SILENT, **changes: Any) -> Summary:
    """A worker to its end; the other servers are its fallbacks."""
    fallbacks = tuple(Endpoint(other.address) for other in others)
    changes = {"until_idle": 0.3, "commit_every_ms": 20, "hold_seconds": 0.2, "fallbacks": fallbacks, **changes}
    return await asyncio.wait_for(run(Options(Endpoint(server.address), url, **changes), decode, observer), 30)


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


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


class Heard(Observer):
    """Remembers what a worker said."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.subscriptions: list[tuple[str, int | None]] = []
        self.away: list[float] = []

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


def kill_postgres(url: str) -> None:
    """Kills the whole server at once, as the kernel would, and waits until nothing of it is left."""
    ((folder,),) = query(url, "SHOW data_directory")
    pid = int(Path(folder, "postmaster.pid").read_text().split()[0])
    pids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [pid]
    for number in pids:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{number}").exists() for number in pids):
        assert time.monotonic() < deadline, "Postgres does not die"
        time.sleep(0.01)
