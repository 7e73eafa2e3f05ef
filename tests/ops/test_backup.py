"""Backup and restore: what was saved comes back whole, into an empty database, and ingest goes on without a gap."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from copytrader_cli.demo import plan_of
from copytrader_core.errors import StoreError
from copytrader_core.store.backup import backup, prune, restore
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.raw_events import COLUMNS
from copytrader_core.store.roles import apply_roles
from simnet.demo_tape import TAPE
from tests.ops.commands import copytrader, playing

PLAN = plan_of(TAPE)
_CLOCKS = {"recv_ts_ns"}
ROWS = (
    f"SELECT {', '.join(name for name in COLUMNS if name not in _CLOCKS)} FROM raw_events"
    " ORDER BY slot, tx_index, outer_ix, inner_ix, event_seq"
)
SLOTS = "SELECT slot, parent_slot, blockhash, block_time, n_txs, n_events FROM ingest_slots ORDER BY slot"
GAPS = "SELECT from_slot, to_slot FROM ingest_gaps"


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


@pytest.fixture
def empty_url(pg_url: str) -> Iterator[str]:
    """A database on the same server with nothing in it."""
    base, _, name = pg_url.rpartition("/")
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}_empty")
    yield f"{pg_url}_empty"
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name}_empty WITH (FORCE)")


def ingest(folder: Path, environment: dict[str, str], *played: str) -> str:
    with playing(folder, "--speed", "0", *played) as address:
        return copytrader(
            *("ingest", "--endpoint", address, "--until-idle", "2", "--complete-start"), environment=environment
        )


def test_ingest_goes_on_in_the_restored_database_as_if_nothing_had_happened(pg_url: str, tmp_path: Path) -> None:
    first = {"DATABASE_URL": pg_url, "COPYTRADER_HOME": str(tmp_path / "first")}
    elsewhere = {"COPYTRADER_HOME": str(tmp_path / "elsewhere")}
    ingest(tmp_path, first, "--until-slot", str(PLAN.last_learn_slot))
    half = len(ask(pg_url, ROWS))
    copytrader("db", "backup", str(tmp_path / "half.dump"), environment=first)
    # What comes after the backup is lost with the first database, and asked for again.
    ingest(tmp_path, first)
    try:
        copytrader("db", "restore", str(tmp_path / "half.dump"), environment=elsewhere)
        url = copytrader("db", "url", environment=elsewhere).strip()
        assert len(ask(url, ROWS)) == half > 0
        ingest(tmp_path, elsewhere)
        assert ask(url, ROWS) == ask(pg_url, ROWS) and len(ask(url, ROWS)) > half
        assert ask(url, SLOTS) == ask(pg_url, SLOTS)
        assert ask(url, GAPS) == []
    finally:
        EmbeddedPostgres(tmp_path / "elsewhere" / "pg").remove()


def test_a_database_that_holds_anything_is_refused_and_stays_as_it_is(
    pg_url: str, empty_url: str, tmp_path: Path
) -> None:
    path = backup(pg_url, tmp_path / "all.dump")
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 7 AS x")
    with pytest.raises(StoreError, match=r"not empty \(public\.mine"):
        restore(empty_url, path)
    assert ask(empty_url, "SELECT x FROM mine") == [(7,)]


def test_roles_have_their_rights_again_after_a_restore(pg_url: str, empty_url: str, tmp_path: Path) -> None:
    apply_roles(pg_url)
    restore(empty_url, backup(pg_url, tmp_path / "all.dump"))
    assert ask(
        empty_url,
        "SELECT has_table_privilege('copytrader_ingest', 'raw_events', 'INSERT'),"
        " has_table_privilege('copytrader_ingest', 'raw_events', 'DELETE'),"
        " has_function_privilege('copytrader_ingest', 'raw_events_partition(date)', 'EXECUTE'),"
        " has_function_privilege('copytrader_reader', 'raw_events_partition(date)', 'EXECUTE')",
    ) == [(True, False, True, False)]


def test_a_file_that_was_cut_restores_nothing(pg_url: str, empty_url: str, tmp_path: Path) -> None:
    path = backup(pg_url, tmp_path / "all.dump")
    cut = tmp_path / "cut.dump"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(StoreError, match="pg_restore failed"):
        restore(empty_url, cut)
    restore(empty_url, path)
    assert ask(empty_url, "SELECT state FROM exec_state") == [("ACTIVE",)]


def test_other_files_are_not_taken_for_backups(empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a backup")
    with pytest.raises(StoreError, match="pg_restore failed"):
        restore(empty_url, tmp_path / "notes.txt")
    with pytest.raises(StoreError, match="is not a file"):
        restore(empty_url, tmp_path / "missing.dump")


def test_a_backup_is_private_overwrites_nothing_and_leaves_no_pieces(pg_url: str, tmp_path: Path) -> None:
    path = backup(pg_url, tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="overwrites nothing"):
        backup(pg_url, path)
    with pytest.raises(StoreError, match="pg_dump failed"):
        backup(pg_url.replace("/t_", "/gone_"), tmp_path / "other.dump")
    assert list(tmp_path.iterdir()) == [path]


def test_the_password_is_on_no_command_line(pg_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = tmp_path / "bin" / "pg_dump"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/seen\nexit 1\n')
    for program in (recorder, recorder.with_name("initdb"), recorder.with_name("postgres")):
        program.touch()
        program.chmod(0o755)
    monkeypatch.setenv("PG_BIN", str(recorder.parent))
    with pytest.raises(StoreError):
        backup(pg_url, tmp_path / "x.dump")
    password = pg_url.split(":")[2].split("@")[0]
    assert "dbname" in (tmp_path / "seen").read_text() and password not in (tmp_path / "seen").read_text()


def test_the_oldest_backups_of_a_folder_go_and_nothing_else(tmp_path: Path) -> None:
    names = [f"copytrader-2026010{n}T000000Z.dump" for n in range(1, 5)]
    for name in (*names, "mine.dump", "copytrader-notes.dump"):
        (tmp_path / name).touch()
    assert [path.name for path in prune(tmp_path, 3)] == names[:1]
    assert prune(tmp_path, 0) == []
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:], "mine.dump", "copytrader-notes.dump"}
