"""What a long-running program tells the service manager that started it (sd_notify(3)), without any library.

Outside a service manager every call does nothing. When to ping the watchdog is decided by the program, not here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from copytrader_core.errors import ConfigError

__all__ = ["Service"]


@dataclass(frozen=True, slots=True)
class Service:
    """The manager's side of this process. `watchdog_seconds` is how long it waits for a ping, None if it does not.

    `address` is the manager's datagram socket, None without a manager. Every call returns whether the message was
    handed over, and never waits or raises: a manager that does not listen must not hold the program up.
    """

    address: str | None = None
    watchdog_seconds: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """What NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say. ConfigError for values that no manager sets."""
        given = os.environ if environment is None else environment
        address = given.get("NOTIFY_SOCKET") or None
        if address is not None and address[0] not in "/@":
            raise ConfigError(f"NOTIFY_SOCKET must be a path or an abstract @name, found {address!r}: unset it")
        return cls(address, _watchdog_seconds(given) if address else None)

    def ready(self, status: str) -> bool:
        """The program has started; `status` is one line for people."""
        return self._send("READY=1", _status(status))

    def status(self, status: str) -> bool:
        """What the program is doing now, in one line for people."""
        return self._send(_status(status))

    def alive(self, status: str | None = None) -> bool:
        """The ping that the watchdog waits for, with a new status line if given."""
        return self._send("WATCHDOG=1", *([] if status is None else [_status(status)]))

    def stopping(self, status: str) -> bool:
        """The program has begun to end."""
        return self._send("STOPPING=1", _status(status))

    def _send(self, *lines: str) -> bool:
        if self.address is None:
            return False
        # An abstract name begins with a zero byte in the kernel and with @ in the environment.
        address = "\0" + self.address[1:] if self.address[0] == "@" else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as link:
                link.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _watchdog_seconds(given: Mapping[str, str]) -> float | None:
    pid, usec = given.get("WATCHDOG_PID"), given.get("WATCHDOG_USEC")
    # The variables are inherited: a watchdog that is set for another process is not ours.
    if not usec or (pid and pid != str(os.getpid())):
        return None
    if not usec.isdigit() or int(usec) == 0:
        raise ConfigError(f"WATCHDOG_USEC must be a positive number of microseconds, found {usec!r}: unset it")
    return int(usec) / 1e6
