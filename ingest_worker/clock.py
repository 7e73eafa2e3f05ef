"""Chain time of a slot: its block time, or an estimate from the slots around it."""

from __future__ import annotations

_SLOT_NS = 400_000_000
_SECOND_NS = 1_000_000_000


class SlotClock:
    """Turns slots into `ts_ns`. Estimates are whole seconds, like block times, and never run backwards."""

    def __init__(self, slot: int | None = None, block_time: int | None = None) -> None:
        """The anchor to estimate from, usually the checkpoint's."""
        self._anchor = (slot, block_time * _SECOND_NS) if slot is not None and block_time is not None else None
        self._latest = self._anchor

    def ts_ns(self, slot: int, block_time: int | None, recv_ts_ns: int) -> int:
        """The chain time of `slot`. Without a block time and without any anchor it is the local receive time."""
        ts_ns = self._estimate(slot, recv_ts_ns) if block_time is None else block_time * _SECOND_NS
        if block_time is not None and (self._anchor is None or slot >= self._anchor[0]):
            self._anchor = (slot, ts_ns)
        if self._latest is None or slot >= self._latest[0]:
            self._latest = (slot, ts_ns)
        return ts_ns

    def _estimate(self, slot: int, recv_ts_ns: int) -> int:
        estimate = recv_ts_ns
        if self._anchor is not None:
            estimate = self._anchor[1] + (slot - self._anchor[0]) * _SLOT_NS
        estimate -= estimate % _SECOND_NS
        if self._latest is not None and slot >= self._latest[0]:
            estimate = max(estimate, self._latest[1])
        return estimate
