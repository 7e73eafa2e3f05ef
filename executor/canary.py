"""A buy that is only simulated, now and then: programs that changed under us show it here before they cost anything.

What the simulation of our own buy answers is compared with what such a buy may answer. Nothing is signed and nothing is
sent; what follows is the engine's (no buys while there is a reason).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from copytrader_core.errors import CopytraderError, TransactionError
from copytrader_core.solana.chain_rpc import ChainRpc, Simulation
from executor.fills import failure_of_json
from executor.live import LiveBroker
from executor.orders import Order, intent_id
from executor.trips import is_expected

_log = logging.getLogger(__name__)
_ASK_SECONDS: Final = 5.0
_FIRST_SECONDS: Final = 2.0
_TRIES: Final = 2

Put = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Drift:
    """What the newest look has said: why our transactions do not work any more, or None when they do."""

    reason: str | None


class Canary:
    """Simulates a buy of the coin that was traded last."""

    def __init__(
        self, broker: LiveBroker, nodes: Sequence[ChainRpc], put: Put, *, every_seconds: float, spend_lamports: int
    ) -> None:
        self._broker = broker
        self._nodes = nodes
        self._put = put
        self._every_seconds = every_seconds
        self._spend_lamports = spend_lamports
        self._failures = 0

    async def run(self, newest: Callable[[], tuple[str, dict[str, Any]] | None]) -> None:
        """For ever. `newest` is a coin that trades, and what a transaction must know of it; None: none is known."""
        while True:
            coin = newest()
            answer = None if coin is None else await self._try(*coin)
            if answer is not None and await self._judged(answer, coin[1]["venue"] if coin else ""):
                await asyncio.sleep(self._every_seconds)
            else:
                await asyncio.sleep(_FIRST_SECONDS)

    async def _judged(self, answer: Simulation, venue: str) -> bool:
        """Tells what is known now; False where it takes another look."""
        failure = failure_of_json(answer.error) if answer.error is not None else None
        if failure is None or (failure.code is not None and is_expected(venue, failure.code)):
            self._failures = 0
            await self._put(Drift(None))
            return True
        self._failures += 1
        if self._failures < _TRIES:
            return False
        await self._put(
            Drift(f"a simulated buy on the {venue} fails with {failure.text}: have the programs been upgraded?")
        )
        return True

    async def _try(self, mint: str, coin: dict[str, Any]) -> Simulation | None:
        order = Order(
            intent_id=intent_id("live", "BUY", "canary", mint),
            side="BUY",
            mint=mint,
            leader="",
            leader_sig="",
            position_id="",
            amount_in=self._spend_lamports,
            min_out=1,
            decided_slot=0,
            due_slot=0,
            coin=coin,
        )
        try:
            wire = self._broker.unsigned(order)
        except TransactionError:
            return None
        for node in self._nodes:
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    return await node.simulate(wire)
            except (CopytraderError, TimeoutError) as error:
                _log.info("canary_silent node=%s error=%s", node.label, error)
        return None
