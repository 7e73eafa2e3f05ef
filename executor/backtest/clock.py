"""The chain's time along a tape: what `executor.clock.ChainClock` would say after hearing every slot up to this one."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import numpy as np
from numpy.typing import NDArray

from copytrader_core.replay.tape import SLOT_NS, slot_ends, slot_times

_NS_PER_SECOND: Final = 1_000_000_000


class TapeClock:
    """A clock (`executor.clock.Clock`) whose slots and block times are known beforehand, day by day."""

    def __init__(self) -> None:
        self._slot = 0
        self._is_over = False
        self._now_ns = 0
        self._anchor = (0, 0)
        self._first = 0
        self._begun = self._over = self._ends = np.zeros(0, np.int64)
        self._anchors: NDArray[np.int64] = np.zeros((0, 4), np.int64)
        self._known: list[int] = []
        """The slots that are there: a list is searched in a tenth of the time that an array takes."""

    def take(self, slots: NDArray[np.int64], seconds: NDArray[np.int64]) -> None:
        """Goes on with these slots, in order and each once, and their block times."""
        if not len(slots):
            return
        first, n = int(slots[0]), int(slots[-1] - slots[0]) + 1
        self.pass_before(int(slots[0]))
        anchor = self._anchor if len(self._over) else (first, int(seconds[0]) * _NS_PER_SECOND)
        self._known = slots.tolist()
        self._begun, self._over = np.zeros((2, n), np.int64)
        self._anchors = np.zeros((n, 4), np.int64)
        slot_times(slots, seconds, *anchor, self._begun, self._over, self._anchors)
        self._first, self._ends = first, slot_ends(first, self._anchors)
        self._look()

    @property
    def is_set(self) -> bool:
        """True from the first slots on."""
        return len(self._over) > 0

    def now_ns(self) -> int:
        """The time of the newest slot."""
        return self._now_ns

    def at_slot(self, slot: int) -> int:
        """The estimate for `slot`, as of the newest one."""
        at, time_ns = self._anchor
        return time_ns + (slot - at) * SLOT_NS

    def slot_at(self, ts_ns: int) -> int | None:
        """The first slot whose estimate is `ts_ns` or later, as of the newest one."""
        at, time_ns = self._anchor
        return at - (time_ns - ts_ns) // SLOT_NS

    def heard(self, slot: int, block_time: int | None) -> None:
        """The newest slot has begun, or, with any block time, is over: which one it has stands on the tape."""
        if slot > self._slot:
            self._slot, self._is_over = slot, False
            self._look()
        if slot == self._slot and block_time is not None and not self._is_over:
            self._is_over = True
            self._look()

    def pass_before(self, slot: int) -> None:
        """Every block before `slot` has been heard."""
        place = bisect_left(self._known, slot) - 1
        if place >= 0 and (last := self._known[place]) >= self._slot and (last, True) != (self._slot, self._is_over):
            self._slot, self._is_over = last, True
            self._look()

    def slot_from(self, slot: int) -> int:
        """The first slot with a block from `slot` on. Raises IndexError behind the last."""
        return self._known[bisect_left(self._known, slot)]

    def reached(self, ts_ns: int) -> int:
        """The first slot at whose end `ts_ns` has come; the one behind the last if none."""
        return self._first + int(self._ends.searchsorted(ts_ns))

    @property
    def next_end(self) -> int:
        """The slot that is over next."""
        return self._slot + self._is_over

    def _look(self) -> None:
        """Reads the clock once for a slot's beginning and once for its end: it is asked more often than it moves."""
        place = min(max(self._slot - self._first, 0), len(self._over) - 1)
        if place >= 0:
            self._now_ns = int((self._over if self._is_over else self._begun)[place])
            slot, time_ns = self._anchors[place, 2:].tolist() if self._is_over else self._anchors[place, :2].tolist()
            self._anchor = (slot, time_ns)
