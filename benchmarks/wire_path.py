"""How long it takes from the stream to the wire: a live local chain and the executor, each in a process of its own.

The chain notes when it writes the update of a leader's buy to the stream, and when our transaction for it arrives at
its RPC or TPU port; the executor when it has the bytes, and when it hands the first datagram with ours to the kernel;
the journal tells which belongs to which. All of it shares the machine's cores: what arrives waits for the chain to
look, and on the loopback the chain may run before `sendto` comes back to us.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop
from qh3.quic.connection import QuicConnection

from benchmarks.hot_path import NO_LIMITS, POLICY, pattern, show
from benchmarks.measure import Measured
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Endpoint
from copytrader_core.records import LAMPORTS_PER_SOL, Release
from copytrader_core.settings import Settings
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.routes.quic import TpuConnection
from executor import feed
from executor.hearing import Hearing
from executor.outside import outside
from executor.service import RunOptions
from executor.service import run as run_executor
from executor.wal import Wal
from simnet.intake import Delivery
from simnet.live import Live
from simnet.live_chain import LiveChain, LiveOptions
from simnet.stream import Stream

_SEED: Final = bytes(range(32))
_MONEY: Final = 5_000 * LAMPORTS_PER_SOL
_LEADERS: Final = 400
_SLOT_MS: Final = 100.0
_WARM_SLOTS: Final = 1_500
_SPANS: Final = (
    "written to received",
    "received to signed",
    "signed to wire",
    "received to wire",
    "written to wire",
    "written to arrived",
)
_SIGNATURE_FIELD: Final = b"\x0a\x40"
_SECONDS: Final = float(os.environ.get("WIRE_SECONDS", "45"))


class _Marks:
    """When (monotonic ns) this process had the bytes of each transaction, and when it gave ours to the kernel."""

    def __init__(self) -> None:
        self.received: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self._hear, self._send = Hearing.transaction, TpuConnection.send_transaction
        self._packed = QuicConnection.datagrams_to_send
        self._sending: bytes | None = None

    def watch(self) -> None:
        """From now on until the process ends."""
        marks, ahead_ns = self, time.time_ns() - time.monotonic_ns()

        def hear(hearing: Hearing, raw: bytes, received_ns: int, update: Any = None) -> None:
            at = raw.find(_SIGNATURE_FIELD) + len(_SIGNATURE_FIELD)
            marks.received.setdefault(signature_text(raw[at : at + 64]), received_ns - ahead_ns)
            marks._hear(hearing, raw, received_ns, update)

        def send(connection: TpuConnection, wire: bytes) -> None:
            marks._sending = wire
            marks._send(connection, wire)

        def packed(connection: QuicConnection, now: float) -> list[tuple[bytes, Any]]:
            found, wire = marks._packed(connection, now), marks._sending
            if wire is not None:
                marks._sending = None
                if found:
                    marks.left.setdefault(signature_text(wire[1:65]), time.monotonic_ns())
            return found

        Hearing.transaction = hear  # type: ignore[method-assign]
        TpuConnection.send_transaction = send  # type: ignore[method-assign]
        QuicConnection.datagrams_to_send = packed  # type: ignore[method-assign]


class _Bought(NamedTuple):
    """A buy: the leader's signature, ours, and microseconds from the update's arrival to our signature."""

    leader_sig: str
    signature: str
    latency_us: float


def run() -> list[Measured]:
    """Prints percentiles, sleeping between updates and not; gives what one second would hold, one after the other."""
    marks = _Marks()
    marks.watch()
    return [_measured(marks, busy_poll=False), _measured(marks, busy_poll=True)]


def _measured(marks: _Marks, *, busy_poll: bool) -> Measured:
    """One run of both processes."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    chain = multiprocessing.get_context("spawn").Process(target=_chain, args=(theirs,))
    chain.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            bought = uvloop.run(_executor(Path(folder), ours.recv(), busy_poll=busy_poll))
        ours.send("end")
        written, arrived = ours.recv()
    finally:
        chain.join(10)
        if chain.is_alive():
            chain.kill()
    groups: dict[str, list[float]] = {name: [] for name in _SPANS}
    for one in bought:
        began, received = written.get(one.leader_sig), marks.received.get(one.leader_sig)
        left, there = marks.left.get(one.signature), arrived.get(one.signature)
        if began is None or received is None or left is None or there is None:
            continue
        signed = received + int(one.latency_us * 1000)
        ends = (began, received), (received, signed), (signed, left), (received, left), (began, left), (began, there)
        for name, (start, end) in zip(_SPANS, ends, strict=True):
            groups[name].append((end - start) / 1000)
    how = "busy_poll" if busy_poll else "default"
    show(f"stream to wire, {how}, load {os.getloadavg()[0]:.1f}", groups)
    return Measured(how, "buys", (1e6 / statistics.median(groups["written to wire"]),))


