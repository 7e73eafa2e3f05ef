"""When things run by themselves. A plain schedule: automation conditions start days whose parents do not exist."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from copytrader_assets.housekeeping import retention
from copytrader_assets.jobs import daily_job, range_tags
from copytrader_assets.resources import LakeFolder
from copytrader_assets.schemas import OPEN_POSITIONS


@dg.schedule(job=daily_job, cron_schedule="15 1 * * *", execution_timezone="UTC")
def nightly(context: dg.ScheduleEvaluationContext, lake_folder: LakeFolder) -> dg.RunRequest:
    """Yesterday, together with the days that earlier nights missed: a day cannot be computed without the one before."""
    yesterday = context.scheduled_execution_time.astimezone(dt.UTC).date() - dt.timedelta(days=1)
    done = [day for day in lake_folder.lake.days(OPEN_POSITIONS.name) if day < yesterday]
    first = min(done[-1] + dt.timedelta(days=1), yesterday) if done else yesterday
    if first == yesterday:
        return dg.RunRequest(run_key=yesterday.isoformat(), partition_key=yesterday.isoformat())
    return dg.RunRequest(run_key=f"{first}...{yesterday}", tags=range_tags(first, yesterday))


# Off until somebody turns it on: what it drops from Postgres is then in the lake alone.
nightly_retention = dg.ScheduleDefinition(
    "nightly_retention", job=retention, cron_schedule="30 4 * * *", execution_timezone="UTC"
)
