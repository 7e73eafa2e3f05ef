"""The Yellowstone client: one channel, one subscription at a time, a few unary calls. No reconnecting, no decoding.

Facts of the wire that shape it: requests go in through a queue (an `await call.write` racing a terminal status loses
the true status), gzip is off (it halves the throughput), there is no receive limit (a block exceeds gRPC's 4 MiB), and
only protobuf's upb implementation is fast enough.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import field
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.errors import ConfigError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser import wire
from copytrader_core.geyser.failures import Stalled, StatusLost, StreamEnded, Unavailable, failure
from copytrader_core.quick import quick_record

__all__ = ["Endpoint", "Received", "YellowstoneClient", "parse_endpoint", "parsed"]

_UNARY_TIMEOUT_SECONDS: Final = 10.0
# grpcio loses the true status of a call that ends while a request is being written to it ("Internal error from Core").
# So a ping is answered a little later, when a stream that is refused has ended, and a lost status is asked for again.
_PONG_SECONDS: Final = 1.0
# Load balancers cut connections on which the client says nothing; not every server pings, so we do in any case.
_PING_SECONDS: Final = 20.0
_STATUS_TRIES: Final = 5
# A server whose node stands still, or that lost our filter, goes on pinging: so many times the patience with silence.
_PINGS_ALONE_FACTOR: Final = 3
_STATUS_PAUSE_SECONDS: Final = 0.05
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # Silence is noticed by the watchdog. A server built on gRPC's C core that sends nothing, for instance because we do
    # not read, takes HTTP/2 pings less than 5 minutes apart for an attack and closes ("too_many_pings").
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A new channel must not inherit the connection back-off of the one that it replaces.
    ("grpc.use_local_subchannel_pool", 1),
)


@quick_record
class Endpoint:
    """Where a provider listens. The token never shows in a repr or a log. `ca` replaces the usual TLS roots (PEM)."""

    address: str
    tls: bool = False
    x_token: str | None = field(default=None, repr=False)
    ca: bytes | None = field(default=None, repr=False)


@quick_record
class Received:
    """One message as it came: its bytes, when they came, and what they say (None if they are no SubscribeUpdate).

    `update` is a SubscribeUpdate, or what the reader's own `parse` made of the bytes.
    """

    raw: bytes
    recv_ts_ns: int
    update: Any


def parse_endpoint(text: str, *, tls: bool | None = None, x_token: str | None = None) -> Endpoint:
    """An endpoint from HOST:PORT, or from a provider's URL. Raises ConfigError otherwise.

    TLS, with verification, is used wherever `tls` does not say otherwise, but for http URLs and for this machine: a
    token must not cross a network in the open because a word was forgotten.
    """
    scheme, found, rest = text.strip().rpartition("://")
    if scheme not in ("", "http", "https") or (found and not scheme):
        raise ConfigError(f"the endpoint must be HOST:PORT or an http(s) URL, found {text!r}")
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme and not host:
        host, port = port, "80" if scheme == "http" and not tls else "443"
    if tls is None or scheme == "https":
        tls = scheme == "https" or (not scheme and not _is_loopback(host))
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"the endpoint must be HOST:PORT, like 127.0.0.1:10000, found {text!r}")
    return Endpoint(f"{host}:{port}", tls=tls, x_token=x_token)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class YellowstoneClient:
    """A channel to one provider, to be used as an async context manager. Make a new one for each connection."""

    def __init__(self, endpoint: Endpoint, *, stall_seconds: float = 30.0) -> None:
        """`stall_seconds`: silence after which a subscription raises Stalled; three times that if only pings come."""
        if api_implementation.Type() != "upb":
            raise ConfigError(
                f"protobuf runs on its {api_implementation.Type()!r} implementation, far too slow for the stream: "
                "install a protobuf wheel with upb and unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
            )
        self.endpoint = endpoint
        self._stall_seconds = stall_seconds
        self._channel: Any = None

    async def __aenter__(self) -> Self:
        """Makes the channel; nothing is sent yet."""
        if self.endpoint.tls:
            credentials = grpc.ssl_channel_credentials(self.endpoint.ca)
            self._channel = grpc.aio.secure_channel(self.endpoint.address, credentials, options=_CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(self.endpoint.address, options=_CHANNEL_OPTIONS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the channel and with it every call on it."""
        await self._channel.close()

    async def subscribe(
        self, request: pb.SubscribeRequest, parse: Callable[[bytes], Any] | None = None
    ) -> AsyncGenerator[Received, None]:
        """Everything that the server sends for `request`, pings included (they are answered here).

        `parse` replaces protobuf for the messages that it knows better; pings it must give as SubscribeUpdate.

        Never ends by itself: raises the StreamFailure that tells why the stream is over. Not reading is safe, the
        server is held back by flow control. Close the generator (`aclosing`) to leave early.
        """
        for _ in range(_STATUS_TRIES):
            has_begun = False
            try:
                async with aclosing(self._call(request, parse or parsed)) as messages:
                    async for message in messages:
                        has_begun = has_begun or not _is_ping(message)
                        yield message
            except StatusLost:
                # Nothing has come yet: asking again loses nothing and tells a wrong token from a broken connection.
                if has_begun:
                    raise
            await asyncio.sleep(_STATUS_PAUSE_SECONDS)
        raise StatusLost(f"{self.endpoint.address}: the stream ends at once, and each time its status is lost")

    async def _call(
        self, request: pb.SubscribeRequest, parse: Callable[[bytes], Any]
    ) -> AsyncGenerator[Received, None]:
        """One Subscribe call."""
        requests: asyncio.Queue[pb.SubscribeRequest | None] = asyncio.Queue()
        requests.put_nowait(request)
        call = self._channel.stream_stream(wire.SUBSCRIBE, request_serializer=pb.SubscribeRequest.SerializeToString)(
            _drain(requests), metadata=self._metadata
        )
        watchdog = _Watchdog(call, self._stall_seconds)
        pinging = asyncio.create_task(_ping(requests))
        pong = None
        try:
            messages = aiter(call)
            while True:
                with watchdog:
                    raw = await anext(messages, None)
                if raw is None:
                    raise StreamEnded(f"{self.endpoint.address}: the server ended the stream")
                received = Received(raw, time.time_ns(), parse(raw))
                if _is_ping(received):
                    pong = asyncio.get_running_loop().call_later(_PONG_SECONDS, requests.put_nowait, _PONG)
                elif not _is_pong(received):
                    watchdog.content()
                yield received
        except grpc.RpcError as error:
            raise failure(error, self.endpoint.address) from error
        except asyncio.CancelledError:
            if not watchdog.fired or _being_cancelled():
                raise
            raise Stalled(f"{self.endpoint.address}: {watchdog.complaint}") from None
        finally:
            watchdog.stop()
            pinging.cancel()
            if pong is not None:
                pong.cancel()
            call.cancel()
            requests.put_nowait(None)

    async def replay_info(self) -> int | None:
        """The oldest slot that the server can replay from, None if it does not say."""
        answer = await self._unary(
            wire.SUBSCRIBE_REPLAY_INFO, pb.SubscribeReplayInfoRequest(), pb.SubscribeReplayInfoResponse
        )
        return answer.first_available if answer.HasField("first_available") else None

    async def version(self) -> str:
        """What the server says of itself, usually JSON."""
        return str((await self._unary(wire.GET_VERSION, pb.GetVersionRequest(), pb.GetVersionResponse)).version)

    async def slot(self, commitment: pb.CommitmentLevel = pb.CONFIRMED) -> int:
        """The server's newest slot at `commitment`."""
        return int(
            (await self._unary(wire.GET_SLOT, pb.GetSlotRequest(commitment=commitment), pb.GetSlotResponse)).slot
        )

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-token", self.endpoint.x_token),) if self.endpoint.x_token else ()

    async def _unary(self, method: str, request: Any, answer: Any) -> Any:
        """One unary call. Raises the StreamFailure of its status."""
        call = self._channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        try:
            return await call(request, metadata=self._metadata, timeout=_UNARY_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise failure(error, self.endpoint.address) from error
        except asyncio.CancelledError as error:
            if _being_cancelled():
                raise
            raise Unavailable(f"{self.endpoint.address}: the connection was closed during {method}") from error


class _Watchdog:
    """Cancels a call when the wait for a message lasts too long. Time that the reader itself takes does not count."""

    def __init__(self, call: Any, seconds: float) -> None:
        self.fired = False
        self.complaint = ""
        self._call = call
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting_since: float | None = None
        self._without_content = 0.0
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(seconds, self._look)

    def __enter__(self) -> None:
        self._waiting_since = self._loop.time()

    def __exit__(self, *_: object) -> None:
        if self._waiting_since is not None:
            self._without_content += self._loop.time() - self._waiting_since
        self._waiting_since = None

    def content(self) -> None:
        """Something else than a ping has come."""
        self._without_content = 0.0

    def stop(self) -> None:
        """Ends the watch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        # One timer that is set anew instead of a timeout per message, which would cost more than parsing the message.
        waited = 0.0 if self._waiting_since is None else self._loop.time() - self._waiting_since
        left = self._seconds - waited
        content_left = self._seconds * _PINGS_ALONE_FACTOR - waited - self._without_content
        if left > 0 and content_left > 0:
            self._timer = self._loop.call_later(min(left, content_left), self._look)
            return
        self.complaint = (
            f"nothing came for {self._seconds:g} s, not even a ping"
            if left <= 0
            else f"nothing but pings came for {self._seconds * _PINGS_ALONE_FACTOR:g} s"
        )
        self.fired = True
        self._call.cancel()


_PONG: Final = pb.SubscribeRequest(ping=pb.SubscribeRequestPing(id=1))


async def _ping(requests: asyncio.Queue[pb.SubscribeRequest | None]) -> None:
    """Says something now and then."""
    while True:
        await asyncio.sleep(_PING_SECONDS)
        requests.put_nowait(_PONG)


def _is_ping(received: Received) -> bool:
    return isinstance(received.update, pb.SubscribeUpdate) and received.update.HasField("ping")


def _is_pong(received: Received) -> bool:
    return isinstance(received.update, pb.SubscribeUpdate) and received.update.HasField("pong")


async def _drain(requests: asyncio.Queue[pb.SubscribeRequest | None]) -> AsyncIterator[pb.SubscribeRequest]:
    """The request side of the call. Ends after the call only: older servers take a half-close for the stream's end."""
    while (request := await requests.get()) is not None:
        yield request


def _being_cancelled() -> bool:
    """Whether somebody cancels this task, rather than the call that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def parsed(raw: bytes) -> pb.SubscribeUpdate | None:
    """What the bytes say; None if they are no SubscribeUpdate."""
    try:
        return pb.SubscribeUpdate.FromString(raw)
    except ProtobufError:
        return None
