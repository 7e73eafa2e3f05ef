"""The way to the leaders, against a QUIC server of ours that admits late, and against another implementation."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnectionError

from copytrader_core.solana.keys import new_identity
from copytrader_core.solana.routes import quic
from copytrader_core.solana.routes.quic import (
    ALPN,
    TpuConnection,
    client_configuration,
    identity_certificate,
    open_connection,
)
from copytrader_core.solana.routes.route import Code, RouteError
from copytrader_core.solana.routes.tpu import TpuRoute

SIGNATURE = "1" * 64


class Leader(QuicConnectionProtocol):
    """A validator's port: no streams until `admit`, then it notes every transaction."""

    def __init__(self, *arguments, leaders: list[Leader], got: list[bytes], **options) -> None:
        super().__init__(*arguments, **options)
        self._quic._local_max_streams_uni.value = 0
        self._quic._local_max_streams_uni.sent = 0
        self.streams: dict[int, bytes] = {}
        self.got = got
        leaders.append(self)

    def admit(self, n: int = 256) -> None:
        self._quic._local_max_streams_uni.value = n
        self._quic.send_ping(1)
        self.transmit()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived):
            self.streams[event.stream_id] = self.streams.get(event.stream_id, b"") + event.data
            if event.end_stream:
                self.got.append(self.streams.pop(event.stream_id))


@asynccontextmanager
async def leader() -> AsyncIterator[tuple[str, list[Leader], list[bytes]]]:
    identity, leaders, got = new_identity(), [], []
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[ALPN])
    configuration.certificate, configuration.private_key = identity_certificate(identity), identity
    server = await serve(
        "127.0.0.1",
        0,
        configuration=configuration,
        create_protocol=lambda *a, **o: Leader(*a, leaders=leaders, got=got, **o),
    )
    try:
        yield f"127.0.0.1:{server._transport.get_extra_info('sockname')[1]}", leaders, got
    finally:
        server.close()


