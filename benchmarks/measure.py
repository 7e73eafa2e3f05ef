"""Interleaved rounds: every contender runs once a round, so that a slow minute hurts all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """The speed of one contender over several rounds, in `unit` per second."""

    name: str
    unit: str
    speeds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle speed."""
        return statistics.median(self.speeds)

    def cells(self, first: Measured) -> tuple[str, ...]:
        """The row of the printed table."""
        speeds = (self.median, min(self.speeds), max(self.speeds))
        return (self.name, *(f"{s:,.0f}" for s in speeds), f"{self.unit}/s", f"{self.median / first.median:.2f}")


def race(contenders: Mapping[str, Callable[[], int]], unit: str, rounds: int = 5) -> list[Measured]:
    """Runs each contender once a round; a contender returns how many units it did."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            began = time.perf_counter()
            done = contender()
            speeds[name].append(done / (time.perf_counter() - began))
    return [Measured(name, unit, tuple(values)) for name, values in speeds.items()]
