"""How far the record is: the checkpoint, its lag, the slots that are missing. From Postgres alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

__all__ = ["Gap", "Ingest", "read_ingest"]

_CHECKPOINT: Final = """
SELECT slot, block_time, extract(epoch FROM updated_at)::FLOAT8 AS updated_at, extract(epoch FROM now())::FLOAT8 AS now
FROM ingest_checkpoint WHERE stream = 'confirmed'
"""
_GAPS: Final = """
SELECT from_slot, to_slot, reason, extract(epoch FROM opened_at)::FLOAT8 AS opened_at,
       count(*) OVER () AS n, sum(to_slot - from_slot + 1) OVER () AS slots
FROM ingest_gaps WHERE filled_at IS NULL ORDER BY opened_at DESC, from_slot DESC LIMIT 5
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Slots that are missing, both ends included. `opened_at` in seconds since the epoch."""

    from_slot: int
    to_slot: int
    reason: str
    opened_at: float


@dataclass(frozen=True, slots=True)
class Ingest:
    """The record at one moment. Times in seconds since the epoch; None where nothing has ever been recorded.

    `block_time` is the chain's time of the newest slot that is recorded, `updated_at` when that was written. `gaps` are
    the newest open ones, `n_gaps` and `missing_slots` count all of them.
    """

    slot: int | None
    block_time: float | None
    updated_at: float | None
    now: float
    n_gaps: int
    missing_slots: int
    gaps: Sequence[Gap]

    @property
    def lag_seconds(self) -> float | None:
        """How old the newest recorded block is."""
        return None if self.block_time is None else max(0.0, self.now - self.block_time)

    @property
    def silent_seconds(self) -> float | None:
        """How long nothing has been written."""
        return None if self.updated_at is None else max(0.0, self.now - self.updated_at)


def read_ingest(connection: psycopg.Connection[Any]) -> Ingest:
    """One look."""
    cursor = connection.cursor(row_factory=dict_row)
    point = cursor.execute(_CHECKPOINT.encode()).fetchone() or {}
    now = point.get("now")
    if now is None:
        now = (cursor.execute(b"SELECT extract(epoch FROM now())::FLOAT8 AS now").fetchone() or {})["now"]
    gaps = cursor.execute(_GAPS.encode()).fetchall()
    return Ingest(
        slot=point.get("slot"),
        block_time=None if point.get("block_time") is None else float(point["block_time"]),
        updated_at=point.get("updated_at"),
        now=now,
        n_gaps=gaps[0]["n"] if gaps else 0,
        missing_slots=int(gaps[0]["slots"]) if gaps else 0,
        gaps=[Gap(row["from_slot"], row["to_slot"], row["reason"], row["opened_at"]) for row in gaps],
    )
