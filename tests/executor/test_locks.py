"""Locks are rows: set, read, over in time, taken back, and told to whoever listens; the commands name real things."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from planted_market import address
from psycopg.rows import dict_row
from typer.testing import CliRunner

from copytrader_cli.commands.executor import app
from copytrader_cli.commands.executor_locks import parse_duration
from copytrader_core.errors import ConfigError
from copytrader_core.policy.values import Lock
from executor.locks import Locks, clear_lock, lock_rows, locks_from, set_lock
from executor.statements import statement

WALLET, MINT = address("leader"), address("coin")


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def standing(connection: psycopg.Connection[Any]) -> Locks:
    return Locks(tuple(row.lock for row in lock_rows(connection)))


def test_a_lock_outlives_its_connection_until_it_is_cleared(pg_url: str) -> None:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        set_lock(connection, "leader", WALLET, "sells to its copiers", "ops")
        set_lock(connection, "all", "", "audit", "ops")
    with psycopg.connect(pg_url, autocommit=True) as connection:
        assert standing(connection) == Locks((Lock("all", "", "audit"), Lock("leader", WALLET, "sells to its copiers")))
        assert clear_lock(connection, "all", "")
        assert not clear_lock(connection, "all", "")
        assert [row.lock.scope for row in lock_rows(connection)] == ["leader"]


def test_a_lock_with_an_end_is_over_then_and_its_row_goes_with_the_next(pg_url: str) -> None:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        set_lock(connection, "mint", MINT, "test", "ops", for_seconds=3_600)
        until_ns = standing(connection).locks[0].until_ns
        assert until_ns is not None
        assert 3_500 < until_ns / 1e9 - time.time() < 3_700
        connection.execute("UPDATE exec_locks SET until = now() - INTERVAL '1 ms'")
        assert standing(connection) == Locks()
        set_lock(connection, "all", "", "audit", "ops")
        assert connection.execute("SELECT scope FROM exec_locks").fetchall() == [("all",)]


def test_setting_a_lock_again_gives_it_another_reason_and_end(pg_url: str) -> None:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        set_lock(connection, "mint", MINT, "first", "one", for_seconds=60)
        set_lock(connection, "mint", MINT, "second", "two")
        (row,) = lock_rows(connection)
    assert (row.lock, row.set_by) == (Lock("mint", MINT, "second"), "two")


def test_every_change_is_told_to_who_listens(pg_url: str) -> None:
    with (
        psycopg.connect(pg_url, autocommit=True) as listener,
        psycopg.connect(pg_url, autocommit=True) as connection,
    ):
        listener.execute(statement("listen_state"))
        set_lock(connection, "all", "", "audit", "ops")
        assert [n.channel for n in listener.notifies(timeout=5, stop_after=1)] == ["copytrader_state"]
        clear_lock(connection, "all", "")
        assert [n.channel for n in listener.notifies(timeout=5, stop_after=1)] == ["copytrader_state"]


def test_the_widest_lock_that_holds_is_named() -> None:
    everything, leader, coin = Lock("all", "", "a", 5), Lock("leader", "w", "b"), Lock("mint", "m", "c")
    locks = Locks((everything, leader, coin))
    assert locks.holding("w", "m", 4) == everything
    assert locks.holding("w", "m", 5) == leader
    assert locks.holding("other", "m", 5) == coin
    assert locks.holding("other", "other", 5) is None


def test_rows_read_elsewhere_become_the_same_locks(pg_url: str) -> None:
    with psycopg.connect(pg_url, autocommit=True, row_factory=dict_row) as connection:
        set_lock(connection, "mint", MINT, "test", "ops", for_seconds=60)
        assert locks_from(connection.execute(statement("locks")).fetchall()) == standing(connection)


@pytest.mark.parametrize(("scope", "key"), [("all", "something"), ("mint", ""), ("program", "x")])
def test_the_table_takes_no_lock_that_would_forbid_nothing(pg_url: str, scope: Any, key: str) -> None:
    with (
        psycopg.connect(pg_url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        set_lock(connection, scope, key, "test", "ops")


def test_the_commands_lock_list_and_unlock(pg_url: str) -> None:
    assert "nothing is locked" in command("locks").output
    assert command("lock", "--mint", MINT, "--reason", "honey[pot]", "--for", "2h").exit_code == 0
    assert command("lock", "--all", "--reason", "audit").exit_code == 0
    listed = " ".join(command("locks").output.split())
    assert "all buys" in listed
    assert "honey[pot]" in listed
    assert command("unlock", "--all").exit_code == 0
    with psycopg.connect(pg_url) as connection:
        assert [lock.key for lock in standing(connection).locks] == [MINT]


def test_a_leader_is_locked_by_its_name(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, 'Leo')", (WALLET,))
    assert command("lock", "--leader", "Leo", "--reason", "test").exit_code == 0
    with psycopg.connect(pg_url) as connection:
        assert standing(connection).locks == (Lock("leader", WALLET, "test"),)


@pytest.mark.parametrize(
    "arguments",
    [
        ("lock", "--leader", "nobody", "--reason", "test"),
        ("lock", "--mint", "nothing", "--reason", "test"),
        ("lock", "--all", "--reason", "test", "--for", "soon"),
        ("unlock", "--all"),
    ],
)
def test_a_lock_on_nothing_is_an_error_and_sets_nothing(pg_url: str, arguments: tuple[str, ...]) -> None:
    assert isinstance(command(*arguments).exception, ConfigError)
    with psycopg.connect(pg_url) as connection:
        assert standing(connection) == Locks()


def test_exactly_one_thing_is_named(pg_url: str) -> None:
    assert command("lock", "--reason", "test").exit_code == 2
    assert command("lock", "--all", "--mint", MINT, "--reason", "test").exit_code == 2


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0h", "2", "h", "-1h", "1.5h", "2 h", "2w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a number"):
        parse_duration(text)
