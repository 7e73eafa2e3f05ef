"""The drift sentinel of the worker: asks `pump.drift` about every landed transaction, and keeps what it says.

What the chain showed goes into the batch, and so into `protocol_drift` with the rows; the log has each kind once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from copytrader_core.store.ingest import Batch
from ingest_worker.assembly import ReadySlot

if TYPE_CHECKING:
    from copytrader_core.pump.decode import Decoded
    from copytrader_core.pump.drift import Drift
    from copytrader_core.pump.drift_continuity import Step

_log = logging.getLogger("copytrader.ingest.drift")


class DriftWatch:
    """Looks at slots in the order in which they are landed."""

    def __init__(self, on_drift: Callable[[str], None] = lambda kind: None, *, whole_feed: bool = True) -> None:
        """`on_drift` is told the kind of each. `whole_feed`: the stream holds every trade of both programs; only then
        can it be told whether a coin goes on where its last trade left it."""
        # The programs' interfaces are read at import; a worker with another decoder does without.
        from copytrader_core.pump.drift import examine
        from copytrader_core.pump.drift_continuity import Continuity

        self._examine = examine
        self._continuity = Continuity() if whole_feed else None
        self._on_drift = on_drift
        self._last_slot: int | None = None
        self._told: set[tuple[str, str, str]] = set()

    def begin(self, ready: ReadySlot) -> None:
        """A slot is about to be landed. One that does not follow on the last one begins every coin anew."""
        follows = ready.closes and ready.block is not None and ready.block.parent_slot == self._last_slot
        if not follows:
            self.lost()
        self._last_slot = ready.slot if ready.closes and ready.block is not None else None

    def lost(self) -> None:
        """Something could not be decoded: the coins that it moved are unknown."""
        if self._continuity is not None:
            self._continuity.forget()

    def goes_on(self, moved: Collection[bytes], steps: Sequence[Step]) -> bool:
        """Whether a transaction that follows from its own reserves goes on where its coins were left."""
        return self._continuity is None or self._continuity.goes_on(moved, steps)

    def look(self, decoded: Decoded, sig: str, slot: int, batch: Batch) -> None:
        """One landed transaction of that slot."""
        if not decoded.frames:
            if decoded.problems:
                self.lost()
            return
        found = self._examine(decoded, sig)
        if decoded.problems:
            self.lost()
        elif self._continuity is not None:
            found += self._continuity.follow(decoded, sig)
        for drift in found:
            self._keep(drift, slot, batch)

    def _keep(self, drift: Drift, slot: int, batch: Batch) -> None:
        batch.drift.append((slot, drift))
        self._on_drift(drift.kind)
        key = (drift.kind, drift.program, drift.ix)
        if key not in self._told:
            self._told.add(key)
            _log.error(
                "protocol_drift kind=%s program=%s ix=%s sig=%s path=%s detail=%r expected=%s found=%s",
                *(*key, drift.sig, drift.path, drift.detail, drift.expected, drift.found),
            )
