"""Plots of estimates with their intervals: one dot and its line a row, expected against realised, two bars a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from copytrader_cli.report.charts import Plot, linear
from copytrader_cli.report.measures import percent, steps

__all__ = ["Estimate", "Pair", "estimates", "in_both", "pairs", "reliability"]

_ROW = 26


@dataclass(frozen=True, slots=True)
class Estimate:
    """A row. `middle` None: not known, and `written` says why. `weight` 0.35 to 1 fades it."""

    name: str
    middle: float | None
    low: float | None
    high: float | None
    written: str
    css: str = "end"
    weight: float = 1.0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of two bars: what the wallet made and what following it made; None is not known."""

    name: str
    wallet: float | None
    copy: float | None
    weight: float = 1.0


def estimates(
    rows: Sequence[Estimate], *, write: Callable[[float], str], label: str, width: int = 520, left: int = 150
) -> str:
    """Dots with intervals around a line at zero."""
    plot = Plot(width, _ROW * len(rows) + 24, left=left, right=96, top=4, bottom=20)
    known = [v for row in rows for v in (row.middle, row.low, row.high) if v is not None] or [0.0]
    low, high = min(0.0, *known), max(0.0, *known)
    pad = (high - low or 1.0) * 0.04
    x = linear(low - pad, high + pad, plot.x0, plot.x1)
    _ticks(plot, x, low, high, write)
    plot.line(x(0), plot.y0, x(0), plot.y1, "axis")
    for place, row in enumerate(rows):
        y = plot.y1 + _ROW * place + _ROW / 2
        plot.add(f'<g opacity="{row.weight:.2f}">')
        plot.text(plot.x0 - 8, y + 4, row.name, "name", "end")
        if row.low is not None and row.high is not None:
            plot.line(x(row.low), y, x(row.high), y, f"band {row.css}")
        if row.middle is not None:
            plot.dot(x(row.middle), y, 4.5, row.css, row.title)
        plot.text(plot.x1 + 6, y + 4, row.written, "value" if row.middle is not None else "tick")
        plot.add("</g>")
    return plot.svg(label)


def in_both(rows: Sequence[Estimate], *, write: Callable[[float], str], label: str) -> str:
    """The same drawn for wide and for narrow screens, of which the page shows one."""
    wide, narrow = (
        estimates(rows, write=write, label=label, width=w, left=left) for w, left in ((560, 168), (350, 112))
    )
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def _ticks(plot: Plot, x: Callable[[float], float], low: float, high: float, write: Callable[[float], str]) -> None:
    step = steps(max(high - low, 1e-9), 4)[1]
    first, last = round(low / step - 0.5), round(high / step + 0.5)
    places = [step * n for n in range(first, last + 1) if plot.x0 <= x(step * n) <= plot.x1]
    for value in places:
        plot.line(x(value), plot.y0, x(value), plot.y1, "grid")
    plot.x_ticks((x(value), write(value)) for value in places)


def reliability(points: Sequence[tuple[float, float, float, float, int]], *, label: str, words: tuple[str, str]) -> str:
    """(expected, realised, low, high, copies) around the diagonal on which both are equal; dots grow with copies."""
    plot = Plot(340, 260, left=46, right=12, bottom=34)
    values = [v for e, r, low, high, _ in points for v in (e, r, low, high)]
    low, high = min(0.0, *values), max(0.0, *values)
    pad = (high - low or 1.0) * 0.06
    x, y = linear(low - pad, high + pad, plot.x0, plot.x1), linear(low - pad, high + pad, plot.y0, plot.y1)
    step = steps(max(high - low, 1e-9), 4)[1]
    ticks = [step * n for n in range(round(low / step - 0.5), round(high / step + 0.5) + 1)]
    ticks = [v for v in ticks if low - pad <= v <= high + pad]
    plot.y_ticks((y(v), percent(v)) for v in ticks)
    plot.x_ticks((x(v), percent(v)) for v in ticks)
    plot.line(x(low - pad), y(low - pad), x(high + pad), y(high + pad), "mark")
    most = max(n for *_, n in points)
    for expected, realised, lowest, highest, n in points:
        plot.add(f'<g opacity="{min(1.0, 0.35 + n / 20):.2f}">')
        plot.line(x(expected), y(lowest), x(expected), y(highest), "band")
        title = f"expected {percent(expected, 1)}, came {percent(realised, 1)}, {n} copies"
        plot.dot(x(expected), y(realised), 3 + 4 * (n / most) ** 0.5, "end", title)
        plot.add("</g>")
    plot.text((plot.x0 + plot.x1) / 2, plot.height - 4, words[0], "tick", "middle")
    plot.text(plot.x0 + 4, plot.y1 + 8, words[1], "tick")
    return plot.svg(label)


def pairs(rows: Sequence[Pair], *, write: Callable[[float], str], label: str, width: int = 520) -> str:
    """For each row the wallet's bar above and the copy's below, both from zero."""
    tall = 34
    plot = Plot(width, tall * len(rows) + 4, left=128, right=66, top=0, bottom=4)
    values = [v for row in rows for v in (row.wallet, row.copy) if v is not None] or [0.0]
    low, high = min(0.0, *values), max(0.0, *values)
    room = 58 if low < 0 else 0
    x = linear(low, high if high > low else low + 1, plot.x0 + room, plot.x1)
    plot.line(x(0), 0, x(0), plot.y0, "axis")
    for place, row in enumerate(rows):
        top = tall * place + 3
        plot.add(f'<g opacity="{row.weight:.2f}">')
        plot.text(plot.x0 - 8, top + 18, row.name, "name", "end")
        _bar(plot, x, top + 1, row.wallet, "wallet", write)
        _bar(plot, x, top + 15, row.copy, "copy", write)
        plot.add("</g>")
    return plot.svg(label)


def _bar(
    plot: Plot, x: Callable[[float], float], top: float, value: float | None, css: str, write: Callable[[float], str]
) -> None:
    if value is None:
        plot.text(x(0) + 6, top + 10, "not known", "tick")
        return
    plot.rect(min(x(0), x(value)), top, max(abs(x(value) - x(0)), 1), 12, css)
    is_left = value < 0
    plot.text(x(value) + (-6 if is_left else 6), top + 10, write(value), "value", "end" if is_left else "start")
