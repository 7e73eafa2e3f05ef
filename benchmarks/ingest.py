"""From the wire to committed rows: our worker beside the official Node client that merely receives the same messages.

Every contender gets a fresh server process that replays what it has read before, as fast as it is taken; ours lands in
a durable Postgres on the same cores. Time runs from the first message received to the last row committed, or to the
last message received.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks import official
from benchmarks.feed import Feed, sources, write_feed
from benchmarks.measure import Measured
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import YellowstoneClient, parse_endpoint
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate

_ROUNDS: Final = int(os.environ.get("ROUNDS", "3"))
_PER_SLOT: Final = 100
_N_SLOTS: Final = 200
# 500 transactions a second: slots of 400 ms.
_PACED_PER_SLOT: Final = 200
_PACED_SLOTS: Final = 110
_POLL_SECONDS: Final = 0.004
_LIMIT_SECONDS: Final = 120.0
_PROGRAMS: Final = [str(PUMP_PROGRAM), str(AMM_PROGRAM)]
# The worker's own subscription, in the clients' spelling.
_REQUESTS: Final = {
    "blocks": {
        "blocks": {
            "copytrader": {
                "accountInclude": _PROGRAMS,
                "includeTransactions": True,
                "includeAccounts": False,
                "includeEntries": False,
            }
        }
    },
    "transactions": {
        "transactions": {
            "copytrader": {
                "accountInclude": _PROGRAMS,
                "accountExclude": [],
                "accountRequired": [],
                "vote": False,
                "failed": False,
            }
        }
    },
}


def run() -> list[Measured]:
    """Interleaved rounds over both stream shapes; with the latency at a steady 500 transactions a second at the end."""
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder, _postgres(Path(folder)) as url:
        for source in os.environ.get("FEED", ",".join(sources())).split(","):
            feed = write_feed(Path(folder) / f"{source}.tape", source, _N_SLOTS, _PER_SLOT)
            print(f"{source}: {feed.n_transactions} transactions, {feed.n_bytes / feed.n_transactions:,.0f} bytes each")
            found += _race(url, feed, source)
        steady = write_feed(Path(folder) / "steady.tape", next(sources()), _PACED_SLOTS, _PACED_PER_SLOT)
        _print_latency(asyncio.run(_latencies_ms(url, steady)))
    return found


def _race(url: str, feed: Feed, source: str) -> list[Measured]:
    contenders: dict[str, Callable[[], float]] = {}
    for shape in _REQUESTS:
        contenders[f"{source}, {shape}: wire to committed rows"] = lambda shape=shape: _ours(url, feed, shape)
        contenders[f"{source}, {shape}: Node client 4.0.2, only receiving"] = lambda shape=shape: _node(feed, shape)
    try:
        official.install()
    except official.MissingError as error:
        print(f"measured without the official client: {error}")
        contenders = {name: run for name, run in contenders.items() if "Node" not in name}
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_ROUNDS):
        for name, contender in contenders.items():
            speeds[name].append(contender())
    return [Measured(name, "transactions", tuple(values)) for name, values in speeds.items()]


def _ours(url: str, feed: Feed, shape: str) -> float:
    """Transactions a second of one worker process. What it landed is checked."""
    with (
        _database(url) as database,
        _server(feed.tape, *_replaying(feed)) as address,
        _worker(address, database, shape, "--from-slot", str(feed.first_slot)),
        psycopg.connect(database, autocommit=True) as watch,
    ):
        ended_ns = _committed(watch, feed.last_slot)
        rows, first_ns = watch.execute("SELECT count(*), min(recv_ts_ns) FROM raw_events").fetchone() or (0, 0)
    assert rows == feed.n_rows, f"landed {rows} rows instead of {feed.n_rows}"
    return (feed.n_transactions if shape == "blocks" else feed.n_landed) / (ended_ns - first_ns) * 1e9


def _committed(watch: psycopg.Connection, slot: int) -> int:
    """The Unix time in ns at which `slot` was seen committed."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < deadline:
        found = watch.execute("SELECT slot FROM ingest_checkpoint").fetchone()
        if found and found[0] >= slot:
            return time.time_ns()
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"slot {slot} was not committed within {_LIMIT_SECONDS:g} s")


