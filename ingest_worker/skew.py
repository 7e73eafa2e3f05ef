"""Whether the local clock is right, from the times that others have written on what came. No clock is read here.

Two witnesses: the provider's `created_at`, and the block time of the chain. Both are older than the moment of receipt
by a delay that is known roughly. The local clock is blamed only if every witness that can speak says the same: a
provider with a wrong clock contradicts the chain, and a recorded chain that is played again contradicts its provider.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from statistics import median, quantiles

__all__ = ["ClockSkew", "Witness"]

_SECOND_NS = 1_000_000_000
_WINDOW = 128
_MIN_SAMPLES = 20
# Samples are taken apart in time, so that the least window of them lasts 5 s and shows whether the delay changes.
_APART_NS = _SECOND_NS // 4
# A stream that catches up, or is read late, comes closer with every message; a wrong clock stays as it is.
_MAX_SPREAD_SECONDS = 1.5
# Replayed updates keep their stamp and come in order; so much disorder is left to servers that stamp in many threads.
_BACKWARDS_NS = _SECOND_NS
_BACKWARDS_REMEMBERED_NS = 60 * _SECOND_NS


class Witness(StrEnum):
    """Whose time the local clock is held against."""

    CREATED_AT = "created_at"
    BLOCK_TIME = "block_time"


# What lies between stamp and receipt when all is well, in seconds. `confirmed` comes 0.1 to 1 s after the stamp; a
# block time is cut to whole seconds (0.5 on average) and lags the wall clock by 1.3 s besides.
_USUAL_DELAY_SECONDS = {Witness.CREATED_AT: 0.5, Witness.BLOCK_TIME: 2.3}


class _Delays:
    """The newest delays of one witness in seconds."""

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=_WINDOW)
        self._sampled_ns: int | None = None

    def add(self, stamp_ns: int, recv_ns: int) -> None:
        if self._sampled_ns is None or abs(recv_ns - self._sampled_ns) >= _APART_NS:
            self._sampled_ns = recv_ns
            self.seconds.append((recv_ns - stamp_ns) / _SECOND_NS)


class ClockSkew:
    """Medians over the newest stamps. `backwards` counts how often `created_at` went back in time."""

    def __init__(self, limit_seconds: float = 2.0) -> None:
        """`limit_seconds`: how far off the local clock may be."""
        self.backwards = 0
        self._limit_seconds = limit_seconds
        self._delays = {witness: _Delays() for witness in Witness}
        # Of each stream: the newest slot and its stamp.
        self._newest: dict[int, tuple[int, int]] = {}
        self._backwards_at_ns: int | None = None

    def restart(self) -> None:
        """A new subscription, perhaps of another provider: its stamps have nothing to do with the ones before."""
        self._newest.clear()
        self._delays[Witness.CREATED_AT] = _Delays()

    def add_created_at(self, slot: int, created_at_ns: int, recv_ns: int, stream: int = 0) -> None:
        """The provider's stamp on a slot and when it came, both unix nanoseconds.

        Only the next slot of a stream proves anything: where a replay meets the live stream, slots come twice.
        """
        newest_slot, newest_ns = self._newest.get(stream, (-1, created_at_ns))
        if slot <= newest_slot:
            return
        self._newest[stream] = (slot, created_at_ns)
        self._delays[Witness.CREATED_AT].add(created_at_ns, recv_ns)
        if created_at_ns < newest_ns - _BACKWARDS_NS:
            self.backwards += 1
            self._backwards_at_ns = recv_ns

    def add_block_time(self, block_time: int, recv_ns: int) -> None:
        """A block time in unix seconds and when its block came."""
        self._delays[Witness.BLOCK_TIME].add(block_time * _SECOND_NS, recv_ns)

    def offset_seconds(self, witness: Witness) -> float | None:
        """Local clock minus that of `witness`, its usual delay taken off. None while it cannot say."""
        delays = self._delays[witness].seconds
        if len(delays) < _MIN_SAMPLES:
            return None
        low, _, high = quantiles(delays, n=4)
        if high - low > _MAX_SPREAD_SECONDS:
            return None
        return median(delays) - _USUAL_DELAY_SECONDS[witness]

    def complaint(self, now_ns: int) -> str | None:
        """What is wrong with the clocks, None if nothing is. `now_ns`: local unix time."""
        offsets = [offset for witness in Witness if (offset := self.offset_seconds(witness)) is not None]
        if offsets and min(map(abs, offsets)) > self._limit_seconds and len({offset > 0 for offset in offsets}) == 1:
            return _blame(min(offsets, key=abs))
        if self._backwards_at_ns is not None and 0 <= now_ns - self._backwards_at_ns < _BACKWARDS_REMEMBERED_NS:
            return "the provider's created_at runs backwards: its clock was set, or several nodes answer in turn"
        return None


def _blame(offset: float) -> str:
    if offset < 0:
        return f"the local clock is {-offset:.1f} s behind provider and chain: check NTP"
    return f"the local clock is {offset:.1f} s ahead of provider and chain, or both come that late: check NTP"
