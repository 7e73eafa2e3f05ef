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

import pytest
from chain_double import Chain, Server, serving
from worker_runs import Heard, Proxy, check_nothing_is_silent, ingest, kill_postgres, landed, proxied, query, until

from copytrader_core.errors import StoreError
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate
from ingest_worker import worker, writer

pytestmark = pytest.mark.drill

HERE = Path(__file__).parent


class Nursery:
    """Worker processes that start within milliseconds."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pids: list[int] = []

    async def start(self) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self.pids.append(int(await asyncio.wait_for(self._process.stdout.readline(), 20)))
        return self.pids[-1]


@asynccontextmanager
async def nursery(server: Server, url: str) -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, HERE / "worker_nursery.py", server.address, url,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = Nursery(process)
    try:
        yield found
    finally:
        for pid in found.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        await process.wait()


def n_closed(url: str) -> int:
    return int(query(url, "SELECT count(*) FROM ingest_slots")[0][0])


async def start_again(database: EmbeddedPostgres) -> str:
    """In a process of its own: to fork this one, with gRPC's threads in it, is not safe."""
    code = "import sys; from pathlib import Path; from copytrader_core.store.embedded import EmbeddedPostgres as E"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{code}; print(E(Path(sys.argv[1])).start())", database.root, stdout=subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    return said.decode().strip()


def has_grown(url: str, since: int) -> bool:
    return n_closed(url) > since


async def test_twenty_kills_at_random_moments_lose_and_double_nothing(pg_url: str) -> None:
    rng, chain = random.Random(20), Chain.plant(400, seed=20)
    async with serving(Server(chain, seconds_per_slot=0.01)) as server, nursery(server, pg_url) as workers:
        for _ in range(20):
            pid = await workers.start()
            await asyncio.sleep(rng.uniform(0.03, 0.45))
            os.kill(pid, signal.SIGKILL)
            closed = {slot for (slot,) in query(pg_url, "SELECT slot FROM ingest_slots")}
            assert landed(pg_url) == chain.truth(among=closed), "a slot is landed whole or not at all"
        assert n_closed(pg_url) > 0
        server.seconds_per_slot = 0
        await ingest(server, pg_url)
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_a_standby_takes_over_within_seconds_of_a_kill(pg_url: str) -> None:
    chain = Chain.plant(300)
    async with serving(Server(chain, seconds_per_slot=0.02)) as server, nursery(server, pg_url) as workers:
        first = await workers.start()
        await until(lambda: n_closed(pg_url) > 0)
        await workers.start()
        await asyncio.sleep(0.5)
        assert len(server.requests) == 1, "the standby does not subscribe"
        os.kill(first, signal.SIGKILL)
        landed_before, killed_at = n_closed(pg_url), time.monotonic()
        await until(lambda: n_closed(pg_url) > landed_before + 5, 6)
        assert time.monotonic() - killed_at < 4
        closed = {slot for (slot,) in query(pg_url, "SELECT slot FROM ingest_slots")}
    assert landed(pg_url) == chain.truth(among=closed)


async def test_a_standby_takes_over_when_the_first_one_hangs(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_OPTIONS", writer._OPTIONS.replace(writer._IDLE_LIMIT, "1s"))
    monkeypatch.setattr(worker, "_TOUCH_SECONDS", 0.3)
    chain = Chain.plant(150)
    async with serving(Server(chain, seconds_per_slot=0.02)) as server, proxied(pg_url) as proxy:
        hanging = asyncio.create_task(ingest(server, proxy.url, until_idle=60))
        await until(lambda: n_closed(pg_url) > 0)
        proxy.freeze()
        frozen_at = time.monotonic()
        await ingest(server, pg_url, until_idle=1.2)
        assert time.monotonic() - frozen_at < 15
        hanging.cancel()
        await proxy.close()
        await asyncio.gather(hanging, return_exceptions=True)
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_a_session_that_broke_does_not_keep_its_own_worker_waiting(pg_url: str) -> None:
    chain, heard = Chain.plant(120), Heard()
    async with serving(Server(chain, seconds_per_slot=0.01)) as server, proxied(pg_url) as proxy:
        running = asyncio.create_task(ingest(server, proxy.url, until_idle=2.0, observer=heard))
        await until(lambda: n_closed(pg_url) > 0)
        await _strand(proxy)
        await running
    assert heard.away and heard.away[-1] == 0.0
    assert max(heard.away) < 5, "the lock of the broken session was not waited for"
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
            running = asyncio.create_task(ingest(server, proxy.url, until_idle=2.0, observer=heard))
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


@pytest.mark.parametrize("how", ["hangs", "is gone"])
async def test_sigterm_ends_within_five_seconds_though_postgres(pg_url: str, how: str) -> None:
    chain = Chain.plant(400)
    async with serving(Server(chain, seconds_per_slot=0.01)) as server, proxied(pg_url) as proxy:
        process = await asyncio.create_subprocess_exec(
            sys.executable, HERE / "worker_process.py", server.address, proxy.url,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        await until(lambda: n_closed(pg_url) > 0)
        proxy.freeze()
        if how == "is gone":
            await proxy.close()
        await asyncio.sleep(0.5)
        process.terminate()
        started = time.monotonic()
        _, said = await asyncio.wait_for(process.communicate(), 10)
        assert time.monotonic() - started < 5
        assert process.returncode == 1 and StoreError.__name__.encode() in said
        closed = {slot for (slot,) in query(pg_url, "SELECT slot FROM ingest_slots")}
        assert landed(pg_url) == chain.truth(among=closed)


async def test_while_the_database_hangs_nothing_more_is_read_than_fits(
    pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_BACKLOG_BYTES", 2000)
    chain, heard = Chain.plant(1500), Counted()
    async with serving(Server(chain)) as server, proxied(pg_url) as proxy:
        running = asyncio.create_task(_small_batches(server, proxy.url, heard))
        await until(lambda: n_closed(pg_url) > 0)
        proxy.freeze()
        await asyncio.sleep(0.5)
        read = heard.n_messages
        await asyncio.sleep(0.7)
        assert heard.n_messages == read < 1500, "reading has stopped"
        proxy.thaw()
        await running
    assert check_nothing_is_silent(pg_url, chain) == set()


async def _small_batches(server: Server, url: str, heard: Heard) -> None:
    await ingest(server, url, observer=heard, commit_rows=20, commit_every_ms=5, until_idle=2.0)


class Counted(Heard):
    """Counts what came."""

    def __init__(self) -> None:
        super().__init__()
        self.n_messages = 0

    def received(self, n_bytes: int, n_messages: int) -> None:
        self.n_messages += n_messages
