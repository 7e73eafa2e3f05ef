"""The provider and the nodes: whether they answer, what they can do, and whether our clock agrees with the chain's."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final
from urllib.parse import urlsplit

from copytrader_cli.doctor.finding import Finding, fail, ok, one_line, warn
from copytrader_core.errors import ConfigError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Endpoint, YellowstoneClient
from copytrader_core.geyser.failures import BadFilter, Stalled, StreamFailure, Unauthenticated
from copytrader_core.solana.rpc import RpcClient, RpcError, RpcRefusedError, is_loopback

__all__ = ["MAINNET", "node", "stream"]

MAINNET: Final = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
"""The genesis hash of Solana's mainnet-beta."""
# A block time is cut to whole seconds and lags the wall clock by 1.3 s besides.
_USUAL_DELAY_SECONDS: Final = 2.3
_RECORDED_SECONDS: Final = 3600.0
_SAMPLES: Final = 5
_ENOUGH_SECONDS: Final = 3.0
_LINK_SECONDS: Final = 10.0


async def stream(endpoint: Endpoint, *, listen_seconds: float, max_offset_seconds: float) -> AsyncIterator[Finding]:
    """The Yellowstone endpoint: version, replay window, whether blocks come, and the clock against their times."""
    if not endpoint.tls and not is_loopback(f"http://{endpoint.address}"):
        shown = " and the token is shown to everybody on the way" if endpoint.x_token else ""
        yield warn("endpoint", f"{endpoint.address} without TLS: nobody's word is checked{shown}", "use https or --tls")
    async with YellowstoneClient(endpoint, stall_seconds=listen_seconds) as client:
        try:
            # A name that never resolves must not hold everything else up.
            async with asyncio.timeout(_LINK_SECONDS):
                version = await client.version()
        except Unauthenticated as error:
            yield fail("endpoint", one_line(error), "give the provider's token: --x-token-file, or x_token_file")
            return
        except BadFilter:
            version = "a server that does not tell its version"
        except (StreamFailure, TimeoutError) as error:
            yield fail(
                "endpoint", one_line(error) or f"{endpoint.address} does not answer", "check address and network"
            )
            return
        yield ok("endpoint", f"{endpoint.address} answers: {version[:80]}")
        async for finding in _listen(client, listen_seconds, max_offset_seconds):
            yield finding
        yield await _replay(client)


async def _replay(client: YellowstoneClient) -> Finding:
    advice = "slots lost in a reconnect are left to `copytrader backfill --all`"
    try:
        first, newest = await client.replay_info(), await client.slot()
    except StreamFailure as error:
        return warn("replay", f"not told: {one_line(error)}", advice)
    if first is None:
        return warn("replay", "the provider cannot replay", advice)
    return ok("replay", f"from slot {first}, {max(0, newest - first)} slots back")


async def _listen(client: YellowstoneClient, seconds: float, max_offset_seconds: float) -> AsyncIterator[Finding]:
    """Hears block metas for a moment."""
    request = pb.SubscribeRequest(commitment=pb.CONFIRMED)
    request.blocks_meta["doctor"].SetInParent()
    delays: list[float] = []
    slot = 0
    try:
        async with asyncio.timeout(seconds), aclosing(client.subscribe(request)) as messages:
            began = time.monotonic()
            async for message in messages:
                if message.update is None or not message.update.HasField("block_meta"):
                    continue
                meta = message.update.block_meta
                slot = meta.slot
                delays.append(message.recv_ts_ns / 1e9 - meta.block_time.timestamp)
                if len(delays) == _SAMPLES or time.monotonic() - began > _ENOUGH_SECONDS:
                    break
    except (TimeoutError, Stalled):
        pass
    except StreamFailure as error:
        yield fail("stream", one_line(error), "ask the provider which filters your plan has")
        return
    if not delays:
        advice = "its node stands still, or the plan has no stream: ask the provider, or name another endpoint"
        yield fail("stream", f"silent: no block came in {seconds:g} s", advice)
        return
    yield ok("stream", f"blocks come, the newest is slot {slot}")
    yield _clock(statistics.median(delays) - _USUAL_DELAY_SECONDS, max_offset_seconds)


def _clock(offset: float, most: float) -> Finding:
    """`offset`: how many seconds our clock is ahead of the chain's."""
    told = f"{abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the chain's"
    if abs(offset) <= max(most, 1.0):
        return ok("clock", told)
    if offset > _RECORDED_SECONDS:
        return warn("clock", told, "a recorded chain is played here; with a live one, set the clock (NTP)")
    advice = "set the clock (NTP: `timedatectl set-ntp true`), or the provider is that far behind: try another endpoint"
    return fail("clock", told, advice)


async def node(url: str) -> AsyncIterator[Finding]:
    """One RPC node: reachable, healthy, of mainnet. Its URL may hold a key: only its label is shown."""
    try:
        client = RpcClient(url, timeout_seconds=5.0, patience_seconds=2.0)
    except ConfigError as error:
        yield fail("rpc", str(error), "correct the URL")
        return
    if urlsplit(url).scheme == "http" and not is_loopback(url):
        yield warn("rpc", f"{client.label} without TLS: nobody's word is checked", "use its https URL")
    async with client:
        try:
            slot = await client.slot()
        except RpcRefusedError as error:
            yield fail("rpc", one_line(error), "check the URL and its key")
            return
        except RpcError as error:
            yield fail("rpc", one_line(error), "check the URL and the network, or name another node")
            return
        yield ok("rpc", f"{client.label} answers, slot {slot}")
        yield await _genesis(client)
        yield await _health(client)


async def _genesis(client: RpcClient) -> Finding:
    try:
        found = await client.call("getGenesisHash", [])
    except RpcError as error:
        return warn("rpc chain", f"{client.label} does not tell which: {one_line(error)}", "a real node tells")
    if found != MAINNET:
        return warn("rpc chain", f"{client.label}: genesis {found}", "this is not mainnet: right only for trying out")
    return ok("rpc chain", "mainnet")


async def _health(client: RpcClient) -> Finding:
    try:
        await client.call("getHealth", [])
    except RpcError as error:
        return warn("rpc health", one_line(error), "the node is behind: wait, or name another one")
    return ok("rpc health", f"{client.label} is healthy")


async def gather(*checks: AsyncIterator[Finding]) -> list[Finding]:
    """All findings of several checks at once, in the order of the checks."""
    found: Sequence[list[Finding]] = await asyncio.gather(*map(_all, checks))
    return [one for part in found for one in part]


async def _all(check: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in check]
