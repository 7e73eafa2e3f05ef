"""Keeps a subscription open for ever: connects, resumes, fails over, backs off, tells what cannot work. No decoding.

docs/ingest.md has the table of what each failure leads to; this module is that table.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NoReturn

from copytrader_core.errors import StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Endpoint, Received, YellowstoneClient
from copytrader_core.geyser.failures import (
    BadFilter,
    Exhausted,
    OutOfRange,
    ReplayFailed,
    Stalled,
    StreamFailure,
    TooLarge,
    Unauthenticated,
)
from ingest_worker.backlog import Backlog
from ingest_worker.endpoints import Roster
from ingest_worker.left_out import LeftOut
from ingest_worker.messages import Block, Transaction, Update, parse, stamp_ns
from ingest_worker.observer import SILENT, Observer
from ingest_worker.resume import Resume
from ingest_worker.subscription import PROGRAMS, Shape, request
from ingest_worker.waits import Backoff, Waits

__all__ = ["Arrived", "Item", "Stream", "StreamRules", "Subscribed"]

_log = logging.getLogger("copytrader.ingest.stream")

_PROBE_SECONDS = 3.0
# The window moves while we ask for its oldest slot.
_TRIES_AT_OLDEST = 3
# Older servers may send a slot's block_meta before its transactions: the slots before the last one are asked for again.
_MARGIN_SLOTS = {Shape.BLOCKS: 0, Shape.TRANSACTIONS: 4}


@dataclass(frozen=True, slots=True)
class StreamRules:
    """`stall_seconds`: see YellowstoneClient. `return_after_seconds`: see Roster."""

    stall_seconds: float = 30.0
    return_after_seconds: float = 600.0
    waits: Waits = field(default_factory=Waits)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A new subscription of a lane begins here. `refused` tells why it could not resume where the last one ended."""

    lane: int
    shape: Shape
    from_slot: int | None
    refused: str | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that is no ping. `raw` only where it is no SubscribeUpdate: the bytes of others are not kept twice."""

    lane: int
    recv_ts_ns: int
    update: Update | None
    raw: bytes
    n_bytes: int


Item = Subscribed | Arrived


class _Reopen(StreamFailure):
    """The subscription is left on purpose."""


class Stream:
    """Fills one lane of a backlog, across disconnects. Every slot may come again, none is left out unsaid."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        shape: Shape,
        resume: Resume,
        backlog: Backlog[Item],
        rules: StreamRules,
        *,
        lane: int = 0,
        accounts: Sequence[str] = PROGRAMS,
        observer: Observer = SILENT,
    ) -> None:
        """`resume` is read at every connect; `accounts` are those whose transactions are asked for."""
        self.data_at = time.monotonic()
        self.heard = False
        self._roster = Roster(endpoints, return_after_seconds=rules.return_after_seconds)
        self._wanted_shape = shape
        self._shapes: dict[str, Shape] = {}
        self._resume = resume
        self._backlog = backlog
        self._rules = rules
        self._lane = lane
        self._accounts = accounts
        self._observer = observer
        self._backoff = Backoff(rules.waits)
        self._left_out = LeftOut(rules.waits.block_seconds)
        self._refused: str | None = None
        self._tries_at_oldest = 0
        self._oldest: int | None = None
        self._known_to: int | None = None
        self._rewinding: tuple[int, int] | None = None
        self._tries: Counter[tuple[int, int]] = Counter()
        self._repair_at = 0.0
        self._repair_pause = rules.waits.first_repair_seconds
        self._looked_at = time.monotonic()

    async def run(self) -> NoReturn:
        """Reads until cancelled. Raises StreamError only for what no retry can mend: see `_settle`."""
        self.data_at = time.monotonic()
        while True:
            try:
                await self._subscribe()
            except _Reopen as reopen:
                _log.info("reopening reason=%s", reopen)
            except StreamFailure as failure:
                self._observer.reconnect(failure.reason, self._roster.current.address)
                await self._answer(failure)

    async def _answer(self, failure: StreamFailure) -> None:
        """What a failure leads to."""
        if isinstance(failure, OutOfRange | ReplayFailed) and self._resume.slot is not None and not self._is_live:
            await self._accept_hole(failure)
        elif isinstance(failure, BadFilter | TooLarge) and self._shape is Shape.BLOCKS:
            _log.warning("no_blocks_filter error=%r now=transactions", str(failure))
            self._shapes[self._roster.current.address] = Shape.TRANSACTIONS
        elif isinstance(failure, BadFilter | Unauthenticated):
            await self._settle(failure)
        else:
            await self._back_off(failure)

    @property
    def _shape(self) -> Shape:
        return self._shapes.get(self._roster.current.address, self._wanted_shape)

    @property
    def _is_live(self) -> bool:
        """Whether the next subscription starts live: there is nothing to resume, or no replay works any more."""
        return self._resume.slot is None or (self._refused is not None and self._tries_at_oldest >= _TRIES_AT_OLDEST)

    async def _subscribe(self) -> NoReturn:
        """One subscription from connect to its end."""
        endpoint, shape = self._roster.current, self._shape
        async with YellowstoneClient(endpoint, stall_seconds=self._rules.stall_seconds) as client:
            start = await self._start(client, shape)
            _log.info(
                "subscribing endpoint=%s lane=%d shape=%s from_slot=%s",
                endpoint.address,
                self._lane,
                shape,
                "live" if start is None else start,
            )
            self._left_out.restart()
            self._observer.subscribed(endpoint.address, start)
            await self._backlog.put(Subscribed(self._lane, shape, start, self._refused), 0, self._lane)
            async with aclosing(client.subscribe(request(shape, start, self._accounts), parse)) as messages:
                async for message in messages:
                    await self._take(message)
                    await self._look_around()
        raise AssertionError("a subscription ends by its failure")

    async def _start(self, client: YellowstoneClient, shape: Shape) -> int | None:
        """The slot to ask for, None for live. Raises OutOfRange if the provider says beforehand that it is too old."""
        self._rewinding, self._known_to = None, self._resume.slot
        resume = self._resume.slot
        self._oldest = await _oldest(client)
        if resume is None or self._is_live:
            self._known_to = None
            return None
        if self._refused is not None:
            # The hole is accepted: begin with the oldest that is left, live where that is not known.
            return self._oldest if self._oldest is not None and self._oldest > resume else None
        if self._oldest is not None and self._oldest > resume:
            raise OutOfRange(f"{client.endpoint.address}: the oldest slot that it can replay is {self._oldest}")
        self._rewinding = hole = self._resume.reachable(self._oldest, self._tries)
        begin = resume
        if hole is not None:
            self._tries[hole] += 1
            self._known_to = hole[0] - 1
            begin = min(hole[0], resume)
        # A hole does not excuse the margin: the slots before it may have been closed before all of them had come.
        return max(begin - _MARGIN_SLOTS[shape], self._oldest or 0)

    async def _take(self, message: Received) -> None:
        n_bytes = len(message.raw)
        self._observer.received(n_bytes, 1)
        update = message.update
        kind = _kind(update)
        if kind in ("ping", "pong"):
            return
        raw = message.raw if update is None else b""
        await self._backlog.put(Arrived(self._lane, message.recv_ts_ns, update, raw, n_bytes), n_bytes, self._lane)
        if kind in ("block", "transaction", "block_meta", "slot"):
            slot = update.slot if isinstance(update, Block | Transaction) else getattr(update, str(kind)).slot
            self._observer.tip(slot)
            if kind != "slot":
                self._count(slot)
        if kind in ("block", "block_meta"):
            self._tell_clock(slot, message)
            self._compare(slot, str(kind))
        self.heard = True

    def _compare(self, slot: int, kind: str) -> None:
        """Blocks and block_metas of a subscription to both."""
        if self._shape is Shape.TRANSACTIONS:
            return
        if kind == "block":
            self._left_out.block(slot)
        else:
            self._left_out.block_meta(slot, time.monotonic())

    def _tell_clock(self, slot: int, message: Received) -> None:
        created_at_ns = stamp_ns(message.update) if message.update is not None else None
        if created_at_ns is not None:
            self._observer.stamped(slot, created_at_ns, message.recv_ts_ns, self._lane)

    def _count(self, slot: int) -> None:
        """Content has come. A slot that is known already proves nothing: if it counted, a server that ends each stream
        after it would be asked again without a pause and would never be idle."""
        if self.heard and self._known_to is not None and slot <= self._known_to:
            return
        self.data_at = time.monotonic()
        self._backoff.reset()
        self._tries_at_oldest = 0
        self._refused = None
        self._roster.worked()

    async def _look_around(self) -> None:
        """Now and then: blocks that do not come, a hole that a replay could fill, a preferred endpoint that is back.

        Raises _Reopen for each of them.
        """
        now = time.monotonic()
        if now - self._looked_at < self._rules.waits.look_around_seconds:
            return
        self._looked_at = now
        if (slot := self._left_out.slot(now)) is not None:
            # As transactions every slot is complete by its block_meta, empty or not; what is missing comes again, also
            # where blocks were asked for in vain before.
            self._shapes[self._roster.current.address] = Shape.TRANSACTIONS
            self._tries.clear()
            raise _Reopen(f"slot {slot} has a block_meta and no block: now transactions")
        if self._wants_repair(now):
            raise _Reopen("a hole that a replay may fill")
        if self._roster.may_return(now) and await self._first_is_back():
            self._roster.return_to_first()
            raise _Reopen(f"{self._roster.current.address} is back")

    def _wants_repair(self, now: float) -> bool:
        if self._rewinding is not None and not self._resume.is_open(self._rewinding):
            self._rewinding, self._repair_pause = None, self._rules.waits.first_repair_seconds
        if now < self._repair_at or self._resume.reachable(self._oldest, self._tries) is None:
            return False
        self._repair_at = now + self._repair_pause
        self._repair_pause = min(self._repair_pause * 4, self._rules.waits.most_repair_seconds)
        return True

    async def _first_is_back(self) -> bool:
        """Whether the first endpoint answers and can resume without a hole."""
        resume = self._resume.slot
        try:
            async with asyncio.timeout(_PROBE_SECONDS), YellowstoneClient(self._roster.preferred) as client:
                oldest, tip = await client.replay_info(), await client.slot()
        except (StreamFailure, TimeoutError):
            return False
        return resume is not None and oldest is not None and oldest <= resume <= tip

    async def _accept_hole(self, failure: StreamFailure) -> None:
        """The replay is refused: another provider may have it; else go on at once, later, and tell the consumer why."""
        start = self._resume.slot
        _log.warning("replay_refused from_slot=%s error=%r", start, str(failure))
        if self._refused is None:
            if self._roster.cannot_replay(time.monotonic()):
                return
            self._refused = f"replay from slot {start} refused: {failure}"
            self._tries_at_oldest = 0 if isinstance(failure, OutOfRange) else _TRIES_AT_OLDEST
        else:
            self._tries_at_oldest += 1 if isinstance(failure, OutOfRange) else _TRIES_AT_OLDEST

    async def _settle(self, failure: BadFilter | Unauthenticated) -> None:
        """A refusal: the next endpoint; if all refuse it is raised at the first connect, later asked again, slowly."""
        if self._roster.refused(time.monotonic()):
            _log.error("refused error=%r now=%s", str(failure), self._roster.current.address)
            await asyncio.sleep(self._rules.waits.other_endpoint_seconds)
        elif not self.heard:
            raise StreamError(f"the provider refuses the subscription: {failure}; {_advice(failure)}") from failure
        else:
            retry_seconds = self._rules.waits.refused_seconds
            _log.error("refused error=%r retry_seconds=%s", str(failure), retry_seconds)
            await asyncio.sleep(retry_seconds)

    async def _back_off(self, failure: StreamFailure) -> None:
        """Waits before the next connect: longer each time until data has come, never twice the same."""
        delay = self._backoff.next_seconds(exhausted=isinstance(failure, Exhausted))
        self._roster.failed(time.monotonic(), at_once=isinstance(failure, Stalled | TooLarge | Exhausted))
        _log.warning(
            "disconnected reason=%s error=%r next=%s retry_seconds=%.2f",
            failure.reason,
            str(failure),
            self._roster.current.address,
            delay,
        )
        await asyncio.sleep(delay)


def _kind(update: Update | None) -> str | None:
    """The name of a message's content in the protocol, None where there is none."""
    if isinstance(update, pb.SubscribeUpdate):
        kind: str | None = update.WhichOneof("update_oneof")
        return kind
    return None if update is None else "block" if isinstance(update, Block) else "transaction"


async def _oldest(client: YellowstoneClient) -> int | None:
    """The oldest slot that can be replayed, None if the provider does not say; the subscription will tell then."""
    try:
        return await client.replay_info()
    except (BadFilter, Unauthenticated):
        return None


def _advice(failure: StreamFailure) -> str:
    if isinstance(failure, Unauthenticated):
        return "check --x-token or --x-token-file"
    return "check that the endpoint is a Yellowstone server and allows these filters"
