"""Small plots of the network's validation as SVG text. Bars and curves: drawing.py; the report has plots of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pyarrow as pa

_SIZE, _MARGIN = 280, 34
_STYLE = (
    "svg{background:#fff;font:10px system-ui,sans-serif}text{fill:#5b6470}.frame{fill:none;stroke:#d8d5cd}"
    ".ideal{stroke:#8fc1bc;stroke-dasharray:3 3}.dot{fill:#1f6f6b;fill-opacity:.55}.gone{fill:#cf5a34;fill-opacity:.7}"
)

Point = tuple[float, float, str]
"""x, y and the class of the dot."""


def two_halves(validation: pa.Table) -> str:
    """Share followed in the first half (across) and the second (up); red: no longer stands out."""
    known = validation.filter(validation["persisted"].is_valid())
    rows = zip(*(known[n].to_pylist() for n in ("prob_first_half", "prob_second_half", "persisted")), strict=True)
    points = [(x, y, "dot" if kept else "gone") for x, y, kept in rows]
    return _square(points, 1.0, "first half", "second half")


def reliability(calibration: pa.Table, slots: int = 2) -> str:
    """Mean SOL behind us, predicted (across) and realised (up), by tenth of the prediction."""
    rows = [row for row in calibration.to_pylist() if row["slots"] == slots]
    points = [(row["predicted_behind_sol"], row["realised_behind_sol"], "dot") for row in rows]
    highest = max((max(x, y) for x, y, _ in points), default=1.0) or 1.0
    return _square(points, highest, f"predicted SOL after slot +{slots}", "realised")


def expected_and_realised(pairs: Sequence[tuple[float, float]]) -> str:
    """Mean return expected (across) and realised (up), bin by bin; what lies below zero is drawn from the lowest on."""
    lowest = min((min(pair) for pair in pairs), default=0.0)
    shifted: list[Point] = [(x - lowest, y - lowest, "dot") for x, y in pairs]
    highest = max((max(x, y) for x, y, _ in shifted), default=1.0) or 1.0
    return _square(shifted, highest, f"expected return, from {lowest:.0%} on", "realised")


def _square(points: Sequence[Point], highest: float, across: str, up: str) -> str:
    low, high = _MARGIN, _SIZE - 12
    scale = (high - low) / highest

    def place(x: float, y: float) -> tuple[float, float]:
        return low + x * scale, _SIZE - low - y * scale

    dots = "".join(f'<circle class="{css}" r="3.5" cx="{x:.1f}" cy="{y:.1f}"/>' for px, py, css in points
                   for x, y in [place(px, py)])  # fmt: skip
    (x0, y0), (x1, y1) = place(0, 0), place(highest, highest)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SIZE}" height="{_SIZE}" viewBox="0 0 {_SIZE} {_SIZE}">'
        f"<style>{_STYLE}</style>"
        f'<rect class="frame" x="{x0}" y="{y1}" width="{x1 - x0}" height="{y0 - y1}"/>'
        f'<line class="ideal" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>{dots}'
        f'<text x="{x0}" y="{y0 + 14}">0</text><text x="{x1}" y="{y0 + 14}" text-anchor="end">{highest:.2g}</text>'
        f'<text x="{(x0 + x1) / 2}" y="{y0 + 26}" text-anchor="middle">{escape(across)}</text>'
        f'<text x="12" y="{(y0 + y1) / 2}" transform="rotate(-90 12 {(y0 + y1) / 2})" text-anchor="middle">'
        f"{escape(up)}</text></svg>"
    )
