"""Small plots as SVG text, for pages that take an image as a data URI. Pure: numbers in, text out.

Not here: which numbers (pictures.py).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from copytrader_assets.analysis.grouped import Floats

WIDTH, HEIGHT = 460, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 26, 34
_MOST_POINTS = 300
_INK, _FAINT, _BAR, _LOSS = "#24292f", "#d0d7de", "#4f7cac", "#c8553d"


def bars(title: str, labels: Sequence[str], values: Sequence[float], *, losses: Sequence[bool] = ()) -> str:
    """A bar for each value (0 or more), its label below where there is room; `losses` are drawn in red."""
    highest = max([*values, 0.0]) or 1.0
    step = (WIDTH - _LEFT - _RIGHT) / max(len(values), 1)
    every = max(1, -(-len(labels) // 9))
    parts = [_frame(title), _level(highest, highest), _level(0, highest)]
    for n, (label, value) in enumerate(zip(labels, values, strict=True)):
        x, height = _LEFT + n * step, value / highest * (HEIGHT - _TOP - _BOTTOM)
        colour = _LOSS if n < len(losses) and losses[n] else _BAR
        parts.append(
            f'<rect x="{x + step * 0.08:.1f}" y="{HEIGHT - _BOTTOM - height:.1f}" width="{step * 0.84:.1f}" '
            f'height="{height:.1f}" fill="{colour}"/>'
        )
        if n % every == 0:
            parts.append(_text(x + step / 2, HEIGHT - _BOTTOM + 14, label, "middle"))
    return _svg(parts)


def steps(title: str, x: Floats, y: Floats, ticks: Sequence[tuple[float, str]]) -> str:
    """A falling step curve of shares `y` (0 to 1) over `x`, with the given ticks; long ones are thinned."""
    if len(x) > _MOST_POINTS:
        kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).astype(int))
        x, y = x[kept], y[kept]
    places = [*x.tolist(), *(at for at, _ in ticks)]
    low, high = (min(places), max(places)) if places else (0.0, 1.0)
    across = (WIDTH - _LEFT - _RIGHT) / ((high - low) or 1.0)
    corners, before = [f"{_LEFT:.1f},{_TOP:.1f}"], 1.0
    for at, share in zip(x.tolist(), y.tolist(), strict=True):
        right = _LEFT + (at - low) * across
        corners += [f"{right:.1f},{_share(before):.1f}", f"{right:.1f},{_share(share):.1f}"]
        before = share
    parts = [_frame(title), _level(1, 1, "100 %"), _level(0.5, 1, "50 %"), _level(0, 1, "0")]
    parts.append(f'<polyline fill="none" stroke="{_BAR}" stroke-width="1.5" points="{" ".join(corners)}"/>')
    parts += [_text(_LEFT + (at - low) * across, HEIGHT - _BOTTOM + 14, label, "middle") for at, label in ticks]
    return _svg(parts)


def as_markdown(svg: str, title: str) -> str:
    """The plot as an image that Markdown can hold."""
    content = base64.b64encode(svg.encode()).decode()
    return f"![{title}](data:image/svg+xml;base64,{content})"


def _share(value: float) -> float:
    return _TOP + (1 - value) * (HEIGHT - _TOP - _BOTTOM)


def _frame(title: str) -> str:
    return f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>' + _text(_LEFT, 16, title, "start", 12)


def _level(value: float, highest: float, label: str | None = None) -> str:
    y = _share(value / highest)
    line = f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" stroke="{_FAINT}"/>'
    return line + _text(_LEFT - 4, y + 4, label if label is not None else f"{value:g}", "end")


def _text(x: float, y: float, text: str, anchor: str, size: int = 10) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-family="sans-serif" '
        f'fill="{_INK}">{escape(text)}</text>'
    )


def _svg(parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
    return head + "".join(parts) + "</svg>"
