"""`protocol_drift`: what the drift watch has found, one row a kind with a count. Finding it is `pump.drift`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from copytrader_core.pump.drift import Drift

__all__ = ["CHANNEL", "record"]

CHANNEL = "copytrader_drift"
"""NOTIFY channel; the payload is the kind. Whoever trades listens here."""

_UPSERT = """
INSERT INTO protocol_drift AS old
    (kind, program, ix, n, first_slot, last_slot, sig, path, expected, found, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (kind, program, ix) DO UPDATE SET n = old.n + excluded.n, last_seen = now(),
    first_slot = least(old.first_slot, excluded.first_slot), last_slot = greatest(old.last_slot, excluded.last_slot)
"""

Key = tuple[str, str, str]


def record(connection: psycopg.Connection, found: Sequence[tuple[int, Drift]]) -> list[Key]:
    """Counts `found`, pairs of slot and drift, and notifies. Returns the (kind, program, ix) that were not known.

    Joins the transaction that is open on `connection`. Slots up to the newest one counted are not counted again: a
    replay finds the same drift once more.
    """
    if not found:
        return []
    counted = {
        (kind, program, ix): last_slot
        for kind, program, ix, last_slot in connection.execute(
            "SELECT kind, program, ix, last_slot FROM protocol_drift"
        )
    }
    groups: dict[Key, list[tuple[int, Drift]]] = {}
    for slot, drift in found:
        groups.setdefault((drift.kind, drift.program, drift.ix), []).append((slot, drift))
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, [_row(key, group, counted.get(key, -1)) for key, group in groups.items()])
        for kind in sorted({kind for kind, _, _ in groups}):
            cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, kind))
    return [key for key in groups if key not in counted]


def _row(key: Key, group: list[tuple[int, Drift]], counted_to: int) -> tuple[object, ...]:
    slots = [slot for slot, _ in group]
    first = group[0][1]
    n_new = len([slot for slot in slots if slot > counted_to])
    return (*key, n_new, min(slots), max(slots), first.sig, first.path, first.expected, first.found, first.detail)
