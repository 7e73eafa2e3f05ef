"""The ends of the world that a process holds: stream, routes and nodes. They go dead with their process."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Received
from copytrader_core.solana.base58 import signature_bytes, signature_text
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM
from copytrader_core.solana.routes.route import Code, Route, RouteError
from copytrader_core.solana.rpc import RpcClient, RpcError, RpcUnavailableError
from simnet.json_blocks import error_json, transaction_json
from tests.simulation import shown
from tests.simulation.bank import Receipt, Wire, execute, read_wire
from tests.simulation.market import COINS
from tests.simulation.model_chain import BLOCKHASH_BLOCKS, Block, Commitment

if TYPE_CHECKING:
    from tests.simulation.world import World

_COMMITMENTS: Final[tuple[Commitment, ...]] = ("processed", "confirmed", "finalized")
_ROUTE_ANSWERS: Final = (
    ("route_rate_limited", Code.RATE_LIMITED, False, 0.001),
    ("route_refused", Code.REFUSED, False, 0.02),
    ("route_unreachable", Code.UNREACHABLE, False, 0.01),
    ("route_timeout_lost", Code.TIMEOUT, False, 2.0),
    ("route_timeout_delivered", Code.TIMEOUT, True, 2.0),
)


@dataclass(slots=True)
class Life:
    """One process. Once `is_alive` is False nothing that it does reaches the world."""

    number: int
    home: Path
    is_alive: bool = True


@dataclass(frozen=True, slots=True)
class Outside:
    """What a process is given of the world."""

    stream: Stream
    nodes: tuple[ChainRpc, ...]
    routes: tuple[Route, ...]
    signer: Signer
    now_ns: Callable[[], int]


class Stream:
    """The updates from the moment of its making on. Ends when the world does."""

    def __init__(self, life: Life, now_ns: Callable[[], int]) -> None:
        self._life = life
        self._now_ns = now_ns
        self._updates: deque[Received | None] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Received:
        # One update a step, so that a process can die between any two of them.
        await asyncio.sleep(0)
        while not self._updates or not self._life.is_alive:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        received = self._updates.popleft()
        if received is None:
            self._updates.append(None)
            raise StopAsyncIteration
        return received

    async def aclose(self) -> None:
        """Nothing has to be closed."""

    def push(self, updates: Iterable[pb.SubscribeUpdate | None]) -> None:
        """Shows updates; None ends the stream."""
        for update in updates:
            raw = b"" if update is None else update.SerializeToString()
            self._updates.append(None if update is None else Received(raw, self._now_ns(), update))
        if self._life.is_alive and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SimRoute:
    """A way to the leader that answers as the faults will have it."""

    waits = True

    def __init__(self, world: World, life: Life, name: str) -> None:
        self.name = name
        self.is_scarce = name == "block_engine"
        self._world = world
        self._life = life

    async def start(self) -> None:
        """Takes a moment."""
        await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Takes a moment."""
        await asyncio.sleep(0)

    async def send(self, wire: bytes, signature: str) -> None:
        """The bytes are on their way at once; what the caller hears of it comes later."""
        if not self._life.is_alive:
            raise RouteError(Code.UNREACHABLE, "the process is dead")
        self._world.attempted(self._life, self.name, wire, signature)
        for name, code, is_delivered, seconds in _ROUTE_ANSWERS:
            if self._world.faults.strikes(name):
                if is_delivered:
                    self._world.deliver(wire)
                await asyncio.sleep(seconds)
                raise RouteError(code, f"{self.name}: {name}")
        self._world.deliver(wire)
        await asyncio.sleep(self._world.latency(0.0005, 0.003))


class NodeState:
    """A node of the world, whatever process asks it. `is_bad`: it may not know what has landed."""

    def __init__(self, name: str, *, is_bad: bool) -> None:
        self.name = name
        self.is_bad = is_bad
        self.stalled_until = 0
        self.blockhash_until = 0
        self._slots: dict[Commitment, int] = {}
        self._blockhash: Block | None = None

    def stall(self, world: World, slots: int) -> None:
        """The node shows the present chain for so many slots."""
        if world.slot >= self.stalled_until:
            blocks = world.chain.blocks
            self._slots = {name: blocks[world.chain.index_of(name)].slot for name in _COMMITMENTS}
        self.stalled_until = world.slot + slots

    def stall_blockhash(self, world: World, slots: int) -> None:
        """getLatestBlockhash repeats itself for so many slots."""
        self._blockhash, self.blockhash_until = world.chain.tip, world.slot + slots

    def index_of(self, world: World, commitment: Commitment) -> int:
        """The newest block that the node shows."""
        index = world.chain.index_of(commitment)
        if world.slot < self.stalled_until:
            while index and world.chain.blocks[index].slot > self._slots[commitment]:
                index -= 1
        return index

    def latest(self, world: World, commitment: Commitment) -> Block:
        """The block whose hash the node gives."""
        if self._blockhash is not None and world.slot < self.blockhash_until:
            return self._blockhash
        return world.chain.blocks[self.index_of(world, commitment)]


