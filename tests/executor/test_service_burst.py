"""The driving loop between two messages: what is to leave does not wait for all that has come in meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from copytrader_core.geyser.client import Received
from copytrader_core.records import WSOL
from executor.service import RunOptions, _Service


async def nothing() -> AsyncIterator[Received]:
    """A stream that has said all it had to say."""
    return
    yield


def service(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> _Service:
    """A live run for which hearing a message is a line in `told`, and the first one makes an order leave."""
    broker = SimpleNamespace(address=WSOL, is_sending=False)
    engine: Any = SimpleNamespace(release=SimpleNamespace(release_id="r", patterns={}))
    live: Any = SimpleNamespace(broker=broker, chain=SimpleNamespace(needs_truth=False))
    wal: Any = None
    made = _Service(engine, None, nothing(), RunOptions(mode="live", is_watched=False), live, wal, asyncio.Event())

    async def leave() -> None:
        told.append("left")
        broker.is_sending = False

    def hear(received: Received) -> None:
        told.append(received.raw.decode())
        if len(told) == 1:
            broker.is_sending = True
            broker.task = asyncio.get_running_loop().create_task(leave())

    monkeypatch.setattr(made, "_hear", hear)
    return made


async def test_an_order_leaves_before_the_rest_of_a_burst_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    made = service(monkeypatch, told)
    for raw in (b"leader", b"second", b"third"):
        made._queue.put_nowait(Received(raw, 0, None))
    made._queue.put_nowait("end")
    await made._drive()
    assert told == ["leader", "left", "second", "third"]
