"""How fast rows get into raw_events: our bulk merge beside what most Python consumers do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import psycopg2
from psycopg2.extras import Json, execute_values

from benchmarks.measure import Measured, race
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate
from copytrader_core.store.raw_events import COLUMNS, Row, insert, row
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

_BATCH = 500


def run() -> list[Measured]:
    """COPY and merge against execute_values, batches of 500 with a commit each, into an empty table."""
    rows = _rows()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder), durable=True)
        url = server.start()
        try:
            migrate(url)
            return race(
                {
                    "COPY and merge": lambda: _land(url, rows, _copy),
                    "execute_values": lambda: _land(url, rows, _values),
                },
                "rows",
            )
        finally:
            server.stop()


def _rows() -> list[Row]:
    return [
        row(event, ts_ns=block.block_time.timestamp * 10**9, recv_ts_ns=0, alias=None)
        for block in read_tape(TAPE).blocks
        for info in block.transactions
        for event in decode(transaction_from_update(info, block.slot, block.block_time.timestamp)).events
    ][:5_000]


def _land(url: str, rows: list[Row], write: Callable[[str, list[Row]], None]) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE raw_events, raw_event_slots")
    write(url, rows)
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM raw_events").fetchone()
    assert found == (len(rows),)
    return len(rows)


def _copy(url: str, rows: list[Row]) -> None:
    with psycopg.connect(url) as connection:
        for start in range(0, len(rows), _BATCH):
            insert(connection, rows[start : start + _BATCH])
            connection.commit()


def _values(url: str, rows: list[Row]) -> None:
    statement = f"INSERT INTO raw_events ({', '.join(COLUMNS)}) VALUES %s ON CONFLICT DO NOTHING"
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        for start in range(0, len(rows), _BATCH):
            batch = [(*r[:-2], Json(r[-2]), Json(r[-1])) for r in rows[start : start + _BATCH]]
            execute_values(cursor, statement, batch, page_size=_BATCH)
            connection.commit()
    connection.close()
