"""Blocks that a provider does not send although it sends their block_metas. What to do about them is the stream's.

Some providers leave out blocks without a matching transaction, and some versions of the open-source server lose blocks
that they cannot put together; the two look the same. Neither is believed to be empty here: the slots are read again in
single transactions, where a slot is complete by its block_meta.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LeftOut"]

_REMEMBERED = 256


class LeftOut:
    """What one subscription to blocks has told of each slot. Slots from before its second slot prove nothing."""

    def __init__(self, patience_seconds: float) -> None:
        """`patience_seconds`: how long a block may be behind its block_meta."""
        self._patience_seconds = patience_seconds
        self.restart()

    def restart(self) -> None:
        """A new subscription begins; it may begin between a block and its block_meta."""
        self._first: int | None = None
        self._newest = -1
        self._blocks: dict[int, None] = {}
        self._without_block: dict[int, float] = {}

    def block(self, slot: int) -> None:
        """A block has come."""
        self._see(slot)
        self._blocks[slot] = None
        self._without_block.pop(slot, None)
        _forget(self._blocks)

    def block_meta(self, slot: int, now: float) -> None:
        """A block_meta has come; `now` is a monotonic clock in seconds."""
        self._see(slot)
        if slot not in self._blocks and slot != self._first:
            self._without_block.setdefault(slot, now)
            _forget(self._without_block)

    def slot(self, now: float) -> int | None:
        """The first slot whose block has been waited for long enough, and that the stream has gone on from."""
        waited = (slot for slot, since in self._without_block.items() if now - since >= self._patience_seconds)
        return min((slot for slot in waited if slot < self._newest), default=None)

    def _see(self, slot: int) -> None:
        self._first = slot if self._first is None else self._first
        self._newest = max(self._newest, slot)


def _forget(remembered: dict[int, Any]) -> None:
    while len(remembered) > _REMEMBERED:
        del remembered[next(iter(remembered))]
