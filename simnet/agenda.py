"""Discrete-event time: what is to be done in which slot. It knows nothing of coins or chains."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from simnet.bank import SLOT_MS

__all__ = ["Act", "Agenda", "slots_in"]

Act = Callable[[], None]


def slots_in(seconds: float) -> int:
    """Whole slots in a span of chain time."""
    return round(seconds * 1000 / SLOT_MS)


class Agenda:
    """Acts by slot, and within a slot in the order in which they were asked for: the same every time."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self._queue: list[tuple[int, int, Act]] = []
        self._count = 0

    def at(self, slot: int, act: Act) -> None:
        """Does `act` in `slot`, or now where that is past."""
        self._count += 1
        heapq.heappush(self._queue, (max(slot, self.slot), self._count, act))

    def after(self, seconds: float, act: Act) -> None:
        """Does `act` so much chain time from now, in the next slot at the earliest."""
        self.at(self.slot + max(1, slots_in(seconds)), act)

    def advance(self) -> None:
        """Moves to the next slot and carries its acts out."""
        self.slot += 1
        while self._queue and self._queue[0][0] <= self.slot:
            heapq.heappop(self._queue)[2]()

    def slots(self, last_slot: int) -> Iterator[int]:
        """Carries everything out up to `last_slot`, giving each slot after its acts; what is later is dropped."""
        while self._queue and self._queue[0][0] <= last_slot:
            self.slot = self._queue[0][0]
            while self._queue and self._queue[0][0] == self.slot:
                heapq.heappop(self._queue)[2]()
            yield self.slot
        self._queue.clear()
