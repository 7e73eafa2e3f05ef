"""A live chain in real time behind its four doors: Yellowstone gRPC, JSON-RPC, QUIC ports and block engine.

What happens on it is `simnet.live_chain`'s; what the doors say is theirs.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

from solders.pubkey import Pubkey

from simnet.bank import Bank
from simnet.block_engine import BlockEngine
from simnet.faults import Faults
from simnet.live_chain import LiveChain, LiveOptions
from simnet.live_rpc import LiveRpc
from simnet.stream import StreamRules
from simnet.tpu import TpuPort
from simnet.yellowstone import YellowstoneServer

__all__ = ["Live", "LiveOptions", "live_chain", "run_live"]


class Live:
    """A served chain. `tpu` gives every validator's QUIC address; `faults` may be changed at any time."""

    def __init__(self, chain: LiveChain) -> None:
        self.chain = chain
        self.tpu: dict[Pubkey, str] = {}
        self.ports: dict[Pubkey, TpuPort] = {}
        rules = StreamRules(replay_slots=chain.options.replay_slots)
        self.yellowstone = YellowstoneServer(chain.ledger, rules, None, 0)
        self.rpc = LiveRpc(chain, self.tpu)
        self.engine = BlockEngine(chain, chain.options.bundle_requests_per_s)
        self._moved = asyncio.Condition()

    @property
    def geyser(self) -> str:
        """The Yellowstone endpoint, "127.0.0.1:PORT"."""
        return self.yellowstone.address

    @property
    def rpc_url(self) -> str:
        """The JSON-RPC endpoint; POST /faults on it changes what goes wrong."""
        return f"http://{self.rpc.address}"

    @property
    def block_engine_url(self) -> str:
        """The block engine."""
        return self.engine.url

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self.chain.faults

    @property
    def bank(self) -> Bank:
        """The truth."""
        return self.chain.bank

    @property
    def slot(self) -> int:
        """The slot that has just passed."""
        return self.chain.slot

    def airdrop(self, wallet: Pubkey, lamports: int) -> None:
        """Lamports out of nothing, at once."""
        self.chain.airdrop(wallet, lamports)

    def addresses(self) -> dict[str, Any]:
        """Everything that a client needs."""
        return {
            "geyser": self.geyser,
            "rpc": self.rpc_url,
            "block_engine": self.block_engine_url,
            "faults": f"{self.rpc_url}/faults",
            "tpu": {str(identity): address for identity, address in self.tpu.items()},
            "slot": self.slot,
        }

    async def slots(self, count: int) -> None:
        """Returns after so many more slots."""
        last = self.slot + count
        async with self._moved:
            await self._moved.wait_for(lambda: self.slot >= last)

    async def start(self, stack: AsyncExitStack) -> None:
        """Opens the doors; the stack closes them. Raises StreamError for a port that is taken."""
        options = self.chain.options
        for number, keys in enumerate(self.chain.leaders.keys):
            port = TpuPort(keys, partial(self.chain.send_to_leader, keys.pubkey()), lambda: self.faults.tpu_parked)
            await port.start(options.tpu_port + number if options.tpu_port else 0)
            stack.callback(port.stop)
            self.ports[keys.pubkey()] = port
            self.tpu[keys.pubkey()] = port.address
        stack.push_async_callback(self.yellowstone.stop)
        await self.yellowstone.start(options.geyser_port)
        await self.rpc.start(options.rpc_port)
        stack.push_async_callback(self.rpc.stop)
        await self.engine.start(options.block_engine_port)
        stack.push_async_callback(self.engine.stop)

    async def run(self) -> None:
        """Steps the chain at its pace; one that cannot keep up goes as fast as it can."""
        loop, pace = asyncio.get_running_loop(), self.chain.options.slot_ms / 1000
        due = loop.time() + pace
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + pace, loop.time())
            self.chain.step()
            self.yellowstone.wake()
            if self.faults.strikes("stream_cut"):
                self.yellowstone.cut()
            async with self._moved:
                self._moved.notify_all()


@asynccontextmanager
async def live_chain(options: LiveOptions | None = None) -> AsyncIterator[Live]:
    """Serves a live chain on 127.0.0.1 while the `async with` block runs.

    Raises ConfigError for a bad option or where the programs cannot be had, StreamError for a port that is taken.
    """
    async with AsyncExitStack() as stack:
        live = Live(LiveChain(options or LiveOptions()))
        await live.start(stack)
        running = asyncio.create_task(live.run())
        try:
            yield live
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def run_live(options: LiveOptions, say: Callable[[str], None] = print) -> None:
    """Runs a live chain until SIGTERM or SIGINT; the one line said is its addresses as JSON. Raises as live_chain."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with live_chain(options) as live:
        say(json.dumps(live.addresses()))
        await stopped.wait()
