"""The trading state: halt, reduce, resume, flatten. It stands twice, in a file beside the journal and in a row.

The stricter of the two holds. The file is looked at before every decision and every order, without any database; the
row reaches executors on other machines. Both outlive every process and work with the executor dead.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from copytrader_core.errors import StoreError
from copytrader_core.policy.values import TradingState
from executor.locks import Locks
from executor.statements import statement

if TYPE_CHECKING:
    import psycopg

_STRICTNESS: Final[Mapping[str, int]] = {"ACTIVE": 0, "REDUCING": 1, "HALTED": 2}
_FILE: Final = "control.json"


@dataclass(frozen=True, slots=True)
class Control:
    """A wish about trading: the state, whether to sell everything now, and why."""

    state: TradingState
    flatten: bool = False
    reason: str | None = None


ACTIVE: Final = Control("ACTIVE")
_NO_ROW: Final = Control("HALTED", False, "the row of exec_state is missing")
_DATABASE_AWAY: Final = Control("REDUCING", False, "the database is away: releases and locks cannot be seen")


def stricter(one: Control, other: Control) -> Control:
    """What holds where both are wished: the stricter state with its reason, and flatten if either says so."""
    first, second = sorted((one, other), key=lambda c: (-_STRICTNESS[c.state], not c.flatten))
    return Control(first.state, first.flatten or second.flatten, first.reason or second.reason)


def control_from(rows: list[Any]) -> Control:
    """What the row says. A missing one stops everything: a lost lock must not read as permission."""
    return Control(rows[0]["state"], rows[0]["flatten"], rows[0]["reason"]) if rows else _NO_ROW


class Switch:
    """The state as this process must obey it, at every moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / _FILE
        self._text = str(self._path)
        self._seen: tuple[int, int] | None = None
        self._file: Control = ACTIVE
        self._row: Control = _DATABASE_AWAY
        self._projection: Control = ACTIVE
        self._parts: tuple[Control, Control, Control] | None = None
        self._strictest: Control = _DATABASE_AWAY
        self.locks = Locks()
        """What somebody has forbidden to buy, as it was read last."""

    @property
    def control(self) -> Control:
        """File and row together, and whether Postgres follows. A file that cannot be read stops everything."""
        self._look()
        parts = (self._file, self._row, self._projection)
        # Asked for every order and every exit: what has not changed is not compared again.
        if self._parts != parts:
            self._parts, self._strictest = parts, stricter(stricter(self._file, self._row), self._projection)
        return self._strictest

    @property
    def state(self) -> TradingState:
        """The state alone."""
        return self.control.state

    @property
    def seen(self) -> TradingState:
        """The state as it was when somebody asked for it last: at every tick, slot's end and decision somebody does."""
        return self._strictest.state

    def heard(self, row: Control | None) -> None:
        """The row has been read; None: there is no database to read it from."""
        self._row = row if row is not None else _DATABASE_AWAY

    def projected(self, problem: str | None) -> None:
        """Why the journal's lines do not get into Postgres, None if they do. While they do not, nothing is bought."""
        self._projection = ACTIVE if problem is None else Control("REDUCING", False, problem)

    def trip(self, control: Control) -> bool:
        """The executor presses its own button; False if the file is as strict already. It outlives this process."""
        with _alone(self._path.parent):
            before = read_control(self._path.parent)
            after = stricter(control, before)
            if after.state == before.state:
                return False
            _write(self._path.parent, after)
        return True

    def flattened(self) -> None:
        """Nothing is held any more: the wish to flatten is done. The row follows with the journal."""
        self._look()
        self._row = Control(self._row.state, False, self._row.reason)
        with _alone(self._path.parent):
            file = read_control(self._path.parent)
            if file.flatten:
                _write(self._path.parent, Control(file.state, False, file.reason))

    def _look(self) -> None:
        try:
            # Asked for every order, before it is signed and before it is sent: `Path.stat` takes three times as long.
            stat = os.stat(self._text)  # noqa: PTH116
        except FileNotFoundError:
            self._seen, self._file = None, ACTIVE
            return
        seen = (stat.st_mtime_ns, stat.st_ino)
        if seen != self._seen:
            self._seen, self._file = seen, read_control(self._path.parent)


def read_control(folder: Path) -> Control:
    """What the file in `folder` says: ACTIVE where there is none, HALTED where it cannot be read."""
    try:
        control = Control(**orjson.loads((folder / _FILE).read_bytes()))
        if control.state not in _STRICTNESS:
            raise ValueError(f"there is no state {control.state!r}")
        return control
    except FileNotFoundError:
        return ACTIVE
    except (OSError, ValueError, TypeError) as error:
        return Control("HALTED", False, f"{folder / _FILE} cannot be read: {error}")


def write_control(folder: Path, control: Control) -> None:
    """Puts the wish into the file, whole or not at all: once this returns, nothing it forbids is decided or sent."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(folder):
        _write(folder, control)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else reads the file to write it again meanwhile: a halt that comes in between must not be lost."""
    # The folder itself: a file would belong to whoever pressed first, and root's would shut the service out.
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(folder: Path, control: Control) -> None:
    staged = folder / f".{_FILE}.{os.getpid()}"
    with staged.open("wb") as file:
        file.write(orjson.dumps({"state": control.state, "flatten": control.flatten, "reason": control.reason}))
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(staged, owner.st_uid, owner.st_gid)
    staged.replace(folder / _FILE)


def set_state(connection: psycopg.Connection[Any], control: Control) -> None:
    """Sets the row and tells every executor that listens."""
    with connection.transaction():
        done = connection.execute(
            statement("set_state"), {"state": control.state, "flatten": control.flatten, "reason": control.reason}
        )
        if done.rowcount == 0:
            raise StoreError("the row of exec_state is missing, so that everything is HALTED: restore it from a backup")
        connection.execute(statement("notify_state"))


def flatten_done() -> tuple[str, dict[str, Any]]:
    """The change that takes back wishes to flatten of up to now in the row."""
    return ("flatten_done", {"asked_before_seconds": time.time()})
