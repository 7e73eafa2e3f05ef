"""Lines over time as values for the page's own script: seconds and SOL. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from copytrader_cli.report.lines import Line, together

__all__ = ["as_values"]

_MOST_POINTS = 1_200


def as_values(lines: Sequence[tuple[str, str, Line]], *, falls: bool = False) -> dict[str, Any] | None:
    """{"t": [s], "l": [[words, css, [SOL]]]} of (words, css, line); None without a point. `falls` is filled to zero."""
    known = [(words, css, line) for words, css, line in lines if line]
    if not known:
        return None
    found = together({words: line for words, _, line in known}, _MOST_POINTS)
    return {
        "t": [at // 1_000_000_000 for at in found.times_ns],
        "f": int(falls),
        "l": [
            [words, css, [None if v is None else round(v / 1e9, 5) for v in found.values[words]]]
            for words, css, _ in known
        ],
    }
