"""One line of `copytrader doctor`: what was looked at, what was found, what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Finding", "Level", "fail", "ok", "one_line", "warn"]

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` is empty where there is nothing to do."""

    check: str
    level: Level
    found: str
    advice: str = ""

    def document(self) -> dict[str, str]:
        """As JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        line = f"{self.level:<5} {self.check:<12} {self.found}"
        return f"{line}\n{'':<18} -> {self.advice}" if self.advice else line


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, advice: str) -> Finding:
    """It works, but not as well or as safely as it could."""
    return Finding(check, "warn", found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """Something does not work until this is done."""
    return Finding(check, "fail", found, advice)


def one_line(error: BaseException) -> str:
    """An error's text without line ends."""
    return " ".join(str(error).split())
