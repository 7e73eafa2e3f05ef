"""When a worker is well, when it is not and why, and when a restart would help it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest_worker.health import Limits, Pulse, State, judge

NOW = 1000.0
LIMITS = Limits(stall_seconds=30, commit_seconds=15, hang_seconds=120, round_seconds=10)
WELL = Pulse(alive_at=NOW - 0.5, ready_at=NOW - 500, data_at=NOW - 1)


def test_a_worker_whose_data_flows_into_the_database_is_well() -> None:
    verdict = judge(WELL, NOW, LIMITS)
    assert (verdict.state, verdict.healthy, verdict.lives) == (State.STREAMING, True, True)


@pytest.mark.parametrize(
    ("change", "state", "reason", "lives"),
    [
        ({"ready_at": None, "data_at": None}, State.STARTING, "does not have the database yet", True),
        ({"data_at": None, "ready_at": NOW - 3}, State.CONNECTING, "nothing has come yet, 3 s", True),
        ({"data_at": None}, State.STALLED, "no new slot has come for 500 s", False),
        ({"data_at": NOW - 31}, State.STALLED, "no new slot has come for 31 s", False),
        ({"database_away_seconds": 4.0}, State.DATABASE_AWAY, "the database has been away for 4 s", True),
        ({"waiting_since": NOW - 16}, State.COMMITS_LATE, "waited 16 s for its commit", True),
        ({"waiting_since": NOW - 121}, State.COMMITS_LATE, "waited 121 s for its commit", False),
        ({"alive_at": NOW - 11}, State.STUCK, "has not come round for 11 s", False),
        ({"stopping": True}, State.STOPPING, "ending", True),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], state: State, reason: str, lives: bool) -> None:
    verdict = judge(replace(WELL, **change), NOW, LIMITS)
    assert (verdict.state, verdict.healthy, verdict.lives) == (state, False, lives)
    assert reason in (verdict.reason or "")


def test_a_standby_is_well_and_says_that_it_stands_by() -> None:
    verdict = judge(Pulse(alive_at=NOW, standby=True), NOW, LIMITS)
    assert (verdict.state, verdict.healthy, verdict.lives) == (State.STANDBY, True, True)


def test_an_absent_database_is_no_reason_to_throw_away_what_was_read() -> None:
    silent_behind_it = replace(WELL, database_away_seconds=600.0, data_at=NOW - 600, waiting_since=NOW - 600)
    assert judge(silent_behind_it, NOW, LIMITS).lives


def test_a_stream_that_is_silent_because_commits_are_late_is_not_blamed() -> None:
    verdict = judge(replace(WELL, data_at=NOW - 40, waiting_since=NOW - 40), NOW, LIMITS)
    assert (verdict.state, verdict.lives) == (State.COMMITS_LATE, True)


def test_a_loop_that_hangs_is_found_whatever_else_is_the_matter() -> None:
    for change in ({"standby": True}, {"stopping": True}, {"database_away_seconds": 9.0}):
        assert judge(replace(WELL, alive_at=NOW - 60, **change), NOW, LIMITS).state is State.STUCK
