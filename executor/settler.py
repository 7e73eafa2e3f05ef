"""Follows what is under way until the chain has the last word: sends the same bytes again, and asks the nodes.

The stream is the first witness; nodes are asked where it has said nothing. An answer of "not known" proves nothing by
itself: void is only what several answers miss after its last block is finalized on the very nodes that miss it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from copytrader_core.errors import CopytraderError, DecodeError
from copytrader_core.policy.values import TradingState
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.chain_rpc import ChainRpc, SignatureStatus
from copytrader_core.solana.rpc_json import transaction_from_json
from executor.fills import failure_of_json, outcome_of
from executor.live import Flight, LiveBroker, Outcome

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 3
# How many answers have to agree that a transaction is nowhere, by how many different looks.
_VOID_ANSWERS: Final = 3
_PATIENCE_SECONDS: Final = 4.0
_ASK_SECONDS: Final = 5.0
_BLOCKHASH_SECONDS: Final = 15.0

Put = Callable[[Any], Awaitable[None]]


class Settler:
    """One loop over the flights of a broker."""

    def __init__(
        self,
        broker: LiveBroker,
        nodes: Sequence[ChainRpc],
        put: Put,
        state: Callable[[], TradingState],
        *,
        every_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._broker = broker
        self._nodes = nodes
        self._put = put
        self._state = state
        self._every_seconds = every_seconds
        self._now = now
        self._seen = (0, now())
        """The newest blockhash's height, and when it was new."""

    async def run(self) -> None:
        """For ever."""
        turn = 0
        while True:
            await asyncio.sleep(self._every_seconds)
            turn += 1
            self._send_again()
            if turn % _LOOK_EVERY == 0:
                await self.look(patience=_PATIENCE_SECONDS)

    def _send_again(self) -> None:
        """The newest attempt of each position, and buys while buying is allowed; never what is void by now."""
        state = self._state()
        if state == "HALTED":
            return
        newest = {flight.order.position_id: flight for flight in self._broker.flights.values()}
        for flight in newest.values():
            is_buy = flight.order.side == "BUY"
            is_over = flight.landed_slot is not None or flight.signed.last_valid_block_height < self._broker.head.height
            if not is_over and not (is_buy and (flight.order.restored or state != "ACTIVE")):
                self._broker.carry(flight)

    async def look(self, patience: float) -> None:
        """Asks the nodes about every flight of which the stream has said nothing for `patience` seconds."""
        before = self._now() - patience
        asked = [flight for flight in self._broker.flights.values() if flight.sent_at <= before]
        await self._refresh_blockhash()
        if not asked:
            return
        answers = await asyncio.gather(*[self._statuses(node, asked) for node in self._nodes])
        for at, flight in enumerate(asked):
            if flight.signed.signature in self._broker.flights:
                await self._judge(flight, [(node, height, found[at]) for node, height, found in answers if found])

    async def _statuses(
        self, node: ChainRpc, flights: Sequence[Flight]
    ) -> tuple[ChainRpc, int, list[SignatureStatus | None]]:
        """A node's finalized height, asked first, then what it knows; nothing where it does not answer."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                height = await node.block_height("finalized")
                return node, height, await node.statuses([flight.signed.signature for flight in flights])
        except (CopytraderError, TimeoutError) as error:
            _log.info("node_silent node=%s error=%s", node.label, error)
            return node, 0, []

    async def _judge(self, flight: Flight, answers: Sequence[tuple[ChainRpc, int, SignatureStatus | None]]) -> None:
        for node, _, status in answers:
            if status is not None and status.commitment != "processed":
                await self._landed(flight, node, status)
                return
        if any(status is not None for _, _, status in answers):
            return
        # Seen on the stream, missed by the nodes: the tree of slots, or a later look, will tell.
        over = [height for _, height, _ in answers if height > flight.signed.last_valid_block_height]
        several = len(over) > 1 or len(self._nodes) == 1
        if over and several and len(over) == len(answers):
            flight.voids += len(over)
            if flight.voids > _VOID_ANSWERS:
                reason = f"void since block {flight.signed.last_valid_block_height}, no node knows it"
                await self._put(Outcome(flight.signed.signature, 0, None, final=True, reason=reason))

    async def _landed(self, flight: Flight, node: ChainRpc, status: SignatureStatus) -> None:
        """A confirmed transaction is fetched, for a status does not say what it did."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                document = await node.transaction(flight.signed.signature)
            if document is None:
                return
            error = (document.get("meta") or {}).get("err")
            tx = transaction_from_json(document)
            if signature_text(tx.signature) != flight.signed.signature:
                raise DecodeError(f"{node.label} answered with another transaction: ask another node")
            result, doubt = outcome_of(flight.order, tx, None if error is None else failure_of_json(error))
        except (CopytraderError, TimeoutError) as problem:
            if isinstance(problem, DecodeError):
                _log.warning("fill_unreadable signature=%s error=%s", flight.signed.signature, problem)
            return
        await self._put(Outcome(flight.signed.signature, status.slot, result, final=True, problem=doubt))

    async def _refresh_blockhash(self) -> None:
        """The stream brings blockhashes; where it has brought none for a while, a node has to."""
        head = self._broker.head
        if head.blockhash_height != self._seen[0]:
            self._seen = (head.blockhash_height, self._now())
        if not head.is_stale and self._now() - self._seen[1] < _BLOCKHASH_SECONDS:
            return
        for node in self._nodes:
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    found = await node.latest_blockhash()
            except (CopytraderError, TimeoutError):
                continue
            self._broker.head.take(found.blockhash, found.last_valid_block_height - 150)
            return
