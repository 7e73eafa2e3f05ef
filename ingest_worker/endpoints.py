"""Which of several providers is asked next. Pure bookkeeping: no connection, no clock of its own."""

from __future__ import annotations

from collections.abc import Sequence

from copytrader_core.errors import ConfigError
from copytrader_core.geyser.client import Endpoint

_FAILURES_TO_MOVE_ON = 3


class Roster:
    """The endpoints in the order of preference, and the one in use.

    It stays with one that works, moves on after three failures in a row or at once where told to, and says when it is
    time to look whether the first is back.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, return_after_seconds: float = 600.0) -> None:
        """`return_after_seconds`: how long a fallback is used before the first endpoint is looked at again."""
        if not endpoints:
            raise ConfigError("no endpoint is given: name one with --endpoint HOST:PORT or in [ingest]")
        self._endpoints = tuple(endpoints)
        self._return_after_seconds = return_after_seconds
        self._at = 0
        self._failures = 0
        self._refusers: set[int] = set()
        self._without_replay: set[int] = set()
        self._looked_at = 0.0

    @property
    def current(self) -> Endpoint:
        """The endpoint in use."""
        return self._endpoints[self._at]

    @property
    def preferred(self) -> Endpoint:
        """The first endpoint."""
        return self._endpoints[0]

    def worked(self) -> None:
        """Data came from the current endpoint."""
        self._failures = 0
        self._refusers.discard(self._at)
        self._without_replay.clear()

    def failed(self, now: float, *, at_once: bool = False) -> None:
        """The current endpoint failed. `at_once`: do not try it two more times first; `now` is a monotonic clock."""
        self._failures += 1
        if at_once or self._failures >= _FAILURES_TO_MOVE_ON:
            self._move_on(now)

    def refused(self, now: float) -> bool:
        """The current endpoint does not want us at all. Whether another one is left that has not said so."""
        self._refusers.add(self._at)
        is_left = len(self._refusers) < len(self._endpoints)
        self._move_on(now)
        return is_left

    def cannot_replay(self, now: float) -> bool:
        """The current endpoint does not hold what is asked for. Whether another one may: then that is the current one.

        When all have said so, the first one that does not refuse us is taken and the question is open again.
        """
        self._without_replay.add(self._at)
        for at in range(len(self._endpoints)):
            if at not in self._without_replay | self._refusers:
                self._use(at, now)
                return True
        self._without_replay.clear()
        self._use(min(set(range(len(self._endpoints))) - self._refusers, default=0), now)
        return False

    def may_return(self, now: float) -> bool:
        """Whether it is time to look at the first endpoint; says so once per period."""
        if self._at == 0 or now - self._looked_at < self._return_after_seconds:
            return False
        self._looked_at = now
        return True

    def return_to_first(self) -> None:
        """The first endpoint works again and can resume without a hole."""
        self._at = self._failures = 0
        self._refusers.clear()

    def _move_on(self, now: float) -> None:
        n = len(self._endpoints)
        others = [(self._at + step) % n for step in range(1, n)]
        willing = [at for at in others if at not in self._refusers]
        if not willing:
            # Nobody is left: those that refused are asked again.
            self._refusers.clear()
        self._use((willing or others or [0])[0], now)

    def _use(self, at: int, now: float) -> None:
        if at != self._at:
            self._looked_at = now
        self._at = at
        self._failures = 0
