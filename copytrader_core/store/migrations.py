"""Applies `sql/migrations/NNNN_name.sql` in order, each in one transaction, one starter at a time."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from copytrader_core.errors import StoreError
from copytrader_core.files import data_dir
from copytrader_core.store.roles import renew_roles

# Any constant shared by all starters; "copytrd" in ASCII.
_LOCK = 0x636F7079747264
_WAIT_SECONDS = 20
_NAME = re.compile(r"(\d{4})_\w+\.sql")


def migrate(url: str, folder: Path | None = None) -> int:
    """Brings the database at `url` to the newest schema and returns its version.

    Raises StoreError if the database is newer than this code, if a migration fails (it is rolled back whole), or if
    somebody else migrates for longer than is waited for.
    """
    steps = _steps(folder or data_dir("sql") / "migrations")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SET lock_timeout = '{_WAIT_SECONDS}s'")
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        except psycopg.errors.LockNotAvailable:
            raise StoreError(
                f"another program has been migrating the database for {_WAIT_SECONDS} s: wait for it, or end it"
            ) from None
        connection.execute("SET lock_timeout = 0")
        current = _version(connection)
        newest = max(steps, default=0)
        if current > newest:
            raise StoreError(
                f"the database has schema version {current}, this code knows up to {newest}: "
                "update copytrader, or name another database in DATABASE_URL"
            )
        for version in range(current + 1, newest + 1):
            _apply(connection, version, steps[version])
        if folder is None and current < newest:
            renew_roles(connection)
        return newest


def newest_version() -> int:
    """The schema version that this code needs."""
    return max(_steps(data_dir("sql") / "migrations"))


def schema_version(url: str) -> int:
    """The version that `schema_info` tells, 0 for an empty database."""
    with psycopg.connect(url, autocommit=True) as connection:
        return _version(connection)


def _steps(folder: Path) -> dict[int, Path]:
    found = {int(m[1]): path for path in folder.glob("*.sql") if (m := _NAME.fullmatch(path.name))}
    if sorted(found) != list(range(1, len(found) + 1)):
        raise StoreError(f"migrations in {folder} must be numbered 1..n without gaps, found {sorted(found)}")
    return found


def _version(connection: psycopg.Connection) -> int:
    if connection.execute("SELECT to_regclass('schema_info')").fetchone() == (None,):
        return 0
    row = connection.execute("SELECT version FROM schema_info").fetchone()
    return int(row[0]) if row else 0


def _apply(connection: psycopg.Connection, version: int, path: Path) -> None:
    try:
        with connection.transaction():
            connection.execute("CREATE TABLE IF NOT EXISTS schema_info (version INT NOT NULL)")
            connection.execute(path.read_bytes())
            connection.execute("DELETE FROM schema_info")
            connection.execute("INSERT INTO schema_info (version) VALUES (%s)", (version,))
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreError(
            f"the database needs {path.name}, which this role may not apply ({error.diag.message_primary}): "
            "run `copytrader db url` as the owner of the tables"
        ) from error
    except psycopg.Error as error:
        raise StoreError(f"migration {path.name} failed and was rolled back: {error}") from error
