"""`follow_edges` and `leader_scores`: who copies whom at the end of each day. Fingerprints: fingerprints.py."""

import datetime as dt
import statistics
from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis import network
from copytrader_assets.inputs import INPUTS, Inputs, first_day
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import daily, days_of
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.schemas import (
    EVENTS,
    FOLLOW_EDGES,
    LEADER_SCORES,
    Table,
)
from copytrader_core.settings import settings

_DEFAULT_SLOT_MS = 400.0
# Block times have a resolution of a second: over fewer slots the quotient says nothing.
# A duration outside the bounds comes from a gap in the data.
_MIN_SLOTS = 1_000
_SLOT_MS_BOUNDS = (200.0, 1_000.0)
_BUY_COLUMNS = (
    "slot",
    "tx_index",
    "outer_ix",
    "inner_ix",
    "event_seq",
    "ts_ns",
    "wallet",
    "mint",
    "quote_mint",
    "quote_raw",
)
_SCOPE_NOTES = {
    "tracked": "only events of tracked wallets were kept on {days}: untracked followers and the chance of following "
    "cannot be seen there, so edges are missing or wrong; ingest with --scope touched or all",
    "touched": "only coins that tracked wallets traded, and a sample, were kept on {days}: chance is measured on those",
}


class _Sliding:
    """A window over a table of the lake that moves forward day by day and reads each day once."""

    def __init__(
        self, lake: Lake, table: Table, columns: tuple[str, ...], keep: Callable[[pa.Table], pa.Table]
    ) -> None:
        self._lake, self._table, self._columns, self._keep = lake, table, columns, keep
        self._kept: dict[dt.date, pa.Table] = {}

    def over(self, days: Sequence[dt.date]) -> list[pa.Table]:
        """The kept rows of each of `days`, which must be published."""
        self._kept = {day: self._kept[day] if day in self._kept else self._read(day) for day in days}
        return list(self._kept.values())

    def joined(self, days: Sequence[dt.date]) -> pa.Table:
        """The same in one table."""
        return pa.concat_tables(self.over(days)).combine_chunks()

    def _read(self, day: dt.date) -> pa.Table:
        return self._keep(self._lake.read(self._table.name, day, self._columns))


@dg.multi_asset(
    name="copy_network",
    specs=[
        dg.AssetSpec(
            table.name,
            deps=[EVENTS.name],
            description=table.about,
            group_name="patterns",
            kinds={"parquet"},
            metadata={"dagster/column_schema": table.metadata()},
            skippable=True,
        )
        for table in (FOLLOW_EDGES, LEADER_SCORES)
    ],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    check_specs=[rules_check(FOLLOW_EDGES), rules_check(LEADER_SCORES)],
)
def copy_network(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Needs every wallet's buys: chance and followers are found among the others."""
    lake, rules = lake_folder.lake, settings().network
    leaders = warehouse.tracked_wallets()
    first = first_day(lake, warehouse.first_sealed_day())
    buys = _Sliding(lake, EVENTS, (*_BUY_COLUMNS, "action"), _buys)
    with Publication(context, lake) as publication:
        for day in days_of(context):
            inputs = _demanded(lake, FOLLOW_EDGES, day, first)
            facts = {INPUTS: inputs.content_hash(lake)}
            rows = buys.joined(inputs.days)
            slot_ms = _slot_ms(buys.over(inputs.days))
            edges, scores = network.follow_edges(rows, leaders=leaders, as_of=day, settings=rules, slot_ms=slot_ms)
            shown: dict[str, str | int | float] = {"slot_ms": slot_ms, **_scope_note(warehouse, day, rules.window_days)}
            publication.add(FOLLOW_EDGES, day, edges, facts, shown=shown)
            publication.add(LEADER_SCORES, day, scores, facts)
        yield from publication.finish()


def _scope_note(warehouse: Warehouse, day: dt.date, window_days: int) -> dict[str, str]:
    """What to know of edges whose window holds days on which not every event was kept."""
    scopes = warehouse.scopes(day - dt.timedelta(days=window_days - 1), day)
    narrowest = max(scopes.values(), default="all")
    if narrowest == "all":
        return {"scope": narrowest}
    days = ", ".join(str(kept) for kept, scope in scopes.items() if scope == narrowest)
    return {"scope": narrowest, "note": _SCOPE_NOTES[narrowest].format(days=days)}


def _buys(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["action"], "BUY"))


def _demanded(lake: Lake, table: Table, day: dt.date, first: dt.date | None) -> Inputs:
    inputs = Inputs.of(table, day, first)
    if problem := inputs.missing(lake):
        raise refuse(problem)
    return inputs


def _slot_ms(days: list[pa.Table]) -> float:
    """The median over the days of (time passed / slots passed); 400 where no day tells."""
    measured = [_day_slot_ms(table) for table in days]
    known = [ms for ms in measured if ms is not None and _SLOT_MS_BOUNDS[0] <= ms <= _SLOT_MS_BOUNDS[1]]
    return statistics.median(known) if known else _DEFAULT_SLOT_MS


def _day_slot_ms(rows: pa.Table) -> float | None:
    if rows.num_rows < 2:
        return None
    slots, times = pc.min_max(rows["slot"]).as_py(), pc.min_max(rows["ts_ns"]).as_py()
    passed = slots["max"] - slots["min"]
    return (times["max"] - times["min"]) / passed / 1e6 if passed >= _MIN_SLOTS else None
