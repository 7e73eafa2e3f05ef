"""When the blocks of a tape are due: an index over the tape and the chain's clock. No gRPC, no subscriptions.

The tape is read only as far as somebody asks, once, and what was read stays in a temporary file: subscribers at
different places share it, a replay reaches back to the first slot, and the memory used does not grow with the tape.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from copytrader_core.errors import ConfigError
from copytrader_core.geyser.copytrader_geyser_pb2 import CONFIRMED, FINALIZED, PROCESSED, SubscribeUpdateBlock
from simnet.tape import Tape

__all__ = ["LEVELS", "Broadcast", "Chain", "Entry", "Ledger", "Pace", "Timeline"]

LEVELS = (PROCESSED, CONFIRMED, FINALIZED)
_SLOT_MS = 400
# Block times are whole seconds: a difference up to this much above the slots' own time is rounding, not an idle chain.
_ROUNDING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how far a tape is played.

    `speed` is chain seconds per second; `math.inf` means as fast as each client reads. `max_gap_seconds` shortens idle
    time of the chain. The two delays are chain time from a block's end to its levels. `from_slot` is the first block
    that is played live: those before it are there from the start, for replays. `until_slot` is the last one.
    """

    speed: float = math.inf
    max_gap_seconds: float = math.inf
    confirmed_after_ms: float = 100.0
    finalized_after_ms: float = 12_000.0
    from_slot: int = 0
    until_slot: int | None = None

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ConfigError(f"speed must be above 0 (inf = as fast as clients read), found {self.speed}")
        if not self.max_gap_seconds > 0:
            raise ConfigError(f"max_gap_seconds must be above 0, found {self.max_gap_seconds}")
        if not 0 <= self.confirmed_after_ms <= self.finalized_after_ms:
            raise ConfigError("delays must be 0 <= confirmed_after_ms <= finalized_after_ms")

    def delay(self, level: int) -> float:
        """Chain seconds from a block's end until it reaches `level`."""
        if level == PROCESSED:
            return 0.0
        return (self.confirmed_after_ms if level == CONFIRMED else self.finalized_after_ms) / 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a block without parsing it. `at`: chain seconds since the first block, gaps shortened."""

    slot: int
    parent: int
    blockhash: str
    height: int
    block_time: int
    at: float
    offset: int = 0
    length: int = 0
    # Whether the cluster went on without it; only a live chain has such blocks, and none of them is ever confirmed.
    is_dead: bool = False


class Ledger(Protocol):
    """Blocks by position, in the order in which they were produced."""

    def entry(self, index: int) -> Entry | None:
        """The block at `index`, None after the end."""

    def block(self, index: int) -> SubscribeUpdateBlock:
        """The parsed block at `index`, which must exist."""

    def position(self, slot: int) -> int:
        """The position of the first block with this slot or a later one."""

    def close(self) -> None:
        """Gives back what it holds."""


class Chain(Protocol):
    """Which blocks have reached which commitment, as the endpoints see it: a tape's `Broadcast` or a live chain."""

    @property
    def timeline(self) -> Ledger:
        """The blocks."""

    @property
    def has_clock(self) -> bool:
        """Whether blocks fall due by a clock, and not as fast as somebody reads them."""

    @property
    def is_started(self) -> bool:
        """Whether the chain runs."""

    @property
    def is_over(self) -> bool:
        """Whether no block will come any more."""

    def start(self) -> None:
        """Lets it run."""

    def moment(self, level: int, index: int) -> float | None:
        """What orders the block's reaching `level` among everything else; None where it is not known to come."""

    def seconds_until(self, level: int, index: int) -> float:
        """Real seconds until the block at `index` reaches `level`: 0 or less when it has."""

    def reached(self, level: int) -> int:
        """How many blocks have reached `level`."""

    def report(self, level: int, count: int) -> None:
        """A reader has been given the first `count` blocks at `level`."""

    def created_at(self, index: int) -> float:
        """The wall time, in Unix seconds, at which the block at `index` was made."""


