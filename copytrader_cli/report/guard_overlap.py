"""Which guards refuse together: what each alone refused, what lifting it would change, and with whom it agrees most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from copytrader_cli.report.measures import signed
from copytrader_cli.report.parts import amount, cell, table
from copytrader_cli.report.words import clean

__all__ = ["alone"]

_HEADS = (
    ("guard", False),
    ("would refuse", True),
    ("alone", True),
    ("SOL if it alone were lifted", True),
    ("most often with", False),
)


def alone(guards: Sequence[Mapping[str, Any]], overlaps: Sequence[Mapping[str, Any]]) -> str:
    """A small table of the guards of a shadow book; nothing where the book does not say (it is an older one)."""
    if not overlaps:
        return ""
    audited = {one["code"]: one for one in guards}
    total = {one["code"]: one["n"] for one in overlaps if one["code"] == one["other"]}
    order = sorted(total, key=lambda code: (-audited.get(code, {}).get("alone", 0), -total[code], code))
    rows = [_row(code, total[code], audited.get(code, {}), _with(code, overlaps)) for code in order]
    return '<h3 class="later">Each guard by itself</h3>' + table(_HEADS, rows)


def _row(code: str, n: int, audited: Mapping[str, Any], companion: str) -> str:
    sole, sol = audited.get("alone", 0), audited.get("alone_lamports", 0) / 1e9
    followed = audited.get("alone_followed", 0)
    interval = [audited.get(f"alone_{end}_lamports", 0) / 1e9 for end in ("low", "high")]
    written = f"{amount(signed(sol), sol)} <small>{' to '.join(map(signed, interval))}</small>" if followed else "–"
    cells = (
        cell(_HEADS[0][0], _words(code)),
        cell(_HEADS[1][0], f"{n:,}", number=True),
        cell(_HEADS[2][0], f"{sole:,}", number=True),
        cell(_HEADS[3][0], written, number=True),
        cell(_HEADS[4][0], companion),
    )
    return f"<tr>{''.join(cells)}</tr>"


def _with(code: str, overlaps: Sequence[Mapping[str, Any]]) -> str:
    """Whom it shares most refusals with, and how many."""
    shared = {
        other: one["n"]
        for one in overlaps
        if one["code"] != one["other"]
        for mine, other in ((one["code"], one["other"]), (one["other"], one["code"]))
        if mine == code
    }
    if not shared:
        return "–"
    most = max(sorted(shared), key=lambda other: shared[other])
    return f"{_words(most)} <small>{shared[most]:,}</small>"


def _words(code: str) -> str:
    return clean(code).replace("_", " ").lower()
