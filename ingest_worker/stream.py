"""Keeps a subscription open for ever: connects, resumes, backs off, tells what cannot work. No decoding here."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

from copytrader_core.errors import StreamError
from copytrader_core.geyser.client import Endpoint, Received, YellowstoneClient
from copytrader_core.geyser.failures import (
    BadFilter,
    OutOfRange,
    ReplayFailed,
    StreamFailure,
    Unauthenticated,
)
from ingest_worker.backlog import Backlog
from ingest_worker.subscription import Shape, request

_log = logging.getLogger("copytrader.ingest.stream")

_FIRST_DELAY_SECONDS = 0.2
_MAX_DELAY_SECONDS = 30.0
# A refused token or filter that once worked is the provider's doing; it is asked again, but not hammered.
_REFUSED_DELAY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A new subscription begins here. `refused` tells why it could not resume where the last one had ended."""

    shape: Shape
    from_slot: int | None
    refused: str | None


Item = Subscribed | Received


@dataclass(slots=True)
class Resume:
    """Where the next subscription starts: `slot` inclusive, None for live. The consumer moves it as slots close."""

    slot: int | None


class Stream:
    """Fills a backlog from one provider, across disconnects. Every slot may come again, none is left out unsaid."""

    def __init__(
        self, endpoint: Endpoint, shape: Shape, resume: Resume, backlog: Backlog[Item], *, stall_seconds: float
    ) -> None:
        """`resume` is read at every connect."""
        self.data_at = time.monotonic()
        self.heard = False
        self._endpoint = endpoint
        self._shape = shape
        self._resume = resume
        self._backlog = backlog
        self._stall_seconds = stall_seconds
        self._failures = 0
        self._refused: str | None = None

    async def run(self) -> NoReturn:
        """Reads until cancelled. Raises StreamError only for what no retry can mend: see `_settle`."""
        start = self._resume.slot
        while True:
            try:
                await self._subscribe(start)
            except (OutOfRange, ReplayFailed) as failure:
                if start is not None:
                    start = await self._later_start(start, failure)
                    continue
                await self._back_off(failure)
            except (BadFilter, Unauthenticated) as failure:
                await self._settle(failure)
            except StreamFailure as failure:
                await self._back_off(failure)
            start = self._resume.slot

    async def _subscribe(self, from_slot: int | None) -> NoReturn:
        """One subscription from connect to its end."""
        async with YellowstoneClient(self._endpoint, stall_seconds=self._stall_seconds) as client:
            _log.info(
                "subscribing endpoint=%s shape=%s from_slot=%s",
                self._endpoint.address,
                self._shape,
                "live" if from_slot is None else from_slot,
            )
            await self._backlog.put(Subscribed(self._shape, from_slot, self._refused), 0)
            async with aclosing(client.subscribe(request(self._shape, from_slot))) as messages:
                async for message in messages:
                    await self._take(message, from_slot)
        raise AssertionError("a subscription ends by its failure")

    async def _take(self, message: Received, from_slot: int | None) -> None:
        if message.update is not None and message.update.WhichOneof("update_oneof") in ("ping", "pong"):
            return
        await self._backlog.put(message, len(message.raw))
        slot = _content_slot(message)
        # The slot that a resumed stream begins with is known: if it counted, a server that ends each stream after it
        # would be asked again without a pause and would never be idle.
        if slot is not None and (not self.heard or from_slot is None or slot > from_slot):
            self.data_at = time.monotonic()
            self._failures = 0
            self._refused = None
        self.heard = True

    async def _later_start(self, start: int, failure: StreamFailure) -> int | None:
        """Where to go on at once after a refused replay: the oldest slot that the provider has, else live (None)."""
        _log.warning("replay_refused from_slot=%s error=%r", start, str(failure))
        if self._refused is not None:
            return None
        self._refused = f"replay from slot {start} refused: {failure}"
        oldest = await self._oldest() if isinstance(failure, OutOfRange) else None
        return oldest if oldest is not None and oldest > start else None

    async def _oldest(self) -> int | None:
        try:
            async with YellowstoneClient(self._endpoint) as client:
                return await client.replay_info()
        except StreamFailure:
            return None

    async def _settle(self, failure: BadFilter | Unauthenticated) -> None:
        """A refusal: raised at the first connect, unless another shape may help; later it is asked again, slowly."""
        if isinstance(failure, BadFilter) and self._shape is Shape.BLOCKS:
            _log.warning("no_blocks_filter error=%r now=transactions", str(failure))
            self._shape = Shape.TRANSACTIONS
        elif not self.heard:
            raise StreamError(f"the provider refuses the subscription: {failure}; {_advice(failure)}") from failure
        else:
            _log.error("refused error=%r retry_seconds=%s", str(failure), _REFUSED_DELAY_SECONDS)
            await asyncio.sleep(_REFUSED_DELAY_SECONDS)

    async def _back_off(self, failure: StreamFailure) -> None:
        """Waits before the next connect: longer each time until data has come, never twice the same."""
        delay = min(_FIRST_DELAY_SECONDS * 2**self._failures, _MAX_DELAY_SECONDS) * random.uniform(0.5, 1.0)
        self._failures = min(self._failures + 1, 16)
        _log.warning("disconnected kind=%s error=%r retry_seconds=%.2f", type(failure).__name__, str(failure), delay)
        await asyncio.sleep(delay)


def _content_slot(message: Received) -> int | None:
    """The slot of a block, transaction or block_meta; None for everything else."""
    update = message.update
    kind = update.WhichOneof("update_oneof") if update is not None else None
    if update is None or kind not in ("block", "transaction", "block_meta"):
        return None
    return int(getattr(update, kind).slot)


def _advice(failure: StreamFailure) -> str:
    if isinstance(failure, Unauthenticated):
        return "check --x-token or --x-token-file"
    return "check that the endpoint is a Yellowstone server and allows these filters"
