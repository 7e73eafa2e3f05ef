"""A day from Postgres to staged Parquet: our binary path beside CSV and, where it is installed, ADBC; and retention.

EVENTS sets the number of rows, LEAN=1 leaves the two JSON columns out. Each contender reads in a process of its own,
whose greatest memory and CPU time stand beside its name; every round runs all of them.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from benchmarks import event_day
from benchmarks.event_day import DAY
from benchmarks.measure import Measured
from copytrader_assets.lake import Lake
from copytrader_assets.resources import Warehouse
from copytrader_assets.retention import postgres_digests, snapshot_digests
from copytrader_assets.schemas import EVENTS
from copytrader_core.store.day_digest import day_digests
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate
from copytrader_core.store.partitions import day_bounds_ns

_ROUNDS = 3
_PART_ROWS = 65_536
_LOOSE = pa.schema([field.with_nullable(True) for field in EVENTS.arrow])
_ORDER = 'ORDER BY slot, tx_index NULLS FIRST, sig COLLATE "C", outer_ix, inner_ix, event_seq'


def run() -> list[Measured]:
    """All contenders must stage the same rows, which is checked on the way."""
    events = event_day.size_of(1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "pg", durable=False)
        url = server.start()
        try:
            migrate(url)
            event_day.load(url, events, json=not os.environ.get("LEAN"))
            os.environ["DATABASE_URL"] = url
            return _race(folder, events)
        finally:
            server.remove()


def _race(folder: str, events: int) -> list[Measured]:
    contenders: dict[str, Callable[[str], int]] = {"CSV, one connection": csv_path, "binary COPY": binary_path}
    if importlib.util.find_spec("adbc_driver_postgresql"):
        contenders["ADBC, one connection"] = adbc_path
    contenders |= {"retention: lake": retention_lake, "retention: Postgres": retention_postgres}
    contenders["retention: Postgres' own MD5"] = retention_sql
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    beside: dict[str, str] = {}
    for _ in range(_ROUNDS):
        for name, contender in contenders.items():
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                rows, seconds, cpu_seconds, peak_mb = pool.submit(measured, contender, folder).result()
            assert rows == events, f"{name} read {rows} of {events} rows"
            speeds[name].append(events / seconds)
            beside[name] = f"{name} ({cpu_seconds / events * 1e6:.1f} us CPU a row, {peak_mb} MB)"
    return [Measured(beside[name], "rows", tuple(found)) for name, found in speeds.items()]


def measured(contender: Callable[[str], int], folder: str) -> tuple[int, float, float, int]:
    """Rows, seconds, CPU seconds of this process, its greatest memory. The first round may compile the kernels."""
    began, used = time.perf_counter(), time.process_time()
    rows = contender(folder)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return rows, time.perf_counter() - began, time.process_time() - used, peak_mb


def binary_path(folder: str) -> int:
    """What `events` does."""
    with Warehouse().read_day(DAY) as (_, parts):
        return _stage(folder, parts, publish=True)


def csv_path(folder: str) -> int:
    """COPY as CSV in ranges of slots that Postgres sorts, parsed by pyarrow."""

    def parts() -> Iterator[pa.Table]:
        with psycopg.connect(os.environ["DATABASE_URL"], options="-c timezone=UTC") as connection:
            connection.execute("SET work_mem = '192MB'")
            for where in _ranges(connection):
                yield EVENTS.conform(_parsed(connection, where))

    return _stage(folder, parts())


def adbc_path(folder: str) -> int:
    """Binary COPY decoded by ADBC's driver, in the same ranges; sorted by Arrow, amounts cast from their texts."""
    import adbc_driver_postgresql.dbapi

    url = os.environ["DATABASE_URL"]

    def parts() -> Iterator[pa.Table]:
        with (
            psycopg.connect(url) as connection,
            adbc_driver_postgresql.dbapi.connect(url) as reader,
            reader.cursor() as cursor,
        ):
            for where in _ranges(connection):
                cursor.execute(f"SELECT {_columns()} FROM raw_events WHERE {where}")
                yield _in_order(_plain(cursor.fetch_arrow_table()))

    return _stage(folder, parts())


def retention_lake(folder: str) -> int:
    """The content hash of the published file."""
    return sum(d.rows for d in snapshot_digests(Lake.at(Path(folder) / "lake"), DAY).values())


def retention_postgres(_: str) -> int:
    """The content hash of Postgres' rows, by our reader."""
    with Warehouse().connection() as connection:
        return sum(d.rows for d in postgres_digests(connection, DAY).values())


def retention_sql(_: str) -> int:
    """The same, by Postgres itself."""
    with Warehouse().connection() as connection:
        return sum(d.rows for d in day_digests(connection, DAY).values())


def _stage(folder: str, parts: Iterator[pa.Table], *, publish: bool = False) -> int:
    def checked() -> Iterator[pa.Table]:
        for part in parts:
            assert EVENTS.violations(part) == ()
            yield part

    lake = Lake.at(Path(folder) / "lake")
    staged = lake.stage_parts(EVENTS.name, DAY, _LOOSE, checked(), {}, repeating=EVENTS.repeating)
    if publish:
        lake.publish([staged])
    else:
        lake.discard([staged])
    return staged.rows


def _ranges(connection: psycopg.Connection) -> list[str]:
    start, end = day_bounds_ns(DAY)
    of_day = f"ts_ns >= {start} AND ts_ns < {end}"
    rows, first, last = connection.execute(
        f"SELECT count(*), min(slot), max(slot) FROM raw_events WHERE {of_day}"
    ).fetchone() or (0, 0, 0)
    step = max(1, (last - first + 1) * _PART_ROWS // max(1, rows))
    return [f"{of_day} AND slot >= {low} AND slot < {low + step}" for low in range(first, last + 1, step)]


def _columns() -> str:
    return ", ".join(
        "(extract(epoch FROM created_at) * 1000000)::bigint AS created_at" if name == "created_at" else name
        for name in EVENTS.names
    )


def _parsed(connection: psycopg.Connection, where: str) -> pa.Table:
    sink = pa.BufferOutputStream()
    query = f"COPY (SELECT {_columns()} FROM raw_events WHERE {where} {_ORDER}) TO STDOUT (FORMAT csv)"
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for block in copy:
            sink.write(block)
    types = {c.name: pa.int64() if c.name == "created_at" else c.type for c in EVENTS.columns}
    return pyarrow.csv.read_csv(
        pa.BufferReader(sink.getvalue()),
        pyarrow.csv.ReadOptions(column_names=EVENTS.names, block_size=8 << 20),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _plain(table: pa.Table) -> pa.Table:
    arrays = []
    for column, field in zip(table.columns, _LOOSE, strict=True):
        kind = column.type
        storage = pa.chunked_array([c.storage for c in column.chunks]) if hasattr(kind, "storage_type") else column
        arrays.append(storage.cast(field.type))
    return pa.table(arrays, schema=_LOOSE)


def _in_order(table: pa.Table) -> pa.Table:
    keys = ("slot", "tx_index", "sig", "outer_ix", "inner_ix", "event_seq")
    order = pa.compute.sort_indices(table, [(key, "ascending", "at_start") for key in keys])
    return table.take(order)