class Node(RpcClient):
    """One process's client of a node: its JSON answers, without a wire."""

    def __init__(self, world: World, life: Life, state: NodeState) -> None:
        super().__init__("http://127.0.0.1:8899")
        self.label = state.name
        self._world = world
        self._life = life
        self._state = state
        self._answers: dict[str, Callable[[Sequence[Any]], Any]] = {
            "getLatestBlockhash": self._latest_blockhash,
            "getBlockHeight": lambda params: self._block(params).height,
            "getSlot": lambda params: self._block(params).slot,
            "getSignatureStatuses": lambda params: self._context([self._status(text) for text in params[0]]),
            "getTransaction": self._transaction,
            "getSignaturesForAddress": self._signatures,
            "getBalance": self._balance,
            "getTokenAccountsByOwner": self._token_accounts,
            "getMultipleAccounts": self._many_accounts,
            "getAccountInfo": self._account,
            "simulateTransaction": self._simulate,
            "getSlotLeaders": lambda params: [str(COINS[0])] * params[1],
            "getClusterNodes": lambda params: [],
            "getMinimumBalanceForRentExemption": lambda params: (params[0] + 128) * 6_960,
        }

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """The answer after a moment, or the error that is left when a client's patience has ended."""
        faults = self._world.faults
        if not self._life.is_alive:
            raise RpcUnavailableError("the process is dead")
        if faults.strikes("rpc_busy"):
            await asyncio.sleep(0.3)
            raise RpcUnavailableError(f"{self.label}: too many requests", 429)
        if faults.strikes("rpc_timeout"):
            await asyncio.sleep(5.0)
            raise RpcUnavailableError(f"{self.label}: no answer")
        await asyncio.sleep(self._world.latency(0.002, 0.04))
        if method not in self._answers:
            raise RpcError(f"{self.label} answered {method} with -32601: Method not found", -32601)
        return self._answers[method](params)

    def _index(self, options: Sequence[Any], default: Commitment = "finalized") -> int:
        return self._state.index_of(self._world, (options[0] if options else {}).get("commitment", default))

    def _block(self, options: Sequence[Any]) -> Block:
        return self._world.chain.blocks[self._index(options)]

    def _context(self, value: Any) -> dict[str, Any]:
        slot = self._world.chain.blocks[self._state.index_of(self._world, "processed")].slot
        return {"context": {"slot": slot, "apiVersion": "4.1.0"}, "value": value}

    def _latest_blockhash(self, params: Sequence[Any]) -> Any:
        block = self._state.latest(self._world, params[0].get("commitment", "finalized"))
        last = block.height + BLOCKHASH_BLOCKS
        return self._context({"blockhash": str(block.blockhash), "lastValidBlockHeight": last})

    def _found(self, text: str, commitment: Commitment) -> tuple[int, Receipt] | None:
        """(block's index, receipt) of a signature, as far as this node shows it."""
        found = self._world.chain.landed.get(signature_bytes(text))
        if found is None or found[0] > self._state.index_of(self._world, commitment):
            return None
        return None if self._state.is_bad and self._world.faults.strikes("status_null") else found

    def _status(self, text: str) -> dict[str, Any] | None:
        found = self._found(text, "processed")
        if found is None:
            return None
        index, receipt = found
        settled = max(
            (name for name in _COMMITMENTS if index <= self._state.index_of(self._world, name)),
            key=_COMMITMENTS.index,
        )
        error = _error(receipt)
        return {
            "slot": self._world.chain.blocks[index].slot,
            "confirmations": None if settled == "finalized" else len(self._world.chain.blocks) - 1 - index,
            "err": error,
            "status": {"Ok": None} if error is None else {"Err": error},
            "confirmationStatus": settled,
        }

    def _transaction(self, params: Sequence[Any]) -> dict[str, Any] | None:
        found = self._found(params[0], params[1].get("commitment", "finalized"))
        if found is None:
            return None
        index, receipt = found
        block = self._world.chain.blocks[index]
        at = block.receipts.index(receipt)
        info = shown.transaction(receipt, at, block.time)
        return {"slot": block.slot, "blockTime": block.time, "transactionIndex": at, **transaction_json(info)}

    def _signatures(self, params: Sequence[Any]) -> list[dict[str, Any]]:
        address, options = params
        last = self._index([options])
        rows: list[dict[str, Any]] = []
        for index, receipt in reversed(self._world.chain.landed.values()):
            text = signature_text(receipt.signature)
            if text == options.get("until") or len(rows) == options.get("limit", 1000):
                break
            if index <= last and isinstance(receipt.source, Wire) and str(receipt.source.payer) == address:
                slot = self._world.chain.blocks[index].slot
                rows.append({"signature": text, "slot": slot, "err": _error(receipt), "memo": None})
        return rows

    def _balance(self, params: Sequence[Any]) -> Any:
        account = self._world.accounts.at(params[0], self._block(params[1:]).state)
        return self._context(0 if account is None else account["lamports"])

    def _account(self, params: Sequence[Any]) -> Any:
        return self._context(self._world.accounts.at(params[0], self._block(params[1:]).state))

    def _many_accounts(self, params: Sequence[Any]) -> Any:
        state = self._block(params[1:]).state
        return self._context([self._world.accounts.at(address, state) for address in params[0]])

    def _token_accounts(self, params: Sequence[Any]) -> Any:
        owner, which, options = params
        is_ours = owner == self._world.signer.address and which.get("programId") == str(TOKEN_2022_PROGRAM)
        return self._context(self._world.accounts.held(self._block([options]).state) if is_ours else [])

    def _simulate(self, params: Sequence[Any]) -> Any:
        wire = read_wire(base64.b64decode(params[0]))
        _, receipt = execute(self._block(params[1:]).state, wire)
        return self._context({"err": _error(receipt), "logs": [], "unitsConsumed": 60_000})


def _error(receipt: Receipt) -> dict[str, Any] | None:
    if not receipt.error:
        return None
    return error_json(pb.TransactionStatusMeta(err=pb.TransactionError(err=receipt.error)))
