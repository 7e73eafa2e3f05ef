"""Where the next subscription starts, and which holes it may fill on its way. Streams and consumer share it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# Older holes are left to the backfill: a replay that long would keep the newest events waiting.
_REWIND_SLOTS = 3000
_TRIES = 2


class Resume:
    """The newest closed slot (inclusive start of the next subscription, None for live) and the open holes before it."""

    def __init__(self, slot: int | None, holes: Iterable[tuple[int, int]] = ()) -> None:
        """`holes` are (from, to) slots that are missing, both included."""
        self.slot = slot
        self._holes = set(holes)

    def advance(self, slot: int) -> None:
        """A slot has been closed; never backwards."""
        self.slot = slot if self.slot is None else max(slot, self.slot)

    def opened(self, hole: tuple[int, int]) -> None:
        """A hole has been written down."""
        self._holes.add(hole)

    def filled(self, hole: tuple[int, int]) -> None:
        """A hole is whole."""
        self._holes.discard(hole)

    def is_open(self, hole: tuple[int, int]) -> bool:
        """Whether the hole is still one."""
        return hole in self._holes

    def reachable(self, oldest: int | None, tries: Counter[tuple[int, int]]) -> tuple[int, int] | None:
        """The earliest hole that a replay from `oldest` on can fill, and that has not been tried often enough."""
        if oldest is None or self.slot is None or not self._holes:
            return None
        floor = max(oldest, self.slot - _REWIND_SLOTS)
        return min(
            (hole for hole in self._holes if floor <= hole[0] <= self.slot and tries[hole] < _TRIES), default=None
        )
