"""Fetching ahead, in order, until somebody says stop. No node and no database here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["Fetcher", "StopRequestedError"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class StopRequestedError(Exception):
    """The run was told to end; what has been landed stays, the next run goes on from there."""


class Fetcher:
    """Runs fetches side by side, `width` at most, and breaks them off when `stopping` is set."""

    def __init__(self, stopping: asyncio.Event, width: int) -> None:
        """One event loop, many fetches."""
        self._stopping = stopping
        self._width = width

    async def one(self, fetch: Awaitable[Result]) -> Result:
        """The result of one fetch. Raises StopRequestedError instead when the run has been told to end."""
        task = asyncio.ensure_future(fetch)
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise StopRequestedError
            return task.result()
        finally:
            await _cancel(task, stop)

    async def each(
        self, items: Iterable[Item], fetch: Callable[[Item], Awaitable[Result]]
    ) -> AsyncGenerator[tuple[Item, Result], None]:
        """Every item with its result, in the order of the items. Raises what a fetch raises, and StopRequestedError."""
        pending: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        try:
            for item in items:
                pending.append((item, asyncio.ensure_future(fetch(item))))
                if len(pending) >= self._width:
                    yield await self._first(pending)
            while pending:
                yield await self._first(pending)
        finally:
            await _cancel(*(task for _, task in pending))

    async def _first(self, pending: deque[tuple[Item, asyncio.Future[Result]]]) -> tuple[Item, Result]:
        if self._stopping.is_set():
            raise StopRequestedError
        item, task = pending.popleft()
        return item, await self.one(task)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    """Ends what is still running and waits for its end. What is done already has told its result."""
    for task in tasks:
        if task.done():
            if not task.cancelled():
                task.exception()
            continue
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
