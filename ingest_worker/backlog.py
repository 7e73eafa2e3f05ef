"""The queue behind the reader of the stream: bounded by bytes, it holds the reader back and drops nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """One producer, one consumer, one event loop."""

    def __init__(self, max_bytes: int) -> None:
        """An item larger than `max_bytes` is taken alone."""
        self._max_bytes = max_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._n_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    async def put(self, item: Item, n_bytes: int) -> None:
        """Adds `item`, once there is room for it."""
        while self._items and self._n_bytes + n_bytes > self._max_bytes:
            self._room.clear()
            await self._room.wait()
        self._items.append((item, n_bytes))
        self._n_bytes += n_bytes
        self._news.set()

    def pop(self) -> Item | None:
        """The oldest item, None if there is none."""
        if not self._items:
            return None
        item, n_bytes = self._items.popleft()
        self._n_bytes -= n_bytes
        self._room.set()
        return item

    async def wait(self, seconds: float) -> None:
        """Returns when there is an item, after a `wake`, or after `seconds`."""
        if self._items:
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