def _node(feed: Feed, shape: str) -> float:
    request = {"commitment": int(pb.CONFIRMED), "fromSlot": feed.first_slot, **_REQUESTS[shape]}
    request["blocksMeta"] = {"copytrader": {}}
    with _server(feed.tape, *_replaying(feed)) as address:
        line, environment = official.command("yellowstone-4", address, {"request": request, "last": feed.last_slot})
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=True)
    found = json.loads(done.stdout)
    expected = feed.n_transactions if shape == "blocks" else feed.n_landed
    assert found["transactions"] == expected, f"received {found['transactions']} of {expected} transactions"
    return float(expected / (int(found["last_ns"]) - int(found["first_ns"])) * 1e9)


def _replaying(feed: Feed) -> tuple[str, ...]:
    """All slots but the last are there from the start: reading the tape is none of the contenders' time."""
    return ("--speed", "0", "--from-slot", str(feed.last_slot))


async def _latencies_ms(url: str, feed: Feed) -> list[float]:
    """Milliseconds from the moment that each slot closed on the chain to its commit, at the chain's own pace."""
    serving = ("--speed", "1", "--confirmed-after-ms", "0", "--wait-for-clients", "2")
    committed: dict[int, float] = {}
    with _database(url) as database, _server(feed.tape, *serving) as address, _worker(address, database, "blocks"):
        closed = asyncio.create_task(_closings(address, feed.last_slot))
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as watch:
            while feed.last_slot not in committed:
                cursor = await watch.execute("SELECT slot FROM ingest_slots ORDER BY slot DESC LIMIT 20")
                now = time.time()
                for (slot,) in await cursor.fetchall():
                    committed.setdefault(slot, now)
                await asyncio.sleep(_POLL_SECONDS)
        moments = await closed
    return [(committed[slot] - moment) * 1000 for slot, moment in moments.items()]


async def _closings(address: str, last_slot: int) -> dict[int, float]:
    """Slot -> the Unix time at which the chain gave it out, heard of by a second, light subscription."""
    moments: dict[int, float] = {}
    request = pb.SubscribeRequest(commitment=pb.CONFIRMED)
    request.blocks_meta["slots"].SetInParent()
    async with YellowstoneClient(parse_endpoint(address)) as client:
        async for received in client.subscribe(request):
            update = received.update
            if update is not None and update.HasField("block_meta"):
                moments[update.block_meta.slot] = update.created_at.seconds + update.created_at.nanos / 1e9
            if last_slot in moments:
                break
    return moments


def _print_latency(values: list[float]) -> None:
    p50, p99 = statistics.median(values), statistics.quantiles(values, n=100)[98]
    print(
        f"slot close to commit at 500 transactions/s, {len(values)} slots: "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(values):.0f} ms"
    )


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    server = EmbeddedPostgres(folder / "pg", durable=True)
    url = server.start()
    try:
        migrate(url)
        yield url
    finally:
        server.remove()


@contextmanager
def _database(url: str) -> Iterator[str]:
    """A fresh database beside the migrated one, flushed to disk before anything is timed."""
    base, _, template = url.rpartition("/")
    name = f"bench_{secrets.token_hex(4)}"
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        admin.execute("CHECKPOINT")
        yield f"{base}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def _server(tape: Path, *options: str) -> Iterator[str]:
    """The address of a server process that plays `tape`."""
    with _process(["simnet", "play", str(tape), *options], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()


@contextmanager
def _worker(address: str, database: str, shape: str, *options: str) -> Iterator[None]:
    environment = {**os.environ, "DATABASE_URL": database}
    command = ["ingest", "--endpoint", address, "--shape", shape, *options]
    with _process(command, env=environment, stderr=subprocess.DEVNULL) as process:
        yield
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextmanager
def _process(command: list[str], **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "copytrader_cli.main", *command], **how)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
