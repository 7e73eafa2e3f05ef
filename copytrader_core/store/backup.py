"""Backup and restore of the whole database in one file of pg_dump's own format: our tables, Dagster's, nothing else.

Not here: the lake and the executor's journal, which are files and are copied as files (docs/operations.md).
"""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from copytrader_core.errors import StoreError
from copytrader_core.store.embedded import server_program
from copytrader_core.store.migrations import migrate
from copytrader_core.store.roles import ROLES, apply_roles

__all__ = ["backup", "prune", "restore"]

_NAME: Final = "copytrader-{:%Y%m%dT%H%M%SZ}.dump"
_PATTERN: Final = "copytrader-[0-9]*T[0-9]*Z.dump"
_FOUND: Final = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1 LIMIT 3
"""
# Rights are not in the file, a server may lack its roles: functions with their owner's rights are closed again.
_CLOSE: Final = """
DO $$ DECLARE found REGPROCEDURE; BEGIN
    FOR found IN SELECT oid FROM pg_proc WHERE prosecdef AND pronamespace = current_schema()::regnamespace LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', found);
    END LOOP;
END $$
"""


def backup(url: str, target: Path) -> Path:
    """Writes the database, as of one moment, to `target` (in a folder: under a name with the time) and reads it again.

    The programs may go on meanwhile. The file is readable by its owner only. Returns its path. Raises StoreError, and
    leaves nothing under that name, if it fails.
    """
    path = target / _NAME.format(datetime.now(UTC)) if target.is_dir() else target
    if path.exists():
        raise StoreError(f"{path} is there already: a backup overwrites nothing, choose another name")
    partial = path.with_name(f".{path.name}.partial")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _call("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={partial}")
        # All of it is read: a file that ends early shows up now and not on the day when it is needed.
        _call("pg_restore", None, "--file=/dev/null", str(partial))
        _sync(partial)
        partial.rename(path)
    except OSError as error:
        raise StoreError(f"the backup cannot be written to {path.parent}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def restore(url: str, source: Path) -> int:
    """Restores `source` into the empty database at `url`, all or nothing, and brings it to this code's schema.

    Returns the schema version. The roles get their rights again where the server has them. Raises StoreError if the
    file is no backup, or the database is not empty.
    """
    if not source.is_file():
        raise StoreError(f"{source} is not a file: name a file that `copytrader db backup` has written")
    _demand_empty(url)
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _call("pg_restore", url, *options, str(source))
    with psycopg.connect(url) as connection:
        connection.execute(_CLOSE)
    version = migrate(url)
    if _has_roles(url):
        apply_roles(url)
    return version


def prune(folder: Path, keep: int) -> list[Path]:
    """Deletes the backups of `folder` but the newest `keep`, by the time in their names; returns what was deleted."""
    old = sorted(folder.glob(_PATTERN))[:-keep] if keep > 0 else []
    for path in old:
        path.unlink()
    return old


def _demand_empty(url: str) -> None:
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            found = [name for (name,) in connection.execute(_FOUND)]
    except psycopg.OperationalError as error:
        raise StoreError(f"the database cannot be reached: {error}; check DATABASE_URL") from error
    if found:
        raise StoreError(
            f"the database is not empty ({', '.join(found)}, ...): a backup goes into an empty one only. "
            "Create a new database (`createdb`), name it in DATABASE_URL, or choose another COPYTRADER_HOME"
        )


def _has_roles(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s)", (list(ROLES),)).fetchone()
    return found == (len(ROLES),)


def _call(program: str, url: str | None, *arguments: str) -> None:
    """Runs a client program of Postgres. The password goes by the environment: others can read a command line."""
    environment = dict(os.environ)
    database = []
    if url is not None:
        parameters = conninfo_to_dict(url)
        password = parameters.pop("password", None)
        database = [f"--dbname={make_conninfo('', **parameters)}"]
        if password is not None:
            environment["PGPASSWORD"] = str(password)
    done = subprocess.run(
        [str(server_program(program)), *database, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StoreError(f"{program} failed ({done.returncode}): {done.stderr.strip()}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
