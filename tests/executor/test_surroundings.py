"""Watchdog, metrics and settings around a run."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from pathlib import Path

import pytest
from journal_lines import decided

from copytrader_core.service import Service
from copytrader_core.settings import Settings
from executor.monitor import Live
from executor.surroundings import Surroundings
from executor.wal import Wal
from executor.watchdog import Watchdog


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def manager(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode().splitlines()[0])
        except BlockingIOError:
            return found


def around(manager: socket.socket, tmp_path: Path, clock: Clock, live: Live) -> Surroundings:
    watchdog = Watchdog(Service(manager.getsockname(), 3.0), monotonic=clock)
    return Surroundings(tmp_path / "journal", Settings(), lambda: live, watchdog=watchdog, monotonic=clock)


def test_rounds_of_the_loop_become_ready_once_and_pings(manager: socket.socket, tmp_path: Path) -> None:
    clock = Clock()
    made = around(manager, tmp_path, clock, Live("ACTIVE", 0.1, 0.0, 2, 1))
    for _ in range(300):
        clock.now += 0.01
        made.beat()
    made.stopping()
    assert heard(manager) == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_a_round_that_took_too_long_is_seen_and_forgotten_after(manager: socket.socket, tmp_path: Path) -> None:
    clock = Clock()
    made = around(manager, tmp_path, clock, Live("ACTIVE", 0.1, 0.0, 0))
    clock.now += 5.0
    assert made.live().loop_lag_s == 5.0
    made.beat()
    assert heard(manager) == ["READY=1", "STATUS=the loop is 5.0 s late"]
    for _ in range(300):
        clock.now += 0.01
        made.beat()
    assert "WATCHDOG=1" in heard(manager) and made.live().loop_lag_s < 0.1


def test_a_silent_stream_feeds_no_watchdog(manager: socket.socket, tmp_path: Path) -> None:
    clock = Clock()
    made = around(manager, tmp_path, clock, Live("REDUCING", 50.0, 0.0, 0))
    for _ in range(300):
        clock.now += 0.01
        made.beat()
    assert "WATCHDOG=1" not in heard(manager)


async def test_its_tasks_serve_the_journal_and_hand_changed_settings_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, port = tmp_path / "copytrader.toml", free_port()
    file.write_text(f"[executor]\nmetrics_port = {port}\n")
    monkeypatch.setenv("COPYTRADER_CONFIG", str(file))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    wal = Wal(tmp_path / "journal")
    wal.append(decided())
    wal.close()
    made = Surroundings(tmp_path / "journal", Settings(), lambda: Live("ACTIVE", 0.1, 0.0, 3))
    queue: asyncio.Queue[Settings] = asyncio.Queue()
    tasks = [asyncio.ensure_future(work()) for work in made.works(queue.put)]
    try:
        async with asyncio.timeout(20):
            file.write_text(f"[executor]\nmetrics_port = {port}\n[risk]\nmax_open_positions = 4\n")
            assert (await queue.get()).risk.max_open_positions == 4
            text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read())
        assert b"copytrader_executor_open_positions 3.0" in text and b'code="ACCEPTED"} 1.0' in text
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
