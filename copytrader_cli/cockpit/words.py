"""Amounts, names and spans as the page writes them."""

from __future__ import annotations

from typing import Final

from copytrader_core.records import LAMPORTS_PER_SOL

__all__ = ["ago", "hour", "short", "sol"]

_SHORT: Final = 14
_DAY_SECONDS: Final = 86_400


def sol(lamports: int) -> str:
    """An amount with its sign."""
    return f"{lamports / LAMPORTS_PER_SOL:+.4f}"


def short(name: str) -> str:
    """Names whole, addresses by their ends."""
    return name if len(name) <= _SHORT else f"{name[:5]}…{name[-4:]}"


def ago(seconds: float) -> str:
    """A span in its two largest units; the page's script writes it the same way."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, less, part in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // less
            return f"{whole // size} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"


def hour(at_ns: int) -> str:
    """The time of day, UTC."""
    seconds = at_ns // 1_000_000_000 % _DAY_SECONDS
    return f"{seconds // 3_600:02d}:{seconds % 3_600 // 60:02d}:{seconds % 60:02d}"
