"""The blocks of a live chain and how far each commitment has come. Nothing is executed here, nothing is served."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from dataclasses import replace

from copytrader_core.geyser.copytrader_geyser_pb2 import CONFIRMED, FINALIZED, PROCESSED, SubscribeUpdateBlock
from simnet.timeline import LEVELS, Entry

__all__ = ["LiveLedger"]


class LiveLedger:
    """A growing `simnet.timeline.Ledger` that is its own `Chain`: blocks are due when they are there.

    A block that the cluster leaves behind stays in its place, marked dead: slots only ever grow.
    """

    def __init__(self, confirmed_after_slots: int, finalized_after_slots: int) -> None:
        self._after = {PROCESSED: 0, CONFIRMED: confirmed_after_slots, FINALIZED: finalized_after_slots}
        self._entries: list[Entry] = []
        self._contents: list[bytes] = []
        self._created: list[float] = []
        self._moments: dict[int, list[float]] = {level: [] for level in LEVELS}
        self._n_moments = 0

    # --- what the producer does ---------------------------------------------------------------------------------------

    def append(self, block: SubscribeUpdateBlock) -> int:
        """Takes a block in and returns its position."""
        self._entries.append(
            Entry(
                slot=block.slot,
                parent=block.parent_slot,
                blockhash=block.blockhash,
                height=block.block_height.block_height,
                block_time=block.block_time.timestamp,
                at=float(len(self._entries)),
            )
        )
        self._contents.append(block.SerializeToString())
        self._created.append(time.time())
        return len(self._entries) - 1

    def advance(self, slot: int) -> None:
        """Raises the commitments of what is old enough when the chain stands at `slot`."""
        for level in LEVELS:
            moments = self._moments[level]
            while len(moments) < len(self._entries) and self._entries[len(moments)].slot + self._after[level] <= slot:
                self._n_moments += 1
                moments.append(float(self._n_moments))

    def kill(self, index: int) -> None:
        """Marks a block that the cluster does not build on."""
        self._entries[index] = replace(self._entries[index], is_dead=True)

    @property
    def unconfirmed(self) -> list[int]:
        """Positions of the blocks that are alive and can still be left behind, oldest first."""
        first = len(self._moments[CONFIRMED])
        return [index for index in range(first, len(self._entries)) if not self._entries[index].is_dead]

    def __len__(self) -> int:
        return len(self._entries)

    # --- what the endpoints read --------------------------------------------------------------------------------------

    @property
    def timeline(self) -> LiveLedger:
        """The blocks: itself."""
        return self

    @property
    def has_clock(self) -> bool:
        """Blocks come in real time."""
        return True

    @property
    def is_started(self) -> bool:
        """It runs from the start."""
        return True

    @property
    def is_over(self) -> bool:
        """There may always be another block."""
        return False

    def start(self) -> None:
        """It runs already."""

    def close(self) -> None:
        """Nothing to give back."""

    def entry(self, index: int) -> Entry | None:
        """The block at `index`, None after the end."""
        return self._entries[index] if index < len(self._entries) else None

    def block(self, index: int) -> SubscribeUpdateBlock:
        """The parsed block at `index`, which must exist."""
        return SubscribeUpdateBlock.FromString(self._contents[index])

    def position(self, slot: int) -> int:
        """The position of the first block with this slot or a later one."""
        return bisect_left(self._entries, slot, key=lambda entry: entry.slot)

    def moment(self, level: int, index: int) -> float | None:
        """A number that grows with every block and level, None before the block has reached `level`."""
        moments = self._moments[level]
        return moments[index] if index < len(moments) else None

    def seconds_until(self, level: int, index: int) -> float:
        """0 for what has been reached; nobody knows when the rest will be."""
        return 0.0 if index < len(self._moments[level]) else math.inf

    def reached(self, level: int) -> int:
        """How many blocks have reached `level`, dead ones included."""
        return len(self._moments[level])

    def report(self, level: int, count: int) -> None:
        """Readers do not move this chain."""

    def created_at(self, index: int) -> float:
        """The wall time, in Unix seconds, at which the block at `index` was made."""
        return self._created[index]
