"""Plots as inline SVG text. Colours are CSS classes: one drawing serves both colour schemes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from copytrader_cli.report.measures import duration, steps

__all__ = [
    "Plot",
    "bars",
    "dumbbells",
    "lags",
]

Scale = Callable[[float], float]


class Plot:
    """A drawing area with margins; `x` and `y` are set by `scales`. Collects elements and becomes one <svg>."""

    def __init__(
        self, width: int, height: int, *, left: int = 34, right: int = 10, top: int = 8, bottom: int = 20
    ) -> None:
        self.width, self.height = width, height
        self.x0, self.x1 = left, width - right
        self.y0, self.y1 = height - bottom, top
        self._parts: list[str] = []

    def add(self, element: str) -> None:
        """Appends an element."""
        self._parts.append(element)

    def text(self, x: float, y: float, words: str, css: str = "", anchor: str = "start") -> None:
        """Text with its baseline at (x, y)."""
        side = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.add(f'<text x="{x:.1f}" y="{y:.1f}"{_css(css)}{side}>{escape(words)}</text>')

    def line(self, x0: float, y0: float, x1: float, y1: float, css: str) -> None:
        """A straight line."""
        self.add(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"{_css(css)}/>')

    def rect(self, x: float, y: float, width: float, height: float, css: str, title: str = "") -> None:
        """A rectangle; a hovering reader sees `title`."""
        self._shape(f'rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{_css(css)}', title)

    def dot(self, x: float, y: float, radius: float, css: str, title: str = "") -> None:
        """A disc."""
        self._shape(f'circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"{_css(css)}', title)

    def _shape(self, tag: str, title: str) -> None:
        name = tag.partition(" ")[0]
        self.add(f"<{tag}><title>{escape(title)}</title></{name}>" if title else f"<{tag}/>")

    def path(self, points: Iterable[tuple[float, float]], css: str, close: str = "") -> None:
        """A line through points; `close` ends the path, as in "L10 20 Z"."""
        body = " ".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.add(f'<path d="M{body} {close}"{_css(css)}/>')

    def x_ticks(self, ticks: Iterable[tuple[float, str]]) -> None:
        """Labels below the area; one that would run into the one before it is left out."""
        free = -math.inf
        for x, label in sorted(ticks):
            half = 2.9 * len(label)
            if x - half < free or x > self.x1 + 2:
                continue
            anchor = "end" if x + half > self.width else "start" if x - half < 0 else "middle"
            self.text(x, self.y0 + 14, label, "tick", anchor)
            free = x + half + 4

    def y_ticks(self, ticks: Iterable[tuple[float, str]]) -> None:
        """Grid lines with labels at the left."""
        for y, label in ticks:
            self.line(self.x0, y, self.x1, y, "grid")
            self.text(self.x0 - 5, y + 3.5, label, "tick", "end")

    def svg(self, label: str, css: str = "") -> str:
        """The drawing as text; `label` is what a screen reader says."""
        # Drawn for this width: much larger, and its words would shout.
        limit = "" if css else f' style="max-width:{self.width * 5 // 4}px"'
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}"{_css(css)}{limit} role="img" aria-label="{escape(label)}">'
            + "".join(self._parts)
            + "</svg>"
        )


def _css(name: str) -> str:
    return f' class="{name}"' if name else ""


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Numbers to places."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logscale(low: float, high: float, start: float, end: float) -> Scale:
    """Positive numbers to places; what lies outside is put at the edge."""
    inner = linear(math.log(low), math.log(max(high, low * 1.01)), start, end)
    return lambda value: inner(math.log(min(max(value, low), high)))


def bars(
    rows: Sequence[tuple[str, float, str, str]], *, width: int = 480, label: str, mark: float | None = None
) -> str:
    """Horizontal bars: (name, value, written value, css). Negative values go to the left of zero; a line at `mark`."""
    plot = Plot(width, 22 * len(rows) + 4, left=128, right=64, top=0, bottom=0)
    low, high = min([0.0, *(v for _, v, _, _ in rows)]), max([mark or 0.0, *(v for _, v, _, _ in rows)])
    x = linear(low, high or (1.0 if low == 0 else 0.0), plot.x0 + (48 if low < 0 else 0), plot.x1)
    for i, (name, value, written, css) in enumerate(rows):
        top = 22 * i + 3
        plot.text(plot.x0 - 8, top + 12, name, "name", "end")
        plot.rect(min(x(0), x(value)), top, max(abs(x(value) - x(0)), 1), 16, css)
        plot.text(x(value) + (6 if value >= 0 else -6), top + 12, written, "value", "start" if value >= 0 else "end")
    plot.line(x(0), 0, x(0), plot.height, "axis")
    if mark is not None:
        plot.line(x(mark), 0, x(mark), plot.height, "mark")
    return plot.svg(label)


def lags(rows: Sequence[tuple[str, float, float, str, float]]) -> str:
    """Reaction times: (name, p50 ms, p90 ms, note, opacity) as a dot and a line to its right."""
    plot = Plot(300, 24 * len(rows) + 24, left=96, right=52, top=4, bottom=20)
    high = max([1_000.0, *(p90 for _, _, p90, _, _ in rows)])
    x = linear(0, high, plot.x0, plot.x1)
    for tick in steps(high, 3):
        if tick <= high:
            plot.line(x(tick), plot.y0, x(tick), plot.y1, "grid")
    plot.x_ticks((x(tick), duration(tick) if tick else "0") for tick in steps(high, 3) if tick <= high)
    for i, (name, p50, p90, note, opacity) in enumerate(rows):
        y = plot.y1 + 24 * i + 12
        plot.add(f'<g opacity="{opacity:.2f}">')
        plot.text(plot.x0 - 8, y + 4, name, "name", "end")
        plot.line(x(p50), y, x(p90), y, "band")
        plot.dot(x(p50), y, 4, "end", f"half within {duration(p50)}, nine in ten within {duration(p90)}")
        plot.text(plot.x1 + 6, y + 4, note, "value")
        plot.add("</g>")
    return plot.svg("reaction times of followers")


def dumbbells(
    rows: Sequence[tuple[str, float, float | None, float]],
    *,
    write: Callable[[float], str],
    label: str,
    words: tuple[str, str] = ("planted", "learned"),
    from_zero: bool = False,
) -> str:
    """Planted (ring) against learned (dot) on a logarithmic axis, or a linear one from zero.

    Rows are (name, planted, learned, opacity). `words` name the two.
    """
    plot = Plot(420, 24 * len(rows) + 24, left=140, right=16, top=4, bottom=20)
    values = [v for _, planted, learned, _ in rows for v in (planted, learned) if v] or [1.0]
    low, high = (0.0, max(values)) if from_zero else (min(values) * 0.8, max(values) * 1.25)
    x = (linear if from_zero else logscale)(low, high, plot.x0, plot.x1)
    if from_zero:
        ticks = [tick for tick in steps(high, 4) if tick <= high]
    else:
        ticks = [m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    for tick in ticks:
        plot.line(x(tick), plot.y0, x(tick), plot.y1, "grid")
    plot.x_ticks((x(tick), write(tick)) for tick in ticks)
    for i, (name, planted, learned, opacity) in enumerate(rows):
        y = plot.y1 + 24 * i + 12
        plot.add(f'<g opacity="{opacity:.2f}">')
        plot.text(plot.x0 - 8, y + 4, name, "name", "end")
        if learned or (from_zero and learned is not None):
            plot.line(x(planted), y, x(learned), y, "band")
            plot.dot(x(learned), y, 4, "end", f"{words[1]} {write(learned)}")
        plot.dot(x(planted), y, 6, "ring", f"{words[0]} {write(planted)}")
        plot.add("</g>")
    return plot.svg(label)
