"""Running sums over time as short lists of points, several on one clock. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Line", "Together", "drawdown", "running_line", "thinned", "together"]

Line = Sequence[tuple[int, int]]
"""(time in ns, value in lamports) in order of time."""


@dataclass(frozen=True, slots=True)
class Together:
    """Several lines at the same moments; before a line's first point it is None."""

    times_ns: Sequence[int]
    values: Mapping[str, Sequence[int | None]]


def running_line(results: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(time, sum so far) of (time, result), in order of time."""
    total, line = 0, []
    for at, value in sorted(results):
        total += value
        line.append((at, total))
    return line


def drawdown(line: Line) -> list[tuple[int, int]]:
    """How far each value lies below the highest before it, from 0 at the beginning: 0 or negative."""
    top, falls = 0, []
    for at, value in line:
        top = max(top, value)
        falls.append((at, value - top))
    return falls


def thinned(line: Line, most: int) -> list[tuple[int, int]]:
    """At most `most` (4 or more) points: of every stretch its lowest and its highest; the first and the last stay."""
    if len(line) <= most:
        return list(line)
    stretches = (most - 2) // 2
    inner, kept = line[1:-1], [line[0]]
    for n in range(stretches):
        part = inner[n * len(inner) // stretches : (n + 1) * len(inner) // stretches]
        places = {min(range(len(part)), key=lambda i: part[i][1]), max(range(len(part)), key=lambda i: part[i][1])}
        kept += [part[place] for place in sorted(places)]
    return [*kept, line[-1]]


def together(lines: Mapping[str, Line], most: int) -> Together:
    """The lines on one clock; each is thinned before, the clock holds every moment that is left."""
    short = {name: thinned(line, max(4, most // max(len(lines), 1))) for name, line in lines.items()}
    times = sorted({at for line in short.values() for at, _ in line})
    return Together(times, {name: [_at(line, at) for at in times] for name, line in short.items()})


def _at(line: Line, at: int) -> int | None:
    place = bisect_right(line, at, key=lambda point: point[0])
    return line[place - 1][1] if place else None
