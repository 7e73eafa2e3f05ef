"""`copytrader sql "QUERY"`."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import sys
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import duckdb
import pyarrow as pa
import typer

from copytrader_assets.lake import Lake
from copytrader_assets.query import open_lake
from copytrader_core.errors import CopytraderError
from copytrader_core.settings import settings

app = typer.Typer()


class Format(StrEnum):
    """How the rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="DuckDB SQL; one view per published asset, with a `day` column")],
    shape: Annotated[Format, typer.Option("--format", help="csv and json go clean to standard output")] = Format.table,
) -> None:
    """Query the lake with DuckDB."""
    if not query.strip():
        raise typer.BadParameter('expected a query, found nothing: try "SELECT * FROM trades LIMIT 5"')
    with open_lake(Lake.at(settings().lake_location)) as connection:
        try:
            relation = connection.sql(query)
            if relation is not None:
                _print(relation, shape)
        except duckdb.Error as error:
            raise CopytraderError(str(error)) from error


def _print(relation: duckdb.DuckDBPyRelation, shape: Format) -> None:
    if shape is Format.table:
        relation.show(max_rows=1_000, max_width=200)
        return
    names = relation.columns
    rows = _rows(relation)
    if shape is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_text(value) for value in row] for row in rows)
    else:
        lines = (json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False) for row in rows)
        print("[" + ",\n ".join(lines) + "]")


def _rows(relation: duckdb.DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    reader: pa.RecordBatchReader = relation.to_arrow_reader(100_000)
    for batch in reader:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _text(value: Any) -> Any:
    """A cell: nothing for NULL, JSON for what is nested."""
    if isinstance(value, bool):
        return "true" if value else "false"
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, (list, dict)) else plain


def _plain(value: Any) -> Any:
    """What JSON knows. Whole decimals stay exact integers."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
        case float():
            return value if math.isfinite(value) else None
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return str(value)
        case bytes():
            return value.hex()
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case _:
            return value
