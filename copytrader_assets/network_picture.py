"""The whole follow network as one SVG: direction, weight and lag at a glance, for the report and for Dagster's pages.

Lines go from the leader outward, thicker the more of its buys are followed, longer the later. Not here: where things
stand (analysis.star_layout), and one leader's view with every name (the report's graph).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pyarrow as pa

from copytrader_assets.analysis.star_layout import Arrow, Seat, Star, lag_distance, packed, stars

__all__ = ["MAX_ARROWS", "arrows_of", "drawn_network", "in_widths", "overview"]

MAX_ARROWS = 300
_GAP, _CAPTION, _DOT = 14.0, 15.0, 3.2
_RINGS_MS = (1_000.0, 5_000.0)
_STYLE = (
    "svg{background:#fff;font-family:system-ui,sans-serif}.net-name{fill:#1d2126;font-size:11px}.net-line{stroke:#1f6f6b;fill:none}"
    ".net-ring{fill:none;stroke:#e4e2dc}.net-leader{fill:#1f6f6b}.net-dot{fill:#fff;stroke:#1f6f6b;stroke-width:1.4}"
    ".net-both{fill:#8fc1bc;stroke:#1f6f6b;stroke-width:1.4}.net-again{fill:#fff;stroke:#cf5a34;stroke-width:1.2}"
)
"""For a picture that stands alone; in the report the page's own colours apply."""


def arrows_of(edges: pa.Table, names: Mapping[str, str | None]) -> list[Arrow]:
    """The edges (leader, follower, follow_prob_30s, lag_ms_p50) as arrows; a wallet without a name shows its ends."""
    columns = [edges[name].to_pylist() for name in ("leader", "follower", "follow_prob_30s", "lag_ms_p50")]
    return [
        Arrow(a, b, names.get(a) or _short(a), names.get(b) or _short(b), weight or 0.0, lag or 0.0)
        for a, b, weight, lag in zip(*columns, strict=True)
    ]


def overview(edges: pa.Table, names: Mapping[str, str | None], width: int = 900) -> str:
    """The network of `edges` as an SVG document of its own."""
    return drawn_network(arrows_of(edges, names), width, style=_STYLE)


def drawn_network(arrows: Sequence[Arrow], width: int, style: str = "") -> str:
    """The MAX_ARROWS strongest of `arrows` as one SVG of `width` that needs nothing else."""
    symbols, (placed,) = in_widths(arrows, (width,))
    css = f"<style>{style}</style>" if style else ""
    return placed.replace("<use", f"{css}<defs>{symbols}</defs><use", 1)


def in_widths(arrows: Sequence[Arrow], widths: Sequence[int]) -> tuple[str, list[str]]:
    """The stars once, as <g> elements for a <defs>, and for each width an SVG that lays them out."""
    strongest = sorted(arrows, key=lambda arrow: -arrow.weight)[:MAX_ARROWS]
    found = stars(strongest)
    words = f"{len(strongest)} followings around {len(found)} leaders"
    symbols = "".join(_drawn(star, f"net{n}") for n, star in enumerate(found))
    return symbols, [_laid_out(found, width, words) for width in widths]


def _laid_out(found: Sequence[Star], width: int, words: str) -> str:
    middles, height = packed(found, width, _GAP, _CAPTION)
    uses = "".join(f'<use href="#net{n}" x="{x:.0f}" y="{y:.0f}"/>' for n, (x, y) in enumerate(middles))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {max(height, 20):.0f}" role="img" '
        f'aria-label="{words}">{uses}</svg>'
    )


def _drawn(star: Star, name_of_star: str) -> str:
    """Rings of equal lag, lines, dots over them, and the leader's name below."""
    rings = "".join(
        f'<circle class="net-ring" r="{star.inner + lag_distance(ms):.0f}"/>' for ms in _RINGS_MS if len(star.seats) > 3
    )
    lines = "".join(map(_line, star.seats[1:]))
    leads = {seat.origin for seat in star.seats[1:]}
    dots = "".join(_dot(seat, (seat.x, seat.y) in leads) for seat in star.seats[1:])
    middle = star.seats[0]
    name = escape(_fitting(middle.name))
    return (
        f'<g id="{name_of_star}">{rings}{lines}{dots}'
        f'<circle class="net-leader" r="5"><title>{escape(middle.name)}</title></circle>'
        f'<text class="net-name" y="{star.bottom + 9:.0f}" text-anchor="middle">{name}</text></g>'
    )


def _line(seat: Seat) -> str:
    """Straight and outward, with a head: two strokes back from the end."""
    (x0, y0), weight = seat.origin, seat.arrow.weight if seat.arrow else 0.0
    dx, dy = seat.x - x0, seat.y - y0
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / length, dy / length
    x1, y1 = seat.x - ux * (_DOT + 1), seat.y - uy * (_DOT + 1)
    head = 3.0 + weight
    left = f"{-head * ux - head * 0.6 * uy:.1f} {-head * uy + head * 0.6 * ux:.1f}"
    right = f"{-head * ux + head * 0.6 * uy:.1f} {-head * uy - head * 0.6 * ux:.1f}"
    return (
        f'<path class="net-line" stroke-width="{0.6 + 2.6 * weight:.1f}" d="M{x0:.0f} {y0:.0f}L{x1:.1f} {y1:.1f}'
        f'm{left}L{x1:.1f} {y1:.1f}l{right}"/>'
    )


def _dot(seat: Seat, leads: bool) -> str:
    css = "net-again" if seat.is_repeated else "net-both" if leads else "net-dot"
    arrow = seat.arrow
    words = (
        f"{seat.name} after {arrow.leader_name}: {arrow.weight:.0%}, {arrow.lag_ms / 1000:.1f} s"
        if arrow
        else seat.name
    )
    return (
        f'<circle class="{css}" cx="{seat.x:.0f}" cy="{seat.y:.0f}" r="{_DOT}"><title>{escape(words)}</title></circle>'
    )


def _fitting(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:11]}…"


def _short(address: str) -> str:
    return f"{address[:4]}…{address[-4:]}" if len(address) > 12 else address
