"""The executor's clock: real time, or the time of the chain that the stream shows. Timers and losses run on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

_NS_PER_SECOND: Final = 1_000_000_000
SLOT_NS: Final = 400_000_000


class Clock(Protocol):
    """Nanoseconds UTC, never going back."""

    @property
    def is_set(self) -> bool:
        """Whether the time is known yet."""

    def now_ns(self) -> int:
        """The present."""

    def at_slot(self, slot: int) -> int:
        """The time of a slot that is at most the newest one."""

    def slot_at(self, ts_ns: int) -> int | None:
        """The first slot at or after `ts_ns`; None where only waiting tells."""

    def heard(self, slot: int, block_time: int | None) -> None:
        """The stream has reached `slot`; its block time in whole seconds if known."""


class WallClock:
    """Real time: what is traded live runs on it."""

    is_set = True

    def __init__(self, now_ns: Callable[[], int] | None = None, monotonic_ns: Callable[[], int] | None = None) -> None:
        # Not as defaults: those would be bound when this file is loaded, before a simulation puts its own there.
        self._system_ns, self._monotonic_ns = now_ns or time.time_ns, monotonic_ns or time.monotonic_ns
        self._last = (self._system_ns(), self._monotonic_ns())

    def now_ns(self) -> int:
        """The system's clock; where that is set back, time goes on from where it was, at its usual pace."""
        at = self._monotonic_ns()
        now = max(self._system_ns(), self._last[0] + at - self._last[1])
        self._last = (now, at)
        return now

    def at_slot(self, slot: int) -> int:
        """Real time does not depend on the slot: a slot is dealt with when it is heard."""
        return self.now_ns()

    def slot_at(self, ts_ns: int) -> int | None:
        """Real time cannot be told in slots ahead."""
        return None

    def heard(self, slot: int, block_time: int | None) -> None:
        """Real time needs no stream."""


class ChainClock:
    """The chain's time from slots and block times, so that a recorded market played faster keeps its timers.

    A slot lasts 400 ms from an anchor. A block time, which is cut to whole seconds, moves the anchor only where the
    estimate leaves that second; where that moves it down, `now_ns` stands still until the estimate has caught up.
    Every slot that is heard counts in that, whether somebody asks for the time then or not.
    """

    def __init__(self) -> None:
        self._anchor_slot = 0
        self._anchor_ns: int | None = None
        self._slot = 0
        self._latest_ns = 0

    @property
    def is_set(self) -> bool:
        """True from the first block time on."""
        return self._anchor_ns is not None

    def now_ns(self) -> int:
        """The time of the newest slot."""
        return self._latest_ns

    def at_slot(self, slot: int) -> int:
        """The estimate for `slot`."""
        if self._anchor_ns is None:
            return 0
        return self._anchor_ns + (slot - self._anchor_slot) * SLOT_NS

    def slot_at(self, ts_ns: int) -> int | None:
        """The first slot whose estimate is `ts_ns` or later."""
        if self._anchor_ns is None:
            return None
        return self._anchor_slot - (self._anchor_ns - ts_ns) // SLOT_NS

    def heard(self, slot: int, block_time: int | None) -> None:
        """Moves the newest slot, and the anchor where the block time proves it wrong."""
        self._slot = max(self._slot, slot)
        self._latest_ns = max(self._latest_ns, self.at_slot(self._slot))
        if block_time is not None:
            self._correct(slot, block_time)
            self._latest_ns = max(self._latest_ns, self.at_slot(self._slot))

    def _correct(self, slot: int, block_time: int) -> None:
        second = block_time * _NS_PER_SECOND
        if self._anchor_ns is None or self.at_slot(slot) < second:
            self._anchor_slot, self._anchor_ns = slot, second
        elif self.at_slot(slot) >= second + _NS_PER_SECOND:
            self._anchor_slot, self._anchor_ns = slot, second + _NS_PER_SECOND - 1
