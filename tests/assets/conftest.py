"""A platform whose Postgres and lake belong to the test, and short words for running days of it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pyarrow as pa
import pytest

from copytrader_assets.definitions import build_defs
from copytrader_assets.jobs import range_tags
from copytrader_assets.lake import Lake
from tests.assets import planted

COMPARED = (
    "wallet",
    "mint",
    "quote_mint",
    "open_sig",
    "open_path",
    "open_qty_raw",
    "open_cost_raw",
    "close_sig",
    "close_qty_raw",
    "close_proceeds_raw",
    "pnl_raw",
    "n_buys",
    "n_sells",
    "status",
    "basis",
)
DEFINITIONS = build_defs()


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Lake rows in the oracle's words, sorted by key."""
    rows = []
    for row in table.to_pylist():
        meta = json.loads(row["meta_json"])
        unbacked = meta.get("unbacked", {"qty_raw": 0, "proceeds_raw": 0})
        legs = [(leg["sig"], leg["path"], leg["qty_raw"], leg["proceeds_raw"], leg["cost_raw"]) for leg in meta["legs"]]
        kept = {name: row[name] for name in COMPARED}
        others = {
            "unbacked": (unbacked["qty_raw"], unbacked["proceeds_raw"]),
            "other_quotes": meta.get("other_quotes", []),
        }
        rows.append(kept | {"legs": legs} | others)
    return sorted(rows, key=lambda r: [r[name] for name in ("wallet", "mint", "open_sig", "open_path")])


@dataclass
class Platform:
    """A database, a lake and the definitions over both."""

    url: str
    root: Path

    @property
    def lake(self) -> Lake:
        return Lake(self.root / "lake")

    def plant(self, rows: Sequence[planted.Row], *sealed: dt.date) -> None:
        planted.load(self.url, rows)
        planted.seal(self.url, *sealed)

    def run(self, first: dt.date, last: dt.date | None = None, select: str = "*") -> dg.ExecuteInProcessResult:
        chosen = dg.AssetSelection.from_coercible(select.split(",")).resolve(DEFINITIONS.resolve_asset_graph())
        with dg.DagsterInstance.ephemeral() as instance:
            return DEFINITIONS.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance,
                tags=range_tags(first, last or first),
                asset_selection=sorted(chosen - {dg.AssetKey("raw_events")}),
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )

    def failure(self, first: dt.date, last: dt.date | None = None, select: str = "*") -> str:
        """The message with which the run refuses."""
        result = self.run(first, last, select)
        assert not result.success
        data = result.get_step_failure_events()[0].step_failure_data
        assert data.user_failure_data is not None, data.error
        return str(data.user_failure_data.description)

    def succeed(self, first: dt.date, last: dt.date | None = None, select: str = "*") -> dg.ExecuteInProcessResult:
        result = self.run(first, last, select)
        assert result.success, [e.step_failure_data.error for e in result.get_step_failure_events()]
        return result

    def rows(self, asset: str, day: dt.date) -> list[dict[str, Any]]:
        return self.lake.read(asset, day).to_pylist()

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)

    def files(self) -> dict[str, bytes]:
        root = self.lake.root
        return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}

    def forget(self, asset: str, date: dt.date) -> None:
        shutil.rmtree(self.lake.file(asset, date).parent)

    def forget_lake(self) -> None:
        shutil.rmtree(self.lake.root)


@pytest.fixture
def platform(pg_url: str, home: Path) -> Iterator[Platform]:
    yield Platform(pg_url, home)
