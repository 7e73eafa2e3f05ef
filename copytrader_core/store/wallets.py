"""The tracked wallets and their names: reading them, and importing them from the user's SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from solders.pubkey import Pubkey

from copytrader_core.errors import DataError

__all__ = ["ImportReport", "Rejected", "Wallet", "import_sqlite", "load", "names_version"]

_ADDRESS_COLUMNS = ("wallet", "address", "pubkey", "wallet_address", "public_key")
_NAME_COLUMNS = ("name", "alias", "label", "nickname", "wallet_name")


@dataclass(frozen=True, slots=True)
class Wallet:
    """A known wallet. `alias` is its name, None where it has none."""

    wallet: str
    alias: str | None
    is_tracked: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of the user's file that was not imported. `row` counts from 1 in the table's order."""

    row: int
    value: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What an import did, as addresses; `rejected` with reasons."""

    imported: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def load(connection: psycopg.Connection) -> dict[str, Wallet]:
    """Every known wallet by its address."""
    found = connection.execute("SELECT wallet, alias, is_tracked FROM wallets ORDER BY wallet")
    return {wallet: Wallet(wallet, alias, is_tracked) for wallet, alias, is_tracked in found}


def names_version(connection: psycopg.Connection) -> int:
    """A number that grows with every change of the wallets; read it before `load`."""
    found = connection.execute("SELECT version FROM wallet_names").fetchone()
    return int(found[0]) if found else 0


def import_sqlite(connection: psycopg.Connection, path: Path) -> ImportReport:
    """Imports the `wallets` table of the SQLite file `path`: new ones are added, names brought up to date, all tracked.

    One transaction. Raises DataError if the file is missing, not SQLite, or has no such table or columns.
    """
    report = ImportReport()
    wanted = dict(_accepted(_read(path), report))
    with connection.transaction():
        known = load(connection)
        for address, alias in wanted.items():
            _bin(report, Wallet(address, alias, True), known.get(address)).append(address)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO wallets (wallet, alias, is_tracked) VALUES (%s, %s, TRUE)"
                " ON CONFLICT (wallet) DO UPDATE SET alias = excluded.alias, is_tracked = TRUE",
                [(address, wanted[address]) for address in (*report.imported, *report.updated)],
            )
    return report


def _bin(report: ImportReport, wanted: Wallet, known: Wallet | None) -> list[str]:
    if known is None:
        return report.imported
    return report.unchanged if known == wanted else report.updated


def _accepted(rows: list[tuple[object, object]], report: ImportReport) -> Iterator[tuple[str, str | None]]:
    """The rows that can be imported, as address and name; the others go to the report with their reason."""
    first_seen: dict[str, int] = {}
    for number, (value, name) in enumerate(rows, start=1):
        address = value.strip() if isinstance(value, str) else value
        reason = _fault(address)
        if reason is None and address in first_seen:
            reason = f"duplicate of row {first_seen[str(address)]}"
        if reason is not None:
            report.rejected.append(Rejected(number, _shown(value), reason))
            continue
        first_seen[str(address)] = number
        yield str(address), _name(name)


def _fault(address: object) -> str | None:
    """Why `address` is not a wallet address, None if it is one."""
    if address is None or address == "":
        return "no address"
    if not isinstance(address, str):
        return f"expected text, found {type(address).__name__}"
    try:
        Pubkey.from_string(address)
    except ValueError:
        return f"not an address: expected base58 of 32 bytes, found {len(address)} characters"
    return None


def _shown(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(value: object) -> str | None:
    """The trimmed name; Postgres cannot hold NUL characters, an empty name is none."""
    text = "" if value is None else value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.replace("\0", "").strip() or None


def _read(path: Path) -> list[tuple[object, object]]:
    """Address and name of every row of the `wallets` table. The file is opened read-only and never changed."""
    if not path.is_file():
        raise DataError(f"{path} is not a file: name the SQLite file that holds your wallets")
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            # Text that is not UTF-8 must not end the import: it shows up as a bad address or a name with marks.
            database.text_factory = lambda raw: raw.decode(errors="replace")
            return _rows(database, path)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be read as a SQLite database: {error}") from error


def _rows(database: sqlite3.Connection, path: Path) -> list[tuple[object, object]]:
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    table = next((name for name in names if name.lower() == "wallets"), None)
    if table is None:
        raise DataError(f"{path} has no table 'wallets'; its tables are: {', '.join(sorted(names)) or 'none'}")
    columns = [column[1] for column in database.execute(f"PRAGMA table_info({_quoted(table)})")]
    address = _column(columns, _ADDRESS_COLUMNS, "address", path)
    name = _column(columns, _NAME_COLUMNS, "name", path)
    return database.execute(f"SELECT {_quoted(address)}, {_quoted(name)} FROM {_quoted(table)}").fetchall()  # noqa: S608 quoted


def _column(columns: list[str], wanted: tuple[str, ...], what: str, path: Path) -> str:
    by_lower_name = {column.lower(): column for column in columns}
    for candidate in wanted:
        if candidate in by_lower_name:
            return by_lower_name[candidate]
    raise DataError(
        f"the table 'wallets' of {path} has no {what} column: expected one of {', '.join(wanted)}, "
        f"found {', '.join(columns)}"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
