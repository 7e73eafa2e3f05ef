"""The garbage collector of a process that must not stop to collect: only at idle moments, and a bit at a time.

What stands after the start is frozen and never looked at again. From then on the young are collected when nothing is
waiting, and everything after a while. Reference counting frees most: only cycles wait.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final

_YOUNG_SECONDS: Final = 1.0
_ALL_SECONDS: Final = 300.0
# So many new objects and there is no waiting for an idle moment: memory is worth more than one late order.
_TOO_MANY: Final = 200_000


class Quiet:
    """Between `begin` and `end` Python collects nothing by itself; `idle` does it. `now` is in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._young_at = self._all_at = now()
        self._was_enabled = False

    def begin(self) -> None:
        """The start is over: what is there stays."""
        self._was_enabled = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()
        self._young_at = self._all_at = self._now()

    def pause(self, *, is_idle: bool) -> None:
        """Between two messages. Where nothing waits: the young every second, all that is not frozen every five minutes.

        Where something waits nothing is collected, unless so much was made that memory could run out.
        """
        if not is_idle:
            if gc.get_count()[0] >= _TOO_MANY:
                self._young()
            return
        at = self._now()
        if at - self._all_at >= _ALL_SECONDS:
            # Nothing more is frozen: a connection that stands now, all cycles, would stay after its end.
            gc.collect()
            self._young_at = self._all_at = at
        elif at - self._young_at >= _YOUNG_SECONDS:
            self._young()

    def _young(self) -> None:
        gc.collect(1)
        self._young_at = self._now()

    def end(self) -> None:
        """Leaves the collector as it was found."""
        gc.unfreeze()
        if self._was_enabled:
            gc.enable()
