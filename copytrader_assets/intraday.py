"""The job that refreshes what the executor reads with the running day, as far as that is known.

It runs the same assets as a whole day does, up to the release, over a lake of its own (running_day.py).
"""

import dagster as dg

from copytrader_assets.catalog import RAW_EVENTS, RELEASE
from copytrader_assets.jobs import Outcome, materialize
from copytrader_assets.partitions import POSTGRES
from copytrader_assets.publish import refuse
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.running_day import reach_or_reason, running_day
from copytrader_core.store.days import Reach


@dg.op(pool=POSTGRES)
@retried
def release_running_day(context: dg.OpExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> None:
    """One step: in between, nothing of a day that is not over may be kept.

    A run that has waited in the queue until the day was sealed has nothing to do, which is no failure.
    """
    reach = reach_or_reason(lake_folder.lake, warehouse)
    if isinstance(reach, str):
        context.log.warning(f"nothing was released: {reach}")
        return
    outcome = refresh(lake_folder, warehouse, reach)
    if outcome.failures:
        raise refuse("\n".join(outcome.failures))
    context.log.info(f"{reach.day} up to slot {reach.slot} is released, provisionally: {outcome.materialized}")


@dg.job(
    description="Fingerprints, edges and round trips with what is known of the running day, as a provisional release. "
    "Neither the lake nor the partitions of the running day are touched."
)
def intraday() -> None:
    """One step."""
    release_running_day()


def refresh(lake_folder: LakeFolder, warehouse: Warehouse, reach: Reach) -> Outcome:
    """Computes the running day up to `reach` and releases it; Dagster's own records of it are thrown away."""
    from copytrader_assets.definitions import build_defs

    with (
        running_day(lake_folder.root, warehouse, reach) as resources,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        needed = dg.AssetSelection.assets(RELEASE).upstream() - dg.AssetSelection.assets(RAW_EVENTS)
        return materialize(build_defs(**resources), reach.day, reach.day, instance, needed)
