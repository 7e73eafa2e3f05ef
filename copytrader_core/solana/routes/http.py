"""One JSON-RPC request over a warm connection, its failures as RouteErrors. No retries: the route's user decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from copytrader_core.solana.routes.route import Code, RouteError
from copytrader_core.solana.rpc import node_label

__all__ = ["WarmPost"]

_JSON: Final = {"Content-Type": "application/json"}
_WARM_SECONDS: Final = 20.0
_KEEPALIVE_SECONDS: Final = 90.0
_BUSY: Final = frozenset({429, -32429, -32097})


class WarmPost:
    """A host's kept-alive connections. Messages name the host's label only: its URL may hold a key."""

    def __init__(self, url: str, *, timeout_seconds: float, headers: Mapping[str, str] | None = None) -> None:
        """Raises ConfigError for a URL that is none."""
        self.label = node_label(url)
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._headers = {**_JSON, **(headers or {})}
        self._session: aiohttp.ClientSession | None = None
        self._warming: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"WarmPost({self.label})"

    async def start(self) -> None:
        """Opens the pool and keeps one connection open: a plain GET of the host's root now and then."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=16, keepalive_timeout=_KEEPALIVE_SECONDS, ttl_dns_cache=300)
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers, connector=connector)
            await self._touch(self._session)
            self._warming = asyncio.create_task(self._keep_warm(self._session))

    async def close(self) -> None:
        """Ends the warming and every connection."""
        if self._warming is not None:
            self._warming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._warming
        if self._session is not None:
            await self._session.close()
        self._warming = self._session = None

    async def ask(self, body: bytes, path: str = "") -> Any:
        """The `result` of one JSON-RPC call. Raises RouteError."""
        if self._session is None:
            raise RouteError(Code.UNREACHABLE, f"{self.label}: the route is closed; start it before sending")
        try:
            # A redirect would carry the transaction, and a key, to somebody else.
            async with self._session.post(self._url + path, data=body, allow_redirects=False) as response:
                status, raw = response.status, await response.read()
        except TimeoutError:
            raise RouteError(Code.TIMEOUT, f"{self.label} gave no answer in time: ask for the status") from None
        except aiohttp.ClientConnectionError as error:
            raise _lost(self.label, error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise RouteError(Code.TIMEOUT, f"{self.label}: {type(error).__name__}: ask for the status") from None
        return self._result(status, raw)

    def _result(self, status: int, raw: bytes) -> Any:
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        error = answer.get("error") if isinstance(answer, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        if status == 429 or code in _BUSY:
            raise RouteError(Code.RATE_LIMITED, f"{self.label}: too many requests: send less, or by another route")
        if error is not None:
            said = error.get("message") if isinstance(error, dict) else error
            raise RouteError(Code.REFUSED, f"{self.label} refused ({code}): {str(said)[:200]}")
        if status in (502, 503, 504):
            raise RouteError(Code.UNREACHABLE, f"{self.label}: HTTP status {status}: use another node for now")
        if status != 200:
            raise RouteError(Code.REFUSED, f"{self.label}: HTTP status {status}: check the URL and its key")
        if not isinstance(answer, dict) or "result" not in answer:
            raise RouteError(Code.TIMEOUT, f"{self.label}: an answer that is no JSON-RPC result: ask for the status")
        return answer["result"]

    async def _keep_warm(self, session: aiohttp.ClientSession) -> None:
        while True:
            await asyncio.sleep(_WARM_SECONDS)
            await self._touch(session)

    async def _touch(self, session: aiohttp.ClientSession) -> None:
        """Whatever the answer, the connection stands; a failure shows at the next send."""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with session.get(self._url, allow_redirects=False) as response:
                await response.read()


def _lost(label: str, error: aiohttp.ClientConnectionError) -> RouteError:
    """A connection that never was took nothing; one that broke may have taken the bytes."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return RouteError(Code.UNREACHABLE, f"{label} cannot be reached: check the URL and the network")
    return RouteError(Code.TIMEOUT, f"{label} broke the connection off: ask for the status")
