"""The watchdog's pings, heard on real datagram sockets."""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytrader_core.service import Service
from executor.watchdog import Limits, Watchdog


class Manager:
    """The other end: a datagram socket and what came through it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@copytrader-{secrets.token_hex(6)}"
    made = Manager(address)
    yield made
    made.close()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def watched(manager: Manager, clock: Clock, seconds: float | None = 9.0) -> Watchdog:
    return Watchdog(Service(manager.address, seconds), Limits(45.0, 2.0), monotonic=clock)


def test_ready_feed_status_and_stopping_are_what_the_manager_reads(manager: Manager) -> None:
    dog = watched(manager, Clock())
    assert dog.ready("3 positions") and dog.feed() and dog.status("slot 7") and dog.stopping()
    assert manager.heard() == [
        "READY=1\nSTATUS=3 positions",
        "WATCHDOG=1",
        "STATUS=slot 7",
        "STOPPING=1\nSTATUS=ending",
    ]


def test_a_loop_that_goes_round_often_pings_three_times_an_interval(manager: Manager) -> None:
    clock = Clock()
    dog = watched(manager, clock)
    for _ in range(900):
        dog.beat(0.2, 0.01)
        clock.now += 0.01
    assert manager.heard() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    ("age", "lag", "why"),
    [(45.1, 0.0, "silent for 45 s"), (0.0, 2.1, "2.1 s late"), (math.nan, 0.0, "silent"), (0.0, math.nan, "late")],
)
def test_beyond_a_limit_it_says_why_and_does_not_feed(manager: Manager, age: float, lag: float, why: str) -> None:
    dog = watched(manager, Clock())
    assert not dog.beat(age, lag)
    (said,) = manager.heard()
    assert said.startswith("STATUS=") and why in said and why in (dog.complaint or "")


def test_at_the_limits_it_feeds(manager: Manager) -> None:
    assert watched(manager, Clock()).beat(45.0, 2.0, "trading")
    assert manager.heard() == ["WATCHDOG=1\nSTATUS=trading"]


def test_once_all_is_well_again_the_next_second_feeds(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    dog = watched(manager, clock, 30.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            dog.beat(60.0, 0.0)
            clock.now += 1.0
        manager.heard()
        assert dog.beat(0.0, 0.0)
    assert manager.heard() == ["WATCHDOG=1"] and dog.complaint is None
    assert [record.message.split()[0] for record in caplog.records] == ["watchdog_not_fed", "watchdog_fed_again"]


def test_the_interval_is_the_managers(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Watchdog.from_environment()._interval == pytest.approx(10 / 3)
    assert Watchdog.from_environment().beat(0.0, 0.0) and manager.heard() == ["WATCHDOG=1"]


def test_without_a_manager_nothing_is_sent_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    dog = Watchdog.from_environment()
    assert not any([dog.ready(), dog.feed(), dog.status("x"), dog.beat(0.0, 0.0), dog.stopping()])


def test_a_manager_that_is_gone_holds_nothing_up(manager: Manager) -> None:
    manager.close()
    assert not watched(manager, Clock()).beat(0.0, 0.0)
