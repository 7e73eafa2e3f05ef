"""The queue behind the readers of the stream: bounded by bytes, it holds them back and drops nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """One event loop, one consumer, one producer a lane; each lane has its share of the bytes."""

    def __init__(self, max_bytes: int, lanes: int = 1) -> None:
        """An item larger than a lane's share is taken alone."""
        self._lanes = [_Lane[Item](max_bytes // lanes) for _ in range(lanes)]
        self._next = 0
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Items that wait."""
        return sum(len(lane.items) for lane in self._lanes)

    @property
    def n_bytes(self) -> int:
        """Bytes that wait."""
        return sum(lane.n_bytes for lane in self._lanes)

    async def put(self, item: Item, n_bytes: int, lane: int = 0) -> None:
        """Adds `item`, once there is room for it."""
        await self._lanes[lane].put(item, n_bytes)
        self._news.set()

    def pop(self, held: Collection[int] = ()) -> Item | None:
        """The oldest item of the next lane that has one and is not `held`, None if there is none."""
        for _ in self._lanes:
            at, self._next = self._next, (self._next + 1) % len(self._lanes)
            if self._lanes[at].items and at not in held:
                return self._lanes[at].pop()
        return None

    async def wait(self, seconds: float, held: Collection[int] = ()) -> None:
        """Returns when `pop` has something, after a `wake`, or after `seconds`."""
        if any(lane.items for at, lane in enumerate(self._lanes) if at not in held):
            return
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Ends a `wait` early, because something else has happened."""
        self._news.set()


class _Lane(Generic[Item]):
    """One producer's part."""

    def __init__(self, max_bytes: int) -> None:
        self.items: deque[tuple[Item, int]] = deque()
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._room = asyncio.Event()

    async def put(self, item: Item, n_bytes: int) -> None:
        while self.items and self.n_bytes + n_bytes > self._max_bytes:
            self._room.clear()
            await self._room.wait()
        self.items.append((item, n_bytes))
        self.n_bytes += n_bytes

    def pop(self) -> Item:
        item, n_bytes = self.items.popleft()
        self.n_bytes -= n_bytes
        self._room.set()
        return item
