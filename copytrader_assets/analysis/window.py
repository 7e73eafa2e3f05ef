"""The as-of windows: which time, and which trips of which wallet, a row with `as_of = D` may use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

NS_PER_DAY = 86_400_000_000_000
NS_PER_HOUR = 3_600_000_000_000
NS_PER_MS = 1_000_000
_EPOCH = date(1970, 1, 1)
_NAME = re.compile(r"(?P<days>\d+)d|last(?P<last>\d+)|lifetime")


@dataclass(frozen=True, slots=True)
class Window:
    """The `days` UTC days that end with `as_of`: start_ns inclusive, end_ns exclusive."""

    as_of: date
    days: int
    start_ns: int
    end_ns: int

    @classmethod
    def ending(cls, as_of: date, days: int) -> Window:
        """The window of `days` days whose last day is `as_of`."""
        return cls(as_of, days, end_ns(as_of) - days * NS_PER_DAY, end_ns(as_of))


@dataclass(frozen=True, slots=True)
class TripWindow:
    """What counts for a wallet: the last `days` days, the last `last` trips of the wallet, or both; None is no bound.

    Days are whole UTC days that end with the as-of day.
    """

    name: str
    days: int | None = None
    last: int | None = None

    @classmethod
    def parse(cls, name: str) -> TripWindow:
        """`7d`, `last50` or `lifetime`. Raises ValueError for anything else, and for windows of nothing."""
        found = _NAME.fullmatch(name)
        sizes = {key: int(text) for key, text in (found.groupdict() if found else {}).items() if text is not None}
        if found is None or 0 in sizes.values():
            raise ValueError(f"a window is named like 7d, last50 or lifetime; found {name!r}")
        return cls(name, **sizes)

    def first_day(self, as_of: date, history: date) -> date:
        """The first day that is needed: of a window without a number of days, where `history` begins."""
        return history if self.days is None else max(history, as_of - timedelta(days=self.days - 1))


def start_ns(day: date) -> int:
    """The first nanosecond of the UTC day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000


def end_ns(day: date) -> int:
    """The first nanosecond after the UTC day."""
    return start_ns(day) + NS_PER_DAY


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days
