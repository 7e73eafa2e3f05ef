"""Messages to the service manager, over real datagram sockets."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytrader_core.errors import ConfigError
from copytrader_core.service import Service


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening manager and the NOTIFY_SOCKET that leads to it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@copytrader-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.settimeout(2)
        yield listening, name


def test_says_ready_alive_status_and_stopping(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    service = Service.from_environment({"NOTIFY_SOCKET": name})
    assert service.ready("resumed at slot 7") and service.alive() and service.alive("slot 8")
    assert service.status("two\nlines ") and service.stopping("asked to end")
    assert [listening.recv(999) for _ in range(5)] == [
        b"READY=1\nSTATUS=resumed at slot 7",
        b"WATCHDOG=1",
        b"WATCHDOG=1\nSTATUS=slot 8",
        b"STATUS=two lines",
        b"STOPPING=1\nSTATUS=asked to end",
    ]


def test_does_nothing_without_a_manager() -> None:
    service = Service.from_environment({"WATCHDOG_USEC": "1000000"})
    assert service == Service(None, None)
    assert not (service.ready("x") or service.alive() or service.status("x") or service.stopping("x"))


def test_a_manager_that_went_away_disturbs_nobody(tmp_path: Path) -> None:
    assert not Service(str(tmp_path / "nobody")).alive()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: tuple[socket.socket, str]) -> None:
    service = Service(manager[1])
    delivered = [service.alive() for _ in range(3000)]
    assert delivered[0] and not delivered[-1]


def test_the_watchdog_time_is_taken_only_if_it_is_meant_for_this_process() -> None:
    here = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "2500000"}
    assert Service.from_environment(here).watchdog_seconds == 2.5
    assert Service.from_environment({**here, "WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 2.5
    assert Service.from_environment({**here, "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Service.from_environment({"NOTIFY_SOCKET": "/run/x"}).watchdog_seconds is None


@pytest.mark.parametrize(
    "wrong", [{"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"},
              {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}],
)  # fmt: skip
def test_values_that_no_manager_sets_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="unset it"):
        Service.from_environment(wrong)


def test_speaks_from_a_process_of_its_own(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    code = "from copytrader_core.service import Service; print(Service.from_environment().ready('up'))"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "NOTIFY_SOCKET": name}, check=True, timeout=20)
    assert listening.recv(999) == b"READY=1\nSTATUS=up"
