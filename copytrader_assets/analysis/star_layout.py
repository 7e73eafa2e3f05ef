"""Where the wallets of a follow network stand in a picture: one star a leader, followers around it, farther = slower.

No forces, no chance: the same edges give the same picture, and a network of hundreds takes milliseconds. Every edge is
drawn once and outward, so that no two lines cross: a wallet that follows several leaders hangs on the one that it
follows most and stands beside the others as a repetition. Not here: how anything looks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Arrow", "Seat", "Star", "lag_distance", "packed", "stars"]

_NODE_ROOM = 11.0
_LEAST_RADIUS = 15.0
_LAG_ROOM = 26.0
_NAME_ROOM, _HALF_NAME = 66.0, 6.0
_FASTEST_MS, _SLOWEST_MS = 300.0, 30_000.0


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge as a picture needs it: who, with what share of buys followed (0..1), and after how many ms."""

    leader: str
    follower: str
    leader_name: str
    follower_name: str
    weight: float
    lag_ms: float


@dataclass(frozen=True, slots=True)
class Seat:
    """A wallet in a star: place relative to the star's middle, the arrow that leads there (None for the middle),
    the seat that it comes from, and whether the wallet's own place is elsewhere."""

    wallet: str
    name: str
    x: float
    y: float
    arrow: Arrow | None
    origin: tuple[float, float]
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class Star:
    """A leader with all that hangs on it, inside the box from (left, top) to (right, bottom) around its middle.

    `inner` is how far from the middle the lags begin.
    """

    seats: tuple[Seat, ...]
    inner: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Room from left to right, that of a name at least."""
        return max(self.right - self.left, _NAME_ROOM)


def lag_distance(lag_ms: float) -> float:
    """How much farther out a follower of this lag stands, on a logarithmic scale from 0.3 to 30 s."""
    bounded = min(max(lag_ms, _FASTEST_MS), _SLOWEST_MS)
    return _LAG_ROOM * math.log(bounded / _FASTEST_MS) / math.log(_SLOWEST_MS / _FASTEST_MS)


def stars(arrows: Sequence[Arrow]) -> list[Star]:
    """One star for each leader that follows nobody (or only in a circle), the largest first."""
    arrows = sorted(arrows, key=lambda a: (-a.weight, a.leader, a.follower))
    parent = _parents(arrows)
    below: defaultdict[str, list[Arrow]] = defaultdict(list)
    for arrow in arrows:
        below[arrow.leader].append(arrow)
    roots = dict.fromkeys(arrow.leader for arrow in arrows if arrow.leader not in parent)
    names = {arrow.leader: arrow.leader_name for arrow in arrows}
    drawn = [_star(root, names[root], below, parent) for root in roots]
    return sorted(drawn, key=lambda star: (-len(star.seats), star.seats[0].wallet))


def _parents(arrows: Iterable[Arrow]) -> dict[str, str]:
    """Whom each wallet hangs on: strongest first, and never in a circle."""
    parent: dict[str, str] = {}
    for arrow in arrows:
        if arrow.follower not in parent and arrow.follower not in _line(arrow.leader, parent):
            parent[arrow.follower] = arrow.leader
    return parent


def _line(wallet: str, parent: dict[str, str]) -> list[str]:
    line = [wallet]
    while line[-1] in parent:
        line.append(parent[line[-1]])
    return line


def _leaves(wallet: str, below: dict[str, list[Arrow]], parent: dict[str, str]) -> int:
    own = below.get(wallet, [])
    hung = sum(_leaves(a.follower, below, parent) if parent.get(a.follower) == wallet else 1 for a in own)
    return max(1, hung)


def _star(root: str, name: str, below: dict[str, list[Arrow]], parent: dict[str, str]) -> Star:
    """Angles by the number of leaves, distances by lag; a chain goes on outward in its own sector."""
    inner = max(_LEAST_RADIUS, _leaves(root, below, parent) * _NODE_ROOM / (2 * math.pi))
    seats = [Seat(root, name, 0.0, 0.0, None, (0.0, 0.0), False)]
    waiting = [(root, 0.0, 0.0, 2 * math.pi, (0.0, 0.0))]
    while waiting:
        wallet, distance, start, room, origin = waiting.pop(0)
        for arrow, angle, share in _sectors(wallet, start, room, below, parent):
            far = distance + (inner if not distance else _LEAST_RADIUS) + lag_distance(arrow.lag_ms)
            x, y = far * math.cos(angle), far * math.sin(angle)
            own = parent.get(arrow.follower) == wallet
            seats.append(Seat(arrow.follower, arrow.follower_name, x, y, arrow, origin, not own))
            if own:
                waiting.append((arrow.follower, far, angle - share / 2, share, (x, y)))
    xs, ys, half = [seat.x for seat in seats], [seat.y for seat in seats], _NODE_ROOM / 2
    return Star(tuple(seats), inner, min(xs) - half, min(ys) - half, max(xs) + half, max(*ys, _HALF_NAME) + half)


def _sectors(
    wallet: str, start: float, room: float, below: dict[str, list[Arrow]], parent: dict[str, str]
) -> list[tuple[Arrow, float, float]]:
    """(arrow, its angle, its share of the room) of all that hangs on `wallet`, the fastest first."""
    arrows = sorted(below.get(wallet, ()), key=lambda arrow: (arrow.lag_ms, arrow.follower))
    sizes = [_leaves(a.follower, below, parent) if parent.get(a.follower) == wallet else 1 for a in arrows]
    placed, at = [], start - math.pi / 2 if wallet not in parent else start
    for arrow, size in zip(arrows, sizes, strict=True):
        share = room * size / sum(sizes)
        placed.append((arrow, at + share / 2, share))
        at += share
    return placed


def packed(drawn: Sequence[Star], width: float, gap: float, caption: float) -> tuple[list[tuple[float, float]], float]:
    """The middle of each star, in rows from left to right, and the height of all. `caption`: room below each."""
    middles: list[tuple[float, float]] = []
    top = 0.0
    for row in _rows(drawn, width, gap):
        height = max(star.bottom - star.top for star in row)
        middles += _in_row(row, width, top + height / 2, gap)
        top += height + caption + gap
    return middles, top


def _rows(drawn: Sequence[Star], width: float, gap: float) -> list[list[Star]]:
    """As many stars in a row as fit, at least one."""
    rows: list[list[Star]] = []
    used = math.inf
    for star in drawn:
        if used + star.width + gap > width:
            rows.append([])
            used = 0.0
        rows[-1].append(star)
        used += star.width + gap
    return rows


def _in_row(row: Sequence[Star], width: float, y: float, gap: float) -> list[tuple[float, float]]:
    """Spread over the width, the rest of the room divided between the stars; a short row keeps to the left."""
    spare = min((width - sum(star.width + gap for star in row)) / len(row), 3 * gap)
    middles, x = [], 0.0
    for star in row:
        room = star.width + gap + max(spare, 0.0)
        middles.append((x + room / 2 - (star.left + star.right) / 2, y - (star.top + star.bottom) / 2))
        x += room
    return middles
