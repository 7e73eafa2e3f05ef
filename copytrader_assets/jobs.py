"""Jobs, and the one way to run a range of days in this process, against Dagster's real instance.

Not `dagster job backfill`: it ignores backfill policies and self-dependencies and runs days unordered.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import dagster as dg

from copytrader_assets.partitions import FIRST_DAY, daily
from copytrader_core.errors import StoreError

# Dagster's own names of the tags that make one run compute a range.
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"

daily_job = dg.define_asset_job(
    "daily",
    selection=dg.AssetSelection.all(),
    partitions_def=daily,
    description="Every asset of one day: events, round trips, fingerprints, release.",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its id, the materialized asset-days, and the messages of the steps that failed."""

    run_id: str
    materialized: dict[str, int]
    failures: tuple[str, ...]


def range_tags(first: dt.date, last: dt.date) -> dict[str, str]:
    """The tags of a single run over the days `first` to `last`."""
    return {_RANGE_START: first.isoformat(), _RANGE_END: last.isoformat()}


def materialize(definitions: dg.Definitions, first: dt.date, last: dt.date, instance: dg.DagsterInstance) -> Outcome:
    """Materializes every asset for the days `first` to `last` in one run of this process.

    Raises StoreError for days that are no partitions.
    """
    newest = dt.date.fromisoformat(str(daily.get_last_partition_key()))
    if not FIRST_DAY <= first <= last <= newest:
        raise StoreError(f"the days must lie between {FIRST_DAY} and {newest}, in order; found {first} to {last}")
    result = definitions.resolve_job_def("daily").execute_in_process(
        instance=instance,
        tags=range_tags(first, last),
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
    )
    counts: dict[str, int] = {}
    for event in result.filter_events(lambda e: e.event_type_value == "ASSET_MATERIALIZATION"):
        name = event.asset_key.to_user_string() if event.asset_key else ""
        counts[name] = counts.get(name, 0) + 1
    return Outcome(result.run_id, counts, _failures(result))


def _failures(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    messages = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        reason = data.user_failure_data.description if data.user_failure_data else None
        messages.append(f"{event.step_key}: {reason or (data.error.message.strip() if data.error else 'failed')}")
    return tuple(messages)
