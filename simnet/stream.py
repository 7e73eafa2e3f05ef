"""One Subscribe stream: requests come in, updates go out in chain order. Transport and tokens are yellowstone's."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import grpc

from copytrader_core.errors import StreamError
from copytrader_core.geyser.copytrader_geyser_pb2 import PROCESSED, SubscribeRequest, SubscribeUpdate
from simnet.filters import Subscription, compile_request
from simnet.timeline import LEVELS, Chain, Entry

__all__ = ["RefusedError", "Stream", "StreamRules", "first_available", "last_alive"]


class RefusedError(Exception):
    """The stream ends with this status, as a provider's would."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class StreamRules:
    """How a stream behaves: replay window in slots (None = all, 0 = off), ping interval, end with the tape or stay."""

    replay_slots: int | None = None
    ping_seconds: float = 10.0
    exit_at_end: bool = False


class Stream:
    """The state of one subscriber. It pulls: what the client does not read is not built, so memory stays bounded.

    `subscribed` is called after each request that was accepted.
    """

    def __init__(self, broadcast: Chain, rules: StreamRules, subscribed: Callable[[], None]) -> None:
        self.subscription: Subscription | None = None
        self.is_drained = False
        self._broadcast = broadcast
        self._rules = rules
        self._subscribed = subscribed
        self._wake = asyncio.Event()
        self._request: SubscribeRequest | None = None
        self._pongs: deque[int] = deque()
        self._next_ping = 0.0
        self._is_cut = False
        # How many blocks of each level have been dealt with.
        self._done: dict[int, int] = dict.fromkeys(LEVELS, 0)

    def wake(self) -> None:
        """Makes a waiting stream look again."""
        self._wake.set()

    def cut(self) -> None:
        """Ends the stream in the middle, as a provider's restart does."""
        self._is_cut = True
        self.wake()

    async def listen(self, requests: AsyncIterable[SubscribeRequest]) -> None:
        """Takes the client's requests. Of several unread ones the newest counts; after the last one nothing ends."""
        async for request in requests:
            if request.HasField("ping"):
                self._pongs.append(request.ping.id)
            else:
                self._request = request
            self.wake()

    async def feed(self, write: Callable[[SubscribeUpdate | bytes], Awaitable[None]]) -> None:
        """Writes updates until the client leaves (or, by the rules, until the tape ends). Raises RefusedError."""
        while True:
            self._wake.clear()
            if self._is_cut:
                raise RefusedError(grpc.StatusCode.UNAVAILABLE, "the connection was cut off")
            await self._answer(write)
            level, seconds = self._next_step()
            self.is_drained = level is None
            if level is not None and seconds <= 0:
                await self._step(level, write)
            elif self.is_drained and self._rules.exit_at_end and self.subscription is not None:
                return
            else:
                await self._sleep(seconds)

    async def _answer(self, write: Callable[[SubscribeUpdate | bytes], Awaitable[None]]) -> None:
        """What comes before any block: the ping that is due, pongs, and the newest request."""
        if time.monotonic() >= self._next_ping:
            self._next_ping = time.monotonic() + self._rules.ping_seconds
            await write(_stamped(SubscribeUpdate(ping={}), time.time()))
        while self._pongs:
            await write(_stamped(SubscribeUpdate(pong={"id": self._pongs.popleft()}), time.time()))
        if self._request is not None:
            request, self._request = self._request, None
            self._accept(request)

    def _accept(self, request: SubscribeRequest) -> None:
        try:
            subscription = compile_request(request)
        except StreamError as error:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        if subscription.from_slot is not None:
            start = self._replay_start(subscription.from_slot, subscription.commitment)
            self._done = dict.fromkeys(LEVELS, start)
        elif self.subscription is None or self.subscription.is_empty:
            self._done = {level: self._broadcast.reached(level) for level in LEVELS}
        self.subscription = subscription
        self._subscribed()

    def _replay_start(self, from_slot: int, level: int) -> int:
        if self._rules.replay_slots == 0:
            raise RefusedError(grpc.StatusCode.INTERNAL, "from_slot is not supported")
        timeline, reached = self._broadcast.timeline, self._broadcast.reached(level)
        tip = timeline.entry(reached - 1) if reached else None
        if tip is None or from_slot > tip.slot:
            raise RefusedError(grpc.StatusCode.INTERNAL, "failed to get replay response")
        oldest = first_available(self._broadcast, self._rules, level)
        if oldest is not None and from_slot < oldest:
            text = f"broadcast from {from_slot} is not available, last available: {oldest}"
            raise RefusedError(grpc.StatusCode.OUT_OF_RANGE, text)
        return timeline.position(from_slot)

    def _next_step(self) -> tuple[int | None, float]:
        """The level whose next block comes first, and the seconds until then; no level when there is nothing more."""
        if self.subscription is None or self.subscription.is_empty:
            return None, math.inf
        moments = [(moment, level) for level in LEVELS if (moment := self._moment(level)) is not None]
        if not moments:
            return None, math.inf
        _, level = min(moments)
        return level, self._broadcast.seconds_until(level, self._done[level])

    def _moment(self, level: int) -> float | None:
        return self._broadcast.moment(level, self._done[level])

    async def _step(self, level: int, write: Callable[[SubscribeUpdate | bytes], Awaitable[None]]) -> None:
        index = self._done[level]
        for update in self._updates(level, index):
            await write(update)
        self._done[level] = index + 1
        self._broadcast.report(level, index + 1)
        # A filter that matches nothing would otherwise run through the whole tape without letting anybody else work.
        await asyncio.sleep(0)

    def _updates(self, level: int, index: int) -> Iterator[SubscribeUpdate | bytes]:
        subscription, entry = self.subscription, self._broadcast.timeline.entry(index)
        if subscription is None or entry is None or (entry.is_dead and level != PROCESSED):
            return
        if level == subscription.commitment and subscription.wants_content:
            created = self._broadcast.created_at(index)
            for update in subscription.content(self._broadcast.timeline.block(index)):
                yield _stamped(update, created)
        if status := subscription.status(level, entry.slot, entry.parent):
            yield _stamped(status, time.time())

    async def _sleep(self, seconds: float) -> None:
        until_ping = self._next_ping - time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(0.0, min(seconds, until_ping)))


def first_available(broadcast: Chain, rules: StreamRules, level: int) -> int | None:
    """The oldest slot that a replay at `level` can begin with, None if there is none."""
    reached = broadcast.reached(level)
    if not reached or rules.replay_slots == 0:
        return None
    oldest = 0 if rules.replay_slots is None else max(0, reached - rules.replay_slots)
    entry = broadcast.timeline.entry(oldest)
    return entry.slot if entry else None


def last_alive(chain: Chain, reached: int) -> Entry | None:
    """The newest of the first `reached` blocks that the cluster still builds on, None without one."""
    while reached:
        reached -= 1
        entry = chain.timeline.entry(reached)
        if entry is not None and not entry.is_dead:
            return entry
    return None


def _stamped(update: SubscribeUpdate | bytes, unix_seconds: float) -> SubscribeUpdate | bytes:
    """The update with its created_at; to a serialized one the field is appended, which is how fields are merged."""
    seconds = int(unix_seconds)
    nanos = int((unix_seconds - seconds) * 1e9)
    if isinstance(update, bytes):
        stamp = SubscribeUpdate()
        stamp.created_at.seconds, stamp.created_at.nanos = seconds, nanos
        return update + stamp.SerializeToString()
    update.created_at.seconds, update.created_at.nanos = seconds, nanos
    return update
