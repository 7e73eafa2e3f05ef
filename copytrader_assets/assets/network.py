"""The copy network: a day's first buys and wallet links, then everything that is read from a window of them.

Thin: reads, calls analysis.network, publishes. Not here: the links of single buys (leader_links.py).
"""

import datetime as dt
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis import network
from copytrader_assets.analysis.day_buys import BUY_COLUMNS, DayBuys, reduced
from copytrader_assets.analysis.first_buys import DaySource, Held
from copytrader_assets.analysis.grouped import Ints
from copytrader_assets.analysis.payers import LINK_COLUMNS, day_links, joined_links
from copytrader_assets.analysis.slot_clock import DEFAULT_SLOT_MS, measured_slot_ms
from copytrader_assets.analysis.split_half import Persistence
from copytrader_assets.charts import reliability, two_halves
from copytrader_assets.drawing import as_markdown
from copytrader_assets.inputs import INPUTS, Inputs, first_day
from copytrader_assets.lake import Lake
from copytrader_assets.network_picture import overview
from copytrader_assets.partitions import daily, days_of
from copytrader_assets.publish import Publication, Result, Shown, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import (
    EDGE_VALIDATION,
    ENTITIES,
    EVENTS,
    FIRST_BUYS,
    FOLLOW_EDGES,
    INFLOW_CALIBRATION,
    LEADER_INFLOW,
    LEADER_SCORES,
    WALLET_LINKS,
    Table,
)
from copytrader_core.settings import settings

_EVENTS_HASH: Final = "events_hash"
_N_MINTS: Final = "n_mints"
_SLOT_MS: Final = "slot_ms"
_READ: Final = tuple(dict.fromkeys((*BUY_COLUMNS, *LINK_COLUMNS, "action")))
_SCOPE_NOTES = {
    "tracked": "only events of tracked wallets were kept on {days}: untracked followers and the chance of following "
    "cannot be seen there, so edges are missing or wrong; ingest with --scope touched or all",
    "touched": "only coins that tracked wallets traded, and a sample, were kept on {days}: chance is measured on those",
}


def _spec(table: Table, *deps: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=deps,
        description=table.about,
        kinds={"parquet"},
        skippable=True,
    )


@dg.multi_asset(
    name="first_buys",
    specs=[_spec(table, EVENTS.name) for table in (FIRST_BUYS, WALLET_LINKS)],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    check_specs=[rules_check(FIRST_BUYS), rules_check(WALLET_LINKS)],
)
@retried
def first_buys(context: dg.AssetExecutionContext, lake_folder: LakeFolder) -> Iterator[Result]:
    """Reads each day of events once, so that a window of thirty needs no event any more."""
    lake = lake_folder.lake
    with Publication(context, lake) as publication:
        for day in days_of(context):
            if not lake.has(EVENTS.name, day):
                raise refuse(
                    f"events {day} is missing in the lake: run `copytrader materialize --from {day} --to {day}`"
                )
            one = _reduce(lake, day)
            facts = {_EVENTS_HASH: lake.snapshot(EVENTS.name, day).content_hash}
            all_facts = facts | {_N_MINTS: str(len(one.buys.mints)), _SLOT_MS: repr(one.slot_ms or 0.0)}
            names = pa.table({"address": pa.concat_arrays([one.buys.mints, one.buys.wallets])})
            publication.add(FIRST_BUYS, day, one.buys.rows(), all_facts, companion=names)
            publication.add(WALLET_LINKS, day, one.links, facts)
        yield from publication.finish()


