"""DuckDB over the lake: one view an asset, with its `day`. Not here: printing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

from copytrader_assets.lake import Lake
from copytrader_assets.lake_root import children
from copytrader_assets.schemas import TABLES

_ASSET = re.compile(r"[a-z][a-z0-9_]*")


def open_lake(lake: Lake) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the views. An asset that has no day yet has an empty view with its columns."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    if not isinstance(lake.root, Path):
        connection.register_filesystem(lake.root.fs)
    for asset in sorted({*TABLES, *_present(lake)}):
        if children(lake.root / asset, "day=*/*.parquet"):
            connection.execute(_view_of_files(lake, asset))
        else:
            _empty_view(connection, asset, TABLES[asset].arrow)
    return connection


def _present(lake: Lake) -> Iterable[str]:
    folders = children(lake.root)
    return [f.name for f in folders if _ASSET.fullmatch(f.name) and children(f, "day=*/*.parquet")]


def _view_of_files(lake: Lake, asset: str) -> str:
    files = f"{lake.root}/{asset}/day=*/*.parquet".replace("'", "''")
    source = f"read_parquet('{files}', hive_partitioning = true, hive_types = {{'day': DATE}}, union_by_name = true)"
    return f"CREATE VIEW {asset} AS SELECT * FROM {source}"  # noqa: S608 - the name matched _ASSET, the path is quoted


def _empty_view(connection: duckdb.DuckDBPyConnection, asset: str, schema: pa.Schema) -> None:
    loose = pa.schema([field.with_nullable(True) for field in schema])
    connection.register(f"empty_{asset}", loose.append(pa.field("day", pa.date32())).empty_table())
    connection.execute(f"CREATE VIEW {asset} AS SELECT * FROM empty_{asset}")  # noqa: S608 - names of our own tables
