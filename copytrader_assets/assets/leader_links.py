"""`leader_links`: which buys of the day followed which leader, in the lake and in raw_events.leader_wallet."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.leader_links import LINKED_COLUMNS
from copytrader_assets.analysis.leader_links import leader_links as links_of
from copytrader_assets.analysis.slot_clock import DEFAULT_SLOT_MS
from copytrader_assets.inputs import INPUTS
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import POSTGRES, before, daily, days_of
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import EVENTS, FIRST_BUYS, FOLLOW_EDGES, LEADER_LINKS
from copytrader_core.settings import settings
from copytrader_core.store.leader_links import Link, fill_leaders

_EDGES_HASH: Final = "edges_hash"


@dg.asset(
    name=LEADER_LINKS.name,
    deps=[EVENTS.name, FOLLOW_EDGES.name],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POSTGRES,
    kinds={"parquet", "postgres"},
    description=LEADER_LINKS.about,
    check_specs=[rules_check(LEADER_LINKS)],
    output_required=False,
)
@retried
def leader_links(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """A day's own edges link its buys; only that day's rows of raw_events are touched, and the same rows again.

    A leader's last buys of the day before count too: midnight breaks no following.
    """
    lake = lake_folder.lake
    found: dict[dt.date, pa.Table] = {}
    with Publication(context, lake) as publication:
        for day in days_of(context):
            edges = _edges(lake, day)
            horizon = int(settings().network.horizon_seconds * 1000 / _slot_ms(lake, day))
            today = _buys(lake, day, edges)
            yesterday = _buys(lake, before(day), edges) if lake.has(EVENTS.name, before(day)) else today.slice(0, 0)
            rows = links_of(pa.concat_tables([_tail(yesterday, today, horizon), today]), edges, horizon)
            found[day] = rows.filter(pc.is_in(rows["sig"], pc.unique(today["sig"])))
            snapshots = {INPUTS: lake.snapshot(EVENTS.name, day), _EDGES_HASH: lake.snapshot(FOLLOW_EDGES.name, day)}
            facts = {name: snapshot.content_hash for name, snapshot in snapshots.items()}
            publication.add(LEADER_LINKS, day, found[day], facts)
        yield from publication.finish()
    for day, rows in found.items():
        with warehouse.connection() as connection:
            changed = fill_leaders(connection, day, _rows(rows))
        context.log.info(f"{day}: {rows.num_rows} follower buys, {changed} rows of raw_events changed")


def _edges(lake: Lake, day: dt.date) -> pa.Table:
    for table in (EVENTS, FOLLOW_EDGES):
        if not lake.has(table.name, day):
            raise refuse(
                f"{table.name} {day} is missing in the lake: run `copytrader materialize --from {day} --to {day}`"
            )
    return lake.read(FOLLOW_EDGES.name, day, ("leader", "follower"))


def _slot_ms(lake: Lake, day: dt.date) -> float:
    """The day's measured slot duration."""
    facts = lake.snapshot(FIRST_BUYS.name, day).facts if lake.has(FIRST_BUYS.name, day) else {}
    return float(facts.get("slot_ms", 0)) or DEFAULT_SLOT_MS


def _buys(lake: Lake, day: dt.date, edges: pa.Table) -> pa.Table:
    """The BUY rows of the wallets of the edges."""
    rows = lake.read(EVENTS.name, day, (*LINKED_COLUMNS, "action"))
    names = pa.array({*edges["leader"].to_pylist(), *edges["follower"].to_pylist()}, pa.string())
    return rows.filter(pc.and_(pc.equal(rows["action"], "BUY"), pc.is_in(rows["wallet"], names))).drop_columns("action")


def _tail(yesterday: pa.Table, today: pa.Table, horizon: int) -> pa.Table:
    """What of yesterday is near enough to be followed today."""
    first = pc.min(today["slot"]).as_py()
    return yesterday.filter(pc.greater_equal(yesterday["slot"], (first or 0) - horizon)) if first else yesterday[:0]


def _rows(links: pa.Table) -> Iterator[Link]:
    names = ("sig", "outer_ix", "inner_ix", "event_seq", "leader_wallet")
    return zip(*(links[name].to_pylist() for name in names), strict=True)
