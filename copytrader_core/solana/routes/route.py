"""What every route is: it starts, it sends bytes, it says why it could not. Sent never means landed."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from copytrader_core.errors import CopytraderError

__all__ = ["Code", "Route", "RouteError"]


class Code(StrEnum):
    """Why a transaction was not handed over."""

    RATE_LIMITED = "RATE_LIMITED"
    """Too many at the moment, by our own count or theirs. The bytes did not get in."""
    TIMEOUT = "TIMEOUT"
    """No answer in time: the bytes may well have got in."""
    REFUSED = "REFUSED"
    """They were looked at and turned away."""
    UNREACHABLE = "UNREACHABLE"
    """Nobody to hand them to."""


class RouteError(CopytraderError):
    """A transaction was not, or perhaps not, handed over. `code` says which."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class Route(Protocol):
    """One way to the leader. Several routes may carry the same bytes: one signature lands once."""

    @property
    def name(self) -> str:
        """The route's name in the journal and in metrics."""
        ...

    @property
    def waits(self) -> bool:
        """Whether `send` waits for anything; one that does not has sent when it is first run."""
        ...

    @property
    def is_scarce(self) -> bool:
        """Whether it takes few requests: what it has taken it gets once, and nothing that pays no tip."""
        ...

    async def start(self) -> None:
        """Opens connections, so that no send has to. Raises RouteError where that can never work."""
        ...

    async def close(self) -> None:
        """Closes every connection and task. May be called twice."""
        ...

    async def send(self, wire: bytes, signature: str) -> None:
        """Hands over a signed transaction; `signature` is its first, in base58.

        Returns when the bytes are on their way, which is no promise that they land. Raises RouteError.
        """
        ...