@dg.multi_asset(
    name="copy_network",
    specs=[
        _spec(table, EVENTS.name, FIRST_BUYS.name, WALLET_LINKS.name)
        for table in (FOLLOW_EDGES, LEADER_SCORES, ENTITIES, EDGE_VALIDATION, LEADER_INFLOW, INFLOW_CALIBRATION)
    ],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    check_specs=[
        rules_check(table)
        for table in (FOLLOW_EDGES, LEADER_SCORES, ENTITIES, EDGE_VALIDATION, LEADER_INFLOW, INFLOW_CALIBRATION)
    ],
)
@retried
def copy_network(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Needs every wallet's buys: chance and followers are found among the others."""
    lake, rules = lake_folder.lake, settings().network
    leaders = warehouse.tracked_wallets()
    first = first_day(lake, warehouse.first_sealed_day())
    window = _Window(lake)
    with Publication(context, lake) as publication:
        for day in days_of(context):
            inputs = demanded(lake, FOLLOW_EDGES, day, first)
            facts = {INPUTS: inputs.content_hash(lake)}
            days, links, slot_ms = window.over(inputs.days)
            found = network.copy_network(days, links, leaders=leaders, as_of=day, settings=rules, slot_ms=slot_ms)
            scope = _scope_note(warehouse, day, rules.window_days)
            publication.add(FOLLOW_EDGES, day, found.edges, facts, shown=_edges_shown(found, slot_ms, leaders) | scope)
            publication.add(LEADER_SCORES, day, found.scores, facts)
            publication.add(ENTITIES, day, found.entities, facts)
            publication.add(EDGE_VALIDATION, day, found.validation, facts, shown=_validation_shown(found))
            publication.add(LEADER_INFLOW, day, found.inflow, facts)
            publication.add(INFLOW_CALIBRATION, day, found.calibration, facts, shown=_calibration_shown(found))
        yield from publication.finish()


def _edges_shown(found: network.Network, slot_ms: float, leaders: dict[str, str | None]) -> dict[str, Shown]:
    numbers: dict[str, Shown] = {"slot_ms": slot_ms, "edges": found.edges.num_rows}
    if not found.edges.num_rows:
        return numbers
    picture = as_markdown(overview(found.edges, names=leaders), "who follows whom")
    return numbers | {"network": dg.MetadataValue.md(picture)}


def _validation_shown(found: network.Network) -> dict[str, Shown]:
    """Persistence and out-of-sample prediction as numbers, which Dagster plots over the days, and as a picture."""
    kept = Persistence.of(found.validation)
    numbers = {name: getattr(kept, name) for name in ("persistence", "correlation", "slope", "r2")}
    shown: dict[str, Shown] = {name: value for name, value in numbers.items() if value is not None}
    picture = dg.MetadataValue.md(
        as_markdown(two_halves(found.validation), "share followed in the first and the second half")
    )
    return {"edges_tested": kept.edges, **shown, "halves": picture}


def _calibration_shown(found: network.Network) -> dict[str, Shown]:
    return {
        "reliability": dg.MetadataValue.md(
            as_markdown(reliability(found.calibration), "inflow: predicted and realised")
        )
    }


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A day of events reduced: its first buys, its links, and its slot duration where it tells one."""

    buys: DayBuys
    links: pa.Table
    slot_ms: float | None


def _reduce(lake: Lake, day: dt.date) -> _Reduced:
    rows = lake.read(EVENTS.name, day, _READ)
    swaps = rows.filter(pc.is_in(rows["action"], pa.array(["BUY", "SELL"])))
    buys = swaps.filter(pc.equal(swaps["action"], "BUY"))
    return _Reduced(reduced(buys), day_links(swaps), day_slot_ms(buys))


@dataclass(frozen=True, slots=True)
class LakeDay:
    """A published day of first buys, read when it is asked for and column by column."""

    lake: Lake
    day: dt.date

    def names(self) -> tuple[pa.Array, pa.Array]:
        """Coins and wallets by their code of the day."""
        names = self.lake.read_companion(FIRST_BUYS.name, self.day)["address"].combine_chunks()
        n_mints = int(self.lake.snapshot(FIRST_BUYS.name, self.day).facts[_N_MINTS])
        return names[:n_mints], names[n_mints:]

    def coins(self) -> tuple[Ints, int]:
        """The coin of each row, and the first slot."""
        rows = self.lake.read(FIRST_BUYS.name, self.day, ("mint_code", "slot"))
        first = pc.min(rows["slot"]).as_py()
        return rows["mint_code"].to_numpy(), int(first) if first is not None else 2**62

    def buys(self) -> DayBuys:
        """The rows, without names."""
        none = pa.array([], pa.string())
        return DayBuys.of_rows(self.lake.read(FIRST_BUYS.name, self.day), none, none)


class _Window:
    """The reduced days of a window. A day whose reduction is not published, or stands on other events, is made here.

    So edges can be computed by themselves after `events`; only then is anything of a day held in memory.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._made: dict[dt.date, _Reduced] = {}

    def over(self, days: Sequence[dt.date]) -> tuple[list[DaySource], pa.Table, float]:
        """The days in order, their links added up, and the slot duration: the median of the days that tell one."""
        self._made = {day: self._made.get(day) or _reduce(self._lake, day) for day in days if not self._stands(day)}
        made = self._made
        sources: list[DaySource] = [Held(made[day].buys) if day in made else LakeDay(self._lake, day) for day in days]
        links = [made[day].links if day in made else self._lake.read(WALLET_LINKS.name, day) for day in days]
        measured = [made[day].slot_ms if day in made else self._slot_ms(day) for day in days]
        known = [ms for ms in measured if ms]
        return sources, joined_links(links), statistics.median(known) if known else DEFAULT_SLOT_MS

    def _stands(self, day: dt.date) -> bool:
        """Whether both reductions of the day are there and made from the published events."""
        if not all(self._lake.has(table.name, day) for table in (FIRST_BUYS, WALLET_LINKS)):
            return False
        now = self._lake.snapshot(EVENTS.name, day).content_hash
        both = (self._lake.snapshot(table.name, day).facts for table in (FIRST_BUYS, WALLET_LINKS))
        return all(facts.get(_EVENTS_HASH) == now for facts in both)

    def _slot_ms(self, day: dt.date) -> float:
        return float(self._lake.snapshot(FIRST_BUYS.name, day).facts[_SLOT_MS])


def _scope_note(warehouse: Warehouse, day: dt.date, window_days: int) -> dict[str, Shown]:
    """What to know of edges whose window holds days on which not every event was kept."""
    scopes = warehouse.scopes(day - dt.timedelta(days=window_days - 1), day)
    narrowest = max(scopes.values(), default="all")
    if narrowest == "all":
        return {"scope": narrowest}
    days = ", ".join(str(kept) for kept, scope in scopes.items() if scope == narrowest)
    return {"scope": narrowest, "note": _SCOPE_NOTES[narrowest].format(days=days)}


def demanded(lake: Lake, table: Table, day: dt.date, first: dt.date | None) -> Inputs:
    """The inputs of `table` on `day`; refuses the run where one is missing."""
    inputs = Inputs.of(table, day, first)
    if problem := inputs.missing(lake):
        raise refuse(problem)
    return inputs


def day_slot_ms(rows: pa.Table) -> float | None:
    """Time passed / slots passed between the first and the last of `rows`, None where that tells nothing."""
    if rows.num_rows < 2:
        return None
    slots, times = pc.min_max(rows["slot"]).as_py(), pc.min_max(rows["ts_ns"]).as_py()
    return measured_slot_ms(slots["max"] - slots["min"], times["max"] - times["min"])
