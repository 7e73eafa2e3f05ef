"""A planted chain, a Yellowstone server that serves it with faults on order, and the decoder of its transactions."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc
from solders.pubkey import Pubkey
from solders.signature import Signature

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.records import WSOL, Event
from ingest_worker.subscription import PROGRAMS

DAY = 86_400
T0 = 20_000 * DAY


def address(name: str) -> str:
    return str(Pubkey.from_bytes(hashlib.sha256(name.encode()).digest()))


WALLETS = [address(f"wallet {n}") for n in range(12)]


@dataclass
class Chain:
    """Blocks in slot order. The truth of each transaction stands in its instruction data."""

    blocks: list[pb.SubscribeUpdateBlock] = field(default_factory=list)

    @classmethod
    def plant(
        cls,
        n_slots: int,
        *,
        first: int = 1000,
        txs: int = 3,
        seed: int = 1,
        t0: int = T0,
        slots_per_second: float = 2.5,
    ) -> Chain:
        rng, chain, parent = random.Random(seed), cls(), first - 1
        slot = first
        while len(chain.blocks) < n_slots:
            if chain.blocks and rng.random() < 0.08:
                slot += 1  # a skipped slot
            block = pb.SubscribeUpdateBlock(slot=slot, parent_slot=parent, blockhash=f"hash{slot}")
            block.block_time.timestamp = t0 + int((slot - first) / slots_per_second)
            for n in range(rng.randrange(txs + 1)):
                plant_transaction(block, [_event(rng) for _ in range(rng.randrange(1, 4))], index=n * 3)
            chain.blocks.append(block)
            parent, slot = slot, slot + 1
        return chain

    def truth(self, *, among: set[int] | None = None) -> list[tuple[Any, ...]]:
        """(slot, tx_index, outer_ix, inner_ix, event_seq, sig, wallet, ts_ns) of every event, in chain order."""
        rows = []
        for block in self.blocks:
            if among is not None and block.slot not in among:
                continue
            for info in block.transactions:
                sig = str(Signature.from_bytes(info.signature))
                for n, wallet in enumerate(_planted(info)):
                    rows.append((block.slot, info.index, n, -1, 0, sig, wallet, block.block_time.timestamp * 10**9))
        return sorted(rows)

    @property
    def slots(self) -> list[int]:
        return [block.slot for block in self.blocks]


def _event(rng: random.Random) -> str:
    return rng.choice(WALLETS)


def plant_transaction(
    block: pb.SubscribeUpdateBlock, wallets: list[str], *, index: int, data: bytes | None = None
) -> None:
    info = block.transactions.add(index=index)
    info.signature = hashlib.sha512(f"{block.slot}/{index}".encode()).digest()
    info.meta.fee = 5000
    keys = [PROGRAMS[0], *(wallet for wallet in dict.fromkeys(wallets) if wallet in WALLETS)]
    info.transaction.message.account_keys.extend(bytes(Pubkey.from_string(key)) for key in keys)
    info.transaction.message.instructions.add(data=data or json.dumps(wallets).encode())


def _planted(info: pb.SubscribeUpdateTransactionInfo) -> list[str]:
    data = info.transaction.message.instructions[0].data
    return json.loads(data) if data.startswith(b"[") else []


def decode(info: pb.SubscribeUpdateTransactionInfo, slot: int, block_time: int | None) -> Any:
    """The double of the real decoder: events from the instruction data, `cut` is a problem, `boom` raises."""
    data = info.transaction.message.instructions[0].data
    if data == b"boom":
        raise KeyError("planted")
    if data == b"cut":
        return SimpleNamespace(
            events=(), problems=(SimpleNamespace(path="0.-1", reason="cut event", data=data),), frames=()
        )
    sig = str(Signature.from_bytes(info.signature))
    events = tuple(event(slot, info.index, sig, n, wallet) for n, wallet in enumerate(json.loads(data)))
    return SimpleNamespace(events=events, problems=(), frames=())


def event(slot: int, index: int | None, sig: str, n: int, wallet: str, **changes: Any) -> Event:
    values: dict[str, Any] = dict(  # noqa: C408
        slot=slot, tx_index=index, sig=sig, outer_ix=n, inner_ix=-1, event_seq=0, wallet=wallet, fee_payer=wallet,
        program=PROGRAMS[0], action="BUY", mint=PROGRAMS[1], base_mint=PROGRAMS[1], quote_mint=WSOL,
        base_raw=2**64 - 1 - slot, quote_raw=10**9 + n, swap_fee_raw=12_500_000, tx_fee_lamports=5000, tip_lamports=0,
        reserve_base_raw=10**15, reserve_quote_raw=3 * 10**10, amount_in=1.0, amount_out=2.0, price_est=0.5,
        fee_sol=0.000005, ix_accounts=(wallet, PROGRAMS[0]), meta={"venue": "curve", "ix": "buy"},
    )  # fmt: skip
    return Event(**{**values, **changes})


@dataclass
class Act:
    """How one connection goes: refuse it, cut it after so many messages, start live at a slot, withhold slots.

    `silent`: after its messages (`cut_after` of them) nothing comes, not even a ping; `pings_alone`: nothing but pings.
    `lost_slots` are left out on this connection alone.
    """

    refuse: tuple[grpc.StatusCode, str] | None = None
    cut_after: int | None = None
    cut_with: grpc.StatusCode | tuple[grpc.StatusCode, str] | None = None
    live_from: int | None = None
    silent: bool = False
    pings_alone: bool = False
    lost_slots: frozenset[int] = frozenset()


@dataclass
class Server:
    """Serves a chain; each connection takes the next act, the last one stays."""

    chain: Chain
    acts: list[Act] = field(default_factory=lambda: [Act()])
    token: str | None = None
    shuffle_seed: int | None = None
    replay_from: int | None = None
    seconds_per_slot: float = 0.0
    withheld: set[int] = field(default_factory=set)
    repeats: int = 1
    statuses: bool = False
    answers_replay_info: bool = True
    extra: list[pb.SubscribeUpdate | bytes] = field(default_factory=list)
    requests: list[pb.SubscribeRequest] = field(default_factory=list)
    pings: int = 0
    pongs: int = 0
    address: str = ""

    async def subscribe(self, requests: AsyncIterator[bytes], context: Any) -> None:
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        await context.write(pb.SubscribeUpdate(ping=pb.SubscribeUpdatePing()).SerializeToString())
        given = dict(context.invocation_metadata()).get("x-token")
        if self.token is not None and given != self.token:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "No valid auth token")
        request = pb.SubscribeRequest.FromString(await anext(requests))
        self.requests.append(request)
        if act.refuse:
            await context.abort(*act.refuse)
        listener = asyncio.create_task(self._listen(requests))
        try:
            await self._play(request, act, context)
        finally:
            listener.cancel()

    async def _listen(self, requests: AsyncIterator[bytes]) -> None:
        async for raw in requests:
            self.pongs += pb.SubscribeRequest.FromString(raw).HasField("ping")

    async def _play(self, request: pb.SubscribeRequest, act: Act, context: Any) -> None:
        start = request.from_slot if request.HasField("from_slot") else act.live_from or 0
        for message in self._messages(request, start, act.lost_slots)[: act.cut_after]:
            await context.write(message if isinstance(message, bytes) else message.SerializeToString())
            if self.seconds_per_slot:
                await asyncio.sleep(self.seconds_per_slot)
        if act.silent:
            await asyncio.Event().wait()
        if act.cut_after is not None and not act.pings_alone:
            if act.cut_with is not None:
                await context.abort(*(act.cut_with if isinstance(act.cut_with, tuple) else (act.cut_with, "planted")))
            return
        while True:
            await context.write(pb.SubscribeUpdate(ping=pb.SubscribeUpdatePing()).SerializeToString())
            self.pings += 1
            await asyncio.sleep(0.1)

    def _messages(
        self, request: pb.SubscribeRequest, start: int, lost: frozenset[int]
    ) -> list[pb.SubscribeUpdate | bytes]:
        left_out = self.withheld | lost
        (wanted,) = (request.blocks or request.transactions).values()
        blocks = [_only(b, wanted.account_include) for b in self.chain.blocks if b.slot >= start]
        blocks = [block for block in blocks if block.slot not in left_out for _ in range(self.repeats)]
        if request.blocks:
            told = [(_status(block), _whole(block)) if self.statuses else (_whole(block),) for block in blocks]
            return [*self.extra, *(message for messages in told for message in messages)]
        return [*self.extra, *pieces(blocks, self.shuffle_seed)]

    async def slot(self, request: Any, context: Any) -> bytes:
        return pb.GetSlotResponse(slot=self.chain.slots[-1]).SerializeToString()

    async def replay_info(self, request: Any, context: Any) -> bytes:
        if not self.answers_replay_info:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
        return pb.SubscribeReplayInfoResponse(first_available=self.replay_from).SerializeToString()


def _only(block: pb.SubscribeUpdateBlock, accounts: Sequence[str]) -> pb.SubscribeUpdateBlock:
    """The block as a filter lets it through: with the transactions that name one of the accounts."""
    if tuple(accounts) == PROGRAMS:
        return block
    wanted = {bytes(Pubkey.from_string(account)) for account in accounts}
    found = pb.SubscribeUpdateBlock()
    found.CopyFrom(block)
    del found.transactions[:]
    found.transactions.extend(
        info for info in block.transactions if wanted.intersection(info.transaction.message.account_keys)
    )
    return found


def _status(block: pb.SubscribeUpdateBlock) -> pb.SubscribeUpdate:
    return pb.SubscribeUpdate(slot=pb.SubscribeUpdateSlot(slot=block.slot, status=pb.SLOT_CONFIRMED))


def _whole(block: pb.SubscribeUpdateBlock) -> pb.SubscribeUpdate:
    update = pb.SubscribeUpdate(block=block)
    update.created_at.seconds = block.block_time.timestamp
    return update


def pieces(blocks: list[pb.SubscribeUpdateBlock], shuffle_seed: int | None) -> list[pb.SubscribeUpdate]:
    """The blocks as single transactions and metas; shuffled inside windows of three slots if a seed is given."""
    rng, out = random.Random(shuffle_seed), []
    for start in range(0, len(blocks), 3):
        window = [message for block in blocks[start : start + 3] for message in _pieces_of(block)]
        if shuffle_seed is not None:
            rng.shuffle(window)
        out.extend(window)
    return out


def _pieces_of(block: pb.SubscribeUpdateBlock) -> list[pb.SubscribeUpdate]:
    txs = [
        pb.SubscribeUpdate(transaction=pb.SubscribeUpdateTransaction(transaction=info, slot=block.slot))
        for info in block.transactions
    ]
    meta = pb.SubscribeUpdateBlockMeta(slot=block.slot, parent_slot=block.parent_slot, blockhash=block.blockhash)
    meta.block_time.CopyFrom(block.block_time)
    return [*txs, pb.SubscribeUpdate(block_meta=meta)]


@asynccontextmanager
async def serving(server: Server, address: str = "127.0.0.1:0") -> AsyncIterator[Server]:
    handlers = {
        "Subscribe": grpc.stream_stream_rpc_method_handler(server.subscribe),
        "GetSlot": grpc.unary_unary_rpc_method_handler(server.slot),
        "SubscribeReplayInfo": grpc.unary_unary_rpc_method_handler(server.replay_info),
    }
    running = grpc.aio.server(options=(("grpc.max_send_message_length", -1),))
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("geyser.Geyser", handlers),))
    server.address = f"127.0.0.1:{running.add_insecure_port(address)}"
    await running.start()
    try:
        yield server
    finally:
        await running.stop(grace=None)
