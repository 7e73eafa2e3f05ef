"""The local chain's Yellowstone endpoint: plays a tape over gRPC with the rules of the open-source plugin.

`serve` is for tests and the demo, simnet.play for the command line. What a stream sends is simnet.stream's.

Two things differ from a validator, on purpose: a tape has one fork, so no slot ever dies, and a block's transactions
come together at its end, so no replay at `processed` meets a half-built slot.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from copytrader_core.errors import DataError, StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from simnet.stream import RefusedError, Stream, StreamRules, first_available, last_alive
from simnet.tape import read_tape
from simnet.timeline import LEVELS, Broadcast, Chain, Entry, Pace, Timeline

__all__ = ["YellowstoneServer", "serve"]

_SERVICE = "geyser.Geyser"
# A blockhash can be used for this many blocks after its own.
_BLOCKHASH_LIFE = 150
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", -1),
    # Clients that keep their connection alive with pings every few seconds are not cut off for it.
    ("grpc.http2.max_ping_strikes", 0),
)


if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[Any, Any]


class YellowstoneServer:
    """A running endpoint. `address` is "127.0.0.1:PORT"."""

    def __init__(self, broadcast: Chain, rules: StreamRules, token: str | None, wait_for_clients: int) -> None:
        self.address = ""
        self.broadcast = broadcast
        self._rules = rules
        self._token = token
        self._wait_for_clients = wait_for_clients
        self._streams: set[Stream] = set()
        self._failure: DataError | None = None
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, self._handlers()),))

    @property
    def tip_slot(self) -> int | None:
        """The newest processed slot, None before the first."""
        tip = self._tip(pb.PROCESSED)
        return tip.slot if tip else None

    @property
    def is_played(self) -> bool:
        """Whether the whole tape has been played and every subscriber has been given its part."""
        return self.broadcast.is_over and all(stream.is_drained for stream in self._streams)

    async def wait_played(self) -> None:
        """Returns when the tape has been played to its end. Raises DataError if it turned out to be damaged."""
        # A clock has no event to wait for: without subscribers nothing happens when the last block falls due.
        while self._failure is None and not self.is_played:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if self._failure:
            raise self._failure

    async def start(self, port: int) -> None:
        """Listens on loopback. Raises StreamError if the port is taken."""
        try:
            bound = self._server.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError as error:
            raise StreamError(
                f"port {port} on 127.0.0.1 cannot be used: end what listens there, or take another port"
            ) from error
        await self._server.start()
        self.address = f"127.0.0.1:{bound}"
        self._start_if_complete()

    async def stop(self) -> None:
        """Ends every stream and gives the port back."""
        await self._server.stop(grace=None)
        self.broadcast.timeline.close()

    def wake(self) -> None:
        """Tells every stream that the chain has moved, where no clock says so."""
        for stream in self._streams:
            stream.wake()

    def cut(self) -> None:
        """Cuts every stream off; clients may come back at once."""
        for stream in self._streams:
            stream.cut()

    def _handlers(self) -> dict[str, _Handler]:
        def unary(behaviour: Callable[[Any], Any], request: Any, response: Any) -> _Handler:
            return grpc.unary_unary_rpc_method_handler(
                self._guarded(behaviour), request.FromString, response.SerializeToString
            )

        return {
            "Subscribe": grpc.stream_stream_rpc_method_handler(
                self._subscribe, pb.SubscribeRequest.FromString, _serialized
            ),
            "SubscribeReplayInfo": unary(
                self._replay_info, pb.SubscribeReplayInfoRequest, pb.SubscribeReplayInfoResponse
            ),
            "Ping": unary(lambda request: pb.PongResponse(count=request.count), pb.PingRequest, pb.PongResponse),
            "GetLatestBlockhash": unary(
                self._latest_blockhash, pb.GetLatestBlockhashRequest, pb.GetLatestBlockhashResponse
            ),
            "GetBlockHeight": unary(self._block_height, pb.GetBlockHeightRequest, pb.GetBlockHeightResponse),
            "GetSlot": unary(self._slot, pb.GetSlotRequest, pb.GetSlotResponse),
            "IsBlockhashValid": unary(self._is_valid, pb.IsBlockhashValidRequest, pb.IsBlockhashValidResponse),
            "GetVersion": unary(self._version, pb.GetVersionRequest, pb.GetVersionResponse),
        }

    async def _subscribe(self, requests: AsyncIterator[pb.SubscribeRequest], context: Any) -> None:
        await self._authorize(context)
        stream = Stream(self.broadcast, self._rules, self._start_if_complete)
        self._streams.add(stream)
        listener = asyncio.create_task(stream.listen(requests))
        try:
            await stream.feed(context.write)
        except RefusedError as refusal:
            await context.abort(refusal.code, refusal.text)
        except DataError as error:
            self._failure = error
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        finally:
            self._streams.discard(stream)
            listener.cancel()
            with suppress(asyncio.CancelledError, grpc.RpcError):
                await listener

    def _start_if_complete(self) -> None:
        """Starts the chain once as many clients as asked for have a subscription."""
        ready = sum(stream.subscription is not None and not stream.subscription.is_empty for stream in self._streams)
        if not self.broadcast.is_started and ready >= self._wait_for_clients:
            self.broadcast.start()
            self.wake()

    async def _authorize(self, context: Any) -> None:
        given = dict(context.invocation_metadata() or ()).get("x-token", "")
        if self._token is not None and not hmac.compare_digest(str(given).encode(), self._token.encode()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "No valid auth token")

    def _guarded(self, behaviour: Callable[[Any], Any]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: Any) -> Any:
            await self._authorize(context)
            try:
                return behaviour(request)
            except RefusedError as refusal:
                return await context.abort(refusal.code, refusal.text)

        return answer

    def _tip(self, level: int) -> Entry | None:
        if level not in LEVELS:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"failed to create CommitmentLevel from {level}")
        return last_alive(self.broadcast, self.broadcast.reached(level))

    def _required_tip(self, level: int) -> Entry:
        tip = self._tip(level)
        if tip is None:
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, "no slot has reached this commitment yet")
        return tip

    def _replay_info(self, _: pb.SubscribeReplayInfoRequest) -> pb.SubscribeReplayInfoResponse:
        return pb.SubscribeReplayInfoResponse(
            first_available=first_available(self.broadcast, self._rules, pb.PROCESSED)
        )

    def _latest_blockhash(self, request: pb.GetLatestBlockhashRequest) -> pb.GetLatestBlockhashResponse:
        tip = self._required_tip(request.commitment)
        return pb.GetLatestBlockhashResponse(
            slot=tip.slot, blockhash=tip.blockhash, last_valid_block_height=tip.height + _BLOCKHASH_LIFE
        )

    def _block_height(self, request: pb.GetBlockHeightRequest) -> pb.GetBlockHeightResponse:
        return pb.GetBlockHeightResponse(block_height=self._required_tip(request.commitment).height)

    def _slot(self, request: pb.GetSlotRequest) -> pb.GetSlotResponse:
        return pb.GetSlotResponse(slot=self._required_tip(request.commitment).slot)

    def _is_valid(self, request: pb.IsBlockhashValidRequest) -> pb.IsBlockhashValidResponse:
        tip = self._required_tip(request.commitment)
        reached = self.broadcast.reached(request.commitment)
        recent = (self.broadcast.timeline.entry(i) for i in range(max(0, reached - _BLOCKHASH_LIFE - 1), reached))
        valid = any(e is not None and not e.is_dead and e.blockhash == request.blockhash for e in recent)
        return pb.IsBlockhashValidResponse(slot=tip.slot, valid=valid)

    def _version(self, _: pb.GetVersionRequest) -> pb.GetVersionResponse:
        return pb.GetVersionResponse(version=json.dumps({"version": {"package": "copytrader-simnet"}}))


def _serialized(update: pb.SubscribeUpdate | bytes) -> bytes:
    return update if isinstance(update, bytes) else update.SerializeToString()


@asynccontextmanager
async def serve(
    tape_path: Path | str,
    *,
    port: int = 0,
    token: str | None = None,
    speed: float = math.inf,
    max_gap_seconds: float = math.inf,
    from_slot: int = 0,
    until_slot: int | None = None,
    wait_for_clients: int = 1,
    replay_slots: int | None = None,
    exit_at_end: bool = False,
    confirmed_after_ms: float = 100.0,
    finalized_after_ms: float = 12_000.0,
    ping_seconds: float = 10.0,
) -> AsyncIterator[YellowstoneServer]:
    """Serves the tape at `tape_path` on 127.0.0.1 while the `async with` block runs; port 0 takes a free one.

    The arguments after `token` are those of Pace (speed 0 = infinite) and StreamRules; the chain starts when
    `wait_for_clients` have subscribed.

    Raises DataError for a bad tape, ConfigError for a bad argument, StreamError for a port that is taken.
    """
    pace = Pace(speed or math.inf, max_gap_seconds, confirmed_after_ms, finalized_after_ms, from_slot, until_slot)
    timeline = Timeline(read_tape(tape_path), pace)
    rules = StreamRules(replay_slots, ping_seconds, exit_at_end)
    server = YellowstoneServer(Broadcast(timeline, pace), rules, token, wait_for_clients)
    try:
        await server.start(port)
        yield server
    finally:
        await server.stop()
