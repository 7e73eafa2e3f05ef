"""`trades` and `open_positions`: one fold over a day's events, continued from the day before."""

import datetime as dt
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import dagster as dg

from copytrader_assets import checks
from copytrader_assets.analysis.ledger import Carry, Folded, fold
from copytrader_assets.analysis.trip_rows import (
    movements,
    open_positions_table,
    read_carry,
    trades_table,
    written_off_table,
)
from copytrader_assets.inputs import first_day
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import before, daily, day_bounds_ns, days_of, previous_day
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
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
        group_name="trades",
        kinds={"parquet"},
        metadata={"dagster/column_schema": table.metadata()},
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
            description="Bought - sold = change of what is held, to the raw coin.",
        ),
        dg.AssetCheckSpec(
            checks.CONTINUITY, asset=OPEN_POSITIONS.name, description="The following day continues this very snapshot."
        ),
    ],
)
def round_trips(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """All days of the run in one pass; only the carry is kept between them."""
    lake = lake_folder.lake
    days = days_of(context)
    carry, parent = _carried(lake, warehouse, days[0])
    with Publication(context, lake) as publication:
        for day in days:
            parent = _day(publication, lake, day, carry, parent)
        if stale := checks.stale_successor(lake, days[-1], parent):
            publication.warning(OPEN_POSITIONS.name, checks.CONTINUITY, stale)
        yield from publication.finish()


def _day(publication: Publication, lake: Lake, day: dt.date, carry: Carry, parent: str) -> str:
    """Folds one day into `carry`, stages its two snapshots and returns the hash that the next day continues."""
    if not lake.has(EVENTS.name, day):
        raise refuse(f"events {day} is missing in the lake: run `copytrader materialize --from {day} --to {day}`")
    source = lake.read(EVENTS.name, day)
    held = _held(carry)
    with _no_collector():
        folded = fold(carry, movements(source), day_bounds_ns(day)[1], settings().ledger)
    if problem := checks.balance_problem(source, held, _held(carry), folded):
        publication.problem(OPEN_POSITIONS.name, checks.BALANCE, f"{day}: {problem}")
    facts = {checks.PARENT: parent, checks.EVENTS_HASH: lake.snapshot(EVENTS.name, day).content_hash}
    publication.add(TRADES, day, trades_table(folded.finished), facts, shown=_shown(folded))
    written_off = written_off_table(carry)
    staged = publication.add(OPEN_POSITIONS, day, open_positions_table(carry), facts, companion=written_off)
    return staged.content_hash


def _carried(lake: Lake, warehouse: Warehouse, first: dt.date) -> tuple[Carry, str]:
    """The state before `first` and its hash. Nothing, if no event is older than that day."""
    previous = before(first)
    if not lake.has(OPEN_POSITIONS.name, previous):
        if _anything_before(lake, warehouse, first):
            raise refuse(
                f"open_positions {previous} is missing, but there are events before {first}: "
                f"run `copytrader materialize --from {_resume_day(lake, warehouse, first)} --to {first}`"
            )
        return Carry(), checks.GENESIS
    if broken := checks.first_break(lake, previous):
        raise refuse(f"{broken[1]}: run `copytrader materialize --from {broken[0]} --to {first}`")
    snapshot = lake.snapshot(OPEN_POSITIONS.name, previous)
    rows = lake.read(OPEN_POSITIONS.name, previous)
    with _no_collector():
        carry = read_carry(rows, lake.read_companion(OPEN_POSITIONS.name, previous))
    return carry, snapshot.content_hash


@contextmanager
def _no_collector() -> Iterator[None]:
    """The ledger makes millions of objects and no cycles; looking for them takes two thirds of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _anything_before(lake: Lake, warehouse: Warehouse, first: dt.date) -> bool:
    earlier = [day for day in lake.days(EVENTS.name) if day < first]
    return any(lake.snapshot(EVENTS.name, day).rows for day in earlier) or warehouse.has_events_before(first)


def _resume_day(lake: Lake, warehouse: Warehouse, first: dt.date) -> dt.date:
    """The day after the last published one; where nothing is, the first one with events."""
    earlier = [day for day in lake.days(OPEN_POSITIONS.name) if day < first]
    if earlier:
        return earlier[-1] + dt.timedelta(days=1)
    return min(first_day(lake, warehouse.first_sealed_day()) or first, before(first))


def _held(carry: Carry) -> int:
    return sum(trip.held_raw for trip in carry.trips.values()) + sum(carry.written_off.values())


def _shown(folded: Folded) -> dict[str, str | int | float]:
    dead = sum(trip.status == "DEAD" for trip in folded.finished)
    return {"closed": len(folded.finished) - dead, "dead": dead}
