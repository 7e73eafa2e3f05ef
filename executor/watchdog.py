"""The service manager's view of the executor: ready, alive, ending, and a line about what it does now.

The loop that trades calls `beat`; whatever it waits for, the watchdog waits with it. What is sent is `Service`'s, when
is decided here. Without a service manager nothing is sent and nothing changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from copytrader_core.service import Service

__all__ = ["Limits", "Watchdog"]

_log = logging.getLogger("copytrader.executor.watchdog")

# systemd asks for a ping at least every half of its time; a third leaves room for a slow second.
_PINGS_PER_WATCHDOG: Final = 3
# A status line needs no more than that, watchdog or not.
_DEFAULT_INTERVAL_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond what a restart is the better try, in seconds.

    A silent stream is opened again by its client after 30 s: only where that does not help either, a new process may.
    """

    stream_age_seconds: float = 45.0
    lag_seconds: float = 2.0

    def complaint(self, stream_age_s: float, lag_s: float) -> str | None:
        """What is beyond its limit, None if nothing is. A number that is not one (NaN) is beyond."""
        if not lag_s <= self.lag_seconds:
            return f"the loop is {lag_s:.1f} s late"
        if not stream_age_s <= self.stream_age_seconds:
            return f"the stream has been silent for {stream_age_s:.0f} s"
        return None


class Watchdog:
    """Tells the service manager that all is well as long as it is. One call to `beat` costs under a microsecond."""

    def __init__(
        self,
        service: Service,
        limits: Limits | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or Limits()
        self.complaint: str | None = None
        """Why nothing is fed, None while all is well."""
        self._service = service
        self._monotonic = monotonic
        waited = service.watchdog_seconds
        self._interval = _DEFAULT_INTERVAL_SECONDS if waited is None else waited / _PINGS_PER_WATCHDOG
        self._next = float("-inf")

    @classmethod
    def from_environment(cls, limits: Limits | None = None) -> Self:
        """By NOTIFY_SOCKET and WATCHDOG_USEC. Raises ConfigError for values that no manager sets."""
        return cls(Service.from_environment(), limits)

    def ready(self, text: str = "started") -> bool:
        """Positions and orders are known and the stream is asked for: the start is over."""
        return self._service.ready(text)

    def feed(self, text: str | None = None) -> bool:
        """One ping, with what is done now in one line if given."""
        return self._service.alive(text)

    def status(self, text: str) -> bool:
        """What is done now, in one line."""
        return self._service.status(text)

    def stopping(self, text: str = "ending") -> bool:
        """The end has begun."""
        return self._service.stopping(text)

    def beat(self, stream_age_s: float, lag_s: float, text: str | None = None) -> bool:
        """Feeds if both ages are within their limits; may be called as often as the loop goes round.

        Pings go out three times in the manager's interval. Returns whether one did.
        """
        now = self._monotonic()
        if now < self._next:
            return False
        complaint = self.limits.complaint(stream_age_s, lag_s)
        if complaint != self.complaint:
            self._note(complaint)
        if complaint is not None:
            # Not later than the next round: the first good one feeds again.
            self._service.status(complaint)
            self._next = now + min(self._interval, 1.0)
            return False
        self._next = now + self._interval
        return self.feed(text)

    def _note(self, complaint: str | None) -> None:
        was, self.complaint = self.complaint, complaint
        if complaint is None:
            _log.warning("watchdog_fed_again after=%r", was)
        elif was is None:
            _log.warning("watchdog_not_fed why=%r: the service manager restarts the executor if it stays so", complaint)
