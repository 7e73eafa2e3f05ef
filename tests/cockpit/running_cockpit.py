"""A cockpit that listens, as a test sees it: its address, and a client with its cookie."""

from __future__ import annotations

import re
from dataclasses import dataclass

import aiohttp

from copytrader_cli.cockpit.live import Hub

TOKEN = "a-token-of-the-tests-that-is-long-enough"


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