@asynccontextmanager
async def route(*addresses: str, **options) -> AsyncIterator[TpuRoute]:
    """A route whose schedule gives each address four slots in turn."""
    asked = []

    async def slot_leaders(first: int, count: int) -> list[str]:
        asked.append(first)
        return [str(slot // 4 % len(addresses)) for slot in range(first, first + count)]

    async def cluster_nodes() -> dict[str, str]:
        return {str(at): address for at, address in enumerate(addresses) if address}

    made = TpuRoute(slot_leaders, cluster_nodes, **options)
    made.asked = asked
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 a server's side has no event to wait for
            await asyncio.sleep(0.01)


def transactions(n: int) -> list[bytes]:
    rng = random.Random(n)
    return [rng.randbytes(rng.randint(900, 1232)) for _ in range(n)]


async def test_transactions_wait_for_admission_and_arrive_whole():
    sent = transactions(40)
    async with leader() as (address, leaders, got), route(address) as tpu:
        tpu.on_slot(400)
        await until(lambda: tpu.n_connected == 1)
        for wire in sent:
            await tpu.send(wire, SIGNATURE)
        await asyncio.sleep(0.1)
        assert got == []
        leaders[0].admit()
        await until(lambda: len(got) == len(sent))
    assert sorted(got) == sorted(sent)


async def test_what_waits_goes_out_as_streams_are_let_in():
    sent = transactions(30)
    async with leader() as (address, leaders, got), route(address) as tpu:
        tpu.on_slot(400)
        await until(lambda: tpu.n_connected == 1)
        for wire in sent:
            await tpu.send(wire, SIGNATURE)
        # The server's stack lets more in by itself as streams are used.
        for n in (1, 4, 30):
            leaders[0].admit(n)
            await until(lambda n=n: len(got) >= n)
    assert sorted(got) == sorted(sent)


async def test_the_first_message_is_one_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        mute.setblocking(False)
        with pytest.raises(OSError):
            await open_connection("127.0.0.1", mute.getsockname()[1], client_configuration(new_identity()), 0.1)
        datagrams = []
        with pytest.raises(BlockingIOError):
            while True:
                datagrams.append(mute.recv(2_048))
    # The second one says that we have given up.
    assert [len(one) for one in datagrams][:1] == [1280]
    assert len(datagrams) <= 2


async def refused(connection: TpuConnection) -> None:
    """Returns once the stack refuses what it is asked for: the server's close has come, its event has not yet."""
    async with asyncio.timeout(20):
        while True:
            try:
                connection._quic.send_ping(1)
            except QuicConnectionError:
                return
            await asyncio.sleep(0)


@pytest.mark.parametrize("does", ["send_transaction", "keep_alive", "close", "nothing"])
async def test_a_connection_that_has_ended_says_so_from_the_first_moment_on(does: str):
    """The stack tells its end by an event long after it has begun to refuse everything."""
    async with leader() as (address, leaders, got):
        host, _, port = address.rpartition(":")
        connection, transport = await open_connection(host, int(port), client_configuration(new_identity()), 5)
        leaders[0].admit()
        await until(lambda: connection._quic.max_concurrent_uni_streams > 0)
        leaders[0].close()
        await refused(connection)
        assert not connection.is_over
        if does == "send_transaction":
            with pytest.raises(ConnectionError):
                connection.send_transaction(transactions(1)[0])
        elif does == "keep_alive":
            connection.keep_alive()
        elif does == "close":
            connection.close()
        async with asyncio.timeout(0.001 if does in {"send_transaction", "keep_alive"} else 20):
            await connection.wait_closed()
        assert connection.is_over and not connection.is_parked
        for wire in transactions(100):
            with pytest.raises(ConnectionError):
                connection.send_transaction(wire)
        connection.keep_alive()
        connection.close()
        transport.close()
        assert got == []


class Lossy(asyncio.DatagramProtocol):
    """Stands before a port and loses every fifth datagram either way, once it is told to; the others take 40 ms."""

    def __init__(self, port: int) -> None:
        self.server, self.client = ("127.0.0.1", port), None
        self.is_bad, self.rng = False, random.Random(7)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.client = self.client if addr == self.server else addr
        if not self.is_bad or self.rng.random() > 0.2:
            to = self.client if addr == self.server else self.server
            asyncio.get_running_loop().call_later(0.04, self.transport.sendto, data, to)


async def test_a_path_that_loses_every_fifth_packet_delivers_and_raises_nothing():
    faults: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    sent = transactions(300)
    async with leader() as (address, leaders, got):
        port = int(address.rpartition(":")[2])
        between, path = await loop.create_datagram_endpoint(lambda: Lossy(port), local_addr=("127.0.0.1", 0))
        shown = between.get_extra_info("sockname")[1]
        connection, transport = await open_connection("127.0.0.1", shown, client_configuration(new_identity()), 5)
        leaders[0].admit(1_000)
        await until(lambda: connection._quic.max_concurrent_uni_streams > 300)
        path.is_bad = True
        for wire in sent:
            connection.send_transaction(wire)
            await asyncio.sleep(0.01)
        path.is_bad = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while len(got) < len(sent):  # noqa: ASYNC110 a server's side has no event to wait for
                    await asyncio.sleep(0.05)
        assert not connection.is_over
        connection.close()
        transport.close()
        between.close()
    assert faults == []
    assert set(got) <= set(sent) and len(got) >= 297


class Stumbling:
    """The native half of a connection, which fails so many times to give a packet."""

    def __init__(self, core: object, n_failures: int) -> None:
        self._core, self._left = core, n_failures

    def __getattr__(self, name: str) -> object:
        return getattr(self._core, name)

    def poll_transmit(self, now: float) -> object:
        if self._left:
            self._left -= 1
            raise ValueError("reserved stream is missing")
        return self._core.poll_transmit(now)


@pytest.mark.parametrize(("n_failures", "survives"), [(1, True), (3, True), (10, False)])
async def test_a_stack_that_stumbles_is_asked_again_and_given_up_when_it_goes_on(n_failures: int, survives: bool):
    async with leader() as (address, leaders, got):
        host, _, port = address.rpartition(":")
        connection, transport = await open_connection(host, int(port), client_configuration(new_identity()), 5)
        leaders[0].admit()
        await until(lambda: connection._quic.max_concurrent_uni_streams > 0)
        connection._quic._core = Stumbling(connection._quic._core, n_failures)
        if survives:
            connection.send_transaction(b"x" * 900)
            await until(lambda: len(got) == 1)
        else:
            with pytest.raises(ConnectionError, match="reserved stream"):
                connection.send_transaction(b"x" * 900)
        assert connection.is_over != survives
        connection.close()
        transport.close()


async def test_bytes_that_wait_already_do_not_wait_twice():
    async with leader() as (address, leaders, got), route(address) as tpu:
        tpu.on_slot(400)
        await until(lambda: tpu.n_connected == 1)
        for wire in [b"a" * 900, b"b" * 900] * 40:
            await tpu.send(wire, SIGNATURE)
        leaders[0].admit()
        await until(lambda: len(got) == 2)
        await asyncio.sleep(0.05)
    assert sorted(got) == [b"a" * 900, b"b" * 900]


async def test_a_leader_that_has_closed_does_not_keep_it_from_the_other():
    async with leader() as (one, a, _), leader() as (two, b, got_b), route(one, two) as tpu:
        tpu.on_slot(400)
        await until(lambda: tpu.n_connected == 2)
        first, second = (tpu._peers[address].connection for address in (one, two))
        assert first is not None and second is not None
        for leaders, connection in ((a, first), (b, second)):
            leaders[0].admit()
            await until(lambda connection=connection: connection._quic.max_concurrent_uni_streams > 0)
        a[0].close()
        await refused(first)
        for wire in transactions(20):
            await tpu.send(wire, SIGNATURE)
        await until(lambda: len(got_b) == 20)
        b[0].close()
        await refused(second)
        with pytest.raises(RouteError, match="no connection to") as raised:
            await tpu.send(b"x", SIGNATURE)
        assert raised.value.code is Code.UNREACHABLE
        await until(lambda: tpu.n_connected == 0)


async def test_what_has_waited_too_long_does_not_leave_any_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quic, "_PARKED_SECONDS", 0.2)
    async with leader() as (address, leaders, got), route(address) as tpu:
        tpu.on_slot(400)
        await until(lambda: tpu.n_connected == 1)
        for wire in transactions(64):
            await tpu.send(wire, SIGNATURE)
        with pytest.raises(RouteError):
            await tpu.send(b"x", SIGNATURE)
        await asyncio.sleep(0.3)
        await tpu.send(b"late" * 250, SIGNATURE)
        leaders[0].admit()
        await until(lambda: len(got) > 0)
        await asyncio.sleep(0.1)
    assert got == [b"late" * 250]


async def test_a_leader_that_lets_nothing_in_is_no_endless_queue():
    async with leader() as (address, _, _), route(address) as tpu:
        tpu.on_slot(400)
        await until(lambda: tpu.n_connected == 1)
        with pytest.raises(RouteError) as raised:
            for wire in transactions(100):
                await tpu.send(wire, SIGNATURE)
    assert raised.value.code is Code.RATE_LIMITED


async def test_this_leader_and_the_next_get_it_and_nobody_else():
    async with leader() as (one, a, got_a), leader() as (two, b, got_b), leader() as (three, c, got_c):  # noqa: SIM117
        async with route(one, two, three) as tpu:
            tpu.on_slot(404)
            await until(lambda: tpu.n_connected == 3)
            for leaders in (a, b, c):
                leaders[0].admit()
            assert tpu.targets() == [[one, two, three][404 // 4 % 3], [one, two, three][408 // 4 % 3]]
            await tpu.send(b"x" * 900, SIGNATURE)
            await until(lambda: len(got_a) + len(got_b) + len(got_c) == 2)
            await asyncio.sleep(0.05)
            by_address = {one: got_a, two: got_b, three: got_c}
            assert [len(by_address[address]) for address in tpu.targets()] == [1, 1]
            assert len(tpu.asked) == 1


async def test_without_a_connection_it_says_so_at_once():
    async with route("127.0.0.1:9") as tpu:
        with pytest.raises(RouteError, match="no leader is known") as raised:
            await tpu.send(b"x", SIGNATURE)
        assert raised.value.code is Code.UNREACHABLE
        tpu.on_slot(4)
        await until(lambda: bool(tpu.targets()))
        with pytest.raises(RouteError, match="no connection to"):
            await tpu.send(b"x", SIGNATURE)


async def test_a_lost_connection_is_opened_again_but_not_at_once():
    async with leader() as (address, leaders, _), route(address, retry_seconds=0.4) as tpu:
        tpu.on_slot(1)
        await until(lambda: tpu.n_connected == 1)
        leaders[0].close()
        await until(lambda: tpu.n_connected == 0)
        slot = 2

        def again() -> bool:
            nonlocal slot
            slot += 1
            tpu.on_slot(slot)
            return tpu.n_connected == 1

        await until(again)
        assert len(leaders) == 2


async def test_connections_are_bounded():
    async with leader() as (one, *_), leader() as (two, *_), leader() as (three, *_):  # noqa: SIM117
        async with route(one, two, three, max_connections=2) as tpu:
            for slot in range(4, 60):
                tpu.on_slot(slot)
                await asyncio.sleep(0.01)
                assert len(tpu._peers) <= 2


def test_the_certificate_is_read_by_others_and_holds_our_key():
    identity = new_identity()
    certificate = identity_certificate(identity)
    assert certificate.public_key() == identity.public_key()
    assert certificate.not_valid_before_utc.year == 1970 and certificate.not_valid_after_utc.year == 4096
