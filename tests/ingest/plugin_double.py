"""A Yellowstone server with the open-source plugin's rules, on the official field numbers; its node makes blocks live.

The rules are those of yellowstone-grpc-geyser 15.1: confirmed blocks whole and in order (transactions, block,
block_meta, slot status), a queue for each client that is never waited for, a window of stored slots for replays, a ping
at the start and now and then, and a request with a ping in it that is answered and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from plugin_wire import CONFIRMED, MESSAGES, Block, Request, Update
from solders.pubkey import Pubkey

Code = grpc.StatusCode
_LAGGED = (Code.INTERNAL, "lagged to send an update")


@dataclass
class Fault:
    """What happens to one connection after so many messages, and to the node with it.

    `ends_with`: the status, None for a clean end. `stalls`: nothing comes any more instead, while the node goes on.
    `outage_blocks`: the node refuses everybody until it has made so many more blocks. `restarts`: it forgets what it
    has stored, and has nothing to replay yet when it is back.
    """

    after: int
    ends_with: tuple[grpc.StatusCode, str] | None = None
    stalls: bool = False
    outage_blocks: int = 0
    restarts: bool = False


class _RefusedError(Exception):
    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.status = (code, text)


@dataclass
class Plugin:
    """The node's blocks come every `seconds_per_block` once somebody has subscribed. Each connection takes a fault.

    The last `waited_for` blocks wait for a client that hears of them, as if the node lived on.
    """

    blocks: Sequence[Any]
    faults: list[Fault] = field(default_factory=list)
    stored_slots: int = 150
    queue_messages: int = 100_000
    seconds_per_block: float = 0.003
    seconds_per_ping: float = 10.0
    repeats: int = 1
    leaves_out_empty: bool = False
    lost_blocks: set[int] = field(default_factory=set)
    waited_for: int = 10
    address: str = ""
    connections: int = 0
    pongs: int = 0
    n_lagged: int = 0

    def __post_init__(self) -> None:
        self.made = 0
        self._stored: deque[Any] = deque(maxlen=self.stored_slots)
        self._clients: set[_Client] = set()
        self._refuses_until = 0
        self._begun = asyncio.Event()
        self._attended = asyncio.Event()
        self._stores = True

    @property
    def last_slot(self) -> int:
        return int(self.blocks[-1].slot)

    def begin(self) -> None:
        """The node makes its first block; it does so by itself for the first client."""
        self._begun.set()

    async def make(self) -> None:
        """The node's life."""
        await self._begun.wait()
        for block in self.blocks:
            if self.made >= len(self.blocks) - self.waited_for:
                await self._attended.wait()
            if self._stores:
                self._stored.append(block)
            self.made += 1
            for client in tuple(self._clients):
                client.offer(block)
            await asyncio.sleep(self.seconds_per_block)

    async def subscribe(self, requests: AsyncIterator[bytes], context: Any) -> None:
        self.connections += 1
        if self.made < self._refuses_until:
            await context.abort(Code.UNAVAILABLE, "the node is away")
        client = _Client(self, self.faults.pop(0) if self.faults else None)
        listening = asyncio.create_task(client.listen(requests))
        try:
            await client.serve(context)
        except _RefusedError as refusal:
            await context.abort(*refusal.status)
        finally:
            listening.cancel()
            self.detach(client)

    def attach(self, client: _Client) -> None:
        """A client with a filter hears of every new block."""
        self._clients.add(client)
        self._attended.set()
        self.begin()
        self._stores = True

    def detach(self, client: _Client) -> None:
        """A client hears of nothing more."""
        self._clients.discard(client)
        if not self._clients:
            self._attended.clear()

    def replay(self, from_slot: int) -> list[Any]:
        """The stored blocks from a slot on. Raises _RefusedError as the plugin does."""
        if self.stored_slots == 0:
            raise _RefusedError(Code.INTERNAL, "from_slot is not supported")
        if not self._stored or from_slot > self._stored[-1].slot:
            raise _RefusedError(Code.INTERNAL, "failed to get replay response")
        if from_slot < (oldest := self._stored[0].slot):
            text = f"broadcast from {from_slot} is not available, last available: {oldest}"
            raise _RefusedError(Code.OUT_OF_RANGE, text)
        return [block for block in self._stored if block.slot >= from_slot]

    def suffer(self, client: _Client, fault: Fault) -> None:
        """The node's share of a connection's fault."""
        self.detach(client)
        self._refuses_until = self.made + fault.outage_blocks
        if fault.restarts:
            self._stores = False
            self._stored.clear()

    async def replay_info(self, request: bytes, context: Any) -> bytes:
        oldest = self._stored[0].slot if self._stored else None
        answer: bytes = MESSAGES["SubscribeReplayInfoResponse"](first_available=oldest).SerializeToString()
        return answer

    async def slot(self, request: bytes, context: Any) -> bytes:
        answer: bytes = MESSAGES["GetSlotResponse"](slot=self.blocks[max(0, self.made - 1)].slot).SerializeToString()
        return answer


