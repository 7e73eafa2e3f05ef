"""`trades` and `open_positions`: one fold over a day's events, continued from the day before."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import dagster as dg

from copytrader_assets import checks
from copytrader_assets.analysis.trip_checks import repeated_keys
from copytrader_assets.analysis.trip_tables import PUBLISHED, Carry
from copytrader_assets.inputs import first_day
from copytrader_assets.lake import Lake
from copytrader_assets.ledger_day import LedgerDay, ledger_day
from copytrader_assets.partitions import before, daily, days_of, previous_day
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES, Table
from copytrader_core.settings import settings

# Only open_positions says that it continues yesterday: an offset anywhere else would draw one more day into a backfill.
# trades hangs on it because one fold makes both, so that a backfill computes them in one run.
_DEPS: Final[Mapping[str, Sequence[str | dg.AssetDep]]] = {
    OPEN_POSITIONS.name: [EVENTS.name, dg.AssetDep(OPEN_POSITIONS.name, partition_mapping=previous_day)],
    TRADES.name: [EVENTS.name, OPEN_POSITIONS.name],
}


def _spec(table: Table) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=_DEPS[table.name],
        description=table.about,
        kinds={"parquet"},
        skippable=True,
    )


@dg.multi_asset(
    specs=[_spec(TRADES), _spec(OPEN_POSITIONS)],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    check_specs=[
        rules_check(TRADES),
        rules_check(OPEN_POSITIONS),
        dg.AssetCheckSpec(
            checks.BALANCE,
            asset=OPEN_POSITIONS.name,
            blocking=True,
            description="Bought - sold = change of what is held, to the raw coin.",
        ),
        *(
            dg.AssetCheckSpec(
                checks.KEYS, asset=table.name, blocking=True, description="A first buy opens one round trip of a day."
            )
            for table in (TRADES, OPEN_POSITIONS)
        ),
        dg.AssetCheckSpec(
            checks.CONTINUITY, asset=OPEN_POSITIONS.name, description="The following day continues this very snapshot."
        ),
    ],
)
@retried
def round_trips(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """All days of the run in one pass; only the carry is kept between them."""
    lake = lake_folder.lake
    days = days_of(context)
    carry, parent = _carried(lake, warehouse, days[0])
    _demand_present(lake, warehouse, days)
    with Publication(context, lake) as publication:
        for day in days:
            carry, parent = _day(publication, lake, day, carry, parent)
        if stale := checks.stale_successor(lake, days[-1], parent):
            publication.warning(OPEN_POSITIONS.name, checks.CONTINUITY, stale)
        yield from publication.finish()


def _demand_present(lake: Lake, warehouse: Warehouse, days: Sequence[dt.date]) -> None:
    """Every day's events are there, and are those that it is sealed with."""
    for day in days:
        if not lake.has(EVENTS.name, day):
            raise refuse(f"events {day} is missing in the lake: run `copytrader materialize --from {day} --to {day}`")
    if outdated := checks.first_outdated(lake, days, warehouse.seals(days[0], days[-1])):
        raise refuse(f"{outdated[1]}: run `copytrader materialize --from {outdated[0]} --to {days[-1]}`")


def _day(publication: Publication, lake: Lake, day: dt.date, carry: Carry, parent: str) -> tuple[Carry, str]:
    """Folds one day and stages its two snapshots; returns the state at its end and the hash that the next continues."""
    rules = settings().ledger
    folded = ledger_day(lake, day, carry, rules, settings().engine)
    _check(publication, day, folded)
    facts = {checks.PARENT: parent, checks.EVENTS_HASH: lake.snapshot(EVENTS.name, day).content_hash}
    publication.add_parts(TRADES, day, folded.trades(rules), facts, shown=folded.ends())
    rows, companion = folded.open_positions(rules), folded.carry.stored()
    staged = publication.add_parts(OPEN_POSITIONS, day, rows, facts, companion=companion)
    return folded.carry, staged.content_hash


def _check(publication: Publication, day: dt.date, folded: LedgerDay) -> None:
    """What no part of a day can show by itself."""
    if problem := folded.flow.problem:
        publication.problem(OPEN_POSITIONS.name, checks.BALANCE, f"{day}: {problem}")
    for table, trips in ((TRADES, folded.finished), (OPEN_POSITIONS, [folded.carry.held])):
        for key in repeated_keys(trips):
            publication.problem(table.name, checks.KEYS, f"{day}: {key} stands more than once")


def _carried(lake: Lake, warehouse: Warehouse, first: dt.date) -> tuple[Carry, str]:
    """The state before `first` and its hash. Nothing, if no event is older than that day."""
    previous = before(first)
    if not lake.has(OPEN_POSITIONS.name, previous):
        if _anything_before(lake, warehouse, first):
            raise refuse(
                f"open_positions {previous} is missing, but there are events before {first}: "
                f"run `copytrader materialize --from {_resume_day(lake, warehouse, first)} --to {first}`"
            )
        return Carry.nothing(), checks.GENESIS
    if broken := checks.first_break(lake, previous):
        raise refuse(f"{broken[1]}: run `copytrader materialize --from {broken[0]} --to {first}`")
    _demand_seals(lake, warehouse, previous, first)
    rows = lake.read(OPEN_POSITIONS.name, previous, tuple(PUBLISHED.values()))
    carry = Carry.read(rows, lake.read_companion(OPEN_POSITIONS.name, previous))
    return carry, lake.snapshot(OPEN_POSITIONS.name, previous).content_hash


def _demand_seals(lake: Lake, warehouse: Warehouse, previous: dt.date, first: dt.date) -> None:
    """The carried state stands on days whose events are those of their seals, and the last of them is sealed now.

    An older seal that has ended for a gap does not stop the days after it: its day is computed again when it is whole.
    """
    days = checks.chain(lake, previous)
    seals = warehouse.seals(days[-1], previous)
    held = [day for day in days if day == previous or (day in seals and seals[day].unsealed_reason is None)]
    if outdated := checks.first_outdated(lake, held, seals):
        raise refuse(f"{outdated[1]}: run `copytrader materialize --from {outdated[0]} --to {first}`")


def _anything_before(lake: Lake, warehouse: Warehouse, first: dt.date) -> bool:
    earlier = [day for day in lake.days(EVENTS.name) if day < first]
    return any(lake.snapshot(EVENTS.name, day).rows for day in earlier) or warehouse.has_events_before(first)


def _resume_day(lake: Lake, warehouse: Warehouse, first: dt.date) -> dt.date:
    """The day after the last published one; where nothing is, the first one with events."""
    earlier = [day for day in lake.days(OPEN_POSITIONS.name) if day < first]
    if earlier:
        return earlier[-1] + dt.timedelta(days=1)
    return min(first_day(lake, warehouse.first_sealed_day()) or first, before(first))
