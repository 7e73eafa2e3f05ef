"""The red button works whatever else does not: bad settings, a database that hangs, a disk, another user's files."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import psycopg
import pytest

from copytrader_cli.watch.press import executor_folder, press
from copytrader_core.errors import ConfigError, StoreError
from copytrader_core.settings import settings
from copytrader_core.store import migrations
from executor import control
from executor.control import Control, Switch, read_control, set_state, write_control
from executor.postgres import told

HALT = Control("HALTED", False, "by hand")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and settings that are read anew."""
    monkeypatch.setenv("COPYTRADER_HOME", str(tmp_path))
    settings.cache_clear()
    return tmp_path


@pytest.mark.parametrize("text", ["[risk\n", "[risk]\nmax_trade_sol = 'much'\n", "x = " + "[" * 5_000])
def test_settings_that_are_wrong_do_not_stand_before_it(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    config = fresh / "copytrader.toml"
    config.write_text(text)
    monkeypatch.setenv("COPYTRADER_CONFIG", str(config))
    with pytest.raises(ConfigError):
        settings()
    problem = press(HALT, start=True)
    assert problem is not None
    assert read_control(executor_folder()) == HALT


def test_a_database_that_never_answers_is_not_waited_for(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://somebody@127.0.0.1:{mute.getsockname()[1]}/nothing")
        began = time.monotonic()
        assert press(HALT, start=True) is not None
        assert time.monotonic() - began < 30
    assert read_control(fresh / "executor") == HALT


def test_somebody_who_migrates_for_ever_is_not_waited_for(
    fresh: Path, pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", pg_url)
    monkeypatch.setattr(migrations, "_WAIT_SECONDS", 1)
    with psycopg.connect(pg_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (migrations._LOCK,))
        assert press(HALT, start=True) is None
        with pytest.raises(StoreError, match="has been migrating"):
            migrations.migrate(pg_url)


def test_a_file_that_cannot_be_written_does_not_keep_the_row_from_being_set(
    fresh: Path, pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("DATABASE_URL", pg_url)
    monkeypatch.setattr(control, "_write", full)
    problem = press(HALT, start=True)
    assert problem is not None and "No space left" in problem
    with psycopg.connect(pg_url) as connection:
        assert connection.execute("SELECT state FROM exec_state").fetchall() == [("HALTED",)]
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StoreError, match="nobody hears it"):
        press(HALT, start=True)


def test_a_state_that_nobody_knows_stops_everything(tmp_path: Path) -> None:
    write_control(tmp_path, Control("HALT"))  # type: ignore[arg-type]
    assert read_control(tmp_path).state == "HALTED"
    switch = Switch(tmp_path)
    switch.heard(Control("ACTIVE"))
    assert switch.state == "HALTED"


def test_it_leaves_no_file_behind_that_would_shut_others_out(tmp_path: Path) -> None:
    write_control(tmp_path, HALT)
    assert [path.name for path in tmp_path.iterdir()] == ["control.json"]


def test_a_row_that_is_missing_is_told(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        connection.execute("DELETE FROM exec_state")
        with pytest.raises(StoreError, match="is missing"):
            set_state(connection, Control("ACTIVE"))


@pytest.mark.parametrize("url", ["postgresql://u:S3cret%pass@127.0.0.1/d", "postgresql://u:S3cret pass@127.0.0.1/d"])
def test_a_password_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(psycopg.Error) as raised:
        psycopg.connect(url, connect_timeout=2)
    assert "S3cret" in str(raised.value)
    assert "S3cret" not in told(raised.value)
