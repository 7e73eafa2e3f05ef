"""Plots as inline SVG text. Colours are CSS classes: one drawing serves both colour schemes."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from copytrader_cli.report.measures import bins, duration, logarithmic, percent, signed, steps

__all__ = [
    "Plot",
    "bars",
    "cumulative",
    "dumbbells",
    "histogram",
    "hours",
    "interval",
    "lags",
    "multiples",
    "spark_columns",
    "spark_holds",
    "survival_plot",
]

Scale = Callable[[float], float]
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_HOLD_TICKS_MS = (
    100, _SECOND, 3 * _SECOND, 10 * _SECOND, 30 * _SECOND, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR,
    6 * _HOUR, _DAY, 3 * _DAY, 10 * _DAY,
)  # fmt: skip
_MAX_POINTS = 300
_MAX_DOTS = 120
_MULTIPLE_TICKS = (0.1, 0.2, 0.5, 0.7, 1, 1.4, 2, 5, 10, 100)


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


def survival_plot(curve: Sequence[tuple[int, float]], median_ms: float | None) -> str:
    """Share of positions still held, by age on a logarithmic axis."""
    plot = Plot(300, 150)
    low, high = _hold_range(curve)
    x, y = logscale(low, high, plot.x0, plot.x1), linear(0, 1, plot.y0, plot.y1)
    plot.y_ticks((y(share), percent(share)) for share in (0, 0.5, 1))
    _stairs(plot, curve, x, y, 0.7)
    if median_ms:
        plot.line(x(median_ms), plot.y0, x(median_ms), plot.y1, "mark")
        near_right = x(median_ms) > plot.x1 - 60
        plot.text(
            x(median_ms) + (-5 if near_right else 5),
            plot.y1 + 9,
            duration(median_ms),
            "value",
            "end" if near_right else "start",
        )
    plot.x_ticks((x(t), duration(t)) for t in _HOLD_TICKS_MS if low <= t <= high)
    return plot.svg("share of positions still held, by age")


def _hold_range(curve: Sequence[tuple[int, float]]) -> tuple[float, float]:
    ages = [age for age, _ in curve if age > 0] or [1_000, 60_000]
    return max(100.0, min(ages) * 0.6), max(ages) * 1.4


def _stairs(plot: Plot, curve: Sequence[tuple[int, float]], x: Scale, y: Scale, fine: float) -> None:
    """The curve as one filled path. Steps closer than `fine` become one: thousands of trips draw like dozens."""
    path, at, share = [f"M{plot.x0} {plot.y0}V{y(1.0):.1f}"], float(plot.x0), 1.0
    for age, left in curve:
        if x(age) - at >= fine:
            at = x(age)
            path.append(f"V{y(share):.1f}H{at:.1f}")
        share = left
    path.append(f"V{y(share):.1f}H{plot.x1}V{plot.y0}")
    plot.add(f'<path class="area" d="{"".join(path)}"/>')


def multiples(values: Sequence[float]) -> str:
    """Histogram of proceeds over cost on a logarithmic axis, losses and wins in their colours."""
    plot = Plot(300, 150)
    reach = max([2.0, *(max(v, 1 / max(v, 0.02)) for v in values)]) ** 1.05
    edges = logarithmic(1 / reach, reach, 24)
    _columns(
        plot,
        edges,
        values,
        logscale(1 / reach, reach, plot.x0, plot.x1),
        lambda left: "loss" if left < 0.999 else "win",
    )
    x = logscale(1 / reach, reach, plot.x0, plot.x1)
    plot.line(x(1), plot.y0, x(1), plot.y1, "mark")
    plot.x_ticks((x(t), f"{t:g}×") for t in _MULTIPLE_TICKS if 1 / reach <= t <= reach)
    return plot.svg("how often each multiple was reached")


def histogram(values: Sequence[float], unit: str) -> str:
    """Histogram on a linear axis from 0."""
    plot = Plot(300, 150)
    edges = steps(max([*values, 1e-9]), 20)
    x = linear(0, edges[-1], plot.x0, plot.x1)
    _columns(plot, edges, values, x, lambda _: "bar")
    plot.x_ticks((x(edge), f"{edge:g} {unit}" if i == 0 else f"{edge:g}") for i, edge in enumerate(edges) if i % 5 == 0)
    return plot.svg(f"how often each size was traded, in {unit}")


def _columns(
    plot: Plot, edges: Sequence[float], values: Sequence[float], x: Scale, css: Callable[[float], str]
) -> None:
    counts = bins(values, edges)
    top = max([*counts, 1])
    y = linear(0, top, plot.y0, plot.y1 + 4)
    plot.y_ticks((y(tick), f"{tick:g}") for tick in (0, top))
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        if count:
            title = f"{left:.3g} to {right:.3g}: {count}"
            plot.rect(x(left) + 0.5, y(count), max(x(right) - x(left) - 1, 1), plot.y0 - y(count), css(left), title)


def hours(counts: Sequence[int]) -> str:
    """Entries by hour of the day, UTC."""
    plot = Plot(300, 150)
    top = max([*counts, 1])
    x, y = linear(0, 24, plot.x0, plot.x1), linear(0, top, plot.y0, plot.y1 + 4)
    plot.y_ticks((y(tick), f"{tick}") for tick in (0, top))
    for hour, count in enumerate(counts):
        if count:
            plot.rect(
                x(hour) + 0.7, y(count), x(1) - x(0) - 1.4, plot.y0 - y(count), "bar", f"{hour:02}:00 UTC: {count}"
            )
    plot.x_ticks((x(hour), f"{hour:02}") for hour in (0, 6, 12, 18, 24))
    return plot.svg("entries by hour of the day, UTC")


def cumulative(
    times_ns: Sequence[int], sums_lamports: Sequence[int], *, width: int = 300, height: int = 150, dots: bool = False
) -> str:
    """A running sum of SOL over trades in time; its last value is written at its end."""
    plot = Plot(width, height, left=40, right=46)
    values = [lamports / 1e9 for lamports in sums_lamports]
    low, high = min([0.0, *values]), max([0.0, *values])
    pad = (high - low or 1.0) * 0.08
    # By number of the trade where time is empty for most of its length: sessions of minutes on different days.
    x = linear(0, max(len(values), 1), plot.x0, plot.x1)
    y = linear(low - pad, high + pad, plot.y0, plot.y1)
    plot.y_ticks((y(tick), f"{tick:g}".replace("-", "−")) for tick in _round_between(low, high))
    plot.line(plot.x0, y(0), plot.x1, y(0), "axis")
    points = [(x(0), y(0)), *((x(i + 1), y(v)) for i, v in enumerate(values))]
    drawn = _outline(points)
    plot.path(drawn, "fill", f"L{points[-1][0]:.1f} {y(0):.1f} Z")
    plot.path(drawn, "stroke")
    if values:
        plot.dot(*points[-1], 3, "end")
        plot.text(points[-1][0] + 6, points[-1][1] + 4, signed(values[-1]), "value")
    _day_ticks(plot, times_ns, x)
    if dots and len(values) <= _MAX_DOTS:
        _result_dots(plot, times_ns, values, points)
    return plot.svg("cumulative result in SOL")


def _outline(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about _MAX_POINTS of the points: of each stretch its lowest, highest and last: no peak is lost."""
    size = max(1, math.ceil(3 * len(points) / _MAX_POINTS))
    if size < 4:
        return list(points)
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        extremes = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1]), part[-1]}
        kept += sorted(extremes)
    return kept


