"""What copies are worth as of each day: `leader_exits`, `exit_curves`, `copy_value`, `calibration` and its bins.

Thin: reads, calls analysis, publishes. The calibration of a day moves the tiers that the day's values carry, and starts
from the one of the day before; so all of them are one step. Not here: the replay that `copies` and `copy_exits` hold.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis import calibration as calibrating
from copytrader_assets.analysis.copy_returns import Cells
from copytrader_assets.analysis.copy_value import CopyValues, cells_of_day
from copytrader_assets.analysis.copy_value import copy_values as values_of
from copytrader_assets.analysis.exit_curves import observed_multiples
from copytrader_assets.analysis.exit_rules import NAMES, RuleCopies, RuleValues, joined_rules, rule_copies, rule_values
from copytrader_assets.analysis.grouped import ratio
from copytrader_assets.analysis.holds import observed_holds
from copytrader_assets.analysis.open_marks import open_marks
from copytrader_assets.analysis.sample import Counted, Sample
from copytrader_assets.analysis.tiers import Standing, next_standing
from copytrader_assets.analysis.value_rows import (
    bin_rows,
    calibration_rows,
    curve_rows,
    exit_rows,
    value_rows,
    with_copies,
)
from copytrader_assets.analysis.window import TripWindow
from copytrader_assets.inputs import INPUTS, CopyInputs, first_day
from copytrader_assets.lake import Lake
from copytrader_assets.lake_release import settings_as_of
from copytrader_assets.own_copies import OurCopies
from copytrader_assets.partials import Partials
from copytrader_assets.partitions import daily, days_of
from copytrader_assets.proof_schemas import LANDINGS
from copytrader_assets.publish import Publication, Result, Shown, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import LEADER_INFLOW, OPEN_POSITIONS, TRADES, Table
from copytrader_assets.value_pictures import calibration_shown, values_shown
from copytrader_assets.value_schemas import (
    CALIBRATION,
    CALIBRATION_BINS,
    COPIES,
    COPY_EXITS,
    COPY_VALUE,
    EXIT_CURVES,
    LEADER_EXITS,
)
from copytrader_core.policy.rules import DEFAULT
from copytrader_core.settings import Settings, settings

_TABLES: Final = (LEADER_EXITS, EXIT_CURVES, COPY_VALUE, CALIBRATION, CALIBRATION_BINS)
# A calibration continues the newest one before it; said as a dependency, that would draw one more day into a backfill.
_DEPS: Final = (*(COPIES.name, COPY_EXITS.name, TRADES.name, OPEN_POSITIONS.name, LEADER_INFLOW.name, LANDINGS.name),)
_COPY_COLUMNS: Final = (
    *("leader", "mint", "latency_slots", "size_lamports", "outcome", "pnl_lamports", "venue", "real_quote_lamports"),
)
_EXIT_COLUMNS: Final = ("leader", "mint", "sig", "rule", "pnl_lamports")


def _spec(table: Table) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=_DEPS,
        description=table.about,
        group_name="patterns",
        kinds={"parquet"},
        metadata={"dagster/column_schema": table.metadata()},
        skippable=True,
    )


@dg.multi_asset(
    name="copy_values",
    specs=[_spec(table) for table in _TABLES],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    check_specs=[rules_check(table) for table in _TABLES],
)
@retried
def copy_values(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Every day of copies is read once and reduced; the windows are put together from that."""
    lake, leaders = lake_folder.lake, warehouse.tracked_wallets()
    first = first_day(lake, warehouse.first_sealed_day())
    with (
        Publication(context, lake) as publication,
        Partials.open(lake, leaders, settings().patterns.path_days) as partials,
    ):
        run = _Run(lake, warehouse, partials, sorted(leaders), settings(), first)
        for day in days_of(context):
            inputs = CopyInputs.of(lake, day, first)
            if problem := inputs.missing(lake):
                raise refuse(problem)
            if not inputs.copies.days:
                context.log.warning(f"no copies have been replayed up to {day}: nothing is said of any leader")
            for table, rows, shown in run.of(day, inputs):
                publication.add(table, day, rows, {INPUTS: inputs.content_hash(lake)}, shown=shown)
        yield from publication.finish()


_Published = tuple[Table, pa.Table, Mapping[str, Shown]]


