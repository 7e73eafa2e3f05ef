"""The as-of window: which nanoseconds of chain time a row with `as_of = D` may use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

NS_PER_DAY = 86_400_000_000_000
NS_PER_HOUR = 3_600_000_000_000
NS_PER_MS = 1_000_000


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
        midnight = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC) + timedelta(days=1)
        end_ns = int(midnight.timestamp()) * 1_000_000_000
        return cls(as_of, days, end_ns - days * NS_PER_DAY, end_ns)
