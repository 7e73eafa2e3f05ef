"""Follows what is under way until the chain has the last word: sends the same bytes again, and asks the nodes.

The stream is the first witness; nodes are asked where it has said nothing. An answer of "not known" proves nothing by
itself: void is only what several answers miss after its last block is finalized on the very nodes that miss it. Under a
durable nonce there is no last block: there the account's finalized value has to be another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from copytrader_core.errors import CopytraderError, DecodeError
from copytrader_core.policy.values import TradingState
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.chain_rpc import ChainRpc, Lifetime, SignatureStatus
from copytrader_core.solana.nonce import NonceState
from copytrader_core.solana.rpc import RpcError
from copytrader_core.solana.rpc_json import transaction_from_json
from executor.fills import failure_of_json, outcome_of
from executor.live import LIFETIME_BLOCKS, Flight, LiveBroker, Outcome
from executor.nonce_accounts import read_nonces
from executor.orders import Signed

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 3
# How many answers have to agree that a transaction is nowhere, by how many different looks.
_VOID_ANSWERS: Final = 3
_VOID_SECONDS: Final = 0.4
_FAR_BLOCKS: Final = 150
_PATIENCE_SECONDS: Final = 4.0
_ASK_SECONDS: Final = 5.0
_BLOCKHASH_SECONDS: Final = 15.0

Put = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node has finalized, asked first, and what it knows then of each signature that it was asked for."""

    node: ChainRpc
    height: int
    statuses: Sequence[SignatureStatus | None]
    slot: int = 0
    nonces: Mapping[str, NonceState | None] = field(default_factory=dict)

    def is_over(self, signed: Signed) -> bool:
        """Whether no block after what this node has finalized can hold it.

        Another value of a nonce counts only where the node is past the slot in which its own stood.
        """
        nonce = signed.nonce
        if nonce is None:
            return signed.is_past(self.height)
        found = self.nonces.get(nonce.account)
        return self.slot >= nonce.slot and (found is None or str(found.value) != nonce.value)

    def is_past(self, flight: Flight) -> bool:
        """Whether this node has finalized what lies beyond the block in which something under a nonce was seen."""
        return flight.signed.nonce is not None and flight.landed_slot is not None and self.slot > flight.landed_slot


