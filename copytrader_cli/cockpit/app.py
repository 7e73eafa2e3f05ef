"""The cockpit's addresses: the page, its events, its buttons, its files. Who may reach them is `access`'s."""

from __future__ import annotations

import asyncio
import gzip
import logging
import mimetypes
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Template
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from copytrader_cli.cockpit.access import Access, Keys, form_of
from copytrader_cli.cockpit.live import Hub
from copytrader_cli.cockpit.panels import STATIC, document
from copytrader_cli.watch.aside import aside
from copytrader_cli.watch.press import BUTTONS, Button, has_journal, press, wish_of
from copytrader_core.errors import StoreError
from copytrader_core.settings import settings

__all__ = ["cockpit_app"]

_log = logging.getLogger("copytrader.cockpit")

_CONFIRMED: Final = ("halt", "flatten", "resume")
_PRESS_SECONDS: Final = 6.0
_MOST_WHY: Final = 120
_DONE: Final = {
    "reduce": "REDUCING: no more buys, exits go on.",
    "halt": "HALTED: nothing is sent any more, exits neither.",
    "resume": "ACTIVE: buys are allowed again.",
}


def cockpit_app(hub: Hub, token: str, hosts: Collection[str], mode: str, *, actions: bool) -> Starlette:
    """The whole application. `hosts` are the allowed Host headers; without `actions` no button does anything."""
    keys = Keys(token)
    style = (STATIC / "door.css").read_text()
    door = Template((STATIC.parent / "templates" / "door.html").read_text(), autoescape=True).render(style=_Safe(style))
    cockpit = _Cockpit(hub, keys, mode, actions=actions)

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(hub.run())
        running.add_done_callback(_ended)
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    return Starlette(
        routes=[
            Route("/", cockpit.page),
            Route("/events", cockpit.events),
            Route("/act/{button}", cockpit.act, methods=["POST"]),
            Route("/logout", cockpit.sign_out, methods=["POST"]),
            Route("/static/{path:path}", _static),
        ],
        middleware=[Middleware(Access, keys=keys, hosts=hosts, door=door, style=style)],
        lifespan=living,
    )


def _ended(task: asyncio.Task[None]) -> None:
    """A page that nothing tells any more must not look alive: the process ends, and its manager starts another."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("the cockpit cannot look any more", exc_info=error)
        signal.raise_signal(signal.SIGTERM)


class _Cockpit:
    """The answers."""

    def __init__(self, hub: Hub, keys: Keys, mode: str, *, actions: bool) -> None:
        self._hub = hub
        self._keys = keys
        self._mode = mode
        self._actions = actions

    async def page(self, request: Request) -> Response:
        """Everything at once; from then on `events` brings what changes."""
        return HTMLResponse(document(await self._hub.facts(), self._keys.word, self._actions))

    async def events(self, request: Request) -> Response:
        """What changes, as long as the page is open."""
        if self._hub.is_full:
            return PlainTextResponse("too many pages are open: close some\n", 503, {"Retry-After": "10"})
        return StreamingResponse(self._hub.stream(), media_type="text/event-stream")

    async def act(self, request: Request) -> Response:
        """One button: the same as the command of its name, with who pressed it and why."""
        form = await form_of(request)
        name = request.path_params["button"]
        button: Button | None = next((one for one in BUTTONS if one == name), None)
        if button is None:
            return _said("There is no such button.", 404)
        if not self._actions:
            return _said("This cockpit only shows: start it with --actions.", 403)
        if form is None or not self._keys.is_word(form.get("word", "")):
            return _said("Refused: this does not come from the cockpit's own page. Load it again.", 403)
        if button in _CONFIRMED and form.get("confirm") != button:
            return _said(f"Not done: {button} has to be confirmed.", 409)
        return await self._pressed(button, _why(form.get("why", "")))

    async def sign_out(self, request: Request) -> Response:
        """Forgets the cookie in this browser; the token stays good."""
        form = await form_of(request)
        if form is None or not self._keys.is_word(form.get("word", "")):
            return _said("Refused: this does not come from the cockpit's own page.", 403)
        answer = RedirectResponse("/", 303)
        for name in request.cookies:
            if name.startswith("cockpit_"):
                answer.delete_cookie(name, path="/", httponly=True, samesite="strict")
        return answer

    async def _pressed(self, button: Button, why: str) -> Response:
        wish = wish_of(button, f"by cockpit{why}")
        try:
            problem = await aside(partial(press, wish), _PRESS_SECONDS)
        except TimeoutError:
            problem = f"it has not answered for {_PRESS_SECONDS:.0f} s"
            if not has_journal(settings().home_path / "executor"):
                return _said(f"Not known to be done: Postgres {problem.removeprefix('it ')}. Press again.", 504)
        except StoreError as error:
            return _said(f"Not done: {error}.", 503)
        except OSError as error:
            return _said(f"Not done: the control file cannot be written ({error}).", 500)
        await self._hub.nudge()
        text = await self._flattening() if button == "flatten" else _DONE[button]
        if problem is not None:
            text += f" {problem}"
        return _said(text)

    async def _flattening(self) -> str:
        if (await self._hub.facts()).status.running:
            return f"REDUCING and flatten: the {self._mode} executor that runs sells everything now."
        # The page holds no key on purpose; the command does it where the key is.
        hint = "" if self._mode == "paper" else "; `copytrader executor flatten --mode live` sells without one"
        return f"REDUCING and flatten: no {self._mode} executor is seen running; the next one sells first{hint}."


class _Safe(str):
    """A text of ours that goes into a page as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _said(text: str, status: int = 200) -> Response:
    tone = "good" if status == 200 else "bad"
    return HTMLResponse(f'<p class="note {tone}">{_escaped(text)}</p>', status)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _why(text: str) -> str:
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MOST_WHY]
    return f": {words}" if words else ""


async def _static(request: Request) -> Response:
    """One of our files, packed if the browser can unpack it. Their addresses change with their content."""
    found = _files().get(request.path_params["path"])
    if found is None:
        return PlainTextResponse("not found\n", 404)
    kind, plain, packed = found
    headers: dict[str, Any] = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
    return Response(plain, media_type=kind, headers=headers)


_packed: Final[dict[str, tuple[str, bytes, bytes]]] = {}


def _files() -> dict[str, tuple[str, bytes, bytes]]:
    if not _packed:
        for path in STATIC.rglob("*.*"):
            _packed[str(path.relative_to(STATIC))] = _file(path)
    return _packed


def _file(path: Path) -> tuple[str, bytes, bytes]:
    plain = path.read_bytes()
    return mimetypes.guess_type(path.name)[0] or "text/plain", plain, gzip.compress(plain, 9)
