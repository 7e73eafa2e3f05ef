"""Small planted chains and a bare client for the tests of the tape and of the Yellowstone endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc
from solders.pubkey import Pubkey
from solders.signature import Signature

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from simnet.tape import TapeWriter
from simnet.yellowstone import serve


def key(n: int) -> bytes:
    """Account number n."""
    return n.to_bytes(32, "big")


def address(n: int) -> str:
    """Account number n as text."""
    return str(Pubkey(key(n)))


def signature(slot: int, index: int) -> bytes:
    """The signature of a transaction."""
    return slot.to_bytes(32, "big") + index.to_bytes(32, "big")


def signature_text(slot: int, index: int) -> str:
    """The same as text."""
    return str(Signature(signature(slot, index)))


def transaction(
    slot: int,
    index: int,
    accounts: list[int],
    *,
    loaded: tuple[list[int], list[int]] = ([], []),
    vote: bool = False,
    failed: bool = False,
    padding: int = 0,
) -> pb.SubscribeUpdateTransactionInfo:
    """One transaction that names `accounts` itself and `loaded` (writable, readonly) through lookup tables."""
    info = pb.SubscribeUpdateTransactionInfo(signature=signature(slot, index), index=index, is_vote=vote)
    info.transaction.message.account_keys.extend(map(key, accounts))
    info.meta.loaded_writable_addresses.extend(map(key, loaded[0]))
    info.meta.loaded_readonly_addresses.extend(map(key, loaded[1]))
    info.meta.log_messages.append("x" * padding)
    if failed:
        info.meta.err.err = b"\x01"
    return info


def block(
    slot: int, transactions: list[pb.SubscribeUpdateTransactionInfo], *, parent: int | None = None
) -> pb.SubscribeUpdateBlock:
    """One block; its time moves 0.4 s a slot."""
    return pb.SubscribeUpdateBlock(
        slot=slot,
        blockhash=f"hash-{slot}",
        parent_slot=slot - 1 if parent is None else parent,
        parent_blockhash=f"hash-{slot - 1}",
        block_time=pb.UnixTimestamp(timestamp=1_750_000_000 + slot * 2 // 5),
        block_height=pb.BlockHeight(block_height=slot - 10),
        executed_transaction_count=len(transactions),
        transactions=transactions,
    )


def write_tape(path: Path, blocks: list[pb.SubscribeUpdateBlock]) -> Path:
    """A tape of `blocks`."""
    with TapeWriter(path, {"slot_ms": 400}, level=1) as writer:
        for one in blocks:
            writer.write(one)
    return path


def short(update: pb.SubscribeUpdate) -> tuple[Any, ...]:
    """An update in a few words: kind, slot, and what tells it apart."""
    kind = update.WhichOneof("update_oneof")
    if kind == "transaction":
        return ("tx", update.transaction.slot, update.transaction.transaction.index)
    if kind == "transaction_status":
        return ("tx_status", update.transaction_status.slot, update.transaction_status.index)
    if kind == "block":
        return ("block", update.block.slot, tuple(tx.index for tx in update.block.transactions))
    if kind == "block_meta":
        return ("meta", update.block_meta.slot)
    if kind == "slot":
        return ("slot", update.slot.slot, pb.SlotStatus.Name(update.slot.status).removeprefix("SLOT_").lower())
    return (str(kind),) if kind == "ping" else ("pong", update.pong.id)


class Client:
    """A bare Subscribe call: `send` requests, `updates` read until something."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None) -> None:
        self._requests: asyncio.Queue[pb.SubscribeRequest | None] = asyncio.Queue()
        call = channel.stream_stream(
            "/geyser.Geyser/Subscribe", pb.SubscribeRequest.SerializeToString, pb.SubscribeUpdate.FromString
        )
        self._call = call(self._outgoing(), metadata=(("x-token", token),) if token else None)

    async def _outgoing(self) -> AsyncIterator[pb.SubscribeRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    def send(self, **request: Any) -> Self:
        self._requests.put_nowait(pb.SubscribeRequest(**request))
        return self

    def half_close(self) -> None:
        self._requests.put_nowait(None)

    async def read(self) -> pb.SubscribeUpdate:
        """The next update, pings included."""
        update = await asyncio.wait_for(self._call.read(), 10)
        if update is grpc.aio.EOF:
            raise EOFError
        return update

    async def take(self, n: int) -> list[pb.SubscribeUpdate]:
        """The next n updates that are no pings."""
        taken: list[pb.SubscribeUpdate] = []
        while len(taken) < n:
            update = await self.read()
            if not update.HasField("ping"):
                taken.append(update)
        return taken

    async def rest(self) -> list[pb.SubscribeUpdate]:
        """All updates but pings until the server ends the stream."""
        taken = []
        try:
            while True:
                taken += await self.take(1)
        except EOFError:
            return taken

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """The status with which the server ends the stream."""
        try:
            await self.rest()
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        raise AssertionError("the stream ended without an error")

    def cancel(self) -> None:
        self._call.cancel()


@asynccontextmanager
async def played(tape: Path, **options: Any) -> AsyncIterator[Any]:
    """A served tape; gives a function that opens clients, with `.server` and `.channel`."""
    async with serve(tape, **options) as server, grpc.aio.insecure_channel(server.address) as channel:

        def client(token: str | None = None) -> Client:
            return Client(channel, token)

        client.server, client.channel = server, channel  # type: ignore[attr-defined]
        yield client
