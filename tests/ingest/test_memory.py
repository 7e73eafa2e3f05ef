"""The worker as a process, under a feed without end: what it holds while its database hangs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from test_plugin_faults import recorded
from worker_runs import PATIENCE_SECONDS, proxied, query, until

from copytrader_core.geyser import copytrader_geyser_pb2 as pb

pytestmark = pytest.mark.drill

TRANSACTIONS_PER_BLOCK = 300
MIB = 2**20


class Flood:
    """Sends blocks of hundreds of transactions as fast as they are taken; its slots never end."""

    def __init__(self) -> None:
        infos = [info for block in recorded(1000) for info in block.transactions][:TRANSACTIONS_PER_BLOCK]
        self._block = pb.SubscribeUpdateBlock(blockhash="hash", transactions=infos)
        self.n_blocks = 0
        self.block_bytes = self._block.ByteSize()
        self.address = ""

    async def subscribe(self, requests: AsyncIterator[bytes], context: Any) -> None:
        await anext(requests)
        while True:
            slot = 1000 + self.n_blocks
            self._block.slot, self._block.parent_slot = slot, slot - 1
            self._block.block_time.timestamp = 1_790_000_000 + slot // 3
            await context.write(pb.SubscribeUpdate(block=self._block).SerializeToString())
            self.n_blocks += 1


@asynccontextmanager
async def flooding() -> AsyncIterator[Flood]:
    flood = Flood()
    handlers = {"Subscribe": grpc.stream_stream_rpc_method_handler(flood.subscribe)}
    running = grpc.aio.server(options=(("grpc.max_send_message_length", -1),))
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("geyser.Geyser", handlers),))
    flood.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    await running.start()
    try:
        yield flood
    finally:
        await running.stop(grace=None)


def peak_mib(pid: int) -> int:
    """The most memory that the process has ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def n_landed(url: str) -> int:
    return int(query(url, "SELECT count(*) FROM ingest_slots")[0][0])


async def has_stopped(flood: Flood) -> None:
    """Returns when nothing has been taken for a while."""
    taken = -1
    while taken != flood.n_blocks:
        taken = flood.n_blocks
        await asyncio.sleep(3.0)


async def test_memory_stays_below_400_mb_while_the_database_hangs(pg_url: str) -> None:
    async with flooding() as flood, proxied(pg_url) as proxy:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "copytrader_cli.main", "ingest", "--endpoint", flood.address,
            env={**os.environ, "DATABASE_URL": proxy.url}, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await until(lambda: n_landed(pg_url) > 5)
        proxy.freeze()
        await has_stopped(flood)
        waiting = (flood.n_blocks - n_landed(pg_url)) * flood.block_bytes // MIB
        taken, peak = flood.n_blocks, peak_mib(worker.pid)
        print(f"{waiting} MiB of messages wait, at most {peak} MiB of memory were held")
        proxy.thaw()
        await until(lambda: flood.n_blocks > taken)
        worker.terminate()
        await asyncio.wait_for(worker.wait(), PATIENCE_SECONDS)
    assert waiting > 50, "the feed was large enough to fill what may wait"
    assert peak < 400