def _round_between(low: float, high: float) -> list[float]:
    step = steps(max(high - low, 1e-9), 4)[1]
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 9) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _day_ticks(plot: Plot, times_ns: Sequence[int], x: Scale) -> None:
    labels, last = [], ""
    for i, ns in enumerate(times_ns):
        day = f"{dt.datetime.fromtimestamp(ns / 1e9, dt.UTC):%d %b}"
        if day != last:
            labels.append((x(i), day))
            last = day
    for place, _ in labels[1:]:
        plot.line(place, plot.y0, place, plot.y1, "grid")
    plot.x_ticks((place, label) for place, label in labels)


def _result_dots(
    plot: Plot, times_ns: Sequence[int], values: Sequence[float], points: Sequence[tuple[float, float]]
) -> None:
    before = 0.0
    for ns, value, point in zip(times_ns, values, points[1:], strict=True):
        moment = dt.datetime.fromtimestamp(ns / 1e9, dt.UTC)
        plot.dot(
            *point,
            2.6,
            "win" if value > before else "loss",
            f"{moment:%d %b %H:%M:%S} UTC: {signed(value - before, 4)} SOL",
        )
        before = value


def interval(middle: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval on a scale of 0 to 100 %, half marked."""
    plot = Plot(80, 20, left=2, right=2, top=0, bottom=0)
    x = linear(0, 1, plot.x0, plot.x1)
    plot.line(x(0), 10, x(1), 10, "track")
    plot.line(x(0.5), 5, x(0.5), 15, "axis")
    if low is not None and high is not None:
        plot.line(x(low), 10, x(high), 10, "band")
    if middle is not None:
        plot.dot(x(middle), 10, 3.5, "end")
    return plot.svg(f"{percent(middle)}, between {percent(low)} and {percent(high)}", "mini")


def spark_holds(curve: Sequence[tuple[int, float]]) -> str:
    """A survival curve the size of a word."""
    plot = Plot(80, 26, left=1, right=1, top=2, bottom=2)
    low, high = _hold_range(curve)
    _stairs(plot, curve, logscale(low, high, plot.x0, plot.x1), linear(0, 1, plot.y0, plot.y1), 2.0)
    return plot.svg("hold times", "mini")


def spark_columns(kind: str, numbers: Sequence[float]) -> str:
    """Columns the size of a word: "multiples" (values from 0.2 to 5, logarithmic) or "hours" (24 counts)."""
    plot = Plot(80, 26, left=1, right=1, top=2, bottom=2)
    counts = bins(numbers, logarithmic(0.2, 5, 16)) if kind == "multiples" else [int(n) for n in numbers]
    width = (plot.x1 - plot.x0) / len(counts)
    y = linear(0, max([*counts, 1]), plot.y0, plot.y1)
    plot.line(plot.x0, plot.y0, plot.x1, plot.y0, "track")
    half = len(counts) // 2
    parts = (("bar", 0, len(counts)),) if kind == "hours" else (("loss", 0, half), ("win", half, len(counts)))
    for css, start, end in parts:
        columns = ((plot.x0 + i * width + 0.3, plot.y0 - y(counts[i])) for i in range(start, end) if counts[i])
        path = "".join(f"M{x:.1f} {plot.y0}v-{tall:.1f}h{width - 0.6:.1f}v{tall:.1f}z" for x, tall in columns)
        if path:
            plot.add(f'<path{_css(css)} d="{path}"/>')
    return plot.svg(kind, "mini")


def bars(rows: Sequence[tuple[str, float, str, str]], *, width: int = 480, label: str) -> str:
    """Horizontal bars: (name, value, written value, css). Negative values go to the left of zero."""
    plot = Plot(width, 22 * len(rows) + 4, left=128, right=64, top=0, bottom=0)
    low, high = min([0.0, *(v for _, v, _, _ in rows)]), max([0.0, *(v for _, v, _, _ in rows)])
    x = linear(low, high or (1.0 if low == 0 else 0.0), plot.x0 + (48 if low < 0 else 0), plot.x1)
    for i, (name, value, written, css) in enumerate(rows):
        top = 22 * i + 3
        plot.text(plot.x0 - 8, top + 12, name, "name", "end")
        plot.rect(min(x(0), x(value)), top, max(abs(x(value) - x(0)), 1), 16, css)
        plot.text(x(value) + (6 if value >= 0 else -6), top + 12, written, "value", "start" if value >= 0 else "end")
    plot.line(x(0), 0, x(0), plot.height, "axis")
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
    rows: Sequence[tuple[str, float, float | None, float]], *, write: Callable[[float], str], label: str
) -> str:
    """Planted (ring) against learned (dot) on a logarithmic axis: rows of (name, planted, learned, opacity)."""
    plot = Plot(420, 24 * len(rows) + 24, left=140, right=16, top=4, bottom=20)
    values = [v for _, planted, learned, _ in rows for v in (planted, learned) if v] or [1.0]
    low, high = min(values) * 0.8, max(values) * 1.25
    x = logscale(low, high, plot.x0, plot.x1)
    ticks = [m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    for tick in ticks:
        plot.line(x(tick), plot.y0, x(tick), plot.y1, "grid")
    plot.x_ticks((x(tick), write(tick)) for tick in ticks)
    for i, (name, planted, learned, opacity) in enumerate(rows):
        y = plot.y1 + 24 * i + 12
        plot.add(f'<g opacity="{opacity:.2f}">')
        plot.text(plot.x0 - 8, y + 4, name, "name", "end")
        if learned:
            plot.line(x(planted), y, x(learned), y, "band")
            plot.dot(x(learned), y, 4, "end", f"learned {write(learned)}")
        plot.dot(x(planted), y, 6, "ring", f"planted {write(planted)}")
        plot.add("</g>")
    return plot.svg(label)
