"""A cockpit that really listens, over a home and a database of the test's own."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from copytrader_cli.cockpit.app import cockpit_app
from copytrader_cli.cockpit.live import Hub
from copytrader_cli.watch.look import Looker
from copytrader_core.settings import settings as process_settings

TOKEN = "a-token-of-the-tests-that-is-long-enough"
Cockpits = Callable[..., Any]


@dataclass
class Running:
    """A cockpit, and a browser-like client with its cookie."""

    url: str
    port: int
    session: aiohttp.ClientSession
    hub: Hub

    @property
    def origin(self) -> dict[str, str]:
        """What our own page's requests carry."""
        return {"Origin": self.url}

    async def sign_in(self, token: str = TOKEN) -> None:
        async with self.session.get(f"{self.url}/?token={token}") as answer:
            assert answer.status == 200 and "token" not in str(answer.url)

    async def text(self, path: str = "/") -> str:
        async with self.session.get(self.url + path) as answer:
            assert answer.status == 200
            return await answer.text()

    async def word(self) -> str:
        """What the page's forms carry."""
        return re.search(r'name="word" value="(\w+)"', await self.text())[1]  # type: ignore[index]

    async def press(self, button: str, *, headers: dict[str, str] | None = None, **fields: str) -> tuple[int, str]:
        """What the page's script does for a button."""
        given = self.origin if headers is None else headers
        fields = {"word": await self.word()} | fields
        async with self.session.post(f"{self.url}/act/{button}", data=fields, headers=given) as answer:
            return answer.status, await answer.text()


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
