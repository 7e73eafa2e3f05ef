"""Why a Yellowstone stream ended, told apart by what has to be done about it. No retrying here."""

from __future__ import annotations

import grpc

from copytrader_core.errors import StreamError

# What the open-source server answers with INTERNAL when it cannot replay from the asked slot.
_REPLAY_TEXTS = ("failed to get replay response", "not supported")
_LOST = "Internal error from Core"
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_UNUSABLE = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)


class StreamFailure(StreamError):  # noqa: N818 a family whose members are named for what happened
    """A stream or call that ended; the message carries the provider's own words."""


class StreamEnded(StreamFailure):
    """The server ended the stream without an error: a disconnect like any other."""


class OutOfRange(StreamFailure):
    """The slot that was asked for is older than what the server still holds."""


class ReplayFailed(StreamFailure):
    """The server cannot replay at all, or has nothing to replay (it was restarted, or the slot is beyond its tip)."""


class Unauthenticated(StreamFailure):
    """The token is missing, wrong, or not allowed to do this."""


class BadFilter(StreamFailure):
    """The server does not take this subscription."""


class Lagged(StreamFailure):
    """The server dropped us because we read too slowly."""


class Unavailable(StreamFailure):
    """The connection could not be made or broke."""


class StatusLost(Unavailable):
    """The stream is over, but grpcio did not keep why."""


class Stalled(StreamFailure):
    """The connection is open, but nothing came, not even a ping."""


def failure(error: grpc.RpcError, address: str) -> StreamFailure:
    """The failure that the status of `error` stands for."""
    code, text = error.code(), str(error.details() or "")
    return _kind(code, text)(f"{address}: {code.name}: {text or 'no details given'}")


def _kind(code: grpc.StatusCode, text: str) -> type[StreamFailure]:
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return OutOfRange
    if code in _REFUSED:
        return Unauthenticated
    if code is grpc.StatusCode.INTERNAL and any(part in text for part in _REPLAY_TEXTS):
        return ReplayFailed
    if code is grpc.StatusCode.INTERNAL and text == _LOST:
        return StatusLost
    if code in _UNUSABLE:
        return BadFilter
    return Lagged if "lagged" in text else Unavailable
