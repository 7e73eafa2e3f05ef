"""Jito's block engine over JSON-RPC: bundles and single transactions, one region per route; tip accounts and prices.

Accepted is not landed. Status is asked of nodes or the stream, never here: one request a second is all there is.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
from solders.pubkey import Pubkey

from copytrader_core.errors import ConfigError
from copytrader_core.pump.addresses import JITO_TIP_ACCOUNTS
from copytrader_core.solana.keys import register_secret
from copytrader_core.solana.routes.http import WarmPost
from copytrader_core.solana.routes.route import Code, RouteError
from copytrader_core.solana.rpc import node_label

__all__ = [
    "MAX_BUNDLE",
    "MIN_TIP_LAMPORTS",
    "BlockEngineRoute",
    "TipFloor",
    "TipFloorFeed",
    "bundle_id",
    "read_tip_floor",
]

_log = logging.getLogger("copytrader.routes")

MAX_BUNDLE: Final = 5
MIN_TIP_LAMPORTS: Final = 1_000
_LAMPORTS: Final = 1_000_000_000
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BUNDLES, _TRANSACTIONS, _TIP_ACCOUNTS = "/api/v1/bundles", "/api/v1/transactions", "/api/v1/getTipAccounts"
_BASE64: Final = {"encoding": "base64"}

Mode = Literal["bundle", "transaction", "bundle_only"]


def bundle_id(signatures: Sequence[str]) -> str:
    """The block engine's name of a bundle: hex SHA-256 of its first signatures joined by commas."""
    return hashlib.sha256(",".join(signatures).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TipFloor:
    """Tips that landed lately, in lamports, by percentile; `ema50` is the median's moving average."""

    p25: int
    p50: int
    p75: int
    p95: int
    p99: int
    ema50: int


_FLOOR_FIELDS: Final = (
    *[f"landed_tips_{percentile}th_percentile" for percentile in (25, 50, 75, 95, 99)],
    "ema_landed_tips_50th_percentile",
)


def read_tip_floor(document: object) -> TipFloor:
    """The tip floor of its service's answer (a list of one object, values in SOL). Raises RouteError for another."""
    try:
        values = document[0] if isinstance(document, list) else {}
        lamports = [round(float(values[name]) * _LAMPORTS) for name in _FLOOR_FIELDS]
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        raise RouteError(Code.REFUSED, "the tip floor's answer has another form: keep the last one") from None
    return TipFloor(*[max(MIN_TIP_LAMPORTS, value) for value in lamports])


class TipFloorFeed:
    """Asks for the tip floor and keeps the last answer; whoever wants it reads `floor`, and never waits."""

    def __init__(self, url: str, *, every_seconds: float = 5.0, timeout_seconds: float = 5.0) -> None:
        """Raises ConfigError for a URL that is none."""
        self.label = node_label(url)
        self.floor: TipFloor | None = None
        self.at_monotonic: float | None = None
        self._url = url
        self._every_seconds = every_seconds
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to ask."""
        if self._task is None:
            self._task = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Ends the asking; the last floor stays."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._task = None

    async def _poll(self) -> None:
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            while True:
                try:
                    async with session.get(self._url, allow_redirects=False) as response:
                        self.floor = read_tip_floor(json.loads(await response.read()))
                    self.at_monotonic = time.monotonic()
                except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RouteError) as error:
                    _log.warning("%s gave no tip floor (%s); the last one stays", self.label, type(error).__name__)
                await asyncio.sleep(self._every_seconds)


class BlockEngineRoute:
    """One region's block engine. Regions are routes of their own, each with its own second."""

    waits = is_scarce = True

    def __init__(
        self,
        url: str,
        *,
        mode: Mode = "bundle",
        uuid_file: Path | None = None,
        timeout_seconds: float = 2.0,
        per_second: float = 1.0,
    ) -> None:
        """`uuid_file` holds the access key, where we have one. Raises ConfigError for a URL or file that is none."""
        self._http = WarmPost(url, timeout_seconds=timeout_seconds, headers=_access(uuid_file))
        self.name = f"block_engine:{self._http.label}"
        self.tip_accounts: Sequence[Pubkey] = JITO_TIP_ACCOUNTS
        self._mode = mode
        self._gap = 1.0 / per_second
        self._next = 0.0
        self._id = 0

    def __repr__(self) -> str:
        return f"BlockEngineRoute({self._http.label}, {self._mode})"

    async def start(self) -> None:
        """Opens the connection and keeps it warm; what warms it asks no method, so that it costs no request."""
        await self._http.start()

    async def close(self) -> None:
        """Closes the connection."""
        await self._http.close()

    def tip_account(self) -> Pubkey:
        """One of the tip accounts, by chance, so that not everybody writes to the same one."""
        return random.choice(self.tip_accounts)

    async def refresh_tip_accounts(self) -> None:
        """Takes the tip accounts from the block engine itself. Costs one request. Raises RouteError."""
        answer = await self._call("getTipAccounts", [], _TIP_ACCOUNTS)
        try:
            accounts = [Pubkey.from_string(text) for text in answer]
        except (TypeError, ValueError):
            accounts = []
        if not accounts:
            raise RouteError(Code.REFUSED, f"{self._http.label} named no tip accounts: the known ones stay")
        self.tip_accounts = accounts

    async def send(self, wire: bytes, signature: str) -> None:
        """One transaction, as a bundle of its own or through sendTransaction (`mode`). Raises RouteError."""
        if self._mode == "bundle":
            await self.send_bundle([wire], [signature])
            return
        path = f"{_TRANSACTIONS}?bundleOnly=true" if self._mode == "bundle_only" else _TRANSACTIONS
        answer = await self._call("sendTransaction", [base64.b64encode(wire).decode(), _BASE64], path)
        self._expect(answer, signature)

    async def send_bundle(self, wires: Sequence[bytes], signatures: Sequence[str]) -> str:
        """Up to five transactions, all or nothing, one after the other; returns the bundle's id. Raises RouteError."""
        if not 1 <= len(wires) <= MAX_BUNDLE or len(wires) != len(signatures):
            raise RouteError(Code.REFUSED, f"a bundle has 1..{MAX_BUNDLE} transactions, found {len(wires)}")
        name = bundle_id(signatures)
        texts = [base64.b64encode(wire).decode() for wire in wires]
        self._expect(await self._call("sendBundle", [texts, _BASE64], _BUNDLES), name)
        return name

    def _expect(self, answer: object, wanted: str) -> None:
        if answer != wanted:
            raise RouteError(Code.TIMEOUT, f"{self._http.label} answered with another id: ask for the status")

    async def _call(self, method: str, params: Sequence[object], path: str) -> Any:
        """One request, if its second has come. Waiting is worse than another route, so it never waits."""
        now = time.monotonic()
        if now < self._next:
            raise RouteError(
                Code.RATE_LIMITED, f"{self._http.label}: one request in {self._gap:g} s: use another route"
            )
        self._next = now + self._gap
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": list(params)}
        return await self._http.ask(json.dumps(request).encode(), path)


def _access(uuid_file: Path | None) -> Mapping[str, str]:
    if uuid_file is None:
        return {}
    try:
        text = uuid_file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{uuid_file}: the access key cannot be read ({error.strerror}): check the path") from None
    if not _UUID.fullmatch(text):
        raise ConfigError(f"{uuid_file}: an access key is a UUID: put nothing else into the file")
    register_secret(text)
    return {"x-jito-auth": text}
