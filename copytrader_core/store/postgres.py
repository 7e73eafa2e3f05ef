"""Where the database is and how to connect: the user's DATABASE_URL or the embedded server."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from copytrader_core.errors import StoreError
from copytrader_core.settings import settings
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate

_DRIVER = re.compile(r"^postgres(ql)?(\+\w+)?://")


def database_url() -> str:
    """The URL of a migrated database: DATABASE_URL, or the embedded server of this home, started if needed.

    Plain `postgresql://` whatever driver the user wrote. Raises StoreError if it cannot be reached or migrated.
    """
    url = unmigrated_url()
    try:
        migrate(url)
    except psycopg.OperationalError as error:
        raise StoreError(f"the database cannot be reached: {error}; check DATABASE_URL") from error
    return url


def unmigrated_url() -> str:
    """The same, as the database is: whoever restores a backup wants it empty."""
    given = settings().database_url
    return plain_url(given) if given else embedded().start()


def embedded() -> EmbeddedPostgres:
    """The embedded server of this home."""
    return EmbeddedPostgres(settings().home_path / "pg")


def plain_url(url: str) -> str:
    """`url` without an SQLAlchemy driver in its scheme. Raises StoreError for anything but Postgres."""
    if not _DRIVER.match(url):
        raise StoreError("DATABASE_URL must look like postgresql://user@host:port/database")
    return _DRIVER.sub("postgresql://", url)


def sqlalchemy_url(url: str) -> str:
    """`url` with the driver that dagster-postgres works with (psycopg2; psycopg 3 breaks its NOTIFY)."""
    return _DRIVER.sub("postgresql+psycopg2://", url)


def connect(
    url: str | None = None, *, autocommit: bool = False, patience_seconds: int | None = None
) -> psycopg.Connection:
    """A psycopg connection to `url`, by default to this home's database, in UTC.

    With `patience_seconds` neither the connection nor a statement or lock is waited for any longer.
    """
    options = "-c timezone=UTC"
    limits: dict[str, Any] = {}
    if patience_seconds is not None:
        options += f" -c statement_timeout={patience_seconds * 1000} -c lock_timeout={patience_seconds * 1000}"
        limits["connect_timeout"] = patience_seconds
    return psycopg.connect(
        url or database_url(), autocommit=autocommit, options=options, application_name="copytrader", **limits
    )
