"""Which slots the cluster has confirmed, and which it has left behind, from what the stream says of slots and blocks.

Confirming a block confirms all blocks that it builds on. A block is gone that a confirmed one does not build on; so is
one that builds on a dead one.
"""

from __future__ import annotations

from typing import Final, Literal

Verdict = Literal["open", "confirmed", "gone"]

_KEPT: Final = 1_024


class Forks:
    """The newest part of the tree of blocks."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        self._confirmed: set[int] = set()
        self._dead: set[int] = set()
        self.newest_confirmed = 0

    def block(self, slot: int, parent: int) -> None:
        """There is a block in `slot` that builds on `parent`'s."""
        self._parents.setdefault(slot, parent)
        if len(self._parents) > 2 * _KEPT:
            self._trim()

    def confirm(self, slot: int) -> None:
        """The cluster has confirmed the block in `slot`."""
        self.newest_confirmed = max(self.newest_confirmed, slot)
        at: int | None = slot
        while at is not None and at not in self._confirmed:
            self._confirmed.add(at)
            at = self._parents.get(at)

    def kill(self, slot: int) -> None:
        """The block in `slot` is dead."""
        self._dead.add(slot)

    def verdict(self, slot: int) -> Verdict:
        """What became of the block in `slot`; open while nothing that is known tells."""
        at: int | None = slot
        while at is not None and at not in self._confirmed:
            if at in self._dead:
                return "gone"
            at = self._parents.get(at)
        if at == slot:
            return "confirmed"
        if self.newest_confirmed < slot:
            return "open"
        # The chain that is confirmed has to be known from above `slot` down to it, or to below it.
        at = self.newest_confirmed
        while at is not None and at > slot:
            at = self._parents.get(at)
        if at is None:
            return "open"
        return "confirmed" if at == slot else "gone"

    def _trim(self) -> None:
        """Forgets the older half."""
        oldest = sorted(self._parents)[-_KEPT]
        self._parents = {slot: parent for slot, parent in self._parents.items() if slot >= oldest}
        self._confirmed = {slot for slot in self._confirmed if slot >= oldest}
        self._dead = {slot for slot in self._dead if slot >= oldest}
