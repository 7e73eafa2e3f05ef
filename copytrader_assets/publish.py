"""How an asset publishes: every day is computed, checked and staged first; then all are renamed, or none.

A check that runs after the asset would find bad rows only when they are already published.
Not here: what is computed, and the rules (schemas.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeAlias

import dagster as dg
import pyarrow as pa

from copytrader_assets.lake import Lake, Staged
from copytrader_assets.lineage import column_lineage
from copytrader_assets.pictures import DRAWN, table_pictures
from copytrader_assets.schemas import Table
from copytrader_core.errors import DataError

RULES = "rules"
_SHOWN_PROBLEMS = 10
# No run takes this long: what is older was left by one that was killed.
_ABANDONED_SECONDS = 2 * 86_400.0

# What a day's metadata may hold: numbers are plotted over the days, Markdown may hold a picture.
Shown: TypeAlias = str | int | float | dg.MarkdownMetadataValue
Result = dg.MaterializeResult | dg.AssetCheckResult  # type: ignore[type-arg]


def refuse(message: str) -> dg.Failure:
    """A failure that the same run cannot heal by trying again."""
    return dg.Failure(message, allow_retries=False)


def rules_check(table: Table) -> dg.AssetCheckSpec:
    """The check that a table's rows keep its schema, key and rules."""
    return dg.AssetCheckSpec(
        RULES, asset=table.name, blocking=True, description="Schema, key and rules; a broken one stops the publish."
    )


def _loose(table: Table) -> pa.Schema:
    """The schema of checked rows: NULLs are the rules' business."""
    return pa.schema([field.with_nullable(True) for field in table.arrow])


class Publication:
    """One run's snapshots of one or more assets. Use as a context manager: what is not published is removed."""

    def __init__(self, context: dg.AssetExecutionContext, lake: Lake) -> None:
        self._context = context
        self._lake = lake
        self._staged: list[Staged] = []
        self._metadata: dict[tuple[str, dt.date], dict[str, Any]] = {}
        # (asset, check) -> what is wrong; warnings do not stop the publish.
        self._problems: dict[tuple[str, str], list[str]] = {}
        self._warnings: dict[tuple[str, str], list[str]] = {}

    def __enter__(self) -> Publication:
        self._lake.sweep(_ABANDONED_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lake.discard(self._staged)

    def problem(self, asset: str, check: str, message: str) -> None:
        """Something that must not be published."""
        self._problems.setdefault((asset, check), []).append(message)

    def warning(self, asset: str, check: str, message: str) -> None:
        """Something that a user should look at."""
        self._warnings.setdefault((asset, check), []).append(message)

    def add(
        self,
        table: Table,
        day: dt.date,
        rows: pa.Table,
        facts: Mapping[str, str],
        *,
        companion: pa.Table | None = None,
        shown: Mapping[str, Any] | None = None,
    ) -> Staged:
        """Checks and stages one day. `facts` go into the file, `shown` only into Dagster's metadata, with pictures."""
        return self.add_parts(table, day, [rows], facts, companion=companion, shown=shown)

    def add_parts(
        self,
        table: Table,
        day: dt.date,
        parts: Iterable[pa.Table],
        facts: Mapping[str, str],
        *,
        companion: pa.Table | None = None,
        shown: Mapping[str, Any] | None = None,
    ) -> Staged:
        """The same for a day that comes in parts, each checked by itself: a key must not stand in two parts."""
        drawn: list[pa.Table] = []
        checked = self._checked(table, day, parts, drawn)
        staged = self._lake.stage_parts(
            table.name, day, _loose(table), checked, facts, companion, repeating=table.repeating
        )
        return self._keep(staged, {**facts, **table_pictures(table.name, drawn), **(shown or {})})

    def _checked(
        self, table: Table, day: dt.date, parts: Iterable[pa.Table], drawn: list[pa.Table]
    ) -> Iterator[pa.Table]:
        """The parts as they are published; what pictures need of them is kept in `drawn`."""
        for rows in parts:
            try:
                conforming = table.conform(rows)
            except pa.ArrowInvalid as error:
                raise DataError(f"{table.name} {day} does not have its columns: {error}") from error
            for violation in table.violations(conforming):
                self.problem(table.name, RULES, f"{day}: {violation}")
            if "as_of" in table.names and (others := set(conforming["as_of"].unique().to_pylist()) - {day}):
                self.problem(table.name, RULES, f"{day}: as_of is the day of the partition, found {sorted(others)}")
            drawn.append(conforming.select(DRAWN.get(table.name, [])))
            yield conforming

    def _keep(self, staged: Staged, shown: Mapping[str, Any]) -> Staged:
        self._staged.append(staged)
        self._metadata[staged.asset, staged.day] = {
            "dagster/partition_row_count": staged.rows,
            "content_hash": staged.content_hash,
            **column_lineage(staged.asset),
            **shown,
        }
        return staged

    def finish(self) -> Iterator[Result]:
        """Reports every check, then publishes the selected assets or raises dg.Failure that names what is wrong."""
        for key in sorted(self._context.selected_asset_check_keys):
            yield self._check(key.asset_key.to_user_string(), key.name)
        if self._problems:
            raise refuse(self._complaint())
        selected = {key.to_user_string() for key in self._context.selected_asset_keys}
        wanted = [one for one in self._staged if one.asset in selected]
        self._lake.publish(wanted)
        for one in wanted:
            self._context.add_asset_metadata(self._metadata[one.asset, one.day], one.asset, one.day.isoformat())
        for asset in sorted(selected):
            yield dg.MaterializeResult(asset_key=asset)

    def _check(self, asset: str, name: str) -> dg.AssetCheckResult:
        problems = self._problems.get((asset, name), [])
        warnings = self._warnings.get((asset, name), [])
        return dg.AssetCheckResult(
            asset_key=asset,
            check_name=name,
            passed=not problems and not warnings,
            severity=dg.AssetCheckSeverity.WARN if warnings and not problems else dg.AssetCheckSeverity.ERROR,
            description="\n".join([*problems, *warnings][:_SHOWN_PROBLEMS]) or None,
        )

    def _complaint(self) -> str:
        lines = [f"{asset}, {check}: {text}" for (asset, check), texts in self._problems.items() for text in texts]
        return "nothing was published, the old snapshots stand:\n" + "\n".join(lines[:_SHOWN_PROBLEMS])
