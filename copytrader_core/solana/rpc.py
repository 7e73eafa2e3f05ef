"""A JSON-RPC client for a Solana node: one call at a time, rate-limited, retried where a retry can help, typed errors.

What the answers mean is their reader's (`rpc_json` for transactions). A URL may hold the provider's key: it never
appears in a message, a repr or a log, only the node's `label` does.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from copytrader_core.errors import ConfigError, CopytraderError

__all__ = [
    "MAX_SIGNATURES",
    "MAX_SLOT_RANGE",
    "RateLimit",
    "RpcClient",
    "RpcError",
    "RpcGoneError",
    "RpcRefusedError",
    "RpcSkippedError",
    "RpcUnavailableError",
    "is_loopback",
    "node_label",
]

_log = logging.getLogger("copytrader.rpc")

MAX_SIGNATURES: Final = 1000
MAX_SLOT_RANGE: Final = 500_000
_CONFIRMED: Final[Mapping[str, Any]] = {"commitment": "confirmed"}
# Without it a node refuses every block that holds one version 1 transaction.
_VERSIONS: Final[Mapping[str, Any]] = {"maxSupportedTransactionVersion": 1}
_FIRST_DELAY_SECONDS = 0.25
_MAX_DELAY_SECONDS = 15.0
# A node that has never answered is a wrong address more often than a short outage.
_FIRST_PATIENCE_SECONDS = 10.0
_MAX_RETRY_AFTER_SECONDS = 60.0
_SAID_FROM_SECONDS = 2.0
_RETRIED_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_BUSY: Final = frozenset({429, -32429, -32097})
# A block that is not there yet, or never will be: the node does not know, so it is asked a few times only.
_NOT_YET = -32004
_NOT_YET_TRIES = 5
# Node behind, block or status not there yet, context slot not reached, long-term storage away, internal error.
_TRANSIENT: Final = frozenset({_NOT_YET, -32005, -32014, -32016, -32019, -32603}) | _BUSY
_SKIPPED: Final = frozenset({-32007, -32009})
# Block cleaned up, transaction history not available from this node.
_GONE: Final = frozenset({-32001, -32011})


class RpcError(CopytraderError):
    """The node answered a call with an error. `code` is JSON-RPC's, or the HTTP status, None without an answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class RpcSkippedError(RpcError):
    """The slot has no block, or the node's storage has a hole there; the node does not tell which."""


class RpcGoneError(RpcError):
    """The node does not keep this part of the history any more."""


class RpcRefusedError(RpcError):
    """The node does not let us in: no key, a wrong one, or a method that the plan does not have."""


class RpcUnavailableError(RpcError):
    """No useful answer for as long as we had patience: limits, time-outs, a node that is behind or away."""


