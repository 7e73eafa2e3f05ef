"""sendTransaction to several nodes at once, without preflight and retries of theirs. Asking them is `chain_rpc`'s."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Final

from copytrader_core.errors import ConfigError
from copytrader_core.solana.routes.http import WarmPost
from copytrader_core.solana.routes.route import Code, RouteError

__all__ = ["RpcRoute"]

_OPTIONS: Final = {"encoding": "base64", "skipPreflight": True, "maxRetries": 0}
# The worst that all nodes said, by how much it leaves open: a transaction may be in if one of them did not answer.
_OPEN: Final = (Code.TIMEOUT, Code.RATE_LIMITED, Code.UNREACHABLE, Code.REFUSED)
_KNOWN: Final = ("alreadyprocessed", "already processed", "already been processed")


class RpcRoute:
    """Carries a transaction to every node of a list; one node that takes it is enough."""

    name = "rpc"
    waits, is_scarce = True, False

    def __init__(self, urls: Sequence[str], *, timeout_seconds: float = 2.0) -> None:
        """Raises ConfigError without a URL or for one that is none."""
        if not urls:
            raise ConfigError("the RPC route needs at least one node: give its URL in the settings")
        self._nodes = [WarmPost(url, timeout_seconds=timeout_seconds) for url in urls]
        self._id = 0

    def __repr__(self) -> str:
        return f"RpcRoute({', '.join(node.label for node in self._nodes)})"

    async def start(self) -> None:
        """Opens a connection to every node; one that is away now may come back."""
        await asyncio.gather(*[node.start() for node in self._nodes])

    async def close(self) -> None:
        """Closes the connections."""
        await asyncio.gather(*[node.close() for node in self._nodes])

    async def send(self, wire: bytes, signature: str) -> None:
        """Returns when the first node has taken the transaction. Raises RouteError when none has."""
        self._id += 1
        text = base64.b64encode(wire).decode()
        request = {"jsonrpc": "2.0", "id": self._id, "method": "sendTransaction", "params": [text, _OPTIONS]}
        body = json.dumps(request).encode()
        failures: list[RouteError] = []
        # The others go on: whoever takes it later makes it likelier to land. Tasks of a node end by its time-out.
        tasks = [asyncio.create_task(self._to(node, body, signature)) for node in self._nodes]
        for next_done in asyncio.as_completed(tasks):
            failure = await next_done
            if failure is None:
                return
            failures.append(failure)
        raise min(failures, key=lambda failure: _OPEN.index(failure.code))

    async def _to(self, node: WarmPost, body: bytes, signature: str) -> RouteError | None:
        try:
            answer = await node.ask(body)
        except RouteError as error:
            if error.code is Code.REFUSED and any(word in str(error).lower() for word in _KNOWN):
                return None
            return error
        if answer != signature:
            return RouteError(Code.TIMEOUT, f"{node.label} answered with another signature: ask for the status")
        return None
