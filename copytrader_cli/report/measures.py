"""Numbers that plots need and no table holds (survival, bins, sums), and how numbers are written. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence

__all__ = ["bins", "duration", "logarithmic", "percent", "signed", "sol", "steps", "survival"]


def survival(held_ms: Sequence[int], ended: Sequence[bool]) -> list[tuple[int, float]]:
    """Kaplan-Meier: (age in ms, share still held just after it) at each age at which something ended.

    What has not ended counts as held up to its age. Source: Kaplan and Meier 1958.
    """
    order = sorted(zip(held_ms, (not e for e in ended), strict=True))
    curve, share, at_risk, place = [], 1.0, len(order), 0
    while place < len(order):
        age = order[place][0]
        same = [kept for a, kept in order[place:] if a == age]
        exits = same.count(False)
        if exits:
            share *= 1 - exits / at_risk
            curve.append((age, share))
        at_risk -= len(same)
        place += len(same)
    return curve


def bins(values: Iterable[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each [edge, next edge); those outside count in the first or the last."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(max(bisect_right(edges, value) - 1, 0), len(counts) - 1)] += 1
    return counts


def steps(high: float, count: int) -> list[float]:
    """About `count` round edges from 0 to at least `high`."""
    raw = max(high, 1e-9) / count
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * (1 - 1e-9))
    return [round(step * i, 12) for i in range(math.ceil(high / step - 1e-9) + 1 or 2)]


def logarithmic(low: float, high: float, count: int) -> list[float]:
    """`count` bins of equal ratio between two positive numbers, as edges."""
    return [low * (high / low) ** (i / count) for i in range(count + 1)]


_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def duration(ms: float | None) -> str:
    """A time in its largest unit with at most one decimal: 850 ms, 12 s, 2.5 min."""
    if ms is None:
        return "–"
    for size, unit in _UNITS:
        if ms >= size * 0.9995:
            value = ms / size
            return f"{value:.0f} {unit}" if value >= 9.95 or abs(value - round(value)) < 0.05 else f"{value:.1f} {unit}"
    return f"{ms:.0f} ms"


def sol(value: float | None, digits: int = 2) -> str:
    """SOL for reading; more decimals where it would else show nothing."""
    if value is None:
        return "–"
    if value and abs(value) < 0.5 * 10**-digits:
        digits = -math.floor(math.log10(abs(value)))
    return f"{value:,.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """SOL with its sign, a true minus."""
    if value is None:
        return "–"
    return ("+" if value > 0 else "") + sol(value, digits)


def percent(share: float | None, digits: int = 0) -> str:
    """A share as percent."""
    return "–" if share is None else f"{share * 100:.{digits}f} %".replace("-", "−")
