"""Locks: rows that forbid buys, all of them, those after one leader, or those of one coin. Exits go on.

Rows outlive every process. A set or cleared lock is told with NOTIFY copytrader_state, like the trading state; while
the database is away nothing is bought anyway. Whether a lock refuses a buy is `copytrader_core.policy.guards.locked`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from copytrader_core.policy.values import Lock, LockScope
from executor.statements import statement

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, slots=True)
class LockRow:
    """A lock as its row has it: who set it, and when."""

    lock: Lock
    set_at: datetime
    set_by: str


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks that were read last, widest first; `locks` goes into the book."""

    locks: tuple[Lock, ...] = ()

    def holding(self, leader: str, mint: str, now_ns: int) -> Lock | None:
        """The first lock that forbids a buy of `mint` after `leader` at `now_ns`."""
        return next((lock for lock in self.locks if lock.holds(leader, mint, now_ns)), None)


def locks_from(rows: Iterable[Mapping[str, Any]]) -> Locks:
    """The locks of the statement `locks`."""
    return Locks(tuple(_lock(row) for row in rows))


def lock_rows(connection: psycopg.Connection[Any]) -> list[LockRow]:
    """The locks that hold now, with who set them and when."""
    rows = _rows(connection, "locks")
    return [LockRow(_lock(row), row["set_at"], row["set_by"]) for row in rows]


def set_lock(
    connection: psycopg.Connection[Any],
    scope: LockScope,
    key: str,
    reason: str,
    set_by: str,
    for_seconds: float | None = None,
) -> None:
    """Sets a lock, or gives the one that stands another reason and end; tells every executor that listens.

    `key` is empty for scope all; without `for_seconds` it stands until it is cleared.
    """
    values = {"scope": scope, "key": key, "reason": reason, "set_by": set_by, "seconds": for_seconds}
    with connection.transaction():
        connection.execute(statement("clear_past_locks"))
        connection.execute(statement("set_lock"), values)
        connection.execute(statement("notify_state"))


def clear_lock(connection: psycopg.Connection[Any], scope: LockScope, key: str) -> bool:
    """Takes a lock back and tells every executor; False where there was none."""
    with connection.transaction():
        cleared = connection.execute(statement("clear_lock"), {"scope": scope, "key": key}).rowcount
        connection.execute(statement("notify_state"))
    return cleared > 0


def wallets_named(connection: psycopg.Connection[Any], alias: str) -> list[str]:
    """The wallets of this name."""
    return [row["wallet"] for row in _rows(connection, "wallets_named", {"alias": alias})]


def _rows(
    connection: psycopg.Connection[Any], name: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    # Whoever only asks whether a lock holds, as a backtest does, has no use for a driver of 8 MB.
    from psycopg.rows import dict_row

    return connection.cursor(row_factory=dict_row).execute(statement(name), values).fetchall()


def _lock(row: Mapping[str, Any]) -> Lock:
    return Lock(row["scope"], row["key"], row["reason"], row["until_ns"])
