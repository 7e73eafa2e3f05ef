"""`wallet_patterns`: how each tracked wallet trades, as known at the end of each day."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets import checks
from copytrader_assets.analysis import fingerprint
from copytrader_assets.analysis.day_buys import BUY_COLUMNS
from copytrader_assets.assets.network import demanded, median_slot_ms
from copytrader_assets.inputs import INPUTS, first_day
from copytrader_assets.lake import Lake
from copytrader_assets.partitions import daily, days_of
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.schemas import (
    EVENTS,
    LEADER_SCORES,
    OPEN_POSITIONS,
    TRADES,
    WALLET_PATTERNS,
    Table,
)
from copytrader_core.settings import settings

_PATH_COLUMNS = (
    *BUY_COLUMNS,
    "sig",
    "action",
    "base_raw",
    "swap_fee_raw",
    "reserve_base_raw",
    "reserve_quote_raw",
)


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


@dg.asset(
    name=WALLET_PATTERNS.name,
    deps=[TRADES.name, OPEN_POSITIONS.name, EVENTS.name, LEADER_SCORES.name],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="patterns",
    kinds={"parquet"},
    description=WALLET_PATTERNS.about,
    metadata={"dagster/column_schema": WALLET_PATTERNS.metadata()},
    check_specs=[rules_check(WALLET_PATTERNS)],
    output_required=False,
)
def wallet_patterns(
    context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse
) -> Iterator[Result]:
    """Reads the tracked wallets' trips, and the events of their coins for the price paths around their exits."""
    lake, rules, days = lake_folder.lake, settings().patterns, days_of(context)
    if broken := checks.first_break(lake, days[-1]):
        raise refuse(f"{broken[1]}: run `copytrader materialize --from {broken[0]} --to {days[-1]}`")
    first = first_day(lake, warehouse.first_sealed_day())
    wallets = warehouse.tracked_wallets()
    mine = pa.array(wallets, pa.string())

    def of_mine(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.is_in(rows["wallet"], mine))

    def of_their_coins(rows: pa.Table) -> pa.Table:
        coins = pc.unique(of_mine(rows)["mint"])
        return rows.filter(pc.and_(pc.is_in(rows["mint"], coins), pc.is_in(rows["action"], pa.array(["BUY", "SELL"]))))

    trips = _Sliding(lake, TRADES, tuple(TRADES.names), of_mine)
    paths = _Sliding(lake, EVENTS, _PATH_COLUMNS, of_their_coins)
    with Publication(context, lake) as publication:
        for day in days:
            inputs = demanded(lake, WALLET_PATTERNS, day, first)
            rows = fingerprint.wallet_patterns(
                trips.joined(inputs.days),
                of_mine(lake.read(OPEN_POSITIONS.name, day)),
                paths.joined(inputs.days),
                wallets=wallets,
                as_of=day,
                settings=rules,
                scores=lake.read(LEADER_SCORES.name, day),
                observed_days=len(inputs.days),
                slot_ms=median_slot_ms(paths.over(inputs.days)),
            )
            facts = {INPUTS: inputs.content_hash(lake)}
            publication.add(WALLET_PATTERNS, day, rows, facts, shown={"wallets": rows.num_rows})
        yield from publication.finish()
