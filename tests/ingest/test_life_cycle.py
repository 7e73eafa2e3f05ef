"""Killed, stopped, doubled, without a database: a worker's life, and that nothing of it shows in the rows."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import grpc
import pytest
from chain_double import Act, Chain, Server, serving
from nursery import nursery
from worker_runs import (
    PATIENCE_SECONDS,
    Heard,
    Proxy,
    check_nothing_is_silent,
    ingest,
    landed,
    proxied,
    query,
    until,
)

from copytrader_core.errors import StoreError
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate
from ingest_worker import worker, writer
from tests.ops.supervised import kill_postgres

HERE = Path(__file__).parent


def n_closed(url: str) -> int:
    return int(query(url, "SELECT count(*) FROM ingest_slots")[0][0])


async def start_again(database: EmbeddedPostgres) -> str:
    """In a process of its own: to fork this one, with gRPC's threads in it, is not safe."""
    code = "import sys; from pathlib import Path; from copytrader_core.store.embedded import EmbeddedPostgres as E"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{code}; print(E(Path(sys.argv[1])).start())", database.root, stdout=subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    return said.decode().strip()


def has_grown(url: str, since: int) -> bool:
    return n_closed(url) > since


async def test_twenty_kills_at_random_moments_lose_and_double_nothing(pg_url: str) -> None:
    rng, chain = random.Random(20), Chain.plant(400, seed=20)
    async with serving(Server(chain, seconds_per_slot=0.01)) as server, nursery(server.address, pg_url) as workers:
        for kill in range(20):
            n_requests, pid = len(server.requests), await workers.start()
            if kill % 2:
                await until(partial(_has_subscribed, server, n_requests))
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            os.kill(pid, signal.SIGKILL)
            closed = {slot for (slot,) in query(pg_url, "SELECT slot FROM ingest_slots")}
            assert landed(pg_url) == chain.truth(among=closed), "a slot is landed whole or not at all"
        server.seconds_per_slot = 0
        await ingest(server, pg_url)
    assert check_nothing_is_silent(pg_url, chain) == set()


def _has_subscribed(server: Server, n_requests: int) -> bool:
    return len(server.requests) > n_requests


