"""Importing the user's wallets: what is taken, what is refused and why."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from solders.pubkey import Pubkey
from typer.testing import CliRunner

from copytrader_cli.commands.wallets import app
from copytrader_core.errors import DataError
from copytrader_core.store.wallets import Rejected, Wallet, import_sqlite, load

A, B, C = (str(Pubkey.new_unique()) for _ in range(3))


def sqlite_file(path: Path, rows: list[tuple[object, object]], columns: str = "wallet TEXT, name TEXT") -> Path:
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.execute(f"CREATE TABLE wallets ({columns})")
    database.execute("CREATE TABLE transactions (sig TEXT, amount REAL)")
    database.executemany("INSERT INTO wallets VALUES (?, ?)", rows)
    database.commit()
    database.close()
    return path


def test_imports_wallets_with_trimmed_names(pg_url: str, tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "w.db", [(f" {A}\n", "  Whale 🐳 "), (B, None), (C, "  ")])
    with psycopg.connect(pg_url) as connection:
        report = import_sqlite(connection, file)
        assert load(connection) == {
            A: Wallet(A, "Whale 🐳", True),
            B: Wallet(B, None, True),
            C: Wallet(C, None, True),
        }
    assert (report.imported, report.rejected) == ([A, B, C], [])


def test_tells_imported_updated_and_unchanged_apart(pg_url: str, tmp_path: Path) -> None:
    with psycopg.connect(pg_url) as connection:
        import_sqlite(connection, sqlite_file(tmp_path / "1.db", [(A, "one"), (B, "two")]))
        connection.execute("UPDATE wallets SET is_tracked = false, notes = 'mine' WHERE wallet = %s", (B,))
        report = import_sqlite(connection, sqlite_file(tmp_path / "2.db", [(A, "one"), (B, "two"), (C, "three")]))
        assert (report.imported, report.updated, report.unchanged) == ([C], [B], [A])
        assert connection.execute("SELECT is_tracked, notes FROM wallets WHERE wallet = %s", (B,)).fetchone() == (
            True,
            "mine",
        )
        report = import_sqlite(connection, sqlite_file(tmp_path / "3.db", [(A, "new name")]))
        assert report.updated == [A]
        assert load(connection)[A].alias == "new name"


def test_reports_bad_addresses_and_duplicates_and_keeps_them_out(pg_url: str, tmp_path: Path) -> None:
    rows: list[tuple[object, object]] = [
        (A, "first"), (f"{A} ", "again"), ("not-an-address", "x"), (A[:-3], "short"), (None, "none"), (7, "n"),
        ("0OIl", "y"),
    ]  # fmt: skip
    with psycopg.connect(pg_url) as connection:
        report = import_sqlite(connection, sqlite_file(tmp_path / "w.db", rows, "wallet, name"))
        assert load(connection) == {A: Wallet(A, "first", True)}
    assert [rejected.row for rejected in report.rejected] == [2, 3, 4, 5, 6, 7]
    assert report.rejected[0] == Rejected(2, f"{A} ", "duplicate of row 1")
    assert "base58" in report.rejected[1].reason
    assert report.rejected[3].reason == "no address"


@pytest.mark.parametrize("columns", ["Address TEXT, Label TEXT", '"PubKey" TEXT, "ALIAS" TEXT'])
def test_finds_the_columns_whatever_they_are_called(pg_url: str, tmp_path: Path, columns: str) -> None:
    with psycopg.connect(pg_url) as connection:
        import_sqlite(connection, sqlite_file(tmp_path / "w.db", [(A, "one")], columns))
        assert load(connection)[A].alias == "one"


def test_unknown_columns_are_named_in_the_error(pg_url: str, tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "w.db", [], "foo TEXT, bar TEXT")
    with psycopg.connect(pg_url) as connection, pytest.raises(DataError, match="foo, bar"):
        import_sqlite(connection, file)


def test_the_file_is_not_changed(pg_url: str, tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "w.db", [(A, "one")])
    before = file.read_bytes()
    file.chmod(0o400)
    with psycopg.connect(pg_url) as connection:
        import_sqlite(connection, file)
    assert (file.read_bytes(), [path.name for path in tmp_path.iterdir()]) == (before, ["w.db"])


def test_a_path_with_odd_characters_is_read(pg_url: str, tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "my wallets? #1 100%.db", [(A, "one")])
    with psycopg.connect(pg_url) as connection:
        assert import_sqlite(connection, file).imported == [A]


@pytest.mark.parametrize("kind", ["missing", "not sqlite", "no table"])
def test_a_file_that_cannot_be_used_is_an_error(pg_url: str, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "w.db"
    if kind == "not sqlite":
        file.write_text("wallet,name\n" * 100)
    elif kind == "no table":
        database = sqlite3.connect(file)
        database.execute("CREATE TABLE other (a)")
        database.close()
    with psycopg.connect(pg_url) as connection, pytest.raises(DataError, match=r"w\.db"):
        import_sqlite(connection, file)


def test_the_command_prints_counts_and_reasons(pg_url: str, tmp_path: Path) -> None:
    file = sqlite_file(tmp_path / "w.db", [(A, "one"), ("bad", "two")])
    result = CliRunner().invoke(app, ["import", str(file)])
    assert result.exit_code == 0
    assert "imported 1, updated 0, unchanged 0, rejected 1" in result.output
    assert "row 2: 'bad'" in result.output
    assert f"{A}\tone\ttracked" in CliRunner().invoke(app, ["list"]).output