@dataclass(slots=True)
class _Run:
    """The days of one run. Reduced days are kept as long as a window needs them, standings from day to day."""

    lake: Lake
    warehouse: Warehouse
    partials: Partials
    leaders: Sequence[str]
    given: Settings
    first: dt.date | None
    settings: Settings = field(init=False)
    """Those of the day: with our latency as it is known then."""
    _cells: dict[dt.date, Cells] = field(default_factory=dict)
    _rules: dict[dt.date, RuleCopies] = field(default_factory=dict)
    _standings: dict[dt.date, dict[str, Standing]] = field(default_factory=dict)

    def of(self, day: dt.date, inputs: CopyInputs) -> Iterator[_Published]:
        """The tables of one day."""
        self.settings = settings_as_of(self.lake, day, self.given)
        self._reduce(inputs.copies.days)
        exits = rule_values(joined_rules(list(self._rules.values())), len(self.leaders))
        values = values_of(list(self._cells.values()), self.leaders, self.settings.copies, self._inflow(day))
        ours = OurCopies.up_to(self.warehouse, day, self.leaders)
        standings, records = self._stand(day, values, ours)
        rules = {leader: self._chosen(exits, code) for code, leader in enumerate(self.leaders)}
        bins = bin_rows(ours.bins(values), day)
        yield LEADER_EXITS, _filled(LEADER_EXITS, exit_rows(exits, self.leaders, day)), {}
        yield EXIT_CURVES, _filled(EXIT_CURVES, self._curves(day, inputs)), {}
        value = _filled(COPY_VALUE, value_rows(values, rules, standings, day))
        yield COPY_VALUE, value, values_shown(value, self.settings.copies)
        standing = _filled(CALIBRATION, calibration_rows(records, standings, day))
        yield CALIBRATION, standing, {"tiers": str(dict(Counter(s.tier for s in standings.values())))}
        yield CALIBRATION_BINS, _filled(CALIBRATION_BINS, bins), calibration_shown(bins)

    def _reduce(self, days: Sequence[dt.date]) -> None:
        size = round(self.settings.copies.reference_size_sol * 1e9)
        self._cells = {day: self._cells.get(day) or self._read_cells(day) for day in days}
        self._rules = {day: self._rules.get(day) or self._read_rules(day, size) for day in days}

    def _read_cells(self, day: dt.date) -> Cells:
        return cells_of_day(self.lake.read(COPIES.name, day, _COPY_COLUMNS), self.leaders)

    def _read_rules(self, day: dt.date, size_lamports: int) -> RuleCopies:
        return rule_copies(self.lake.read(COPY_EXITS.name, day, _EXIT_COLUMNS), self.leaders, size_lamports)

    def _inflow(self, day: dt.date) -> dict[str, float] | None:
        """What each leader's followers are expected to buy behind us, where the day's forecast is published."""
        if not self.lake.has(LEADER_INFLOW.name, day):
            return None
        rows = self.lake.read(LEADER_INFLOW.name, day, ("leader", "slots", "behind_sol"))
        at = rows.filter(pc.less_equal(rows["slots"], self.settings.copies.reference_latency)).sort_by("slots")
        return dict(zip(at["leader"].to_pylist(), at["behind_sol"].to_pylist(), strict=True))

    def _chosen(self, exits: RuleValues, code: int) -> str:
        return NAMES[exits.chosen[code]] if exits.copies.any() else str(DEFAULT)

    def _stand(
        self, day: dt.date, values: CopyValues, ours: OurCopies
    ) -> tuple[dict[str, Standing], dict[str, tuple[str, calibrating.Record]]]:
        """The standings of the day, and the records that they rest on."""
        before, records = self._before(day), {}
        for code in with_copies(values):
            leader = self.leaders[code]
            found = ours.record(code, before.get(leader, Standing()), values.yardstick(code, self.settings.copies))
            if found is not None:
                records[leader] = found
        standings = {
            self.leaders[code]: next_standing(
                before.get(self.leaders[code], Standing()),
                values.verdicts.verdict[code],
                records[self.leaders[code]][1] if self.leaders[code] in records else None,
                day,
            )
            for code in with_copies(values)
        }
        self._standings = {day: standings}
        return standings, records

    def _before(self, day: dt.date) -> dict[str, Standing]:
        """The newest standings of before `day`: of this run, or published."""
        published = max((one for one in self.lake.days(CALIBRATION.name) if one < day), default=None)
        newest = max((one for one in (published, *self._standings) if one is not None and one < day), default=None)
        if newest is None:
            return {}
        if newest in self._standings:
            return self._standings[newest]
        rows = self.lake.read(CALIBRATION.name, newest, ("leader", "tier", "scale", "beta", "since", "benched"))
        return {row.pop("leader"): Standing(**row) for row in rows.to_pylist()}

    def _curves(self, day: dt.date, inputs: CopyInputs) -> pa.Table:
        names = pa.array(self.leaders, pa.string())
        days, begin = inputs.trips.days, inputs.trips.days[0]
        window = TripWindow(f"{len(days)}d", len(days), None)
        sample = Sample.of(self.partials.over(days), names, window, day, begin, self.lake.end_ns(day))
        held = self.lake.read(OPEN_POSITIONS.name, day)
        held = held.filter(pc.and_(pc.is_in(held["wallet"], names), pc.equal(held["basis"], "COMPLETE")))
        positions = Counted.of(held, names)
        worth = np.nan_to_num(open_marks(positions.table)) + positions.floats("close_proceeds_raw")
        multiples = observed_multiples(
            np.concatenate([sample.trips.codes, positions.codes]),
            np.concatenate([sample.trips.floats("multiple"), ratio(worth, positions.floats("open_cost_raw"))]),
            np.concatenate([np.ones(len(sample.trips.codes), bool), np.zeros(len(positions.codes), bool)]),
        )
        return curve_rows(observed_holds(sample), multiples, self.leaders, day)


def _filled(table: Table, rows: pa.Table) -> pa.Table:
    """Rows that may be none at all, and then have no columns either."""
    loose = pa.schema([one.with_nullable(True) for one in table.arrow])
    return rows if rows.num_rows else loose.empty_table()
