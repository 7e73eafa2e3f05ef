"""Runs a story on a fast live chain: what the tests of it have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from simnet.live import LiveOptions, live_chain
from tests.simnet.live_client import Trader

START = 1_791_900_000

Story = Callable[[Trader], Awaitable[None]]


def run(story: Story, **options: Any) -> None:
    """Plays a story with a fresh trader; the options are LiveOptions'."""
    settings = LiveOptions(**{"slot_ms": 20.0, "start": START, "bundle_requests_per_s": 0.0, **options})

    async def play() -> None:
        async with live_chain(settings) as live, aiohttp.ClientSession() as http:
            await asyncio.wait_for(story(Trader(live, http)), 60)

    asyncio.run(play())