class Settler:
    """Two loops over the flights of a broker: one sends, one asks."""

    def __init__(
        self,
        broker: LiveBroker,
        nodes: Sequence[ChainRpc],
        put: Put,
        state: Callable[[], TradingState],
        held: Callable[[], Container[str]],
        *,
        every_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._broker = broker
        self._nodes = nodes
        self._put = put
        self._state = state
        self._held = held
        self._every_seconds = every_seconds
        self._now = now
        self._seen = (0, now())
        """The newest blockhash's height, and when it was new."""

    async def send_again(self) -> None:
        """For ever: the bytes of what has not landed. No node is waited for here."""
        while True:
            await asyncio.sleep(self._every_seconds)
            self._send_again()

    async def follow(self) -> None:
        """For ever: asks the nodes."""
        while True:
            await asyncio.sleep(_LOOK_EVERY * self._every_seconds)
            await self.look(patience=_PATIENCE_SECONDS)

    def _send_again(self) -> None:
        """The newest attempt of each position, and buys while buying is allowed; never what is void by now."""
        state = self._state()
        if state == "HALTED":
            return
        newest = {flight.order.position_id: flight for flight in self._broker.flights.values()}
        held = self._held()
        # The newest first: a route that takes few at a time is not for the oldest.
        for flight in reversed(newest.values()):
            order = flight.order
            forbidden = order.side == "BUY" and (order.restored or state != "ACTIVE")
            # A sale of what is sold by now could only cost a fee, or sell other coins of ours.
            useless = order.side == "SELL" and order.position_id not in held
            if not self._broker.is_over(flight) and not forbidden and not useless:
                self._broker.carry(flight)

    async def look(self, patience: float) -> None:
        """Asks the nodes about every flight of which the stream has said nothing for `patience` seconds.

        Those whose nonce has moved on are asked for at once: the next attempt waits for the answer.
        """
        before, decided = self._now() - patience, self._broker.is_decided
        asked = [one for one in self._broker.flights.values() if one.sent_at <= before or decided(one)]
        await self._refresh_blockhash()
        if not asked:
            return
        answers = await asyncio.gather(*[self._ask(node, asked) for node in self._nodes])
        heard = [answer for answer in answers if answer is not None]
        under_way = [(flight, at) for at, flight in enumerate(asked) if flight.signed.signature in self._broker.flights]
        await asyncio.gather(*[self._judge(flight, at, heard) for flight, at in under_way])

    async def _ask(self, node: ChainRpc, flights: Sequence[Flight]) -> Answer | None:
        """None where the node does not answer."""
        nonces = [flight.signed.nonce.account for flight in flights if flight.signed.nonce is not None]
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                height = await node.block_height("finalized")
                slot, states = await read_nonces(node, nonces, "finalized") if nonces else (0, {})
                statuses = await node.statuses([flight.signed.signature for flight in flights])
                return Answer(node, height, statuses, slot, states)
        except (CopytraderError, TimeoutError) as error:
            _log.info("node_silent node=%s error=%s", node.label, error)
            return None

    async def _judge(self, flight: Flight, at: int, answers: Sequence[Answer]) -> None:
        known = [(answer.node, status) for answer in answers if (status := answer.statuses[at]) is not None]
        if await self._landed(flight, [one for one in known if one[1].commitment != "processed"]):
            return
        if any(answer.statuses[at] is not None for answer in answers):
            return
        # Seen on the stream, missed by the nodes: the tree of slots, or a later look, will tell.
        # A node that is not past its last block has nothing to say of that.
        if self._agree(flight, [answer for answer in answers if answer.is_over(flight.signed)]):
            await self._put(Outcome(flight.signed.signature, 0, None, final=True, reason=_why_void(flight.signed)))
        elif self._agree(flight, [answer for answer in answers if answer.is_past(flight)]):
            reason = f"no node knows it, and all are past slot {flight.landed_slot}: that block was left behind"
            await self._put(Outcome(flight.signed.signature, 0, None, final=False, reason=reason))

    def _agree(self, flight: Flight, missing: Sequence[Answer]) -> bool:
        """Whether enough nodes have missed a flight at enough looks."""
        if len(missing) < min(2, len(self._nodes)) or not missing:
            return False
        if not flight.voids:
            flight.void_since = self._now()
        flight.voids += len(missing)
        return flight.voids > _VOID_ANSWERS and self._now() - flight.void_since >= _VOID_SECONDS

    async def _landed(self, flight: Flight, known: Sequence[tuple[ChainRpc, SignatureStatus]]) -> bool:
        """Whether one of the nodes that know a confirmed transaction could tell what it did: a status does not.

        One that leaves half of it out is believed only where no other tells more.
        """
        doubtful: Outcome | None = None
        for node, status in known:
            found = await self._fetched(flight, node, status)
            if found is not None and found.problem is None:
                await self._put(found)
                return True
            doubtful = doubtful or found
        if doubtful is not None:
            await self._put(doubtful)
        return doubtful is not None

    async def _fetched(self, flight: Flight, node: ChainRpc, status: SignatureStatus) -> Outcome | None:
        """What a node's transaction says; None where it has none that can be read."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                document = await node.transaction(flight.signed.signature)
            if document is None:
                return None
            error = (document.get("meta") or {}).get("err")
            tx = transaction_from_json(document)
            if signature_text(tx.signature) != flight.signed.signature:
                raise DecodeError(f"{node.label} answered with another transaction: ask another node")
            result, doubt = outcome_of(flight.order, tx, None if error is None else failure_of_json(error))
        except (RpcError, TimeoutError) as problem:
            _log.info("node_silent node=%s error=%s", node.label, problem)
            return None
        except Exception as problem:  # noqa: BLE001 - logged; a node's odd answer is no reason to end a run
            _log.warning("fill_unreadable signature=%s error=%r", flight.signed.signature, problem)
            return None
        return Outcome(flight.signed.signature, status.slot, result, final=True, problem=doubt)

    async def _refresh_blockhash(self) -> None:
        """The stream brings blockhashes; where it has brought none for a while, a node has to."""
        head = self._broker.head
        if head.blockhash_height != self._seen[0]:
            self._seen = (head.blockhash_height, self._now())
        if not head.is_stale and self._now() - self._seen[1] < _BLOCKHASH_SECONDS:
            return
        found = [one for one in await asyncio.gather(*map(_blockhash, self._nodes)) if one is not None]
        found.sort(key=lambda one: one.last_valid_block_height)
        if len(found) > 2 and found[-1].last_valid_block_height - found[-2].last_valid_block_height > _FAR_BLOCKS:
            # Of three nodes one names a height that no other has reached by far.
            found.pop()
        if found:
            self._broker.head.take(found[-1].blockhash, found[-1].last_valid_block_height - LIFETIME_BLOCKS)


async def _blockhash(node: ChainRpc) -> Lifetime | None:
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            return await node.latest_blockhash()
    except (CopytraderError, TimeoutError):
        return None


def _why_void(signed: Signed) -> str:
    if signed.nonce is None:
        return f"void since block {signed.last_valid_block_height}, no node knows it"
    return f"void: nonce {signed.nonce.account} has moved on, another attempt was first; no node knows this one"
