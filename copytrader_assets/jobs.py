"""Jobs, and the one way to run a range of days in this process, against Dagster's real instance.

Not `dagster job backfill`: it ignores backfill policies and self-dependencies and runs days unordered.
"""

from __future__ import annotations

import datetime as dt
import traceback
from dataclasses import dataclass
from typing import Any

import dagster as dg

from copytrader_assets.partitions import FIRST_DAY, daily
from copytrader_core.errors import CopytraderError, StoreError

# Dagster's own names of the tags that make one run compute a range.
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"
_OUR_ERRORS = {CopytraderError.__name__, *(kind.__name__ for kind in CopytraderError.__subclasses__())}

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


def materialize(
    definitions: dg.Definitions,
    first: dt.date,
    last: dt.date,
    instance: dg.DagsterInstance,
    selection: dg.AssetSelection | None = None,
) -> Outcome:
    """Materializes every asset, or those of `selection`, for the days `first` to `last` in one run of this process.

    Raises StoreError for days that are no partitions.
    """
    newest = dt.date.fromisoformat(str(daily.get_last_partition_key()))
    if not FIRST_DAY <= first <= last <= newest:
        raise StoreError(f"the days must lie between {FIRST_DAY} and {newest}, in order; found {first} to {last}")
    chosen = sorted(selection.resolve(definitions.resolve_asset_graph())) if selection is not None else None
    result = definitions.resolve_job_def("daily").execute_in_process(
        instance=instance,
        asset_selection=chosen,
        tags=range_tags(first, last),
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    counts: dict[str, int] = {}
    for event in result.filter_events(lambda e: e.event_type_value == "ASSET_MATERIALIZATION"):
        name = event.asset_key.to_user_string() if event.asset_key else ""
        counts[name] = counts.get(name, 0) + 1
    return Outcome(result.run_id, counts, _failures(result))


def materialize_here(first: dt.date, last: dt.date) -> Outcome:
    """The same with the production definitions and the instance of DAGSTER_HOME. Raises CopytraderError only."""
    from copytrader_assets.definitions import defs

    try:
        with dg.DagsterInstance.get() as instance:
            return materialize(defs, first, last, instance)
    except CopytraderError:
        raise
    except Exception as error:
        raise CopytraderError(_unforeseen(traceback.format_exc())) from error


def _failures(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    return tuple(f"{event.step_key}: {_reason(event.step_failure_data)}" for event in result.get_step_failure_events())


def _reason(data: Any) -> str:
    """Our own message where the step refused; for anything else the whole error, which is a bug."""
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    cause = data.error.cause if data.error is not None and data.error.cause is not None else data.error
    if cause is None:
        return "failed"
    return str(cause.message).strip() if cause.cls_name in _OUR_ERRORS else _unforeseen(str(cause.to_string()))


def _unforeseen(trace: str) -> str:
    """A message that ends with what to do about a failure that nobody thought of."""
    return (
        f"{trace.rstrip()}\nunforeseen failure, see above: what failed was not published and the old snapshots stand; "
        "run the same command again, and report this text if it fails again"
    )
