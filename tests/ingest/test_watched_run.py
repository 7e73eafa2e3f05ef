"""A real worker on a real stream and database, watched: its metrics are the truth, its state is what happens to it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from chain_double import Act, Chain, Server, plant_transaction, serving
from watching import fetch, heard, listening_manager, samples
from worker_runs import PATIENCE_SECONDS, ingest, proxied, query, until

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.service import Service
from ingest_worker.monitor import monitored
from ingest_worker.subscription import Shape
from ingest_worker.telemetry import Telemetry

SECOND = 10**9


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with listening_manager(tmp_path) as manager:
        yield manager


@dataclass
class StampedServer(Server):
    """Stamps what it sends, as providers do; its clock is ahead of ours by `ahead_seconds`."""

    ahead_seconds: float = 0.0

    def _messages(self, *asked: Any) -> list[pb.SubscribeUpdate | bytes]:
        messages = super()._messages(*asked)
        for message in messages:
            if isinstance(message, pb.SubscribeUpdate):
                stamp_ns = time.time_ns() + int(self.ahead_seconds * SECOND)
                message.created_at.seconds, message.created_at.nanos = divmod(stamp_ns, SECOND)
        return messages


def has_committed(telemetry: Telemetry, chain: Chain) -> bool:
    return telemetry.checkpoint_slot >= chain.slots[-1]


async def test_the_metrics_of_a_run_are_the_truth(pg_url: str) -> None:
    chain = Chain.plant(60)
    plant_transaction(chain.blocks[30], [], index=90, data=b"boom")
    cut = Act(cut_after=25, cut_with=grpc.StatusCode.UNAVAILABLE)
    telemetry = Telemetry()
    server = StampedServer(chain, acts=[cut, Act()], withheld={chain.slots[50]}, extra=[b"\xff\xff not one"])
    async with serving(server):
        summary = await ingest(server, pg_url, observer=telemetry, done=lambda: has_committed(telemetry, chain))
    shown = samples(telemetry.exposition())
    ((events,),) = query(pg_url, "SELECT count(*) FROM raw_events")
    ((gaps,),) = query(pg_url, "SELECT count(*) FROM ingest_gaps WHERE filled_at IS NULL")
    ((letters,),) = query(pg_url, "SELECT count(*) FROM ingest_dead_letters")
    ((checkpoint,),) = query(pg_url, "SELECT slot FROM ingest_checkpoint")
    assert (events, gaps, letters) == (summary.events, 1, 2)
    expected = {
        "events_total": events, "duplicate_events_total": summary.duplicates, "slots_total": summary.slots,
        "transactions_total": summary.transactions, "gaps_open": gaps, "gaps_opened_total": gaps,
        "dead_letters_total": letters, "undecodable_total{kind=decoder_error}": 1, "checkpoint_slot": checkpoint,
        "tip_slot": chain.slots[-1], "slots_behind_tip": 0,
        "commit_rows_sum": events + summary.duplicates,
        "state{state=stopping}": 1, "database_away_seconds": 0,
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    assert sum(value for name, value in shown.items() if name.startswith("reconnects_total")) == 1
    # A slot and its replay are measured once where one commit holds both, or the replay comes during the commit.
    for lag in ("slot_close_to_commit_seconds_count", "block_time_to_commit_seconds_count"):
        assert len(chain.blocks) - 1 <= shown[lag] <= summary.slots
    sent = sum(len(pb.SubscribeUpdate(block=block).SerializeToString()) for block in chain.blocks)
    assert sent <= shown["received_bytes_total"] < 2 * sent


async def test_another_run_begins_with_the_checkpoint_and_the_gaps_of_the_last(pg_url: str) -> None:
    chain = Chain.plant(30)
    async with serving(Server(chain, withheld={chain.slots[12]})) as server:
        await ingest(server, pg_url)
        telemetry = Telemetry()
        server.acts = [Act(silent=True, cut_after=0)]
        running = asyncio.create_task(ingest(server, pg_url, observer=telemetry, until_idle=None))
        await until(lambda: telemetry.checkpoint_slot > 0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    shown = samples(telemetry.exposition())
    assert (shown["gaps_open"], shown["gaps_opened_total"]) == (1, 0)
    assert shown["checkpoint_slot"] == chain.slots[-1]


@pytest.mark.parametrize("shape", list(Shape))
async def test_all_three_clocks_of_a_slot_are_kept(pg_url: str, shape: Shape) -> None:
    before = time.time_ns()
    server = StampedServer(Chain.plant(10), ahead_seconds=1000.0)
    async with serving(server):
        await ingest(server, pg_url, shape=shape)
    assert query(
        pg_url,
        "SELECT count(*), count(block_time), min(created_at_ns - recv_ts_ns) > 900e9,"
        f" min(recv_ts_ns) >= {before}, max(recv_ts_ns) <= {time.time_ns()} FROM ingest_slots",
    ) == [(10, 10, True, True, True)]


async def test_a_wrong_clock_is_noticed_in_a_run(
    pg_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ingest_worker.skew._APART_NS", 0)
    telemetry = Telemetry()
    chain = Chain.plant(40, t0=int(time.time()) + 60, slots_per_second=1000)
    server = StampedServer(chain, ahead_seconds=60.0)
    async with serving(server), monitored(telemetry, Service(), 0) as monitor:
        running = asyncio.create_task(ingest(server, pg_url, observer=telemetry, until_idle=None))
        await until(lambda: telemetry.clock_complaint() is not None)
        monitor.look()
        status, document = await fetch(monitor, "/healthz")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (status, document["healthy"]) == (200, True)
    assert "s behind provider and chain" in document["clock"]
    assert [record.levelname for record in caplog.records if "clock_skewed" in record.message] == ["WARNING"]


async def test_a_database_that_goes_away_shows_at_once_and_its_return_too(
    pg_url: str, manager: tuple[socket.socket, str]
) -> None:
    listening, address = manager
    telemetry = Telemetry()
    server = Server(Chain.plant(3000), seconds_per_slot=0.01)
    async with serving(server), proxied(pg_url) as proxy, monitored(telemetry, Service(address, 0.3), 0) as monitor:
        running = asyncio.create_task(ingest(server, proxy.url, observer=telemetry, until_idle=None))
        await until(lambda: telemetry.checkpoint_slot > 1020)
        await proxy.close()
        await until(lambda: telemetry.verdict().state == "database_away")
        status, document = await fetch(monitor, "/healthz")
        heard(listening)
        await asyncio.sleep(0.3)
        pings = heard(listening)
        before = telemetry.checkpoint_slot
        await proxy.open()
        await until(lambda: telemetry.verdict().healthy and telemetry.checkpoint_slot > before)
        again, _ = await fetch(monitor, "/healthz")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (status, document["state"], again) == (503, "database_away", 200)
    assert "WATCHDOG=1" in pings
    assert samples(telemetry.exposition())["database_away_seconds"] == 0


async def test_a_second_worker_is_a_healthy_standby_until_it_takes_over(pg_url: str) -> None:
    server = Server(Chain.plant(3000), seconds_per_slot=0.01)
    first, second = Telemetry(), Telemetry()
    async with serving(server), monitored(second, Service(), 0) as monitor:
        one = asyncio.create_task(ingest(server, pg_url, observer=first, until_idle=None))
        await until(lambda: first.verdict().state == "streaming")
        two = asyncio.create_task(ingest(server, pg_url, observer=second, until_idle=None))
        await until(lambda: second.verdict().state == "standby")
        waiting, document = await fetch(monitor, "/healthz")
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        await until(lambda: second.verdict().state == "streaming" and second.checkpoint_slot > 0)
        two.cancel()
        await asyncio.gather(two, return_exceptions=True)
    assert (waiting, document["state"], document["healthy"]) == (200, "standby", True)


async def test_the_command_serves_its_manager_its_operator_and_no_secret(
    pg_url: str, manager: tuple[socket.socket, str], tmp_path: Path
) -> None:
    listening, address = manager
    token = "t0ken-that-nobody-may-see"
    (tmp_path / "token").write_text(token)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with serving(Server(Chain.plant(2000), token=token, seconds_per_slot=0.01)) as server:
        arguments = ["--endpoint", server.address, "--x-token-file", str(tmp_path / "token")]
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "copytrader_cli.main", "ingest", *arguments, "--metrics-port", str(port),
            "--log-format", "json",
            env={**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while lines.count("WATCHDOG=1") < 5 or not any("streaming" in line for line in lines):
                lines += heard(listening)
                await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            metrics = await answer.text()
        worker.terminate()
        _, logged = await asyncio.wait_for(worker.communicate(), PATIENCE_SECONDS)
    lines += heard(listening)
    assert worker.returncode == 0
    assert lines.index("READY=1") < lines.index("STOPPING=1")
    assert token not in metrics + logged.decode() + "".join(lines)
    assert {json.loads(line)["level"] for line in logged.splitlines()} <= {"INFO", "WARNING"}
