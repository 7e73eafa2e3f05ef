"""The validators' QUIC ports: one transaction a stream, no answer, as their TPU takes them. Loopback only.

Protocol "solana-tpu" and the certificate are Agave's; a connection may open no stream until it has been admitted.
What becomes of a transaction is the chain's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted, QuicEvent, StreamDataReceived
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509 import load_der_x509_certificate
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from copytrader_core.errors import StreamError
from copytrader_core.solana.message import MAX_TRANSACTION_BYTES

__all__ = ["ALPN", "TpuPort", "dummy_certificate"]

ALPN = "solana-tpu"
_MAX_STREAMS = 128
_IDLE_SECONDS = 30.0
# Agave's close codes for a stream that holds no transaction.
_INVALID_STREAM = 5
_CLIENT_UNIDIRECTIONAL = 2
# One fixed certificate: version 3, serial 0x0101010101010101, issuer "Solana node", valid 1970 to 4096, for localhost;
# only the key differs, and the signature is 64 bytes of 0xff. TLS proves the key, nobody checks the signature.
_BEFORE_KEY = bytes.fromhex(
    "3081f63081a9a00302010202080101010101010101300506032b657030163114301206035504030c0b536f6c616e61206e6f6465"
    "3020170d3730303130313030303030305a180f34303936303130313030303030305a3000302a300506032b6570032100"
)
_AFTER_KEY = bytes.fromhex(
    "a329302730170603551d110101ff040d300b82096c6f63616c686f7374300c0603551d130101ff04023000300506032b6570034100"
)

Received = Callable[[VersionedTransaction], None]


def dummy_certificate(public_key: bytes) -> bytes:
    """The certificate of a validator or client with this Ed25519 key, DER."""
    return _BEFORE_KEY + public_key + _AFTER_KEY + b"\xff" * 64


class TpuPort:
    """The port of one validator. `address` is "127.0.0.1:PORT"; `n_streams` counts what came by outcome.

    Clients that connect while `is_parked` are let in and may open no stream, as unstaked ones under load. `clients` are
    the keys that clients proved, None for those without a certificate.
    """

    def __init__(self, keys: Keypair, received: Received, is_parked: Callable[[], bool] = lambda: False) -> None:
        self.address = ""
        self.clients: list[bytes | None] = []
        self.is_parked = is_parked
        self.n_streams: Counter[str] = Counter()
        self._received = received
        self._server: QuicServer | None = None
        self._configuration = QuicConfiguration(
            is_client=False, alpn_protocols=[ALPN], idle_timeout=_IDLE_SECONDS, max_stream_data=MAX_TRANSACTION_BYTES
        )
        self._configuration.certificate = load_der_x509_certificate(dummy_certificate(bytes(keys.pubkey())))
        self._configuration.private_key = Ed25519PrivateKey.from_private_bytes(keys.secret())

    async def start(self, port: int = 0) -> None:
        """Listens on loopback. Raises StreamError if the port is taken."""
        try:
            self._server = await serve(
                "127.0.0.1", port, configuration=self._configuration, create_protocol=self._connection
            )
        except OSError as error:
            raise StreamError(
                f"port {port} on 127.0.0.1 cannot be used: end what listens there, or take another port"
            ) from error
        # The library keeps the bound socket to itself.
        transport: Any = self._server._transport
        self.address = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"

    def stop(self) -> None:
        """Closes every connection and gives the port back."""
        if self._server is not None:
            self._server.close()

    def take(self, raw: bytes) -> None:
        """A finished stream's bytes."""
        try:
            transaction = VersionedTransaction.from_bytes(raw)
        except ValueError:
            self.n_streams["malformed"] += 1
            return
        if not all(transaction.verify_with_results()):
            self.n_streams["badly signed"] += 1
            return
        self.n_streams["transactions"] += 1
        self._received(transaction)

    def _connection(self, connection: QuicConnection, stream_handler: Any = None) -> _Connection:
        return _Connection(self, connection, stream_handler)


class _Connection(QuicConnectionProtocol):
    """One client. Its streams are collected until they end."""

    def __init__(self, port: TpuPort, connection: QuicConnection, stream_handler: Any = None) -> None:
        super().__init__(connection, stream_handler)
        self._port = port
        self._streams: dict[int, bytes] = {}
        self._ask_for_certificate(connection)
        # No setting for it: what a client may open is announced in the handshake, and raised on admission.
        connection._local_max_streams_uni.value = 0
        connection._local_max_streams_uni.sent = 0
        connection._local_max_streams_bidi.value = 0
        connection._local_max_streams_bidi.sent = 0

    def quic_event_received(self, event: QuicEvent) -> None:
        """Admits the client, or takes a piece of a transaction."""
        if isinstance(event, HandshakeCompleted):
            self._admit()
        elif isinstance(event, StreamDataReceived):
            self._take(event)

    @staticmethod
    def _ask_for_certificate(connection: Any) -> None:
        """Validators ask for one; the library does it by a switch of the context that the first packet makes."""
        begin = connection._initialize

        def initialize(peer_cid: bytes) -> None:
            begin(peer_cid)
            connection.tls._request_client_certificate = True

        connection._initialize = initialize

    def _admit(self) -> None:
        certificate = self._quic.tls._peer_certificate
        key = certificate.public_key() if certificate else None
        self._port.clients.append(key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None)
        if not self._port.is_parked():
            self._quic._local_max_streams_uni.value = _MAX_STREAMS
            self.transmit()

    def _take(self, event: StreamDataReceived) -> None:
        raw = self._streams.pop(event.stream_id, b"") + event.data
        if len(raw) > MAX_TRANSACTION_BYTES or event.stream_id % 4 != _CLIENT_UNIDIRECTIONAL:
            self._port.n_streams["refused"] += 1
            self._quic.close(error_code=_INVALID_STREAM, reason_phrase="invalid_stream")
            self.transmit()
        elif event.end_stream:
            self._port.take(raw)
        else:
            self._streams[event.stream_id] = raw
