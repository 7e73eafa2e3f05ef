"""Policy, limits and the executor's own section change while it runs: a file that is wrong changes nothing.

Only looks and compares; who asks, and what follows from new settings, is the service's. Other sections are those of the
start until the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from copytrader_core.errors import ConfigError
from copytrader_core.settings import Settings

__all__ = ["SECTIONS", "SettingsWatch", "config_path"]

_log = logging.getLogger("copytrader.executor.reload")

SECTIONS: Final = ("policy", "risk", "executor")

_Seen = tuple[int, int, int]


def config_path() -> Path:
    """The file that settings come from: COPYTRADER_CONFIG, or copytrader.toml in the working folder."""
    return Path(os.environ.get("COPYTRADER_CONFIG", "copytrader.toml"))


class SettingsWatch:
    """Looks at the settings file each time it is asked. `load` reads all settings anew, environment included."""

    def __init__(self, current: Settings, load: Callable[[], Settings] = Settings, path: Path | None = None) -> None:
        self.current = current
        self._load = load
        self._path = path or config_path()
        self._judged: _Seen | None = None
        self._last: _Seen | None = None
        self._failed: _Seen | None = None
        self._was_there = self._path.exists()
        self._missed = False
        self._sections: frozenset[str] = frozenset()
        with contextlib.suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
            self._sections = _sections(self._path)

    def poll(self) -> Settings | None:
        """New settings once the file has changed to something valid, None otherwise. Never raises.

        A file is read when two looks find it the same, so that one in the middle of being written is waited for; one
        that cannot be read then is tried once more before it is called wrong.
        """
        seen = self._look()
        if seen is None or seen == self._judged:
            return None
        if seen != self._last:
            self._last = seen
            return None
        try:
            loaded, sections = self._load(), _sections(self._path)
            if lost := self._sections - sections:
                raise ConfigError(f"sections are gone, and with them their limits: {', '.join(sorted(lost))}")
        except (
            *(ValidationError, ConfigError, tomllib.TOMLDecodeError, UnicodeDecodeError),
            *(OSError, RecursionError),
        ) as error:
            self._fail(seen, error)
            return None
        if self._look() != seen:
            return None
        self._judged, self._sections = seen, sections
        return self._take(loaded)

    def _look(self) -> _Seen | None:
        try:
            stat = self._path.stat()
        except OSError as error:
            if self._was_there and not self._missed:
                _log.warning("settings_kept file=%s: %s; put it back, what was read last stands", self._path, error)
            self._missed = True
            return None
        self._was_there, self._missed = True, False
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _fail(self, seen: _Seen, error: Exception) -> None:
        if self._failed != seen:
            self._failed = seen
            return
        self._judged = seen
        _log.warning("settings_kept file=%s: %s; correct it, what was read last stands", self._path, _wrong(error))

    def _take(self, loaded: Settings) -> Settings | None:
        """The running settings with the three sections of `loaded`; None if that changes nothing."""
        merged = self.current.model_copy(update={name: getattr(loaded, name) for name in SECTIONS})
        if loaded != merged:
            names = [name for name in Settings.model_fields if getattr(loaded, name) != getattr(merged, name)]
            _log.warning("settings_wait sections=%s: they change with the next start", ",".join(names))
        if merged == self.current:
            return None
        changed = " ".join(_changes(self.current, merged))
        self.current = merged
        _log.warning("settings_changed %s", changed)
        return merged


def _sections(path: Path) -> frozenset[str]:
    """The names at the top of a file: one that was cut while it was written has lost some."""
    return frozenset(tomllib.loads(path.read_text()))


def _wrong(error: Exception) -> str:
    """Which fields are wrong and why, in one line; never what stood there."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return " ".join(str(error).split())


def _changes(old: Settings, new: Settings) -> Iterator[str]:
    for section in SECTIONS:
        was: dict[str, Any] = getattr(old, section).model_dump(mode="json")
        now: dict[str, Any] = getattr(new, section).model_dump(mode="json")
        yield from (f"{section}.{name}={now[name]!r} (was {was[name]!r})" for name in now if now[name] != was[name])