async def _executor(folder: Path, where: dict[str, Any], *, busy_poll: bool) -> list[_Bought]:
    """One live run and every buy of it."""
    settings = Settings(home=folder)
    executor = {"reconcile_seconds": 2.0, "priority_fee_lamports": 5_000, "tip_lamports": 0, "busy_poll": busy_poll}
    settings = settings.model_copy(
        update={
            "policy": settings.policy.model_copy(update=POLICY | {"max_size_sol": 0.21, "base_slippage_bps": 2_000}),
            "risk": settings.risk.model_copy(update=NO_LIMITS | {"max_quote_age_slots": 60}),
            "executor": settings.executor.model_copy(update=executor),
        }
    )
    release = Release("r", "2026-10-11", {wallet: pattern(wallet) for wallet in where["leaders"]}, ())
    signer = Signer(_SEED)
    async with outside(signer, settings.executor, [where["rpc"]]) as found:
        stream = feed.updates(Endpoint(where["geyser"]), None, 30.0, signer.address)
        options = RunOptions(mode="live")
        task = asyncio.create_task(run_executor(None, settings, stream, options, found, release))
        await asyncio.wait({task}, timeout=_SECONDS)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    wal = Wal(folder / "executor" / "live")
    try:
        return _bought(wal)
    finally:
        wal.close()


def _bought(wal: Wal) -> list[_Bought]:
    signed: list[_Bought] = []
    for line in wal.replay():
        if line["kind"] != "DECISION":
            continue
        moved = [values for name, values in line["changes"] if name == "move_intent" and values["to"] == "SIGNED"]
        latency = float(line["payload"]["latency_us"])
        signed += [_Bought(line["leader_sig"], values["payload"]["signature"], latency) for values in moved]
    return signed


def _chain(pipe: Connection) -> None:
    """The chain's process."""
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    raws: list[tuple[int, Any]] = []
    arrived: dict[str, int] = {}
    async with AsyncExitStack() as stack:
        live = Live(LiveChain(LiveOptions(slot_ms=_SLOT_MS, warmup_slots=_WARM_SLOTS)))
        _watch(live, raws, arrived)
        await live.start(stack)
        live.airdrop(Signer(_SEED).pubkey, _MONEY)
        running = asyncio.create_task(live.run())
        traders = dict.fromkeys(event.wallet for event in live.chain.market.truth.events if event.action == "BUY")
        leaders = list(traders)[:_LEADERS]
        pipe.send(live.addresses() | {"leaders": leaders})
        await asyncio.to_thread(pipe.recv)
        running.cancel()
        pipe.send((dict(_written(raws)), arrived))


def _watch(live: Live, raws: list[tuple[int, Any]], arrived: dict[str, int]) -> None:
    feed_client, submit = Stream.feed, live.chain.intake.submit

    async def timed(stream: Stream, write: Callable[[Any], Awaitable[None]]) -> None:
        async def noting(update: Any) -> None:
            raws.append((time.monotonic_ns(), update))
            await write(update)

        await feed_client(stream, noting)

    def noted(delivery: Delivery, slot: int) -> None:
        for transaction in delivery.transactions:
            arrived.setdefault(str(transaction.signatures[0]), time.monotonic_ns())
        submit(delivery, slot)

    Stream.feed = timed  # type: ignore[method-assign]
    live.chain.intake.submit = noted  # type: ignore[method-assign]


def _written(raws: list[tuple[int, Any]]) -> list[tuple[str, int]]:
    """The first time that each transaction was written."""
    found: dict[str, int] = {}
    for at, raw in raws:
        update = pb.SubscribeUpdate.FromString(raw) if isinstance(raw, bytes) else raw
        if update.WhichOneof("update_oneof") == "transaction":
            found.setdefault(signature_text(update.transaction.transaction.signature), at)
    return list(found.items())
