"""Why a Yellowstone stream ended, told apart by what has to be done about it. No retrying here."""

from __future__ import annotations

from typing import ClassVar

import grpc

from copytrader_core.errors import StreamError

# What the open-source server answers with INTERNAL when it cannot replay from the asked slot.
_REPLAY_TEXTS = ("failed to get replay response", "not supported")
# Said by grpcio ("larger than max") and by tonic ("message length too large", with OUT_OF_RANGE of all codes).
_SIZE_TEXTS = ("larger than max", "length too large")
_LOST = "Internal error from Core"
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_UNUSABLE = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)


class StreamFailure(StreamError):  # noqa: N818 a family whose members are named for what happened
    """A stream or call that ended; the message carries the provider's own words. `reason` is its name in metrics."""

    reason: ClassVar[str] = "other"


class StreamEnded(StreamFailure):
    """The server ended the stream without an error: a disconnect like any other."""

    reason = "eof"


class OutOfRange(StreamFailure):
    """The slot that was asked for is older than what the server still holds."""

    reason = "out_of_range"


class ReplayFailed(StreamFailure):
    """The server cannot replay at all, or has nothing to replay (it was restarted, or the slot is beyond its tip)."""

    reason = "replay_failed"


class Unauthenticated(StreamFailure):
    """The token is missing, wrong, or not allowed to do this."""

    reason = "unauthenticated"


class BadFilter(StreamFailure):
    """The server does not take this subscription."""

    reason = "bad_filter"


class Lagged(StreamFailure):
    """The server dropped us because we read too slowly."""

    reason = "lagged"


class Unavailable(StreamFailure):
    """The connection could not be made or broke."""

    reason = "unavailable"


class StatusLost(Unavailable):
    """The stream is over, but grpcio did not keep why."""

    reason = "status_lost"


class ServerFault(Unavailable):
    """The server met an error of its own that says nothing about what to do."""

    reason = "internal"


class Exhausted(StreamFailure):
    """A cap of the provider: too many subscriptions, connections or bytes."""

    reason = "exhausted"


class TooLarge(StreamFailure):
    """A message is larger than somebody on the way lets through. The same request meets it again."""

    reason = "too_large"


class Stalled(StreamFailure):
    """The connection is open, but nothing came, not even a ping; or pings alone for far too long."""

    reason = "stalled"


def failure(error: grpc.RpcError, address: str) -> StreamFailure:
    """The failure that the status of `error` stands for."""
    code, text = error.code(), str(error.details() or "")
    return _kind(code, text)(f"{address}: {code.name}: {text or 'no details given'}")


def _kind(code: grpc.StatusCode, text: str) -> type[StreamFailure]:
    if any(part in text for part in _SIZE_TEXTS):
        return TooLarge
    if code is grpc.StatusCode.INTERNAL:
        return _internal_kind(text)
    if code in _REFUSED:
        return Unauthenticated
    if code in _UNUSABLE:
        return BadFilter
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return OutOfRange
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "lagged" not in text:
        return Exhausted
    return Lagged if "lagged" in text else Unavailable


def _internal_kind(text: str) -> type[StreamFailure]:
    """INTERNAL is the open-source server's answer to many things; only its text tells them apart."""
    if any(part in text for part in _REPLAY_TEXTS):
        return ReplayFailed
    if text == _LOST:
        return StatusLost
    return Lagged if "lagged" in text else ServerFault
