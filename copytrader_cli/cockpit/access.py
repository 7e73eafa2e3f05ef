"""Who gets in: the right host name, the token, and for whatever changes something our own page. Nothing else does.

A page elsewhere can make the browser send requests here, and name this machine by a host name of its own (DNS
rebinding). So the Host header must be one of ours, the cookie is never sent from elsewhere (SameSite=Strict), and what
is not a GET needs an Origin of ours and a word that only our page knows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Access", "Keys", "form_of", "style_hash"]

MAX_BODY_BYTES: Final = 4_096
_COOKIE_SECONDS: Final = 7 * 86_400
_SAFE: Final = ("GET", "HEAD")
_FIXED: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers then call the origin of a form null.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'{style}; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Keys:
    """What is derived from the token: the cookie's value and the page's word. A new token ends every session."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    @property
    def session(self) -> str:
        """What the cookie holds: never the token itself."""
        return self._derived(b"session")

    @property
    def word(self) -> str:
        """What every form of our page carries, and no other page can know."""
        return self._derived(b"word")

    def is_token(self, text: str) -> bool:
        """Whether `text` is the token, in constant time."""
        return hmac.compare_digest(text.encode(), self._token)

    def is_session(self, text: str) -> bool:
        """The same for the cookie."""
        return hmac.compare_digest(text.encode(), self.session.encode())

    def is_word(self, text: str) -> bool:
        """The same for the word."""
        return hmac.compare_digest(text.encode(), self.word.encode())

    def _derived(self, purpose: bytes) -> str:
        return hmac.digest(self._token, b"copytrader cockpit " + purpose, "sha256").hex()


def style_hash(style: str) -> str:
    """How a content security policy names an inline style."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() + "'"


async def form_of(request: Request) -> dict[str, str] | None:
    """The fields of a urlencoded form; None for a body that is too long for any of ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return dict(parse_qsl(body.decode("utf-8", "replace")))


class Access:
    """Stands before the whole application: whoever has not the token gets the form for it and nothing else."""

    def __init__(self, app: ASGIApp, keys: Keys, hosts: Collection[str], door: str, style: str) -> None:
        """`hosts` are the allowed Host headers; `door` is the token form's document, `style` the style inside it."""
        self._app = app
        self._keys = keys
        self._hosts = {host.lower() for host in hosts}
        self._door = door
        self._policy = _POLICY.format(style="")
        self._door_policy = _POLICY.format(style=" " + style_hash(style))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the start and the end of the server through; of requests only those that may."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refusal = await self._refusal(scope, receive, headers)
        await (refusal or self._app)(scope, receive, self._guarded(send))

    async def _refusal(self, scope: Scope, receive: Receive, headers: Headers) -> Response | None:
        """What is answered instead of the page; None lets the request through."""
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            text = f"{host or 'no host'} is not a name of this cockpit; allow it with --allow-host if it is yours\n"
            return PlainTextResponse(text, 421)
        method = scope["method"]
        if method not in _SAFE and not _from_here(headers, host):
            return PlainTextResponse("refused: this request does not come from the cockpit's own page\n", 403)
        request = Request(scope, receive)
        if method == "POST" and scope["path"] == "/login":
            form = await form_of(request) or {}
            return self._let_in(form.get("token", ""), host)
        if method in _SAFE and scope["path"] == "/" and "token" in request.query_params:
            return self._let_in(request.query_params["token"], host)
        if self._keys.is_session(request.cookies.get(_cookie_name(host), "")):
            return None
        if scope["path"] == "/" and method in _SAFE:
            return self._ask("", 401)
        return PlainTextResponse("401: the cockpit's token is needed; open its first page\n", 401)

    def _let_in(self, token: str, host: str) -> Response:
        if not self._keys.is_token(token):
            return self._ask("That is not the token.", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            _cookie_name(host), self._keys.session, max_age=_COOKIE_SECONDS, httponly=True, samesite="strict", path="/"
        )
        return answer

    def _ask(self, complaint: str, status: int) -> Response:
        headers = {"Content-Security-Policy": self._door_policy}
        return HTMLResponse(self._door.replace("<!--complaint-->", complaint), status, headers)

    def _guarded(self, send: Send) -> Send:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _FIXED.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", self._policy)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return guarded


def _from_here(headers: Headers, host: str) -> bool:
    """Whether the browser says that our own page sent this. A client that says nothing is no browser of ours."""
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() == host and urlsplit(origin).scheme in ("http", "https")
    return headers.get("sec-fetch-site") == "same-origin"


def _cookie_name(host: str) -> str:
    """Cookies know no ports: two cockpits on one machine must not overwrite each other's."""
    return "cockpit_" + "".join(c if c.isalnum() else "_" for c in host)