class Timeline:
    """The blocks of a tape by position, up to `pace.until_slot`."""

    def __init__(self, tape: Tape, pace: Pace) -> None:
        self._blocks = tape.blocks
        self._slot_seconds = float(tape.header.get("slot_ms", _SLOT_MS)) / 1000
        self._pace = pace
        self._entries: list[Entry] = []
        self._complete = False
        self._spool = tempfile.TemporaryFile(prefix="copytrader-tape-")  # noqa: SIM115 - lives as long as this object
        self._size = 0

    def close(self) -> None:
        """Gives the temporary file back."""
        self._complete = True
        self._spool.close()

    def entry(self, index: int) -> Entry | None:
        """The block at `index`, or None after the end. Raises DataError where the tape is damaged."""
        while index >= len(self._entries) and not self._complete:
            self._read_one()
        return self._entries[index] if index < len(self._entries) else None

    def block(self, index: int) -> SubscribeUpdateBlock:
        """The parsed block at `index`, which must exist."""
        entry = self._entries[index]
        return SubscribeUpdateBlock.FromString(os.pread(self._spool.fileno(), entry.length, entry.offset))

    def position(self, slot: int) -> int:
        """The position of the first block with this slot or a later one."""
        while not self._complete and not (self._entries and self._entries[-1].slot >= slot):
            self._read_one()
        return bisect_left(self._entries, slot, key=lambda entry: entry.slot)

    def _read_one(self) -> None:
        block = next(self._blocks, None)
        until = self._pace.until_slot
        if block is None or (until is not None and block.slot > until):
            self._complete = True
            return
        content = block.SerializeToString()
        entry = Entry(
            slot=block.slot,
            parent=block.parent_slot,
            blockhash=block.blockhash,
            height=block.block_height.block_height,
            block_time=block.block_time.timestamp,
            at=self._due(block),
            offset=self._size,
            length=len(content),
        )
        self._spool.write(content)
        self._spool.flush()
        self._size += len(content)
        self._entries.append(entry)

    def _due(self, block: SubscribeUpdateBlock) -> float:
        if not self._entries:
            return 0.0
        before = self._entries[-1]
        by_slots = (block.slot - before.slot) * self._slot_seconds
        by_clock = float(block.block_time.timestamp - before.block_time)
        idle = by_clock > by_slots + _ROUNDING_SECONDS and before.block_time > 0
        return before.at + min(by_clock if idle else by_slots, self._pace.max_gap_seconds)


class Broadcast:
    """The chain's clock: which blocks have reached which commitment. It stands still until it is started.

    At infinite speed there is no clock: the tip is as far as the fastest reader, who reports where it is.
    """

    def __init__(self, timeline: Timeline, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeline = timeline
        self.first_live = timeline.position(pace.from_slot)
        self._pace = pace
        self._clock = clock
        self._started: float | None = None
        self._started_wall = time.time()
        self._counts: dict[int, int] = dict.fromkeys(LEVELS, self.first_live)
        entry = timeline.entry(self.first_live)
        self._base = entry.at if entry else 0.0

    @property
    def has_clock(self) -> bool:
        """Whether blocks fall due by the clock, and not as fast as somebody reads them."""
        return math.isfinite(self._pace.speed)

    @property
    def is_started(self) -> bool:
        """Whether the clock runs."""
        return self._started is not None

    def start(self) -> None:
        """Starts the clock at the first live block. Once only."""
        if self._started is None:
            self._started = self._clock()
            self._started_wall = time.time()

    def moment(self, level: int, index: int) -> float | None:
        """The chain time at which the block at `index` reaches `level`, None after the end."""
        entry = self.timeline.entry(index)
        return None if entry is None else entry.at + self._pace.delay(level)

    def seconds_until(self, level: int, index: int) -> float:
        """Real seconds until the block at `index` reaches `level`: 0 or less when it has, infinite before the start."""
        if index < self.first_live:
            return 0.0
        if self._started is None:
            return math.inf
        moment = self.moment(level, index)
        if moment is None:
            return math.inf
        return (moment - self._base) / self._pace.speed - (self._clock() - self._started)

    def reached(self, level: int) -> int:
        """How many blocks have reached `level`."""
        if math.isfinite(self._pace.speed):
            while self.seconds_until(level, self._counts[level]) <= 0:
                self._counts[level] += 1
        return self._counts[level]

    def report(self, level: int, count: int) -> None:
        """A reader has been given the first `count` blocks at `level`."""
        self._counts[level] = max(self._counts[level], count)

    def created_at(self, index: int) -> float:
        """The wall time, in Unix seconds, at which the block at `index` came out of the validator."""
        moment = self.moment(PROCESSED, index)
        if moment is None or not math.isfinite(self._pace.speed):
            return time.time()
        return self._started_wall + (moment - self._base) / self._pace.speed

    @property
    def is_over(self) -> bool:
        """Whether the last block has been played: by the clock at every level, without one to somebody."""
        levels = LEVELS if math.isfinite(self._pace.speed) else (PROCESSED,)
        return all(self.timeline.entry(self.reached(level)) is None for level in levels)
