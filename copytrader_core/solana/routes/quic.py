"""One QUIC connection to a validator's transaction port: handshake with our identity, one stream per transaction.

Which validators, and when, is `tpu`'s.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from typing import Final

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["ALPN", "TpuConnection", "client_configuration", "identity_certificate", "open_connection"]

ALPN: Final = "solana-tpu"
_IDLE_SECONDS: Final = 30.0
# A server that is full keeps us at 0 streams: what waits longer than this many transactions would only arrive stale.
_MAX_PARKED: Final = 64


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
        alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE, server_name="localhost", idle_timeout=_IDLE_SECONDS
    )
    configuration.certificate = identity_certificate(identity)
    configuration.private_key = identity
    return configuration


class TpuConnection(QuicConnectionProtocol):
    """Sends transactions. Nothing is ever received: a validator answers by including, or not."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self._is_up = False
        self._decided = asyncio.Event()

    async def wait_connected(self) -> None:
        """Returns after the handshake. Raises ConnectionError where the connection has ended before it."""
        # The parent's future, given up at a time-out, complains to the log once the connection ends.
        await self._decided.wait()
        if not self._is_up:
            raise ConnectionError("the connection ended before its handshake")

    def quic_event_received(self, event: QuicEvent) -> None:
        """Called by the parent for everything that happens."""
        if isinstance(event, HandshakeCompleted | ConnectionTerminated):
            self._is_up |= isinstance(event, HandshakeCompleted)
            self._decided.set()

    @property
    def is_parked(self) -> bool:
        """Whether the server lets no more streams in and enough transactions wait already."""
        return len(self._quic._streams_blocked_uni) >= _MAX_PARKED

    def send_transaction(self, wire: bytes) -> None:
        """Puts a transaction on a stream of its own. It waits by itself until the server allows the stream."""
        stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(stream, wire, end_stream=True)
        self.transmit()

    def keep_alive(self) -> None:
        """One ping, so that neither side takes the connection for idle."""
        self._quic.send_ping(0)
        self.transmit()


async def open_connection(
    host: str, port: int, configuration: QuicConfiguration, timeout_seconds: float
) -> tuple[TpuConnection, asyncio.DatagramTransport]:
    """A connection after its handshake. Raises OSError (time-outs and refusals included) where there is none."""
    quic = QuicConnection(configuration=configuration)
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
