"""How long a slot lasts, measured over a day. Not here: lags (first_buys.py), and whose day it is."""

from __future__ import annotations

from typing import Final

DEFAULT_SLOT_MS: Final = 400.0
# Block times have a resolution of a second: over fewer slots the quotient says nothing.
# A duration outside the bounds comes from a gap in the data.
_MIN_SLOTS: Final = 1_000
_BOUNDS: Final = (200.0, 1_000.0)


def measured_slot_ms(slots: int, passed_ns: int) -> float | None:
    """Time passed / slots passed between two events, in ms; None where that tells nothing."""
    if slots < _MIN_SLOTS:
        return None
    measured = passed_ns / slots / 1e6
    return measured if _BOUNDS[0] <= measured <= _BOUNDS[1] else None
