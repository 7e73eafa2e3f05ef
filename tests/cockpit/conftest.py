"""A cockpit that really listens, over a home and a database of the test's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from running_cockpit import TOKEN, Running

from copytrader_cli.cockpit.app import cockpit_app
from copytrader_cli.cockpit.live import Hub
from copytrader_cli.watch.look import Looker
from copytrader_core.settings import settings as process_settings

Cockpits = Callable[..., Any]


@pytest.fixture(autouse=True)
def alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a database unless the test asks for one."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    process_settings.cache_clear()


@pytest.fixture
def cockpit(home: Path) -> Cockpits:
    """Serves a cockpit while a block runs; signed in unless told otherwise."""

    @asynccontextmanager
    async def started(
        *, actions: bool = False, signed_in: bool = True, mode: str = "paper", token: str = TOKEN, port: int = 0
    ) -> AsyncIterator[Running]:
        hub = Hub(Looker(mode, home / "executor"))
        listening = socket.create_server(("127.0.0.1", port))
        port = listening.getsockname()[1]
        app = cockpit_app(hub, token, {f"127.0.0.1:{port}", f"localhost:{port}"}, mode, actions=actions)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            running = Running(f"http://127.0.0.1:{port}", port, session, hub)
            if signed_in:
                await running.sign_in(token)
            yield running
        hub.close()
        server.should_exit = True
        await asyncio.wait_for(serving, 20)

    return started
