"""Straight to the leaders: who leads when, connections to those who soon will, every transaction to this and the next.

An unstaked sender is served last: good in calm slots, silently lost in busy ones. Never the only route.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from copytrader_core.errors import CopytraderError
from copytrader_core.solana.keys import new_identity
from copytrader_core.solana.routes.quic import TpuConnection, client_configuration, open_connection
from copytrader_core.solana.routes.route import Code, RouteError

__all__ = ["ClusterNodes", "SlotLeaders", "TpuRoute"]

SlotLeaders = Callable[[int, int], Awaitable[Sequence[str]]]
"""(first slot, count) -> the leader's identity of each slot."""
ClusterNodes = Callable[[], Awaitable[Mapping[str, str]]]
"""() -> identity -> "ip:port" of its QUIC transaction port, those that have one."""

_log = logging.getLogger("copytrader.routes")

_LEADER_SLOTS: Final = 4
_AHEAD_SLOTS: Final = 12
_SCHEDULE_SLOTS: Final = 1_000
# The schedule is fetched again while so many known slots are still ahead.
_REFETCH_SLOTS: Final = 200
_NODES_SECONDS: Final = 300.0
_HANDSHAKE_SECONDS: Final = 2.0
_KEEP_SECONDS: Final = 10.0
_UNWANTED_SECONDS: Final = 60.0
# A validator takes 8 new connections a minute from one address.
_RETRY_SECONDS: Final = 60.0 / 8
_MAX_RETRY_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Peer:
    """One address: its connection, if there is one, and when it may be tried again."""

    address: str
    wanted_at: float
    connection: TpuConnection | None = None
    task: asyncio.Task[None] | None = None
    failures: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class _Schedule:
    first: int = 0
    leaders: Sequence[str] = field(default=())

    def leader(self, slot: int) -> str | None:
        """Who leads a slot, None where that is not known."""
        at = slot - self.first
        return self.leaders[at] if 0 <= at < len(self.leaders) else None