class _Client:
    """One connection: its queue, its filter, its fault."""

    def __init__(self, plugin: Plugin, fault: Fault | None) -> None:
        self._plugin = plugin
        self._fault = fault
        self._queue: asyncio.Queue[bytes | _RefusedError] = asyncio.Queue()
        self._wanted: Any = None
        self._tell(Update(ping=MESSAGES["UpdatePing"]()))

    async def listen(self, requests: AsyncIterator[bytes]) -> None:
        """Every request replaces the filter, but for one with a ping."""
        async for raw in requests:
            request = Request.FromString(raw)
            if request.HasField("ping"):
                self._plugin.pongs += 1
                self._tell(Update(pong=MESSAGES["UpdatePong"](id=request.ping.id)))
                continue
            self._wanted = request
            self._plugin.attach(self)
            if request.HasField("from_slot"):
                self._replay(request.from_slot)

    def offer(self, block: Any) -> None:
        """A new block; whoever does not take it in time is cut off."""
        for _ in range(self._plugin.repeats):
            for message in self._told_of(block):
                if self._queue.qsize() >= self._plugin.queue_messages:
                    self._queue.put_nowait(_RefusedError(*_LAGGED))
                    self._plugin.n_lagged += 1
                    self._plugin.detach(self)
                    return
                self._tell(message)

    async def serve(self, context: Any) -> None:
        """Writes what is queued until the fault. Raises _RefusedError."""
        pinging = asyncio.create_task(self._ping())
        sent = 0
        try:
            while self._fault is None or sent < self._fault.after:
                found = await self._queue.get()
                if isinstance(found, _RefusedError):
                    raise found
                await context.write(found)
                sent += 1
            await self._fail(self._fault)
        finally:
            pinging.cancel()

    async def _fail(self, fault: Fault) -> None:
        self._plugin.suffer(self, fault)
        if fault.stalls:
            await asyncio.Event().wait()
        if fault.ends_with is not None:
            raise _RefusedError(*fault.ends_with)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._plugin.seconds_per_ping)
            self._tell(Update(ping=MESSAGES["UpdatePing"]()))

    def _replay(self, from_slot: int) -> None:
        try:
            for block in self._plugin.replay(from_slot):
                for message in self._told_of(block):
                    self._tell(message)
        except _RefusedError as refusal:
            self._queue.put_nowait(refusal)

    def _tell(self, update: Any) -> None:
        self._queue.put_nowait(update.SerializeToString())

    def _told_of(self, block: Any) -> list[Any]:
        """What this client hears of a block, in the plugin's order."""
        wanted, found = self._wanted, []
        assert wanted.commitment == CONFIRMED
        for name, rule in wanted.transactions.items():
            found += [
                Update(filters=[name], transaction=MESSAGES["UpdateTransaction"](transaction=info, slot=block.slot))
                for info in _matching(block, rule.account_include)
                if rule.vote or not info.is_vote
            ]
        for name, rule in wanted.blocks.items():
            infos = _matching(block, rule.account_include)
            if block.slot not in self._plugin.lost_blocks and (infos or not self._plugin.leaves_out_empty):
                found.append(Update(filters=[name], block=_with(block, infos)))
        found += [Update(filters=[name], block_meta=_meta(block)) for name in wanted.blocks_meta]
        status = MESSAGES["UpdateSlot"](slot=block.slot, parent=block.parent_slot, status=CONFIRMED)
        return found + [Update(filters=[name], slot=status) for name in wanted.slots]


def _matching(block: Any, accounts: Iterable[str]) -> list[Any]:
    wanted = {bytes(Pubkey.from_string(account)) for account in accounts}
    return [info for info in block.transactions if not wanted.isdisjoint(_keys(info))]


def _keys(info: Any) -> list[bytes]:
    loaded = info.meta
    return [
        *info.transaction.message.account_keys,
        *loaded.loaded_writable_addresses,
        *loaded.loaded_readonly_addresses,
    ]


def _with(block: Any, infos: Sequence[Any]) -> Any:
    found = Block()
    found.CopyFrom(block)
    del found.transactions[:]
    found.transactions.extend(infos)
    return found


def _meta(block: Any) -> Any:
    return MESSAGES["UpdateBlockMeta"](
        slot=block.slot, blockhash=block.blockhash, parent_slot=block.parent_slot, block_time=block.block_time,
        block_height=block.block_height, parent_blockhash=block.parent_blockhash,
        executed_transaction_count=len(block.transactions),
    )  # fmt: skip


@asynccontextmanager
async def plugged(plugin: Plugin) -> AsyncIterator[Plugin]:
    """The server on loopback, its node alive."""
    handlers = {
        "Subscribe": grpc.stream_stream_rpc_method_handler(plugin.subscribe),
        "GetSlot": grpc.unary_unary_rpc_method_handler(plugin.slot),
        "SubscribeReplayInfo": grpc.unary_unary_rpc_method_handler(plugin.replay_info),
    }
    running = grpc.aio.server(options=(("grpc.max_send_message_length", -1),))
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("geyser.Geyser", handlers),))
    plugin.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    await running.start()
    life = asyncio.create_task(plugin.make())
    try:
        yield plugin
    finally:
        life.cancel()
        await running.stop(grace=None)
