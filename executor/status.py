"""What the executor is doing, read from Postgres: works with it running or dead. How it looks is the command line's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from executor.statements import statement

_NS_PER_DAY = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Status:
    """One look. Today is the UTC day of the journal's newest line, so that a replayed market has its own day."""

    running: bool
    state: str
    flatten: bool
    reason: str | None
    release_id: str | None
    slot: int | None
    positions: list[DictRow]
    closed_today: int
    won_today: int
    pnl_today_lamports: int
    decisions: list[DictRow]


def read_status(connection: psycopg.Connection[Any], mode: str, n_decisions: int = 10) -> Status:
    """The present state of one mode."""
    cursor = connection.cursor(row_factory=dict_row)

    def rows(name: str, **values: Any) -> list[DictRow]:
        return cursor.execute(statement(name), {"mode": mode} | values).fetchall()

    control = (rows("state") or [{"state": "HALTED", "flatten": False, "reason": "the row of exec_state is missing"}])[
        0
    ]
    newest = rows("status_now")[0]
    at_ns = int(newest["at_ns"]) or time.time_ns()
    today = rows("status_today", since_ns=at_ns - at_ns % _NS_PER_DAY)[0]
    release = rows("release_id")
    return Status(
        running=bool(rows("running")[0]["n"]),
        state=control["state"],
        flatten=control["flatten"],
        reason=control["reason"],
        release_id=release[0]["release_id"] if release else None,
        slot=newest["slot"],
        positions=rows("status_positions"),
        closed_today=today["closed"],
        won_today=today["won"],
        pnl_today_lamports=int(today["pnl_lamports"]),
        decisions=rows("status_decisions", limit=n_decisions),
    )
