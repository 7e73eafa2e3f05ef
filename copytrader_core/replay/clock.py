"""Deadlines on a tape: at the end of which slot so many milliseconds after another one have passed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from copytrader_core.replay.copies import NEVER
from copytrader_core.replay.tape import slot_ends, slot_times

_NS_PER_SECOND = 1_000_000_000
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class SlotClock:
    """`times[i]` is when slot `first + i` is over, ns UTC, as the executor's chain clock tells it."""

    first: int
    times: NDArray[np.int64]

    @classmethod
    def of(cls, slots: NDArray[np.int64], seconds: NDArray[np.int64]) -> SlotClock:
        """From slots in order and their block times in whole seconds. There must be one."""
        first, n = int(slots[0]), int(slots[-1] - slots[0]) + 1
        begun, over, anchors = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((n, 4), np.int64)
        slot_times(slots, seconds, first, int(seconds[0]) * _NS_PER_SECOND, begun, over, anchors)
        return cls(first, slot_ends(first, anchors))

    def at(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """When each slot is over; the last known time for those behind the end."""
        return self.times[np.clip(slots - self.first, 0, len(self.times) - 1)]

    def after(self, slots: NDArray[np.int64], ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first slot at whose end `ms` have passed since the end of each of `slots`; NEVER behind the tape."""
        at = np.searchsorted(self.times, self.at(slots) + ms * _NS_PER_MS)
        return np.where(at < len(self.times), self.first + at, NEVER)
