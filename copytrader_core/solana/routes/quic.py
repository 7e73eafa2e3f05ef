"""One QUIC connection to a validator's transaction port: handshake with our identity, one stream per transaction.

Which validators, and when, is `tpu`'s. The stack is qh3, whose packets are made by native code: handing a transaction
over takes 82 us, with aioquic 208 (medians, one every 4 ms, both to aioquic on the loopback).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError
from qh3.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent
from qh3.quic.packet import QuicErrorCode
from qh3.quic.tls_bridge import QuicTlsBridge
from qh3.tls import Group, SignatureAlgorithm

from copytrader_core.solana.keys import pem

__all__ = ["ALPN", "TpuConnection", "client_configuration", "identity_certificate", "open_connection"]

ALPN: Final = "solana-tpu"
_IDLE_SECONDS: Final = 30.0
# A server that is full keeps us at 0 streams: what waits longer, or behind so many, would only arrive stale. What may
# leave is asked before it comes here, so it must not wait for long either.
_MAX_PARKED: Final = 64
_PARKED_SECONDS: Final = 2.0
# The two lowest bits of a stream's number tell its kind.
_KIND_BITS: Final = 2
_CORE_TRIES: Final = 4
# That a validator ends a connection is nothing to warn of: it is what they do with strangers.
logging.getLogger("quic").setLevel(logging.ERROR)


def identity_certificate(identity: Ed25519PrivateKey) -> x509.Certificate:
    """A certificate that says nothing but the public key: peers take the key from it and check the handshake by it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Solana node")])
    always = (datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC), datetime.datetime(4096, 1, 1, tzinfo=datetime.UTC))
    builder = x509.CertificateBuilder(name, name, identity.public_key(), 1, *always)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    return builder.add_extension(names, critical=False).sign(identity, None)


def client_configuration(identity: Ed25519PrivateKey) -> QuicConfiguration:
    """How we call a validator. Its certificate proves nothing either: whoever holds the port gets the transaction."""
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN],
        verify_mode=ssl.CERT_NONE,
        server_name="localhost",
        idle_timeout=_IDLE_SECONDS,
        # Validators have Ed25519 keys, which the stack does not offer unasked.
        signature_algorithms=[SignatureAlgorithm.ED25519],
        # Packets stay at 1,280 bytes, and nothing is sent but transactions.
        probe_datagram_size=False,
    )
    certificate = identity_certificate(identity).public_bytes(Encoding.PEM)
    configuration.load_cert_chain(certificate, pem(identity))
    return configuration


class _Connection(QuicConnection):
    """The stack's, with what it does to us mended.

    It offers the key exchange that every validator knows, and no other: with the post-quantum one, that the stack would
    offer too, the first message fills two datagrams, and not every server of transactions keeps room for that.
    """

    def _create_tls(self, remote_source_cid: bytes | None) -> QuicTlsBridge:
        bridge = super()._create_tls(remote_source_cid)
        bridge.tls._supported_groups = [Group.X25519]
        return bridge

    def _call_core(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Where many packets are lost, qh3 2.1.0 stumbles over its own books (ValueError), nearly always just once."""
        for tries_left in reversed(range(_CORE_TRIES)):
            try:
                return super()._call_core(operation, *args)
            except ValueError as error:
                if not tries_left or self._core is None or operation != self._core.poll_transmit:
                    raise QuicConnectionError(QuicErrorCode.INTERNAL_ERROR, None, str(error)) from error
        raise AssertionError("there is at least one try")


class TpuConnection(QuicConnectionProtocol):
    """Sends transactions. Nothing is ever received: a validator answers by including, or not.

    The stack refuses streams that the server has not allowed yet: what is to go on them waits here.
    """

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self._is_up = self._is_over = False
        self._decided = asyncio.Event()
        self._parked: deque[tuple[float, bytes]] = deque()

    async def wait_connected(self) -> None:
        """Returns after the handshake. Raises ConnectionError where the connection has ended before it."""
        # The parent's future, given up at a time-out, complains to the log once the connection ends.
        await self._decided.wait()
        if not self._is_up:
            raise ConnectionError("the connection ended before its handshake")

    def quic_event_received(self, event: QuicEvent) -> None:
        """Called by the parent for everything that happens."""
        if isinstance(event, HandshakeCompleted):
            self._is_up = True
            self._decided.set()
        elif isinstance(event, ConnectionTerminated):
            self._end()

    def datagram_received(self, data: Any, addr: Any) -> None:
        """Called by the transport; what has waited goes out where the server has let more streams in."""
        with self._ending(suppress=True):
            super().datagram_received(data, addr)
            if self._parked:
                self._send()

    def close(self) -> None:
        """Tells the server that this is the end, if it does not know yet."""
        with self._ending(suppress=True):
            super().close()

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self._is_over

    @property
    def is_parked(self) -> bool:
        """Whether the server lets no more streams in and enough transactions wait already."""
        self._drop_stale()
        return len(self._parked) >= _MAX_PARKED

    def send_transaction(self, wire: bytes) -> None:
        """Puts a transaction on a stream of its own. It waits, not for long, until the server allows the stream.

        Raises ConnectionError where the connection has ended.
        """
        if self._is_over:
            raise ConnectionError("the connection has ended")
        # Bytes that are sent again while they wait would only take the first free streams twice.
        if all(wire != waiting for _, waiting in self._parked):
            self._parked.append((self._loop.time(), wire))
        with self._ending():
            self._send()

    def _send(self) -> None:
        quic, is_unidirectional = self._quic, True
        self._drop_stale()
        while self._parked:
            stream = quic.get_next_available_stream_id(is_unidirectional)
            if stream >> _KIND_BITS >= quic.max_concurrent_uni_streams:
                break
            _, wire = self._parked.popleft()
            quic.send_stream_data(stream, wire, end_stream=True)
        self.transmit()

    def _drop_stale(self) -> None:
        last = self._loop.time() - _PARKED_SECONDS
        while self._parked and self._parked[0][0] < last:
            self._parked.popleft()

    def keep_alive(self) -> None:
        """One ping, so that neither side takes the connection for idle."""
        if not self._is_over:
            with self._ending(suppress=True):
                self._quic.send_ping(0)
                self.transmit()

    def _handle_timer(self) -> None:
        with self._ending(suppress=True):
            super()._handle_timer()

    @contextlib.contextmanager
    def _ending(self, *, suppress: bool = False) -> Iterator[None]:
        """What the stack raises ends the connection: from the server's close on it does at every call.

        Only some round trips later, when nothing of the server can be on its way any more, does it say so by an event.
        """
        try:
            yield
        except QuicConnectionError as error:
            self._end()
            if not suppress:
                raise ConnectionError(f"the connection has ended: {error.reason_phrase}") from error

    def _end(self) -> None:
        self._is_over = True
        self._parked.clear()
        self._decided.set()
        # Who waits for the end need not wait for the stack's own.
        self._closed.set()


async def open_connection(
    host: str, port: int, configuration: QuicConfiguration, timeout_seconds: float
) -> tuple[TpuConnection, asyncio.DatagramTransport]:
    """A connection after its handshake. Raises OSError (time-outs and refusals included) where there is none."""
    quic = _Connection(configuration=configuration)
    family_address = "::" if ":" in host else "0.0.0.0"  # noqa: S104 a client's socket, connected to one peer
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: TpuConnection(quic), local_addr=(family_address, 0)
    )
    try:
        protocol.connect((host, port))
        await asyncio.wait_for(protocol.wait_connected(), timeout_seconds)
    except BaseException:
        protocol.close()
        transport.close()
        raise
    return protocol, transport
