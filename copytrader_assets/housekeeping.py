"""The job that drops verified days from Postgres. How a day is verified stands in retention.py."""

import dagster as dg

from copytrader_assets.partitions import POSTGRES
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retention import late_days, retire
from copytrader_assets.retries import retried


class KeepDays(dg.Config):
    """How many of the newest days stay in Postgres."""

    keep_days: int = 60


@dg.op(pool=POSTGRES)
@retried
def drop_verified_days(
    context: dg.OpExecutionContext, config: KeepDays, lake_folder: LakeFolder, warehouse: Warehouse
) -> None:
    """Drops what `copytrader retention` would drop; fails, and says why, if an old day had to stay."""
    with warehouse.connection() as connection:
        connection.autocommit = True
        outcomes = list(retire(connection, lake_folder.lake, config.keep_days))
        late = late_days(connection)
    for outcome in outcomes:
        context.log.info(str(outcome))
    for one in late:
        context.log.warning(f"{one.day} was dropped, but {one.late_events} events came later: not in the lake")
    if kept := [str(outcome) for outcome in outcomes if outcome.done == "kept"]:
        raise dg.Failure("old days were kept:\n" + "\n".join(kept), allow_retries=False)


@dg.job(description="Drops old days of raw_events that equal their snapshot in the lake.")
def retention() -> None:
    """One step: the days are independent, and each is a transaction of its own."""
    drop_verified_days()
