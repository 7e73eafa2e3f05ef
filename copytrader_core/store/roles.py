"""Least-privilege roles of the database: `sql/roles.sql` says which they are and what each may do."""

from __future__ import annotations

from typing import Final

import psycopg

from copytrader_core.errors import StoreError
from copytrader_core.files import data_dir

__all__ = ["ROLES", "apply_roles", "members", "renew_roles"]

ROLES: Final = (
    "copytrader_ingest",
    "copytrader_assets",
    "copytrader_executor",
    "copytrader_operator",
    "copytrader_reader",
)
_MEMBERS: Final = """
SELECT g.rolname, array_agg(m.rolname ORDER BY m.rolname) FROM pg_auth_members a
JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE g.rolname = ANY(%s) AND m.rolcanlogin GROUP BY 1
"""
_IN_USE: Final = (
    "SELECT 1 FROM pg_roles WHERE rolname = 'copytrader_reader' AND has_table_privilege(oid, 'schema_info', 'SELECT')"
)


def apply_roles(url: str) -> None:
    """Makes the roles where they are missing and gives each exactly its rights, in one transaction.

    `url` must belong to the owner of the tables, who may also create roles. Raises StoreError if it does not.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        _apply(connection)


def renew_roles(connection: psycopg.Connection) -> None:
    """The same after a migration, in a database in which the roles are used; nothing in any other.

    `connection` must be in autocommit.
    """
    if connection.execute(_IN_USE).fetchone() is not None:
        _apply(connection)


def members(connection: psycopg.Connection) -> dict[str, list[str]]:
    """The logins in each role."""
    found: dict[str, list[str]] = dict(connection.execute(_MEMBERS, (list(ROLES),)).fetchall())
    return {role: list(found.get(role, ())) for role in ROLES}


def _apply(connection: psycopg.Connection) -> None:
    try:
        with connection.transaction():
            connection.execute((data_dir("sql") / "roles.sql").read_bytes())
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreError(
            f"the roles cannot be set: {error.diag.message_primary}; run `copytrader db roles` as the owner of the "
            "tables with the right CREATEROLE, or as postgres"
        ) from error
