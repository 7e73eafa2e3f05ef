"""`landings`: how late our own live orders landed, as of each day. What is expected from it: `policy.landing`."""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg
import pyarrow as pa

from copytrader_assets.partitions import POSTGRES, daily, days_of
from copytrader_assets.proof_schemas import LANDINGS
from copytrader_assets.publish import Publication, Result, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import EVENTS
from copytrader_core.settings import settings
from copytrader_core.store.own_landings import own_landings


@dg.asset(
    name=LANDINGS.name,
    # Nothing of theirs is read; but a day that is not sealed is not over either.
    deps=[EVENTS.name],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POSTGRES,
    kinds={"parquet"},
    description=LANDINGS.about,
    check_specs=[rules_check(LANDINGS)],
    output_required=False,
)
@retried
def landings(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Empty while nothing has been traded live."""
    window = settings().executor.landing_window_days
    with Publication(context, lake_folder.lake) as publication:
        for day in days_of(context):
            with warehouse.connection() as connection:
                found = own_landings(connection, day, window)
            rows = pa.Table.from_pylist([asdict(one) | {"as_of": day} for one in found], LANDINGS.arrow)
            publication.add(LANDINGS, day, rows, {}, shown={"orders": sum(one.n_orders for one in found)})
        yield from publication.finish()
