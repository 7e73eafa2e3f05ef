"""`wallet_patterns` and `wallet_windows`: how each tracked wallet trades, as of the end of each day."""

import datetime as dt
from collections.abc import Iterator, Mapping

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets import checks
from copytrader_assets.analysis.fingerprint import measure, publishable
from copytrader_assets.analysis.window import TripWindow
from copytrader_assets.inputs import INPUTS, Inputs, first_day
from copytrader_assets.lake import Lake
from copytrader_assets.partials import Partials
from copytrader_assets.partitions import daily, days_of
from copytrader_assets.pictures import fingerprint_pictures
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import (
    EVENTS,
    LEADER_SCORES,
    OPEN_POSITIONS,
    TRADES,
    WALLET_PATTERNS,
    WALLET_WINDOWS,
    Table,
)
from copytrader_core.settings import PatternSettings, settings

_DEPS = {
    WALLET_PATTERNS.name: [TRADES.name, OPEN_POSITIONS.name, EVENTS.name, LEADER_SCORES.name],
    WALLET_WINDOWS.name: [TRADES.name, OPEN_POSITIONS.name, EVENTS.name],
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
    specs=[_spec(WALLET_PATTERNS), _spec(WALLET_WINDOWS)],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    check_specs=[rules_check(WALLET_PATTERNS), rules_check(WALLET_WINDOWS)],
)
@retried
def fingerprints(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """Every day is read once, however many windows it falls into; what it tells is kept beside the lake."""
    lake, rules, days = lake_folder.lake, settings().patterns, days_of(context)
    if broken := checks.first_break(lake, days[-1]):
        raise refuse(f"{broken[1]}: run `copytrader materialize --from {broken[0]} --to {days[-1]}`")
    first = first_day(lake, warehouse.first_sealed_day())
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    newest = max((seal.day for seal in warehouse.seals_since(None)), default=None)
    with (
        Publication(context, lake) as publication,
        Partials.open(lake, warehouse.tracked_wallets(), rules.path_days) as partials,
    ):
        run = _Run(publication, lake, partials, warehouse.tracked_wallets(), rules, first, newest)
        for day in days:
            if WALLET_PATTERNS.name in selected:
                run.patterns(day)
            if WALLET_WINDOWS.name in selected:
                run.windows(day)
        yield from publication.finish()


class _Run:
    """The days of one run: what they are computed with, and where they are published."""

    def __init__(
        self,
        publication: Publication,
        lake: Lake,
        partials: Partials,
        wallets: Mapping[str, str | None],
        rules: PatternSettings,
        first: dt.date | None,
        newest_sealed: dt.date | None,
    ) -> None:
        self._publication, self._lake, self._partials = publication, lake, partials
        self._wallets, self._rules, self._first, self._newest = wallets, rules, first, newest_sealed

    def patterns(self, day: dt.date) -> None:
        """The day's row of each wallet over the one window that decisions use."""
        inputs = self._demanded(WALLET_PATTERNS, Inputs.of(WALLET_PATTERNS, day, self._first))
        window = TripWindow(f"{self._rules.window_days}d", self._rules.window_days, self._rules.last_trades)
        rows = self._rows(day, inputs.days[0], window, WALLET_PATTERNS, self._lake.read(LEADER_SCORES.name, day))
        facts = self._partials.over(inputs.days)
        shown = fingerprint_pictures(self._lake, day, rows, facts, self._newest)
        self._publication.add(
            WALLET_PATTERNS, day, rows, {INPUTS: inputs.content_hash(self._lake)},
            shown={"wallets": rows.num_rows, **shown},
        )  # fmt: skip

    def windows(self, day: dt.date) -> None:
        """The day's rows over all other windows."""
        history = min(self._first or day, day)
        every = tuple(history + dt.timedelta(days=n) for n in range((day - history).days + 1))
        wanted = self._wanted()
        days = [d for d in every if any(d >= TripWindow.parse(name).first_day(day, history) for name in wanted)] or [
            day
        ]
        inputs = self._demanded(WALLET_WINDOWS, Inputs(tuple(days), (EVENTS, TRADES, OPEN_POSITIONS)))
        tables = [pa.schema([f.with_nullable(True) for f in WALLET_WINDOWS.arrow]).empty_table()]
        for name, wallets in wanted.items():
            rows = self._rows(day, history, TripWindow.parse(name), WALLET_WINDOWS)
            tables.append(rows if wallets is None else rows.filter(pc.is_in(rows["wallet"], wallets)))
        rows = pa.concat_tables(tables, promote_options="permissive")
        rows = rows.sort_by([("wallet", "ascending"), ("window_name", "ascending")])
        self._publication.add(WALLET_WINDOWS, day, rows, {INPUTS: self._partials.content_hash(inputs.days)})

    def _wanted(self) -> dict[str, pa.Array | None]:
        """Each window that any wallet wants, and the wallets that do; None for all.

        A window of a few wallets is measured for all, as the estimates need the others.
        """
        wanted: dict[str, pa.Array | None] = {}
        for wallet, names in sorted(self._rules.wallet_windows.items()):
            for name in names:
                others = wanted.get(name)
                wanted[name] = pa.array([*(others.to_pylist() if others is not None else []), wallet], pa.string())
        return wanted | dict.fromkeys(self._rules.windows)

    def _rows(
        self, day: dt.date, history: dt.date, window: TripWindow, table: Table, scores: pa.Table | None = None
    ) -> pa.Table:
        begin = window.first_day(day, history)
        days = [begin + dt.timedelta(days=n) for n in range((day - begin).days + 1)]
        parts = [
            measure(
                self._partials.over(days, wallets), wallets.to_pylist(), window,
                as_of=day, history=history, settings=self._rules, until_ns=self._lake.end_ns(day),
            )
            for wallets in self._partials.buckets(days) if len(wallets)
        ]  # fmt: skip
        return publishable(parts, table.arrow, aliases=self._wallets, as_of=day, window=window, scores=scores)

    def _demanded(self, table: Table, inputs: Inputs) -> Inputs:
        if problem := inputs.missing(self._lake):
            raise refuse(problem)
        return inputs
