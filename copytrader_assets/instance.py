"""Where Dagster keeps its own state: a home folder with dagster.yaml, and a schema of its own in our Postgres.

Imports no dagster: the command line calls this before it does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import psycopg

from copytrader_core.errors import ConfigError
from copytrader_core.settings import settings
from copytrader_core.store.postgres import database_url, sqlalchemy_url

_SCHEMA: Final = "dagster"
_ROOM: Final = Path(__file__).resolve().parent.parent


def prepare_environment() -> None:
    """Gives Dagster a home below COPYTRADER_HOME, for this process and its children. What the user has set stays."""
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "100")
    # A backfill whose code server is away for a moment waits for it. Without this it fails for good.
    os.environ.setdefault("DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR", "1")
    # Runs started from the UI must find the same database, and not start another server.
    os.environ["DATABASE_URL"] = database_url()
    set_storage_url()
    if "DAGSTER_HOME" not in os.environ:
        home = settings().home_path / "dagster"
        home.mkdir(parents=True, exist_ok=True)
        (home / "dagster.yaml").write_bytes(_instance_file().read_bytes())
        os.environ["DAGSTER_HOME"] = str(home)


def set_storage_url() -> str:
    """The URL of Dagster's tables, also set as DAGSTER_PG_URL: the user's, or a schema of its own in our database.

    Always with the driver that dagster-postgres works with, whatever the user wrote.
    """
    given = os.environ.get("DAGSTER_PG_URL")
    os.environ["DAGSTER_PG_URL"] = sqlalchemy_url(given) if given else _own_schema(database_url())
    return os.environ["DAGSTER_PG_URL"]


def _own_schema(url: str) -> str:
    """The database's URL with Dagster's tables apart from ours."""
    with psycopg.connect(url, autocommit=True) as connection:
        # Where roles are kept apart it is there already, and making one is not for every role.
        if connection.execute("SELECT to_regnamespace(%s)", (_SCHEMA,)).fetchone() == (None,):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
    return f"{sqlalchemy_url(url)}{'&' if '?' in url else '?'}options=-csearch_path%3D{_SCHEMA}"


def _instance_file() -> Path:
    for file in (_ROOM / "dagster.yaml", _ROOM / "copytrader_core" / "_files" / "dagster.yaml"):
        if file.is_file():
            return file
    raise ConfigError(
        f"dagster.yaml is missing in {_ROOM}: reinstall copytrader, or set DAGSTER_HOME to a folder with your own"
    )
