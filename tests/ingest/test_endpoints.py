"""Which endpoint is next, which holes a replay can reach, and what several lanes share."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from chain_double import WALLETS

from copytrader_cli.endpoints import endpoints_of
from copytrader_core.errors import ConfigError
from copytrader_core.geyser.client import Endpoint
from copytrader_core.settings import settings
from ingest_worker.backlog import Backlog
from ingest_worker.endpoints import Roster
from ingest_worker.resume import Resume
from ingest_worker.subscription import chunks

A, B, C = (Endpoint(f"{name}:1") for name in "abc")


def test_it_stays_with_an_endpoint_that_works_and_leaves_one_that_fails_three_times() -> None:
    roster = Roster([A, B])
    for _ in range(2):
        roster.failed(0.0)
    roster.worked()
    roster.failed(0.0)
    assert roster.current is A
    for _ in range(2):
        roster.failed(0.0)
    assert roster.current is B


def test_one_that_refuses_is_left_out_until_nobody_else_is_left() -> None:
    roster = Roster([A, B, C])
    assert roster.refused(0.0) and roster.current is B
    roster.failed(0.0, at_once=True)
    assert roster.current is C
    roster.failed(0.0, at_once=True)
    assert roster.current is B, "A has refused"
    assert roster.refused(0.0) and roster.current is C
    assert not roster.refused(0.0), "all have"


def test_a_replay_is_asked_of_every_endpoint_once() -> None:
    roster = Roster([A, B])
    assert roster.cannot_replay(0.0) and roster.current is B
    assert not roster.cannot_replay(0.0) and roster.current is A
    assert roster.cannot_replay(0.0) and roster.current is B, "the next hole is another question"


def test_the_first_is_looked_at_once_per_quiet_time() -> None:
    roster = Roster([A, B], return_after_seconds=10.0)
    assert not roster.may_return(100.0), "it is in use"
    roster.failed(100.0, at_once=True)
    assert [roster.may_return(now) for now in (105.0, 110.0, 111.0, 120.0)] == [False, True, False, True]
    roster.return_to_first()
    assert roster.current is A


def test_a_single_endpoint_is_kept_whatever_it_does() -> None:
    roster = Roster([A])
    roster.failed(0.0, at_once=True)
    assert not roster.refused(0.0) and not roster.cannot_replay(0.0) and roster.current is A
    with pytest.raises(ConfigError, match="--endpoint"):
        Roster([])


def test_the_earliest_hole_within_the_replay_window_is_reachable_and_only_so_often() -> None:
    resume, tries = Resume(10_000, [(100, 110), (9000, 9002), (9500, 9500)]), Counter[tuple[int, int]]()
    assert resume.reachable(None, tries) is None
    assert resume.reachable(50, tries) == (9000, 9002), "the oldest is more than 3000 slots back"
    assert resume.reachable(9001, tries) == (9500, 9500)
    tries[9500, 9500] = 2
    assert resume.reachable(9001, tries) is None
    resume.filled((9000, 9002))
    assert resume.reachable(50, tries) is None


def test_the_resume_never_runs_backwards() -> None:
    resume = Resume(None)
    for slot in (7, 9, 8):
        resume.advance(slot)
    assert resume.slot == 9


async def test_a_held_lane_is_passed_over_and_keeps_what_it_has() -> None:
    backlog: Backlog[str] = Backlog(100, lanes=2)
    for lane, item in ((0, "a"), (0, "b"), (1, "c")):
        await backlog.put(item, 10, lane)
    assert (len(backlog), backlog.n_bytes) == (3, 30)
    assert [backlog.pop({0}), backlog.pop({0}), backlog.pop(), backlog.pop()] == ["c", None, "a", "b"]


def test_chunks_hold_every_wallet_once() -> None:
    groups = chunks(WALLETS, 5)
    assert [len(group) for group in groups] == [5, 5, 2]
    assert sorted(wallet for group in groups for wallet in group) == sorted(WALLETS)


def token(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.write_text(f"{name}\n")
    return path


def test_each_endpoint_has_its_own_token_file_or_all_share_one(tmp_path: Path, home: Path) -> None:
    one, two = token(tmp_path, "one"), token(tmp_path, "two")
    found = endpoints_of(["a:1", "https://b"], None, [one, two], None)
    assert [(e.address, e.tls, e.x_token) for e in found] == [("a:1", True, "one"), ("b:443", True, "two")]
    assert [e.x_token for e in endpoints_of(["a:1", "b:1"], None, [one], None)] == ["one", "one"]
    with pytest.raises(ConfigError, match="one for each of the 3"):
        endpoints_of(["a:1", "b:1", "c:1"], None, [one, two], None)


def test_endpoints_come_from_the_settings_where_the_command_line_names_none(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "copytrader.toml"
    config.write_text(
        f'[[ingest.endpoints]]\naddress = "https://a"\nx_token_file = "{token(tmp_path, "one")}"\n'
        '[[ingest.endpoints]]\naddress = "b:7"\ntls = false\n'
    )
    monkeypatch.setitem(os.environ, "COPYTRADER_CONFIG", str(config))
    settings.cache_clear()
    found = endpoints_of([], None, [], None)
    assert [(e.address, e.tls, e.x_token) for e in found] == [("a:443", True, "one"), ("b:7", False, None)]
    assert [e.address for e in endpoints_of(["c:1"], None, [], None)] == ["c:1"]
