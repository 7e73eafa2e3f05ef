"""`tape`, `tape_slots`: the day's market to be replayed; `copies`, `copy_exits`: what copying would have brought."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg
import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.copies import copies_of, copy_exits_of
from copytrader_assets.analysis.exit_rules import RuleCopies, chosen_rules, rule_copies
from copytrader_assets.analysis.tape_rows import EVENT_COLUMNS, Known, tape_rows
from copytrader_assets.lake import Lake
from copytrader_assets.lake_release import settings_as_of
from copytrader_assets.partitions import before, daily, days_of
from copytrader_assets.proof_schemas import LANDINGS
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import EVENTS, WALLET_PATTERNS, Table
from copytrader_assets.tape_reader import read_tape
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_assets.value_schemas import COPIES, COPY_EXITS
from copytrader_core.policy.entry import lamports
from copytrader_core.policy.rules import ExitRule
from copytrader_core.records import Pattern
from copytrader_core.replay.execution import NO_VENUE, RAW
from copytrader_core.settings import settings
from copytrader_core.store.release_rows import patterns_from

_INPUTS = "inputs_hash"
_REPRODUCED = "reproduced"
# Of a day's trades so few may have moved reserves in a way that no formula gives.
_LEAST_REPRODUCED = 0.999


def _spec(table: Table, deps: Iterable[dg.AssetDep | str]) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=list(deps),
        description=table.about,
        group_name="replay",
        kinds={"parquet"},
        metadata={"dagster/column_schema": table.metadata()},
        skippable=True,
    )


@dg.multi_asset(
    specs=[_spec(TAPE, [EVENTS.name]), _spec(TAPE_SLOTS, [EVENTS.name])],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    check_specs=[
        rules_check(TAPE),
        rules_check(TAPE_SLOTS),
        dg.AssetCheckSpec(
            _REPRODUCED, asset=TAPE.name, description="Our arithmetic gives the reserves that trades left, to the unit."
        ),
    ],
)
@retried
def market_tape(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Each day by itself: what a trade met and left stands in its own row."""
    lake = lake_folder.lake
    with Publication(context, lake) as publication:
        for day in days_of(context):
            if not lake.has(EVENTS.name, day):
                raise refuse(
                    f"events {day} is missing in the lake: run `copytrader materialize --from {day} --to {day}`"
                )
            made = _Made()
            facts = {_INPUTS: lake.snapshot(EVENTS.name, day).content_hash}
            publication.add_parts(TAPE, day, _parts(lake, day, made), facts, shown=made.shown)
            publication.add(TAPE_SLOTS, day, _slots(warehouse, day, made), facts)
            if made.trades and made.reproduced < _LEAST_REPRODUCED * made.trades:
                publication.warning(
                    TAPE.name,
                    _REPRODUCED,
                    f"{day}: {made.trades - made.reproduced} of {made.trades} trades moved their reserves in a way "
                    "that no known formula gives: the programs may have changed, replays take those as they were",
                )
        yield from publication.finish()


class _Made:
    """What a day's tape turned out to be, while its parts go by."""

    def __init__(self) -> None:
        self.trades = self.reproduced = 0
        self.seconds: dict[int, int] = {}
        self.shown: dict[str, int] = {}

    def take(self, rows: pa.Table) -> pa.Table:
        """Counts a part."""
        traded = rows["venue"].to_numpy() != NO_VENUE
        self.trades += int((traded & (rows["base_raw"].to_numpy() > 0)).sum())
        self.reproduced += int((traded & (rows["kind"].to_numpy() != RAW)).sum())
        self.shown |= {"trades": self.trades, "reproduced": self.reproduced}
        slots, first = np.unique(rows["slot"].to_numpy(), return_index=True)
        seconds = rows["ts_ns"].to_numpy()[first] // 1_000_000_000
        self.seconds |= dict(zip(slots.tolist(), seconds.tolist(), strict=True))
        return rows


def _parts(lake: Lake, day: dt.date, made: _Made) -> Iterator[pa.Table]:
    known = Known()
    for events in lake.read_parts(EVENTS.name, day, EVENT_COLUMNS, row_groups=4):
        yield made.take(tape_rows(events, known))


