"""The follow graph as a picture: who moves first stands left, followers right of whom they follow."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from copytrader_cli.report.charts import Plot
from copytrader_cli.report.collect import Edge
from copytrader_cli.report.measures import duration, percent

__all__ = ["MAX_EDGES", "follow_graph", "layout"]

MAX_EDGES = 60
_ROW = 38
_RADIUS = 6


@dataclass(frozen=True, slots=True)
class Place:
    """Where a wallet stands: column from the left, row from the top (a fraction between its followers' rows)."""

    column: int
    row: float
    is_leaf: bool


def layout(edges: Sequence[Edge]) -> dict[str, Place]:
    """A tidy forest: every wallet hangs on the one that it follows most, and leaves take one row each.

    Edges are taken strongest first; one that would close a circle hangs nothing on anything, it is only drawn.
    """
    parent: dict[str, str] = {}
    for edge in edges:
        if edge.follower not in parent and edge.follower not in _line_of(edge.leader, parent):
            parent[edge.follower] = edge.leader
    children: defaultdict[str, list[str]] = defaultdict(list)
    for follower, leader in parent.items():
        children[leader].append(follower)
    roots = dict.fromkeys(edge.leader for edge in edges if edge.leader not in parent)
    places: dict[str, Place] = {}
    next_row = 0
    for root in sorted(roots, key=lambda wallet: -len(children[wallet])):
        next_row = _hang(root, 0, next_row, children, places)
    return places


def _line_of(wallet: str, parent: dict[str, str]) -> Iterable[str]:
    line = [wallet]
    while line[-1] in parent:
        line.append(parent[line[-1]])
    return line


def _hang(wallet: str, column: int, next_row: int, children: dict[str, list[str]], places: dict[str, Place]) -> int:
    """Places `wallet` and all below it from `next_row` on; gives the next free row."""
    below = children.get(wallet, [])
    if not below:
        places[wallet] = Place(column, float(next_row), True)
        return next_row + 1
    for follower in below:
        next_row = _hang(follower, column + 1, next_row, children, places)
    rows = [places[follower].row for follower in below]
    places[wallet] = Place(column, (min(rows) + max(rows)) / 2, False)
    return next_row


def follow_graph(edges: Sequence[Edge], width: int) -> str:
    """The strongest MAX_EDGES edges. Thickness: share of buys followed; faint: few observations; words: median lag."""
    edges = edges[:MAX_EDGES]
    places = layout(edges)
    rows = 1 + math.floor(max((place.row for place in places.values()), default=0))
    columns = max([1, *(place.column for place in places.values())])
    is_wide = width > 500
    plot = Plot(width, _ROW * rows + 16, left=110 if is_wide else 68, right=130 if is_wide else 74, top=8, bottom=8)
    step = (plot.x1 - plot.x0) / columns
    at = {w: (plot.x0 + step * p.column, plot.y1 + _ROW * (p.row + 0.5)) for w, p in places.items()}
    for edge in edges:
        _arrow(plot, edge, at[edge.leader], at[edge.follower], _explained(edge) if is_wide else "")
    for edge in edges:
        words = [duration(edge.lag_p50_ms)] + ([percent(edge.probability_30s)] if is_wide else [])
        _label(plot, edge, " · ".join(words), at[edge.leader], at[edge.follower])
    names = {w: n for e in edges for w, n in ((e.leader, e.leader_name), (e.follower, e.follower_name))}
    for wallet, place in places.items():
        _node(plot, names[wallet], place, at[wallet])
    return plot.svg("who follows whom; the reaction times are listed beside")


def _arrow(plot: Plot, edge: Edge, start: tuple[float, float], end: tuple[float, float], title: str) -> None:
    (x0, y0), (x1, y1) = (start[0] + _RADIUS, start[1]), (end[0] - _RADIUS - 7, end[1])
    pull = max(abs(x1 - x0) * 0.45, 30)
    opacity = min(1.0, 0.3 + edge.n_followed / 30)
    thickness = 1 + 5 * edge.probability_30s
    tip = 4 + thickness * 0.6
    plot.add(
        f'<g opacity="{opacity:.2f}">{f"<title>{escape(title)}</title>" if title else ""}'
        f'<path class="edge" d="M{x0:.1f} {y0:.1f} '
        f'C{x0 + pull:.1f} {y0:.1f} {x1 - pull:.1f} {y1:.1f} {x1:.1f} {y1:.1f}" '
        f'stroke-width="{thickness:.1f}"/>'
        f'<path class="tip" d="M{x1 + 7:.1f} {y1:.1f} l{-8:.1f} {-tip:.1f} v{2 * tip:.1f} Z"/></g>'
    )


def _explained(edge: Edge) -> str:
    return (
        f"{edge.follower_name} follows {edge.leader_name}: {edge.n_followed} of {edge.n_leader_buys} buys within 30 s, "
        f"{percent(edge.probability)} within 5 s where chance gives {percent(edge.baseline)}; "
        f"lag {duration(edge.lag_p50_ms)} to {duration(edge.lag_p90_ms)}"
    )


def _label(plot: Plot, edge: Edge, words: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Words beside the arrow's end, on the side from which the arrow does not come."""
    beside = 5 + 3 * edge.probability_30s
    down = start[1] < end[1] - 1
    plot.text(end[0] - _RADIUS - 11, end[1] + (beside + 8 if down else -beside), words, "halo", "end")


def _node(plot: Plot, name: str, place: Place, at: tuple[float, float]) -> None:
    x, y = at
    plot.dot(x, y, _RADIUS, "leader" if place.column == 0 else "follower", name)
    if place.column == 0:
        plot.text(x - _RADIUS - 6, y + 4, name, "name strong", "end")
    elif place.is_leaf:
        plot.text(x + _RADIUS + 6, y + 4, name, "name")
    else:
        plot.text(x, y + _RADIUS + 13, name, "name halo", "middle")
