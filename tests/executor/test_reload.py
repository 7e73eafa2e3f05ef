"""Settings that change while the executor runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from copytrader_core.settings import Settings
from executor.reload import SettingsWatch

GOOD = "[risk]\nmax_open_positions = 3\n[policy]\nmax_size_sol = 1.5\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "copytrader.toml"
    path.write_text("[risk]\nmax_open_positions = 9\n")
    monkeypatch.setenv("COPYTRADER_CONFIG", str(path))
    return path


@pytest.fixture
def watch(file: Path) -> SettingsWatch:
    made = SettingsWatch(Settings())
    assert settled(made) is None
    return made


def settled(watch: SettingsWatch) -> Settings | None:
    """What the first polls give, until there is nothing more to come."""
    return next((found for found in (watch.poll() for _ in range(4)) if found is not None), None)


def test_what_has_changed_is_given_once(file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text(GOOD)
    with caplog.at_level(logging.WARNING):
        new = settled(watch)
    assert new is not None and (new.risk.max_open_positions, new.policy.max_size_sol) == (3, 1.5)
    assert watch.current is new and settled(watch) is None
    assert "risk.max_open_positions=3 (was 9)" in caplog.text and "policy.max_size_sol=1.5 (was 3.0)" in caplog.text


def test_a_change_between_the_start_and_the_first_look_is_not_lost(file: Path) -> None:
    started = Settings()
    file.write_text(GOOD)
    new = settled(SettingsWatch(started))
    assert new is not None and new.risk.max_open_positions == 3


def test_touching_the_file_or_writing_the_same_changes_nothing(file: Path, watch: SettingsWatch) -> None:
    file.write_text(file.read_text() + "\n# a comment\n")
    assert settled(watch) is None
    os.utime(file)
    assert settled(watch) is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[risk]\nmax_open_positions = 0\n", "risk.max_open_positions"),
        ("[policy]\nsize_factr = 1\n", "policy.size_factr"),
        ("[risk]\nmax_open_positions = \n", "line 2"),
    ],
)
def test_a_bad_file_keeps_the_old_settings_and_says_so_once(
    file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture, text: str, field: str
) -> None:
    before = watch.current
    file.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert [watch.poll() for _ in range(10)] == [None] * 10
    (warning,) = caplog.records
    assert field in warning.message and "correct it" in warning.message
    assert watch.current is before
    file.write_text(GOOD)
    assert settled(watch) is not None


def test_each_bad_version_has_a_warning_of_its_own(
    file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for text in ("[risk]\nmax_trade_sol = -1\n", "[risk]\nmax_exposure_sol = -10\n"):
            file.write_text(text)
            settled(watch)
    assert ["max_trade_sol" in one.message for one in caplog.records] == [True, False]


def test_a_file_in_the_middle_of_being_written_is_waited_for(
    file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for end in range(5, len(GOOD), 5):
            file.write_text(GOOD[:end])
            assert watch.poll() is None
        assert not caplog.records
        file.write_text(GOOD)
        new = settled(watch)
    assert new is not None and new.policy.max_size_sol == 1.5


def test_a_half_written_file_that_rests_for_two_looks_is_no_warning_yet(
    file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("[risk]\nmax_open_pos")
    assert [watch.poll(), watch.poll()] == [None, None] and not caplog.records
    file.write_text(GOOD)
    assert settled(watch) is not None and "correct it" not in caplog.text


def test_a_file_that_changes_under_the_reading_is_read_again(file: Path) -> None:
    def load() -> Settings:
        found = Settings()
        if found.risk.max_open_positions == 9:
            file.write_text(GOOD)
        return found

    new = settled(SettingsWatch(Settings(), load))
    assert new is not None and new.risk.max_open_positions == 3


def test_other_sections_keep_their_running_values(
    file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(GOOD + '[ingest]\nendpoint = "elsewhere:1"\n')
    with caplog.at_level(logging.WARNING):
        new = settled(watch)
    assert new is not None and new.ingest.endpoint == "127.0.0.1:10000"
    assert "sections=ingest" in caplog.text


def test_the_environment_still_wins_over_the_file(
    file: Path, watch: SettingsWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPYTRADER_RISK__MAX_OPEN_POSITIONS", "9")
    file.write_text(GOOD)
    new = settled(watch)
    assert new is not None and (new.risk.max_open_positions, new.policy.max_size_sol) == (9, 1.5)


def test_a_file_that_is_gone_changes_nothing_and_one_that_comes_back_counts(
    file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture
) -> None:
    file.unlink()
    assert settled(watch) is None and watch.current.risk.max_open_positions == 9
    assert len(caplog.records) == 1 and "put it back" in caplog.text
    file.write_text(GOOD)
    assert settled(watch) is not None


def test_without_a_file_there_is_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COPYTRADER_CONFIG", str(tmp_path / "none.toml"))
    watch = SettingsWatch(Settings())
    assert settled(watch) is None and not caplog.records
    (tmp_path / "none.toml").write_text(GOOD)
    assert settled(watch) is not None


@pytest.mark.parametrize(
    "text", ["", "# [risk]\n", "[policy]\nmax_size_sol = 1.5\n", "[risk]\nmax_open_positions = inf\n"]
)
def test_a_file_that_has_lost_its_limits_changes_nothing(
    file: Path, watch: SettingsWatch, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    file.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert settled(watch) is None
    assert watch.current.risk.max_open_positions == 9 and "settings_kept" in caplog.text


def test_a_limit_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("inf", "nan"):
        monkeypatch.setenv("COPYTRADER_RISK__MAX_TRADE_SOL", text)
        with pytest.raises(ValueError, match="finite"):
            Settings()


def test_a_file_nested_without_end_is_one_more_bad_file(file: Path, watch: SettingsWatch) -> None:
    file.write_text("[risk]\nblocked_mints = " + "[" * 5_000)
    assert settled(watch) is None
