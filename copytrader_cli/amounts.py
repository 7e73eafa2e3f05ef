"""How amounts are written on a terminal."""

from __future__ import annotations

from copytrader_core.records import LAMPORTS_PER_SOL


def sol(lamports: int) -> str:
    """An amount with its sign."""
    return f"{lamports / LAMPORTS_PER_SOL:+.4f} SOL"
