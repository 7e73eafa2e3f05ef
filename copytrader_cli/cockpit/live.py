"""The page's parts as they change: one look a second while anybody watches, told to all of them (server-sent events).

While nobody watches nothing is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final, Protocol

import orjson

from copytrader_cli.cockpit.panels import panels, pnl_line
from copytrader_cli.watch.look import Facts

__all__ = ["Eyes", "Hub"]

_LOOK_SECONDS: Final = 1.0
_MOST_VIEWERS: Final = 16
# A viewer that has not taken so many messages sleeps: it is let go, and asks again when it wakes.
_MOST_WAITING: Final = 200

_Queue = asyncio.Queue[bytes | None]


class Eyes(Protocol):
    """What looks."""

    async def look(self) -> Facts:
        """One moment."""
        ...

    def close(self) -> None:
        """Looks no more."""
        ...


class Hub:
    """Looks for everybody, and tells each viewer what has changed since it was told last."""

    def __init__(self, eyes: Eyes) -> None:
        self._eyes = eyes
        self._viewers: set[_Queue] = set()
        self._told: dict[str, bytes] = {}
        self._facts: Facts | None = None
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        """Looks for ever."""
        try:
            while True:
                if not self._viewers:
                    self._wanted.clear()
                    await self._wanted.wait()
                began = time.monotonic()
                await self._tell(await self.facts(fresh=True))
                await asyncio.sleep(max(0.05, _LOOK_SECONDS - (time.monotonic() - began)))
        finally:
            self._eyes.close()

    async def facts(self, *, fresh: bool = False) -> Facts:
        """One moment: now with `fresh`, else at most a second old."""
        async with self._looking:
            if fresh or self._facts is None or time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._facts = await self._eyes.look()
                self._looked_at = time.monotonic()
            return self._facts

    async def nudge(self) -> None:
        """Something has been changed by us: everybody sees it now."""
        await self._tell(await self.facts(fresh=True))

    def close(self) -> None:
        """Ends every viewer's stream, so that the server can end."""
        self._closed = True
        for queue in self._viewers:
            queue.put_nowait(None)

    @property
    def is_full(self) -> bool:
        """Whether no further viewer is taken."""
        return len(self._viewers) >= _MOST_VIEWERS

    async def stream(self) -> AsyncIterator[bytes]:
        """All parts, then what changes."""
        queue: _Queue = asyncio.Queue()
        for whole in _messages(await self.facts()).values():
            queue.put_nowait(whole)
        self._viewers.add(queue)
        self._wanted.set()
        try:
            while not self._closed and (message := await queue.get()) is not None:
                yield message
        finally:
            self._viewers.discard(queue)

    async def _tell(self, facts: Facts) -> None:
        messages = _messages(facts)
        changed = [text for name, text in messages.items() if self._told.get(name) != text]
        self._told = messages
        for queue in list(self._viewers):
            if queue.qsize() > _MOST_WAITING:
                self._viewers.discard(queue)
                queue.put_nowait(None)
                continue
            for text in changed:
                queue.put_nowait(text)


def _messages(facts: Facts) -> dict[str, bytes]:
    """Every part as an event, the moment's own clock the last one."""
    found = {name: _event(name, orjson.dumps(text).decode()) for name, text in panels(facts).items()}
    found["pnl"] = _event("pnl", orjson.dumps(pnl_line(facts)).decode())
    found["tick"] = _event("tick", str(int(facts.at * 1_000)))
    return found


def _event(name: str, data: str) -> bytes:
    """One event; `data` has no line break: a JSON value has none."""
    return f"event: {name}\ndata: {data}\n\n".encode()
