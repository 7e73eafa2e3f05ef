"""What must outlive the process, in one file that is replaced whole: how far it has read, and what waits to be sent.

A line that was read and the alert that it gave are one write, so that none is lost between them and none is made
twice. What is under way is marked before it leaves: after a crash it is sent once more, and says that it may be one
too many.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from copytrader_cli.alerts.alert import Alert
from copytrader_cli.alerts.conditions import Conditions
from copytrader_core.errors import ConfigError, DataError

__all__ = ["Box", "Channel", "Position"]

_FILE: Final = "alerts.json"
_VERSION: Final = 1
# Telegram takes 4096 characters a message.
_MOST_CHARS: Final = 3_500


@dataclass(frozen=True, slots=True)
class Position:
    """The last line that was read, of which journal."""

    journal_id: str
    seq: int


@dataclass(slots=True)
class Channel:
    """What one receiver still has to get, oldest first; `more` counts by kind what there was no room for.

    The first `sending` are under way.
    """

    waiting: list[Alert] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)
    sending: int = 0

    def put(self, alert: Alert, keep: int) -> None:
        """Takes an alert. Where there is no room a loud one takes the place of the oldest silent one."""
        if len(self.waiting) >= keep:
            silent = next((i for i, one in enumerate(self.waiting) if i >= self.sending and not one.loud), None)
            if silent is None or not alert.loud:
                self._count(alert)
                return
            self._count(self.waiting.pop(silent))
        self.waiting.append(alert)

    def take(self) -> list[Alert]:
        """What goes into the next message, marked as under way; empty if nothing waits."""
        if not self.waiting and self.more:
            self._summarise()
        chars = n = 0
        for alert in self.waiting:
            chars += len(alert.line) + 1
            if n and chars > _MOST_CHARS:
                break
            n += 1
        self.sending = n
        return self.waiting[:n]

    def sent(self) -> None:
        """What was under way has arrived, or never will."""
        del self.waiting[: self.sending]
        self.sending = 0

    def failed(self) -> None:
        """What was under way has not left."""
        self.sending = 0

    def _count(self, alert: Alert) -> None:
        self.more[alert.kind] = self.more.get(alert.kind, 0) + 1

    def _summarise(self) -> None:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.more.items(), key=lambda one: -one[1]))
        text = f"and {sum(self.more.values())} more that there was no room for: {kinds}"
        now = time.time_ns()
        self.waiting.append(Alert(f"more/{now}", "more", now, text, loud=True))
        self.more.clear()


class Box:
    """The file, and who may write it: one process."""

    def __init__(self, folder: Path, channels: Iterable[str], keep: int) -> None:
        """Reads what there is in `folder`. ConfigError: another process has it; DataError: it is damaged."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / _FILE
        self._keep = keep
        self._lock = _locked(folder)
        try:
            document = self._read()
        except BaseException:
            os.close(self._lock)
            raise
        self.positions = {mode: Position(**one) for mode, one in document.get("positions", {}).items()}
        self.conditions = {mode: Conditions.from_document(one) for mode, one in document.get("conditions", {}).items()}
        self.offset: int | None = document.get("offset")
        self.ignored: int = document.get("ignored", 0)
        """Messages of chats that are not listed."""
        kept = document.get("channels", {})
        self.channels = {name: _channel(kept.get(name, {})) for name in channels}

    def put(self, alert: Alert) -> None:
        """Every channel gets it. Nothing is kept before `save`."""
        for channel in self.channels.values():
            channel.put(alert, self._keep)

    def save(self) -> None:
        """Returns when everything is on the disk."""
        document = {
            "version": _VERSION,
            "positions": {mode: asdict(one) for mode, one in self.positions.items()},
            "conditions": {mode: one.document() for mode, one in self.conditions.items()},
            "offset": self.offset,
            "ignored": self.ignored,
            "channels": {name: asdict(channel) for name, channel in self.channels.items()},
        }
        staged = self._path.with_suffix(".partial")
        with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(orjson.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self._path)

    def close(self) -> None:
        """Gives it free for another process."""
        os.close(self._lock)

    def _read(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DataError(f"{self._path} cannot be read ({error}): remove it to begin with what comes now") from error
        if document.get("version") != _VERSION:
            raise DataError(f"{self._path} is of another version: use the one that wrote it, or remove it")
        return document


def _channel(document: dict[str, Any]) -> Channel:
    waiting = [Alert(**one) for one in document.get("waiting", [])]
    n = document.get("sending", 0)
    again = [replace(one, again=True) for one in waiting[:n]]
    return Channel([*again, *waiting[n:]], dict(document.get("more", {})))


def _locked(folder: Path) -> int:
    handle = os.open(folder / "alerts.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigError(f"another `copytrader alerts` runs with {folder}: stop it first") from error
    return handle
