"""`pattern_release`: the newest consistent set goes to Postgres, where the executor and the report read it."""

import datetime as dt
import hashlib
from collections.abc import Collection, Mapping
from typing import Final

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets import checks
from copytrader_assets.catalog import RELEASE
from copytrader_assets.inputs import WINDOWED, CopyInputs, first_day, stale
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import POSTGRES, before, daily, days_of
from copytrader_assets.proof_schemas import LANDINGS
from copytrader_assets.publish import refuse
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import FOLLOW_EDGES, LEADER_INFLOW, OPEN_POSITIONS, TRADES, WALLET_PATTERNS
from copytrader_assets.value_schemas import COPY_VALUE, LEADER_EXITS
from copytrader_core.settings import settings
from copytrader_core.store import releases
from copytrader_core.store.releases import Connection, Rows

_NEWEST: Final = "newest_day"


@dg.asset(
    deps=[
        *(WALLET_PATTERNS.name, FOLLOW_EDGES.name, LEADER_INFLOW.name, TRADES.name, OPEN_POSITIONS.name),
        *(COPY_VALUE.name, LEADER_EXITS.name, LANDINGS.name),
    ],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POSTGRES,
    kinds={"postgres"},
    check_specs=[
        dg.AssetCheckSpec(_NEWEST, asset=RELEASE, description="No sealed day is newer than the released one.")
    ],
)
@retried
def pattern_release(
    context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Fingerprints, edges and the round trips of our wallets, in one transaction with the pointer and NOTIFY.

    Of a range only the last day is released: the executor reads the newest. A day older than the current one changes
    nothing.
    """
    lake, as_of = lake_folder.lake, days_of(context)[-1]
    _demand_present_and_current(lake, warehouse, as_of)
    wallets = {*warehouse.tracked_wallets(), *filter(None, [settings().executor.own_wallet])}
    with warehouse.connection() as connection:
        current = releases.lock_releases(connection)
        if current is not None and _last_whole_day(lake, as_of) < current:
            context.log.warning(
                f"not released: {current} is current and newer; to renew it run days {as_of} to {current}"
            )
            return dg.MaterializeResult(
                metadata={"released": False, "current": current.isoformat()},
                check_results=[_newest(warehouse, current)],
            )
        optional = _optional(lake, as_of, first_day(lake, warehouse.first_sealed_day()))
        for name in (LEADER_INFLOW.name, COPY_VALUE.name, LEADER_EXITS.name, LANDINGS.name):
            if name not in optional:
                context.log.warning(f"released without {name}: materialize it for {as_of} and release again")
        release_id = _release(connection, lake, as_of, optional)
        served = _serve(connection, lake, as_of, wallets)
    metadata = {"released": True, "release_id": release_id, "days_of_trades_copied": served}
    context.add_asset_metadata(metadata, partition_key=as_of.isoformat())
    return dg.MaterializeResult(check_results=[_newest(warehouse, as_of)])


def _newest(warehouse: Warehouse, released: dt.date) -> dg.AssetCheckResult:
    """Worth a look only: a range of old days is computed before the newest ones."""
    newest = max((seal.day for seal in warehouse.seals_since(None)), default=released)
    what_to_do = f"run `copytrader materialize --from {released} --to {newest}`"
    return dg.AssetCheckResult(
        asset_key=RELEASE,
        check_name=_NEWEST,
        passed=newest <= released,
        severity=dg.AssetCheckSeverity.WARN,
        description=None if newest <= released else f"{newest} is sealed, but {released} is released: {what_to_do}",
    )


def _last_whole_day(lake: Lake, as_of: dt.date) -> dt.date:
    return as_of if lake.last_slot(as_of) is None else before(as_of)


def _demand_present_and_current(lake: Lake, warehouse: Warehouse, as_of: dt.date) -> None:
    """What is released was computed from what is published now, every day of it."""
    for table in (*WINDOWED, TRADES, OPEN_POSITIONS):
        if not lake.has(table.name, as_of):
            raise refuse(
                f"{table.name} {as_of} is missing in the lake: run `copytrader materialize --from {as_of} --to {as_of}`"
            )
    if broken := checks.first_break(lake, as_of):
        raise refuse(f"{broken[1]}: run `copytrader materialize --from {broken[0]} --to {as_of}`")
    first = first_day(lake, warehouse.first_sealed_day())
    for table in WINDOWED:
        if problem := stale(lake, table, as_of, first):
            raise refuse(problem)


def _release(connection: Connection, lake: Lake, as_of: dt.date, optional: Mapping[str, pa.Table]) -> str:
    names = (WALLET_PATTERNS.name, FOLLOW_EDGES.name)
    content = "".join(lake.snapshot(name, as_of).content_hash for name in (*names, *optional))
    patterns, edges = (_rows(lake.read(name, as_of)) for name in names)
    more = {name: _rows(table) for name, table in optional.items()}
    return releases.write_release(
        connection,
        as_of,
        hashlib.sha256(content.encode()).hexdigest(),
        patterns,
        edges,
        more.get(LEADER_INFLOW.name),
        more.get(COPY_VALUE.name),
        more.get(LEADER_EXITS.name),
        more.get(LANDINGS.name),
        until_slot=lake.last_slot(as_of),
    )


def _optional(lake: Lake, as_of: dt.date, first: dt.date | None) -> dict[str, pa.Table]:
    """What the policy can do without, where it was computed from what is published now: inflow, values, exits;
    and landings.
    """
    current = [LANDINGS.name] if lake.has(LANDINGS.name, as_of) else []
    if lake.has(LEADER_INFLOW.name, as_of) and not stale(lake, LEADER_INFLOW, as_of, first):
        current.append(LEADER_INFLOW.name)
    inputs = CopyInputs.of(lake, as_of, first)
    current += [table.name for table in (COPY_VALUE, LEADER_EXITS) if inputs.is_current(lake, table, as_of)]
    return {name: lake.read(name, as_of) for name in current}


def _serve(connection: Connection, lake: Lake, as_of: dt.date, wallets: Collection[str]) -> int:
    """Copies the days of `trades` whose content or wallets changed since the last copy. Returns their number."""
    mine = pa.array(sorted(wallets), pa.string())
    scope = hashlib.sha256("\n".join(mine.to_pylist()).encode()).hexdigest()
    there = {
        day: f"{lake.snapshot(TRADES.name, day).content_hash}/{scope}" for day in lake.days(TRADES.name) if day <= as_of
    }
    served = releases.served_days(connection)
    changed = {day: content for day, content in there.items() if served.get(day) != content}
    gone = served.keys() - there.keys()
    finished = (_trips(lake.read(TRADES.name, day), mine, day) for day in changed)
    held = _trips(lake.read(OPEN_POSITIONS.name, as_of), mine, None)
    releases.serve_trades(connection, changed, gone, finished, held)
    return len(changed)


def _trips(trips: pa.Table, wallets: pa.Array, close_day: dt.date | None) -> Rows:
    mine = trips.filter(pc.is_in(trips["wallet"], wallets))
    return _rows(mine.append_column("close_day", pa.array([close_day] * mine.num_rows, pa.date32())))


def _rows(table: pa.Table) -> Rows:
    columns = [column.to_pylist() for column in table.columns]
    return Rows(tuple(table.column_names), list(zip(*columns, strict=True)))
