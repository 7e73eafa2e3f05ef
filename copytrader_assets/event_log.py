"""The job that keeps Dagster's event log small. What was materialized, checked and run is never forgotten.

Dagster's own retention ends with ticks, and deleting a run erases what it materialized. So the runs stay, and of old
ones that are over go only the events named here.
"""

import datetime as dt
import time
from typing import Final

import dagster as dg
import sqlalchemy as sa
from dagster_postgres import PostgresEventLogStorage

from copytrader_core.errors import StoreError

# Named one by one: an event type that a newer Dagster brings stays until somebody has looked at it.
FORGOTTEN: Final = (
    *("STEP_OUTPUT", "STEP_INPUT", "STEP_START", "STEP_SUCCESS", "STEP_SKIPPED", "STEP_WORKER_STARTING"),
    *("STEP_WORKER_STARTED", "RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS", "RESOURCE_INIT_FAILURE"),
    *("OBJECT_STORE_OPERATION", "LOADED_INPUT", "HANDLED_OUTPUT", "ENGINE_EVENT", "LOGS_CAPTURED"),
    *("HOOK_COMPLETED", "HOOK_SKIPPED", "PIPELINE_ENQUEUED", "PIPELINE_DEQUEUED", "PIPELINE_STARTING"),
)
# A row without a type is a line that a step logged.
_DELETE: Final = sa.text(
    "DELETE FROM event_logs WHERE id IN (SELECT e.id FROM event_logs e JOIN runs r USING (run_id)"
    " WHERE (e.dagster_event_type IS NULL OR e.dagster_event_type = ANY(:types))"
    " AND e.timestamp < :before AND r.status IN ('SUCCESS', 'FAILURE', 'CANCELED') LIMIT :many)"
)
_AT_ONCE: Final = 20_000
_LONGEST_SECONDS: Final = 1_800.0


class KeepEvents(dg.Config):
    """For how many days the steps' own events and log lines stay."""

    keep_days: int = 30


@dg.op
def drop_step_events(context: dg.OpExecutionContext, config: KeepEvents) -> None:
    """Deletes in pieces, so that nobody waits for it; what half an hour does not reach, the next night does."""
    if config.keep_days < 1:
        raise dg.Failure(f"keep_days must be 1 or more, found {config.keep_days}", allow_retries=False)
    before = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=config.keep_days)
    context.log.info(f"{forget_steps(context.instance, before)} events of before {before:%Y-%m-%d %H:%M} UTC deleted")


@dg.job(description="Deletes old step events and log lines of finished runs; keeps every materialization and check.")
def event_log_retention() -> None:
    """One step."""
    drop_step_events()


def forget_steps(instance: dg.DagsterInstance, before: dt.datetime) -> int:
    """Deletes the FORGOTTEN events and log lines of finished runs from before a moment (UTC, naive as Dagster's).

    Returns how many they were. Raises StoreError where the instance's event log is not in Postgres.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        raise StoreError(f"the event log is kept by {type(storage).__name__}, expected Postgres: see dagster.yaml")
    what = {"types": list(FORGOTTEN), "before": before, "many": _AT_ONCE}
    deadline, total = time.monotonic() + _LONGEST_SECONDS, 0
    with storage.index_connection() as connection:
        while time.monotonic() < deadline:
            gone = connection.execute(_DELETE, what).rowcount
            total += gone
            if gone < _AT_ONCE:
                break
    return total
