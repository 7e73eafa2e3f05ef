"""Everything that a live run touches of the world, in one place: so that a test can put another world in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from copytrader_core.errors import ConfigError
from copytrader_core.settings import ExecutorSettings
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.routes.block_engine import BlockEngineRoute
from copytrader_core.solana.routes.route import Route
from copytrader_core.solana.routes.rpc import RpcRoute
from copytrader_core.solana.routes.tpu import TpuRoute
from copytrader_core.solana.rpc import RpcClient
from executor.nonce_accounts import opened
from executor.nonces import Nonces

_RPC_TIMEOUT_SECONDS = 3.0
_RPC_PATIENCE_SECONDS = 4.0


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Outside:
    """The nodes that are asked, the routes that carry, the key that signs, and what time it is."""

    signer: Signer
    nodes: Sequence[ChainRpc]
    routes: Sequence[Route]
    tpu: TpuRoute | None = None
    nonces: Nonces = field(default_factory=Nonces)
    """Under which sales are signed; none of them: under a blockhash."""
    now_ns: Callable[[], int] = time.time_ns
    time: Callable[[], float] = _loop_time
    """Seconds that only go forward."""
    quorum: int = 2
    """How many nodes have to say the same of what the wallet holds, where there are so many."""


@asynccontextmanager
async def outside(signer: Signer, config: ExecutorSettings, rpc_urls: Sequence[str]) -> AsyncIterator[Outside]:
    """Opens the nodes and routes that the settings name, and closes them.

    Raises ConfigError without a node, and for a nonce account that the wallet cannot use.
    """
    if not rpc_urls:
        raise ConfigError("live trading needs at least one RPC node: name a file with its URL in rpc_url_files")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                RpcClient(url, timeout_seconds=_RPC_TIMEOUT_SECONDS, patience_seconds=_RPC_PATIENCE_SECONDS)
            )
            for url in rpc_urls
        ]
        nodes = [ChainRpc(client) for client in clients]
        routes: list[Route] = [RpcRoute(rpc_urls)]
        tpu = TpuRoute(nodes[0].slot_leaders, nodes[0].tpu_addresses) if config.tpu else None
        if tpu is not None:
            routes.insert(0, tpu)
        uuid, how = config.block_engine_uuid_file, config.block_engine_mode
        routes += [BlockEngineRoute(url, uuid_file=uuid, mode=how) for url in config.block_engine_urls]
        for route in routes:
            await route.start()
            stack.push_async_callback(route.close)
        nonces = await opened(nodes, config.nonce_accounts, signer.pubkey)
        yield Outside(signer, nodes, routes, tpu, nonces)


def urls_from(files: Sequence[Path]) -> list[str]:
    """The URL in each file: a URL may hold a key, so it stands in no settings. Raises ConfigError."""
    found = []
    for path in files:
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"{path}: the RPC URL cannot be read ({error.strerror}): check the path") from None
        if not text or len(text.split()) != 1:
            raise ConfigError(f"{path}: one URL is expected and nothing else")
        found.append(text)
    return found
