"""`raw_events` as the ingest worker lands it, and `events`: its sealed days in the lake, in chain order."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from copytrader_assets import checks
from copytrader_assets.catalog import RAW_EVENTS
from copytrader_assets.partitions import POSTGRES, daily, days_of
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Seal, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import EVENTS
from copytrader_core.errors import DataError

_COMPLETENESS = "completeness"
_DRIFT = "row_count"

raw_events = dg.AssetSpec(
    RAW_EVENTS,
    description="Decoded events, as worker or backfill landed them. A sealed day is reported as materialized.",
    partitions_def=daily,
    kinds={"postgres"},
)


@dg.asset(
    name=EVENTS.name,
    deps=[raw_events],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POSTGRES,
    kinds={"parquet"},
    description=EVENTS.about,
    check_specs=[
        rules_check(EVENTS),
        dg.AssetCheckSpec(
            _COMPLETENESS,
            asset=EVENTS.name,
            blocking=True,
            description="The day has as many events as it was sealed with.",
        ),
        dg.AssetCheckSpec(_DRIFT, asset=EVENTS.name, description="The day is about as large as the week before it."),
    ],
    output_required=False,
)
@retried
def events(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Seals must stand before anything is read: half a day must never look like a day, nor an emptied one."""
    days = days_of(context)
    for day in days:
        _demand_seal(warehouse.seal(day), day)
    with Publication(context, lake_folder.lake) as publication:
        for day in days:
            try:
                with warehouse.read_day(day) as (found, parts):
                    seal = _demand_seal(found, day)
                    staged = publication.add_parts(EVENTS, day, parts, {})
            except DataError as error:
                raise refuse(str(error)) from error
            if staged.rows != seal.n_events:
                publication.problem(
                    EVENTS.name,
                    _COMPLETENESS,
                    f"day {day} was sealed with {seal.n_events} events, raw_events holds {staged.rows}: "
                    f"call `copytrader seal --from {day} --to {day}` if the change is right",
                )
            if odd := checks.unlike_the_week_before(lake_folder.lake, day, staged.rows):
                publication.warning(EVENTS.name, _DRIFT, odd)
        yield from publication.finish()


def _demand_seal(seal: Seal | None, day: dt.date) -> Seal:
    if seal is None:
        raise refuse(
            f"day {day} is not sealed: its events may be incomplete. The worker seals a day once it is over "
            f"and without gaps; after loading events by other means run `copytrader seal --from {day} --to {day}`"
        )
    if seal.dropped_at is not None:
        late = f"; {seal.late_events} events that came later are not in it" if seal.late_events else ""
        raise refuse(
            f"day {day} was dropped after its snapshot had been verified ({seal.dropped_at:%Y-%m-%d %H:%M} UTC): "
            f"its events stand in the lake and cannot be computed again{late}. Select the assets after `events`"
        )
    if seal.unsealed_reason is not None:
        raise refuse(
            f"day {day} is not sealed any more: {seal.unsealed_reason}. Fill the gap (`copytrader backfill --all`), "
            f"and the worker seals the day again; or declare it complete with `copytrader seal --from {day} --to {day}`"
        )
    return seal