def _slots(warehouse: Warehouse, day: dt.date, made: _Made) -> pa.Table:
    """Every slot of the day that is known, whether anything was traded in it or not."""
    times = warehouse.slot_times(day) | made.seconds
    slots = sorted(times)
    return pa.table({"slot": pa.array(slots, pa.int64()), "seconds": pa.array([times[s] for s in slots], pa.int64())})


# What is read of fingerprints, landings and exits is of the days before; said so, it would draw one more day into a
# backfill.


@dg.asset(
    name=COPY_EXITS.name,
    deps=[TAPE.name, TAPE_SLOTS.name, WALLET_PATTERNS.name, LANDINGS.name],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="replay",
    kinds={"parquet"},
    description=COPY_EXITS.about,
    metadata={"dagster/column_schema": COPY_EXITS.metadata()},
    check_specs=[rules_check(COPY_EXITS)],
    output_required=False,
)
@retried
def copy_exits(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Every exit rule on every signal of the tracked wallets, at one latency and size."""
    lake, leaders = lake_folder.lake, warehouse.tracked_wallets()
    with Publication(context, lake) as publication:
        for day in days_of(context):
            known = _patterns(lake, before(day), leaders)
            ours = settings_as_of(lake, before(day), settings())
            rows = copy_exits_of(read_tape(lake, _demanded(lake, day), leaders), known, ours)
            publication.add(COPY_EXITS, day, rows, {_INPUTS: lake.snapshot(TAPE.name, day).content_hash})
        yield from publication.finish()


@dg.asset(
    name=COPIES.name,
    deps=[TAPE.name, TAPE_SLOTS.name, WALLET_PATTERNS.name, LANDINGS.name, COPY_EXITS.name],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="replay",
    kinds={"parquet"},
    description=COPIES.about,
    metadata={"dagster/column_schema": COPIES.metadata()},
    check_specs=[rules_check(COPIES)],
    output_required=False,
)
@retried
def copies(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """The grid of latencies and sizes on every signal of the tracked wallets, by the exits chosen the day before."""
    lake, leaders = lake_folder.lake, warehouse.tracked_wallets()
    chosen = _Chosen(lake, sorted(leaders))
    with Publication(context, lake) as publication:
        for day in days_of(context):
            known = _patterns(lake, before(day), leaders)
            ours = settings_as_of(lake, before(day), settings())
            rows = copies_of(read_tape(lake, _demanded(lake, day), leaders), known, chosen.as_of(before(day)), ours)
            publication.add(COPIES, day, rows, {_INPUTS: lake.snapshot(TAPE.name, day).content_hash})
        yield from publication.finish()


def _demanded(lake: Lake, day: dt.date) -> dt.date:
    for table in (TAPE, TAPE_SLOTS):
        if not lake.has(table.name, day):
            raise refuse(
                f"{table.name} {day} is missing in the lake: run `copytrader materialize --from {day} --to {day}`"
            )
    return day


def _patterns(lake: Lake, day: dt.date, leaders: Mapping[str, str | None]) -> dict[str, Pattern | None]:
    """The fingerprint of each tracked wallet as of `day`, None where it has none."""
    found = lake.read(WALLET_PATTERNS.name, day).to_pylist() if lake.has(WALLET_PATTERNS.name, day) else []
    known = patterns_from(found)
    return {wallet: known.get(wallet) for wallet in leaders}


class _Chosen:
    """The exit rule of each leader as of a day, by the copies of the window up to it; each day is read once."""

    def __init__(self, lake: Lake, leaders: Sequence[str]) -> None:
        self._lake, self._leaders = lake, leaders
        self._size = lamports(settings().copies.reference_size_sol)
        self._days: dict[dt.date, RuleCopies] = {}

    def as_of(self, day: dt.date) -> Mapping[str, ExitRule]:
        """Nobody's where nothing has been replayed up to `day`."""
        window = [day - dt.timedelta(days=back) for back in range(settings().copies.window_days)]
        there = [one for one in reversed(window) if one in self._days or self._lake.has(COPY_EXITS.name, one)]
        self._days = {one: self._days.get(one) or self._read(one) for one in there}
        return chosen_rules(list(self._days.values()), self._leaders) if self._days else {}

    def _read(self, day: dt.date) -> RuleCopies:
        rows = self._lake.read(COPY_EXITS.name, day, ("leader", "mint", "sig", "rule", "pnl_lamports"))
        return rule_copies(rows, self._leaders, self._size)
