"""The schema: applied once whoever starts, whole or not at all, never on a newer database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from copytrader_core.errors import StoreError
from copytrader_core.store.migrations import migrate, schema_version


def empty(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def test_two_starters_at_once_apply_each_step_once(pg_url: str) -> None:
    empty(pg_url)
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda _: migrate(pg_url), range(4)))
    assert len(set(versions)) == 1
    assert schema_version(pg_url) == versions[0] >= 1


def test_a_newer_database_is_refused(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        connection.execute("UPDATE schema_info SET version = 9999")
    with pytest.raises(StoreError, match="9999"):
        migrate(pg_url)


def test_a_failing_step_leaves_nothing_behind(pg_url: str, tmp_path: Path) -> None:
    empty(pg_url)
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good (x INT);")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE half (x INT); SELECT 1/0;")
    with pytest.raises(StoreError, match="0002_bad"):
        migrate(pg_url, tmp_path)
    assert schema_version(pg_url) == 1
    with psycopg.connect(pg_url) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_numbering_gaps_are_refused(pg_url: str, tmp_path: Path) -> None:
    (tmp_path / "0002_late.sql").write_text("SELECT 1;")
    with pytest.raises(StoreError, match="without gaps"):
        migrate(pg_url, tmp_path)
