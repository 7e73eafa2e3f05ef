"""A Bot API on loopback that does what a test wants: takes messages, gives updates, is away, is busy, hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "123456:a-token-that-must-stay-secret"
CHAT, OTHER_CHAT, STRANGER = 11, 12, 666


async def eventually(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Waits until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it never came true")


@dataclass
class FakeBot:
    """`sent` is what arrived; `refusals` are given instead, one a call, `down` for ever; `holding` never answers."""

    url: str = ""
    sent: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, float]] = field(default_factory=list)
    offsets: list[int | None] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    rejected_chats: set[int] = field(default_factory=set)
    down: bool = False
    holding: bool = False
    _updates: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 1_000

    def says(
        self,
        text: str,
        *,
        chat: int = CHAT,
        user: int | None = None,
        kind: str = "private",
        late: float = 0.0,
        **more: Any,
    ) -> None:
        """Somebody writes to the bot."""
        self._number += 1
        message = {"chat": {"id": chat, "type": kind}, "from": {"id": user or chat}, "text": text} | more
        self._updates.append({"update_id": self._number, "message": message | {"date": int(time.time() - late)}})

    def texts(self, chat: int = CHAT) -> list[str]:
        """The lines of all messages to a chat."""
        return [line for one in self.sent if one["chat_id"] == chat for line in one["text"].split("\n")]

    async def until(self, sought: str, chat: int = CHAT, seconds: float = 20.0) -> str:
        """The first line to a chat that holds `sought`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := next((line for line in self.texts(chat) if sought in line), None):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"{sought!r} never came; what came: {self.texts(chat)}")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        values = await request.json()
        self.calls.append((method, time.monotonic()))
        if request.match_info["token"] != TOKEN:
            return web.json_response({"ok": False, "error_code": 401, "description": "Unauthorized"}, status=401)
        if self.down:
            raise web.HTTPBadGateway
        if method == "getUpdates":
            return await self._give(values)
        if method == "sendMessage":
            return await self._take(values)
        return web.json_response({"ok": True, "result": {"id": 1, "is_bot": True}})

    async def _give(self, values: dict[str, Any]) -> web.Response:
        offset = values.get("offset")
        self.offsets.append(offset)
        for _ in range(20):
            # As the real one: what is asked from an offset on is forgotten up to it.
            self._updates = [one for one in self._updates if offset is None or one["update_id"] >= offset]
            if self._updates:
                break
            await asyncio.sleep(0.05)
        return web.json_response({"ok": True, "result": self._updates})

    async def _take(self, values: dict[str, Any]) -> web.Response:
        if self.refusals:
            status, document = self.refusals.pop(0)
            return web.json_response({"ok": False, "error_code": status} | document, status=status)
        if values["chat_id"] in self.rejected_chats:
            refusal = {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}
            return web.json_response(refusal, status=403)
        self.sent.append(values)
        if self.holding:
            await eventually(lambda: not self.holding, 60)
        return web.json_response({"ok": True, "result": {"message_id": len(self.sent)}})


@asynccontextmanager
async def serving(bot: FakeBot, port: int = 0) -> AsyncIterator[FakeBot]:
    """The bot at an address of its own while the block runs."""
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", bot.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    bot.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield bot
    finally:
        bot.holding = False
        await runner.cleanup()
