"""Programs under a service manager as deploy/systemd/ describes it: killed with all their children, started again.

What each program does and how it is seen to be alive is the business of whoever makes the units.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

PATIENCE_SECONDS = 180
_RESTART_SECONDS = 1.0


@dataclass
class Unit:
    """One service. `pulse` gives a number that grows as long as it does its work, None where it cannot be asked."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    pulse: Callable[[], float | None]
    process: subprocess.Popen[bytes] | None = None
    # Ends that nobody has asked for.
    ends: list[int] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.environment),
                start_new_session=True,
                cwd=self.folder,
            )

    def kill(self) -> None:
        """SIGKILL to the program and to whatever it has started, as systemd empties a unit's group."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def restart_if_ended(self) -> None:
        """`Restart=always`."""
        if self.process is not None and (status := self.process.poll()) is not None:
            self.ends.append(status)
            time.sleep(_RESTART_SECONDS)
            self.start()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:] if self.log.exists() else ""


class Pings:
    """Where a unit's sd_notify pings arrive; the pulse of a program that is seen by nothing else."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.address)
        self._count = 0

    def pulse(self) -> float:
        with suppress(BlockingIOError):
            while self._socket.recv(4_096):
                self._count += 1
        return float(self._count)

    def close(self) -> None:
        self._socket.close()


def until(holds: Callable[[], bool], what: Callable[[], str], watch: Callable[[], None] = lambda: None) -> None:
    """Waits until something is true; `watch` is called meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what()
        watch()
        time.sleep(0.1)


def kill_postgres(url: str) -> None:
    """Kills the whole server at once, as the kernel would, and waits until nothing of it is left."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SHOW data_directory").fetchone()
    assert found is not None
    pid = int(Path(found[0], "postmaster.pid").read_text().split()[0])
    pids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [pid]
    for number in pids:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in pids), lambda: "Postgres does not die")
