"""The one partitioning of the project: UTC days. Not here: what a day holds."""

from __future__ import annotations

import datetime as dt
from typing import Final

import dagster as dg

FIRST_DAY: Final = dt.date(2024, 1, 1)
# All assets share this very object: ranges over assets with different starts would split into several runs.
# end_offset=1 makes the running day addressable, for backtests and tests on the chain's newest events.
daily: Final = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)
previous_day: Final = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

# Steps of this pool move much between Postgres and here: dagster.yaml lets one run at a time have it.
POSTGRES: Final = "postgres"
NS_PER_DAY: Final = 86_400_000_000_000
_EPOCH = dt.date(1970, 1, 1)


def day_bounds_ns(day: dt.date) -> tuple[int, int]:
    """First nanosecond of the UTC day, and of the next."""
    start = (day - _EPOCH).days * NS_PER_DAY
    return start, start + NS_PER_DAY


def days_of(context: dg.AssetExecutionContext) -> list[dt.date]:
    """The days that this run computes, in order. Refuses a run without any, as one that executes a check by itself."""
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            "the run names no day: materialize the asset for one, its checks run with it", allow_retries=False
        )
    return sorted(dt.date.fromisoformat(key) for key in context.partition_keys)


def before(day: dt.date) -> dt.date:
    """The day before."""
    return day - dt.timedelta(days=1)