class TpuRoute:
    """Feed it the newest slot by `on_slot` (from the stream, not by asking); it does the rest."""

    name = "tpu"
    waits = is_scarce = False

    def __init__(
        self,
        slot_leaders: SlotLeaders,
        cluster_nodes: ClusterNodes,
        *,
        identity: Ed25519PrivateKey | None = None,
        max_connections: int = 32,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """`identity`: the key we introduce ourselves with, a fresh one by default; never the wallet's."""
        self._slot_leaders, self._cluster_nodes = slot_leaders, cluster_nodes
        self._configuration = client_configuration(identity or new_identity())
        self._max_connections = max_connections
        self._retry_seconds = retry_seconds
        self._schedule = _Schedule()
        self._nodes: Mapping[str, str] = {}
        self._nodes_at = float("-inf")
        self._peers: dict[str, _Peer] = {}
        self._slot = 0
        self._refreshing: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"TpuRoute(slot {self._slot}, {self.n_connected} connected)"

    @property
    def n_connected(self) -> int:
        """How many connections stand."""
        return sum(peer.connection is not None for peer in self._peers.values())

    async def start(self) -> None:
        """Begins to keep connections alive. They are opened as slots come in."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Ends every connection and task."""
        tasks = [self._keeping, self._refreshing, *[peer.task for peer in self._peers.values()]]
        self._keeping = self._refreshing = None
        self._peers.clear()
        begun = [task for task in tasks if task is not None]
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)

    def on_slot(self, slot: int) -> None:
        """The newest slot that the stream knows. Connects to whoever leads within the next twelve."""
        if self._keeping is None or slot <= self._slot:
            return
        self._slot = slot
        if self._is_stale() and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh(slot))
        self._connect_ahead()

    def targets(self) -> list[str]:
        """Addresses of this leader and the next, or of the only one that is known."""
        return self._addresses((self._slot, self._slot + _LEADER_SLOTS))

    async def send(self, wire: bytes, signature: str) -> None:
        """To the current and the next leader, on connections that stand. Raises RouteError where neither takes it."""
        targets = self.targets()
        peers = [peer for address in targets if (peer := self._peers.get(address)) is not None]
        open_ = [one for peer in peers if (one := peer.connection) is not None and not one.is_over]
        ready = [connection for connection in open_ if not connection.is_parked]
        if open_ and not ready:
            raise RouteError(Code.RATE_LIMITED, f"the leaders of slot {self._slot} let nothing in: use another route")
        n_sent = 0
        for connection in ready:
            # One that ends this moment must not keep it from the other.
            with contextlib.suppress(ConnectionError):
                connection.send_transaction(wire)
                n_sent += 1
        if not n_sent:
            why = "no leader is known yet" if not targets else f"no connection to {', '.join(targets)}"
            raise RouteError(Code.UNREACHABLE, f"{why} at slot {self._slot}: use another route")

    def _is_stale(self) -> bool:
        is_known = self._schedule.leader(self._slot) and self._schedule.leader(self._slot + _REFETCH_SLOTS)
        return not is_known or time.monotonic() - self._nodes_at > _NODES_SECONDS

    async def _refresh(self, slot: int) -> None:
        """Fetches schedule and addresses. What fails is tried again with the next slot, what is known stays."""
        try:
            if self._schedule.leader(slot + _REFETCH_SLOTS) is None:
                self._schedule = _Schedule(slot, await self._slot_leaders(slot, _SCHEDULE_SLOTS))
            self._nodes = await self._cluster_nodes()
            self._nodes_at = time.monotonic()
        except CopytraderError as error:
            _log.warning("the leaders' addresses are not to be had: %s", error)
            return
        self._connect_ahead()

    def _addresses(self, slots: Iterable[int]) -> list[str]:
        """The known addresses of these slots' leaders, each once, in order."""
        leaders = [self._schedule.leader(slot) for slot in slots]
        found = [self._nodes[leader] for leader in leaders if leader is not None and leader in self._nodes]
        return list(dict.fromkeys(found))

    def _connect_ahead(self) -> None:
        now = time.monotonic()
        for address in self._addresses(range(self._slot, self._slot + _AHEAD_SLOTS + 1)):
            peer = self._peers.get(address)
            if peer is None:
                if len(self._peers) >= self._max_connections and not self._drop_one(now):
                    continue
                peer = self._peers[address] = _Peer(address, now)
            peer.wanted_at = now
            if (peer.task is None or peer.task.done()) and now >= peer.not_before:
                peer.task = asyncio.create_task(self._hold(peer))

    def _drop_one(self, now: float) -> bool:
        """Makes room by the peer that nobody has wanted for longest; False where all are wanted now."""
        oldest = min(self._peers.values(), key=lambda peer: peer.wanted_at)
        if oldest.wanted_at >= now:
            return False
        self._drop(oldest)
        return True

    def _drop(self, peer: _Peer) -> None:
        del self._peers[peer.address]
        if peer.task is not None:
            peer.task.cancel()

    async def _hold(self, peer: _Peer) -> None:
        """One connection from its handshake to its end."""
        host, _, port = peer.address.rpartition(":")
        peer.not_before = time.monotonic() + min(self._retry_seconds * 2.0**peer.failures, _MAX_RETRY_SECONDS)
        try:
            connection, transport = await open_connection(
                host.strip("[]"), int(port), self._configuration, _HANDSHAKE_SECONDS
            )
        except (OSError, TimeoutError, ValueError) as error:
            peer.failures = min(peer.failures + 1, 8)
            _log.debug("no connection to %s: %s", peer.address, type(error).__name__)
            return
        try:
            peer.connection, peer.failures = connection, 0
            await connection.wait_closed()
        finally:
            peer.connection = None
            try:
                connection.close()
            finally:
                transport.close()

    async def _keep(self) -> None:
        """Pings connections that may be needed again, lets the others go."""
        while True:
            await asyncio.sleep(_KEEP_SECONDS)
            now = time.monotonic()
            for peer in list(self._peers.values()):
                if now - peer.wanted_at > _UNWANTED_SECONDS:
                    self._drop(peer)
                elif peer.connection is not None:
                    peer.connection.keep_alive()
