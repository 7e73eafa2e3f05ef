"""The trading state from outside: halt, reduce, resume, flatten. It is a row: it works with the executor dead too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from copytrader_core.policy.values import TradingState
from executor.statements import statement


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether an executor runs in a mode, and how many positions it has open."""

    running: bool
    open_positions: int


def set_state(connection: psycopg.Connection[Any], state: TradingState, flatten: bool, reason: str) -> None:
    """Sets the row and tells a running executor. Once it returns, nothing that the state forbids can be sent."""
    with connection.transaction():
        connection.execute(statement("set_state"), {"state": state, "flatten": flatten, "reason": reason})
        connection.execute(statement("notify_state"))


def presence(connection: psycopg.Connection[Any], mode: str) -> Presence:
    """Who would act on the state: a running executor holds its lock as long as it lives."""
    cursor = connection.cursor(row_factory=dict_row)
    running = cursor.execute(statement("running"), {"mode": mode}).fetchone()
    positions = cursor.execute(statement("status_positions"), {"mode": mode}).fetchall()
    return Presence(bool(running and running["n"]), len(positions))
