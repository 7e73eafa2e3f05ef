"""The embedded Postgres: one server whoever starts it, gone when stopped, its data still there."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from copytrader_core.store.embedded import EmbeddedPostgres


def test_starters_at_once_share_one_server_and_a_restart_keeps_the_data(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "a home with spaces" / "pg", durable=False)
    try:
        with ThreadPoolExecutor(3) as pool:
            urls = set(pool.map(lambda _: server.start(), range(3)))
        assert len(urls) == 1
        with psycopg.connect(urls.pop()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS x")
        assert server.stop()
        assert not server.stop()
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT x FROM kept").fetchone() == (7,)
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
    finally:
        server.remove()


def test_it_comes_back_where_it_was(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    assert server.last_url() is None
    try:
        url = server.start()
        server.stop()
        assert server.last_url() == url
        assert server.start() == url
    finally:
        server.remove()


def test_nobody_without_the_password_gets_in(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    try:
        url = server.start()
        password = url.split(":")[2].split("@")[0]
        try:
            psycopg.connect(url.replace(password, "wrong")).close()
        except psycopg.OperationalError as error:
            assert "password" in str(error)
        else:
            raise AssertionError("a wrong password was accepted")
    finally:
        server.remove()


def test_stopping_what_never_ran_says_so(tmp_path: Path) -> None:
    assert not EmbeddedPostgres(tmp_path / "never").stop()
    assert not (tmp_path / "never").exists()


def test_a_home_that_was_deleted_starts_empty_again(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    try:
        with psycopg.connect(server.start()) as connection:
            connection.execute("CREATE TABLE old AS SELECT 1 AS x")
        server.stop()
        shutil.rmtree(tmp_path / "pg")
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT to_regclass('old')").fetchone() == (None,)
    finally:
        server.remove()
    assert not (tmp_path / "pg").exists()