class RateLimit:
    """A token bucket that all calls of a client share. `per_second` None is no limit; a hold stops everybody."""

    def __init__(self, per_second: float | None) -> None:
        if per_second is not None and per_second <= 0:
            raise ConfigError(f"a rate must be above 0 requests a second, found {per_second}")
        self._rate = per_second
        self._capacity = max(1.0, (per_second or 0.0) / 2)
        self._tokens = self._capacity
        self._at = time.monotonic()
        self._held_until = 0.0

    async def take(self) -> None:
        """Returns when the next request may go out."""
        # A bucket fills by the clock alone: there is no event to wait for.
        while (seconds := self._wait()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(seconds)
        self._tokens -= 1

    def hold(self, seconds: float) -> None:
        """Nothing goes out for so long: the node has said that it is too much."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _wait(self) -> float:
        now = time.monotonic()
        held = max(0.0, self._held_until - now)
        if self._rate is None:
            self._tokens = 1.0
            return held
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(held, (1.0 - self._tokens) / self._rate)


class RpcClient:
    """Calls to one node. `n_requests` counts what went out, `n_retries` the part of it that was sent again."""

    def __init__(
        self, url: str, *, rate: float | None = None, timeout_seconds: float = 30.0, patience_seconds: float = 120.0
    ) -> None:
        """`rate`: requests a second at most; `patience_seconds`: how long one call is tried.

        Raises ConfigError for a URL that is none.
        """
        self.label = node_label(url)
        self.n_requests = 0
        self.n_retries = 0
        self._url = url
        self._secrets = _secrets(url)
        self._limit = RateLimit(rate)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._patience_seconds = patience_seconds
        self._has_answered = False
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"RpcClient({self.label})"

    async def __aenter__(self) -> Self:
        """Opens the connections' pool."""
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()

    async def first_available_block(self) -> int:
        """The lowest slot whose block the node still has."""
        return int(await self.call("getFirstAvailableBlock", []))

    async def slot(self) -> int:
        """The newest confirmed slot."""
        return int(await self.call("getSlot", [_CONFIRMED]))

    async def blocks(self, first: int, last: int) -> list[int]:
        """The slots of first..last (at most MAX_SLOT_RANGE apart) that have a block, rising."""
        return [int(slot) for slot in await self.call("getBlocks", [first, last, _CONFIRMED])]

    async def block(self, slot: int, details: str = "full") -> dict[str, Any] | None:
        """A block with its transactions (`details`: full, signatures or none), None where it is not confirmed yet.

        Raises RpcSkippedError or RpcGoneError where the node has no block.
        """
        options = {"encoding": "json", "transactionDetails": details, "rewards": False, **_CONFIRMED, **_VERSIONS}
        found: dict[str, Any] | None = await self.call("getBlock", [slot, options])
        return found

    async def block_time(self, slot: int) -> int | None:
        """The unix time of a slot's block, None where the node does not know it."""
        found = await self.call("getBlockTime", [slot])
        return None if found is None else int(found)

    async def transaction(self, signature: str) -> dict[str, Any] | None:
        """A getTransaction result, None where the node does not know the transaction."""
        options = {"encoding": "json", **_CONFIRMED, **_VERSIONS}
        found: dict[str, Any] | None = await self.call("getTransaction", [signature, options])
        return found

    async def signatures(
        self,
        address: str,
        *,
        before: str | None = None,
        until: str | None = None,
        limit: int = MAX_SIGNATURES,
        min_context_slot: int | None = None,
    ) -> list[dict[str, Any]]:
        """Signatures that name `address`, newest first, both bounds left out."""
        bounds = {"before": before, "until": until, "minContextSlot": min_context_slot}
        options = {"limit": limit, **_CONFIRMED, **{name: value for name, value in bounds.items() if value is not None}}
        found: list[dict[str, Any]] = await self.call("getSignaturesForAddress", [address, options])
        return found

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """The `result` of a call, tried again while the failure is one that passes.

        Raises RpcUnavailableError when patience ends, the other RpcErrors at once.
        """
        began, failures = time.monotonic(), 0
        while True:
            await self._limit.take()
            self.n_requests += 1
            try:
                return await self._once(method, params)
            except _Passing as failure:
                if failure.code == _NOT_YET and failures + 1 >= _NOT_YET_TRIES:
                    raise RpcSkippedError(f"{self.label} answered {method} with {failure}", failure.code) from None
                delay = failure.delay(failures)
                if failure.is_busy:
                    self._limit.hold(delay)
                if time.monotonic() + delay - began > self._patience():
                    raise self._unavailable(method, failure) from None
                if delay >= _SAID_FROM_SECONDS:
                    _log.warning("%s: %s: %s; trying again in %.0f s", self.label, method, failure, delay)
            failures += 1
            self.n_retries += 1
            await asyncio.sleep(delay)

    async def _once(self, method: str, params: Sequence[Any]) -> Any:
        """One request. Raises _Passing for what may be better the next time."""
        if self._session is None:
            raise RuntimeError("the client is used outside its `async with` block")
        request = {"jsonrpc": "2.0", "id": self.n_requests, "method": method, "params": list(params)}
        try:
            # A redirect would carry the key to somebody else.
            async with self._session.post(self._url, json=request, allow_redirects=False) as response:
                body = await response.read()
                self._has_answered = True
        except aiohttp.InvalidURL:
            raise ConfigError("the RPC URL is not one that can be asked: check its host and its characters") from None
        except aiohttp.ClientConnectorCertificateError:
            raise RpcRefusedError(
                f"{self.label} shows a certificate that cannot be verified: check the RPC URL"
            ) from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _Passing(_connection_text(error)) from None
        return self._result(method, response.status, response.headers.get("Retry-After"), body)

    def _result(self, method: str, status: int, retry_after: str | None, body: bytes) -> Any:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        error = answer.get("error") if isinstance(answer, Mapping) else None
        if isinstance(error, Mapping):
            self._raise(method, status, retry_after, error)
        if status in _RETRIED_STATUS:
            raise _Passing(f"HTTP status {status}", status, _seconds(retry_after))
        if status in (401, 403):
            raise self._refused(method, f"HTTP status {status}", status)
        if status != 200:
            raise RpcError(f"{self.label} answered {method} with HTTP status {status}: check the RPC URL", status)
        if not isinstance(answer, Mapping) or "result" not in answer:
            raise _Passing("an answer that is no JSON-RPC result")
        return answer["result"]

    def _raise(self, method: str, status: int, retry_after: str | None, error: Mapping[str, Any]) -> None:
        code = error.get("code")
        code = code if isinstance(code, int) else status
        text = self._clean(str(error.get("message") or "no message"))
        if code in _TRANSIENT or status == 429:
            raise _Passing(f"{text} ({code})", 429 if status == 429 else code, _seconds(retry_after))
        said = f"{self.label} answered {method} with {code}: {text}"
        if code in _SKIPPED:
            raise RpcSkippedError(said, code)
        if code in _GONE:
            raise RpcGoneError(said, code)
        if status in (401, 403):
            raise self._refused(method, text, code)
        raise RpcError(said, code)

    def _patience(self) -> float:
        """Seconds that one call is tried for."""
        return self._patience_seconds if self._has_answered else min(self._patience_seconds, _FIRST_PATIENCE_SECONDS)

    def _refused(self, method: str, text: str, code: int) -> RpcRefusedError:
        return RpcRefusedError(f"{self.label} refuses {method}: {text}; check the key in the RPC URL", code)

    def _unavailable(self, method: str, failure: _Passing) -> RpcUnavailableError:
        return RpcUnavailableError(
            f"{self.label} gave no answer to {method} for {self._patience():g} s: {failure}; "
            "check the RPC URL, or try again later, with a lower --rate or with another node",
            failure.code,
        )

    def _clean(self, text: str) -> str:
        """`text` without any part of the URL that may be a key."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _Passing(Exception):  # noqa: N818 never leaves this module
    """A failure that may pass. `code` as in RpcError, `after` the seconds that the node asked for."""

    def __init__(self, text: str, code: int | None = None, after: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.is_busy = code in _BUSY
        self._after = after

    def delay(self, failures: int) -> float:
        """Seconds before the next try: longer each time, never twice the same, never less than the node asked for."""
        backoff = min(_FIRST_DELAY_SECONDS * 2.0 ** min(failures, 16), _MAX_DELAY_SECONDS) * random.uniform(0.5, 1.0)
        return max(backoff, self._after or 0.0)


def node_label(url: str) -> str:
    """How a node may be named to anybody: address and port of one's own, else only the provider's domain.

    Providers put keys into paths, queries and host names alike. Raises ConfigError where `url` is not an HTTP URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, parts, port = None, urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("the RPC URL must look like https://host/... or http://host:port; what was given does not")
    if host == "localhost" or _address(host) is not None:
        return f"{host}:{port}" if port else host
    return ".".join(host.split(".")[-2:])


def is_loopback(url: str) -> bool:
    """Whether the node is on this machine, where nobody counts requests."""
    host = urlsplit(url).hostname or ""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _secrets(url: str) -> list[str]:
    """Parts of a URL that may be a key, the longest first."""
    parts = urlsplit(url)
    found = [
        parts.username,
        parts.password,
        parts.query,
        *parts.path.split("/"),
        *dict(parse_qsl(parts.query)).values(),
    ]
    host = parts.hostname or ""
    if _address(host) is None:
        found.append(host)
    return sorted({part for part in found if part and len(part) >= 6}, key=len, reverse=True)


def _connection_text(error: BaseException) -> str:
    """What went wrong on the way, in words that cannot hold the URL (aiohttp's own do)."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    reason = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header asks for, a number of seconds or a date (RFC 9110, 10.2.3); None if it says neither."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        seconds = _seconds_until(retry_after)
    return min(max(0.0, seconds), _MAX_RETRY_AFTER_SECONDS)


def _seconds_until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return 0.0
