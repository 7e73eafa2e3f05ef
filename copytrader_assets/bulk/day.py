"""A day of raw_events as of one moment, read over several connections in ranges of slots. Not here: seals, Parquet.

The ranges come out in the order of their slots and each in chain order, so that neither their number nor that of the
connections changes what comes out.
"""

from __future__ import annotations

import datetime as dt
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import psycopg
import pyarrow as pa

from copytrader_assets.bulk import decode
from copytrader_assets.bulk.wire import Wire, receive
from copytrader_core.errors import DataError, StoreError
from copytrader_core.store.partitions import day_bounds_ns
from copytrader_core.store.raw_events import KINDS

# Rows that a part holds, more or less: at two kilobytes a row about 70 MB of wire and 60 MB of columns.
PART_ROWS: Final = 32_768
# As many as there are cores for them: Postgres needs one for each, decoding and Parquet come on top.
CONNECTIONS: Final = 2
_SAMPLED_ROWS: Final = 20_000
_JSON: Final = frozenset(name for name, kind in KINDS.items() if kind == "jsonb")
_CHAIN_ORDER: Final = ("slot", "tx_index", "sig", "outer_ix", "inner_ix", "event_seq")
_COPY: Final = "COPY (SELECT {columns} FROM raw_events WHERE {rows}) TO STDOUT (FORMAT binary)"
# A sample of whole pages finds where the slots lie without reading the day.
_SAMPLE: Final = "SELECT slot FROM raw_events TABLESAMPLE SYSTEM ({percent}) WHERE {rows} ORDER BY slot"
# Half a million rows are never scanned for one range of slots; a plan for one range fits all of them.
_SESSION: Final = (
    "SET LOCAL work_mem = '192MB'",
    "SET LOCAL enable_seqscan = off",
    "SET LOCAL max_parallel_workers_per_gather = 0",
    "SET LOCAL jit = off",
    "SET LOCAL client_encoding = 'UTF8'",
)
Connection = psycopg.Connection[Any]


def read_day(
    connection: Connection,
    connect: Callable[[], Connection],
    day: dt.date,
    schema: pa.Schema,
    *,
    expected_rows: int,
    part_rows: int = PART_ROWS,
    connections: int = CONNECTIONS,
    last_slot: int | None = None,
) -> Generator[pa.Table]:
    """The day's rows in parts of whole slots, with the columns of `schema`, in chain order. Close it when done.

    All of it as of the moment that `connection`, inside a repeatable-read transaction, sees; `connect` opens the
    others. `expected_rows` only decides how finely the slots are looked at before they are divided; nothing after
    `last_slot` is read. Raises DataError where a value does not fit its column, as an amount beyond u64 would not.
    """
    layout = decode.Layout(schema, _JSON & set(schema.names), _CHAIN_ORDER)
    ranges = slot_ranges(connection, day, expected_rows, part_rows)
    if last_slot is not None:
        ranges = [f"{rows} AND slot <= {last_slot}" for rows in ranges]
    queries = [_COPY.format(columns=", ".join(map(_expression, schema.names)), rows=rows) for rows in ranges]

    def read(reader: Connection, wire: Wire, query: str) -> pa.Table:
        receive(reader, query, wire)
        try:
            return decode.table(wire, layout)
        except DataError as error:
            raise DataError(f"raw_events of {day} do not fit the lake's columns: {error}") from error

    snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
    if snapshot is None:
        raise StoreError("Postgres gave no snapshot to read a day from")
    with ExitStack() as stack:
        count = max(1, min(connections, len(queries)))
        readers = [stack.enter_context(_reader(connect, snapshot[0])) for _ in range(count)]
        yield from _in_order(readers, queries, read)


def slot_ranges(connection: Connection, day: dt.date, expected_rows: int, part_rows: int) -> list[str]:
    """Conditions that together take every row of the day once, about `part_rows` each; a slot is never divided."""
    start, end = day_bounds_ns(day)
    of_day = f"ts_ns >= {start} AND ts_ns < {end}"
    percent = min(100.0, 100.0 * _SAMPLED_ROWS / max(1, expected_rows))
    sample = [slot for (slot,) in connection.execute(_SAMPLE.format(percent=f"{percent:.6f}", rows=of_day))]
    parts = round(len(sample) * 100.0 / percent / part_rows)
    bounds = sorted({sample[len(sample) * part // parts] for part in range(1, parts)})
    lower = ["", *(f" AND slot >= {bound}" for bound in bounds)]
    upper = [*(f" AND slot < {bound}" for bound in bounds), ""]
    return [of_day + low + high for low, high in zip(lower, upper, strict=True)]


@contextmanager
def _reader(connect: Callable[[], Connection], snapshot: str) -> Iterator[Connection]:
    """A connection that sees what the exporter of `snapshot` sees."""
    with connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        for statement in _SESSION:
            connection.execute(statement)
        if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
            raise StoreError(f"the database has the encoding {encoding}, expected UTF8: create it with ENCODING 'UTF8'")
        yield connection


def _in_order(
    readers: Sequence[Connection], queries: Sequence[str], read: Callable[[Connection, Wire, str], pa.Table]
) -> Iterator[pa.Table]:
    """The results of `read` in the order of `queries`, a few ahead of their taker and no more."""
    idle: queue.SimpleQueue[tuple[Connection, Wire]] = queue.SimpleQueue()
    for reader in readers:
        idle.put((reader, Wire()))

    def one(query: str) -> pa.Table:
        pair = idle.get()
        try:
            return read(*pair, query)
        finally:
            idle.put(pair)

    waiting = iter(queries)
    with ThreadPoolExecutor(len(readers), "read-day") as pool:
        ahead: deque[Future[pa.Table]] = deque()
        try:
            for query in waiting:
                ahead.append(pool.submit(one, query))
                if len(ahead) > len(readers):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _expression(column: str) -> str:
    """The leader is filled in from the snapshot's own edges: with it the same day would never be the same snapshot."""
    return "NULL::text" if column == "leader_wallet" else column
