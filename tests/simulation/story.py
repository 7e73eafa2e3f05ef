"""What a story in a world is made of: who lives there, how he dies, how long it goes on, and what is told of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tests.simulation.ends import Outside
from tests.simulation.truth import Book

TradingState = Literal["ACTIVE", "HALTED"]
How = Literal["between", "before_write", "torn_write", "after_write"]
_HOWS: Final[tuple[How, ...]] = ("between", "before_write", "torn_write", "after_write")


@dataclass(frozen=True, slots=True)
class Subject:
    """Who trades: its process, what its journal adds up to, and how a trading state is put before it.

    `trade` runs until the stream ends. `journal` is the folder of the journal's files in a home.
    """

    trade: Callable[[Path, Outside], Awaitable[None]]
    book: Callable[[Path], Book]
    control: Callable[[Path, TradingState], None]
    journal: Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Death:
    """A kill: after so many steps of the process, there or at its next write, and how long nobody starts it again."""

    steps: int
    how: How
    down_ns: int


def deaths(seed: int) -> Iterator[Death]:
    """A process lives for 1 to 60 steps, every third one longer, or none would ever get far."""
    rng = random.Random(f"{seed}/deaths")
    while True:
        steps = rng.randint(1, 60) if rng.random() < 0.65 else int(60 * 2 ** rng.uniform(0, 3.5))
        how: How = rng.choices(_HOWS, (7, 1, 1, 1))[0]
        down_ns = int(rng.choice((0.02, 0.02, 0.02, 0.2, 0.2, 1.0)) * rng.uniform(0.5, 1.5) * 1e9)
        if rng.random() < 0.002:
            # Longer than a blockhash lives.
            down_ns = 80_000_000_000
        yield Death(steps, how, down_ns)


@dataclass(frozen=True, slots=True)
class Story:
    """How long it goes on: until so many deaths, or so many slots. Then nobody dies and all comes to its end."""

    deaths: int = 200
    slots: int = 1_500


STORY: Final = Story()


@dataclass(slots=True)
class Report:
    """What a world has seen. `digest` is over every send and the journal's bytes."""

    seed: int
    deaths: int = 0
    steps: int = 0
    sends: int = 0
    landed: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    places: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    digest: str = ""
    cpu_seconds: float = 0.0
