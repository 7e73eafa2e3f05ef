"""How long a stream waits before it asks again. Numbers and their growth only: nobody sleeps here, no clock is read."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

__all__ = ["Backoff", "Waits"]

# 2 to the 16th of the shortest wait is above every longest one; a counter that grows for months must not overflow.
_MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits of a stream, in seconds.

    `first_seconds` doubles up to `most_seconds` while connects bring nothing new. `exhausted_seconds`: the first wait
    after a provider's cap, because more connections make that worse. `refused_seconds`: a token or filter that once
    worked and is refused now is the provider's doing; it is asked again, but not hammered. `other_endpoint_seconds`:
    before the next provider is asked after a refusal. `look_around_seconds`: how often a running stream looks for holes
    that a replay could fill; one replay costs a reconnect, and where it does not help they grow rare, from
    `first_repair_seconds` to `most_repair_seconds`. `block_seconds`: how long a block may be behind its block_meta.
    """

    first_seconds: float = 0.2
    most_seconds: float = 30.0
    exhausted_seconds: float = 5.0
    refused_seconds: float = 60.0
    other_endpoint_seconds: float = 0.2
    look_around_seconds: float = 1.0
    first_repair_seconds: float = 2.0
    most_repair_seconds: float = 3600.0
    block_seconds: float = 1.5

    def bounded(self, longest_seconds: float) -> Waits:
        """The same, none of the waits between connects longer than that: a worker that ends when it has been idle for
        a while must not wait into its end."""
        return replace(
            self,
            most_seconds=min(self.most_seconds, longest_seconds),
            exhausted_seconds=min(self.exhausted_seconds, longest_seconds),
            refused_seconds=min(self.refused_seconds, longest_seconds),
        )


class Backoff:
    """Waits that grow until something new has come, and are never twice the same."""

    def __init__(self, waits: Waits, rng: random.Random | None = None) -> None:
        """`rng` gives the jitter, so that many workers do not come back at once."""
        self._waits = waits
        self._rng = rng or random.Random()
        self._failures = 0

    def reset(self) -> None:
        """Something new has come."""
        self._failures = 0

    def next_seconds(self, *, exhausted: bool = False) -> float:
        """How long to wait after one more failure: half to all of the doubled wait."""
        first = self._waits.exhausted_seconds if exhausted else self._waits.first_seconds
        longest = min(first * 2.0**self._failures, self._waits.most_seconds)
        self._failures = min(self._failures + 1, _MAX_DOUBLINGS)
        return longest * self._rng.uniform(0.5, 1.0)