async def test_a_standby_takes_over_from_a_worker_that_is_killed(pg_url: str) -> None:
    chain, second = Chain.plant(300), Heard()
    async with serving(Server(chain, seconds_per_slot=0.02)) as server, nursery(server.address, pg_url) as workers:
        first = await workers.start()
        await until(lambda: n_closed(pg_url) > 0)
        standby = asyncio.create_task(ingest(server, pg_url, observer=second))
        await until(lambda: second.is_waiting)
        assert len(server.requests) == 1, "the standby does not subscribe"
        os.kill(first, signal.SIGKILL)
        server.seconds_per_slot = 0
        await standby
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_a_standby_takes_over_when_the_first_one_hangs(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_OPTIONS", writer._OPTIONS.replace(writer._IDLE_LIMIT, "1s"))
    monkeypatch.setattr(worker, "_TOUCH_SECONDS", 0.3)
    chain = Chain.plant(150)
    async with serving(Server(chain, seconds_per_slot=0.02)) as server, proxied(pg_url) as proxy:
        hanging = asyncio.create_task(ingest(server, proxy.url, done=_never))
        await until(lambda: n_closed(pg_url) > 0)
        proxy.freeze()
        await ingest(server, pg_url)
        hanging.cancel()
        await proxy.close()
        await asyncio.gather(hanging, return_exceptions=True)
    assert check_nothing_is_silent(pg_url, chain) == set()


def _never() -> bool:
    return False


async def test_a_session_that_broke_does_not_keep_its_own_worker_waiting(pg_url: str) -> None:
    chain, heard = Chain.plant(120), Heard()
    async with serving(Server(chain, seconds_per_slot=0.01)) as server, proxied(pg_url) as proxy:
        running = asyncio.create_task(ingest(server, proxy.url, observer=heard))
        await until(lambda: n_closed(pg_url) > 0)
        await _strand(proxy)
        await running
    assert heard.away and heard.away[-1] == 0.0
    assert not heard.has_stood_by, "the lock of the broken session was not waited for"
    assert check_nothing_is_silent(pg_url, chain) == set()


async def _strand(proxy: Proxy) -> None:
    """The worker's side of each connection is cut, the server's stays: the old session goes on holding the lock."""
    for near in proxy.near:
        near.transport.abort()
    proxy.near.clear()


async def test_postgres_killed_and_restarted_under_load(tmp_path: Path) -> None:
    database = EmbeddedPostgres(tmp_path / "pg")
    url = database.start()
    migrate(url)
    chain, heard = Chain.plant(500), Heard()
    try:
        async with serving(Server(chain, seconds_per_slot=0.02)) as server, proxied(url) as proxy:
            running = asyncio.create_task(ingest(server, proxy.url, observer=heard))
            for _ in range(2):
                await until(partial(has_grown, url, n_closed(url)))
                await asyncio.to_thread(kill_postgres, url)
                await until(lambda: bool(heard.away) and heard.away[-1] > 0)
                url = await start_again(database)
                proxy.target(url)
                await until(lambda: heard.away[-1] == 0.0)
            server.seconds_per_slot = 0
            await running
        assert check_nothing_is_silent(url, chain) == set()
    finally:
        database.remove()


STATES = ["connecting", "refused", "live", "replaying", "standing by", "without a database", "with a hanging database"]


@pytest.mark.parametrize("state", STATES)
async def test_sigterm_ends_a_worker_that_is(pg_url: str, state: str) -> None:
    broken = state.endswith("database")
    status, _ = await ended_while(pg_url, state, *(() if broken else ("patient",)))
    assert status == (1 if broken else 0)


@pytest.mark.drill
@pytest.mark.parametrize("state", STATES)
async def test_sigterm_ends_within_five_seconds_a_worker_that_is(pg_url: str, state: str) -> None:
    assert (await ended_while(pg_url, state))[1] < 5


async def ended_while(url: str, state: str, *patient: str) -> tuple[int | None, float]:
    """Exit status of a worker that was told to end in `state`, and how long that took it while a processor was free for
    it; whatever is landed is whole."""
    chain, busy = Chain.plant(3000 if state == "replaying" else 400), state == "replaying"
    server = Server(chain, seconds_per_slot=0.0 if busy else 0.01)
    if state == "refused":
        server.acts = [Act(refuse=(grpc.StatusCode.UNAVAILABLE, "gone"))]
    async with serving(server), proxied(url) as proxy, mute_listener() as (mute, connected):
        other = asyncio.create_task(ingest(server, url, done=_never)) if state == "standing by" else None
        if other is not None:
            await until(lambda: n_closed(url) > 0)
        process = await asyncio.create_subprocess_exec(
            sys.executable, HERE / "worker_process.py", mute if state == "connecting" else server.address, proxy.url,
            *patient, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        if state == "connecting":
            await connected.wait()
        elif state == "standing by":
            while b"standby" not in await asyncio.wait_for(process.stderr.readline(), PATIENCE_SECONDS):
                pass
        else:
            await until(lambda: len(server.requests) > 1 if state == "refused" else n_closed(url) > 0)
        if state.endswith("database"):
            proxy.freeze()
        if state == "without a database":
            await proxy.close()
        starved = Starved(process.pid)
        process.terminate()
        started = time.monotonic()
        watching = asyncio.create_task(starved.watch())
        _, said = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        seconds = time.monotonic() - started - starved.seconds
        watching.cancel()
        if other is not None:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
    assert (StoreError.__name__.encode() in said) == (process.returncode == 1)
    assert landed(url) == chain.truth(among={slot for (slot,) in query(url, "SELECT slot FROM ingest_slots")})
    return process.returncode, seconds


class Starved:
    """How long a process' threads have been kept waiting for a processor: not its doing, on a busy machine."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._sum()
        self.seconds = 0.0

    async def watch(self) -> None:
        """Looks again and again: what a thread has waited is forgotten with it."""
        while True:
            self.seconds = max(self.seconds, self._sum() - self._before)
            await asyncio.sleep(0.05)

    def _sum(self) -> float:
        waited_ns = 0
        for thread in Path(f"/proc/{self._pid}/task").glob("*/schedstat"):
            with suppress(OSError):
                waited_ns += int(thread.read_text().split()[1])
        return waited_ns / 1e9


@asynccontextmanager
async def mute_listener() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """An address that takes connections and never says a word, and whether one has come."""
    connected, gone = asyncio.Event(), asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname()), connected
    finally:
        gone.set()
        server.close()


async def test_while_the_database_hangs_nothing_more_is_read_than_fits(
    pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_BACKLOG_BYTES", 2000)
    chain, heard = Chain.plant(1500), Heard()
    async with serving(Server(chain)) as server, proxied(pg_url) as proxy:
        running = asyncio.create_task(ingest(server, proxy.url, observer=heard, commit_rows=20, commit_every_ms=5))
        await until(lambda: n_closed(pg_url) > 0)
        proxy.freeze()
        read = -1
        while read != heard.n_messages:
            read = heard.n_messages
            await asyncio.sleep(0.7)
        assert read < 1500, "reading has stopped"
        proxy.thaw()
        await running
    assert check_nothing_is_silent(pg_url, chain) == set()
