"""When things run by themselves. Plain schedules: automation conditions start days whose parents do not exist."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from copytrader_assets import checks
from copytrader_assets.event_log import event_log_retention
from copytrader_assets.housekeeping import retention
from copytrader_assets.intraday import intraday
from copytrader_assets.jobs import daily_job, range_tags
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import FIRST_DAY
from copytrader_assets.resources import LakeFolder, Seal, Warehouse
from copytrader_assets.running_day import reach_or_reason
from copytrader_assets.schemas import OPEN_POSITIONS

_RUNNING: Final = dg.DefaultScheduleStatus.RUNNING


@dg.schedule(
    job=daily_job,
    cron_schedule="15,45 1-23 * * *",
    execution_timezone="UTC",
    default_status=_RUNNING,
    description="Yesterday and every day before it that is sealed and not computed yet, in one run. "
    "A day that is not sealed yet is waited for: the schedule looks again every half hour.",
)
def nightly(
    context: dg.ScheduleEvaluationContext, lake_folder: LakeFolder, warehouse: Warehouse
) -> dg.RunRequest | dg.SkipReason:
    """A day continues the one before it, so the days run in order and end before the first that is not sealed.

    The same days with the same seals are asked for once: what failed on them is for a person to look at, or for the
    next night, whose run has one more day. While a run of these days goes on there is nothing to ask for: what is left
    of them would be another request.
    """
    if _under_way(context, daily_job.name):
        return dg.SkipReason("the run before this one has not ended; looking again in half an hour")
    yesterday = context.scheduled_execution_time.astimezone(dt.UTC).date() - dt.timedelta(days=1)
    lake = lake_folder.lake
    seals = warehouse.seals(FIRST_DAY, yesterday)
    first = first_pending(lake, seals, yesterday)
    if first > yesterday:
        return dg.SkipReason(f"every day up to {yesterday} is computed from the events that it is sealed with")
    days = sealed_from(first, yesterday, seals)
    if not days:
        reason = seals[first].unsealed_reason if first in seals else None
        return dg.SkipReason(f"{first} is not sealed{f': {reason}' if reason else ''}; looking again in half an hour")
    key = f"{days[0]}...{days[-1]} {_name_of([seals[day] for day in days])}"
    if len(days) == 1:
        return dg.RunRequest(run_key=key, partition_key=days[0].isoformat())
    return dg.RunRequest(run_key=key, tags=range_tags(days[0], days[-1]))


@dg.schedule(
    job=intraday,
    cron_schedule="*/30 * * * *",
    execution_timezone="UTC",
    default_status=_RUNNING,
    description="What the executor reads, with the running day as far as it is known. Skips while nothing is new.",
)
def intraday_refresh(
    context: dg.ScheduleEvaluationContext, lake_folder: LakeFolder, warehouse: Warehouse
) -> dg.RunRequest | dg.SkipReason:
    """Once for each newest slot; one that waits in the queue reads the newest when it starts, so one is enough."""
    if _under_way(context, intraday.name):
        return dg.SkipReason("the refresh before this one has not ended")
    reach = reach_or_reason(lake_folder.lake, warehouse)
    if isinstance(reach, str):
        return dg.SkipReason(reach)
    return dg.RunRequest(run_key=f"{reach.day} up to slot {reach.slot}")


# Off until somebody turns it on: what it drops from Postgres is then in the lake alone.
nightly_retention = dg.ScheduleDefinition(
    "nightly_retention",
    job=retention,
    cron_schedule="30 4 * * *",
    execution_timezone="UTC",
    description="Drops old days of raw_events that equal their snapshot in the lake. Off until you turn it on.",
)
nightly_event_log = dg.ScheduleDefinition(
    "nightly_event_log",
    job=event_log_retention,
    cron_schedule="45 4 * * *",
    execution_timezone="UTC",
    default_status=_RUNNING,
    description="Drops what steps said of themselves a month ago. Materializations, checks and runs stay.",
)


def _under_way(context: dg.ScheduleEvaluationContext, job: str) -> bool:
    """Whether a run of the job waits or goes on."""
    return context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=NOT_FINISHED_STATUSES)) > 0


def first_pending(lake: Lake, seals: Mapping[dt.date, Seal], yesterday: dt.date) -> dt.date:
    """The first day that is not computed, or not from the events that it is sealed with; the running one if none is."""
    done = [day for day in lake.days(OPEN_POSITIONS.name) if day <= yesterday]
    if not done:
        return min((day for day, seal in seals.items() if seal.n_events), default=yesterday)
    held = [day for day in done if day in seals and seals[day].unsealed_reason is None]
    outdated = checks.first_outdated(lake, held, seals)
    return outdated[0] if outdated else done[-1] + dt.timedelta(days=1)


def sealed_from(first: dt.date, last: dt.date, seals: Mapping[dt.date, Seal]) -> Sequence[dt.date]:
    """The days from `first` on, up to `last` or to the day before the first whose seal is missing or has ended."""
    days = []
    while first <= last and first in seals and seals[first].unsealed_reason is None:
        days.append(first)
        first += dt.timedelta(days=1)
    return days


def _name_of(seals: Sequence[Seal]) -> str:
    """Another for each new seal of any of the days."""
    return hashlib.sha256("\n".join(f"{seal.day} {seal.sealed_at}" for seal in seals).encode()).hexdigest()[:8]
