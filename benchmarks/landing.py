"""How fast rows get into raw_events: our bulk merge beside what most Python consumers do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
from psycopg2.extras import Json, execute_values

from benchmarks.measure import Measured, race
from copytrader_core.geyser.copytrader_geyser_pb2 import SubscribeUpdate
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.encoded import EncodedRows
from copytrader_core.store.migrations import migrate
from copytrader_core.store.raw_events import COLUMNS, Row, insert, row
from copytrader_core.store.wallets import names_version
from ingest_worker.kernel.lane import Lane
from ingest_worker.messages import Block, parse
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

_BATCH = 500


def run() -> list[Measured]:
    """COPY and merge against execute_values, batches of 500 with a commit each, into an empty table."""
    rows, encoded = _rows(), _encoded()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder), durable=True)
        url = server.start()
        try:
            migrate(url)
            return race(
                {
                    "COPY and merge": lambda: _land(url, rows, _copy),
                    "encoded rows, straight": lambda: _land(url, encoded, _straight),
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


def _encoded() -> list[EncodedRows]:
    lane, parts = Lane(), list[EncodedRows]()
    for block in read_tape(TAPE).blocks:
        found = parse(SubscribeUpdate(block=block).SerializeToString())
        assert isinstance(found, Block)
        transactions = found.transactions(0)
        parts.append(
            lane.land(transactions.raw, transactions.where, block.slot, block.block_time.timestamp * 10**9).rows
        )
    return [part for part in parts if len(part)]


def _land(url: str, rows: list[Any], write: Callable[[str, list[Any]], None]) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE raw_events, raw_event_slots")
    write(url, rows)
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM raw_events").fetchone()
    expected = sum(len(part) if isinstance(part, EncodedRows) else 1 for part in rows)
    assert found == (expected,)
    return expected


def _copy(url: str, rows: list[Row]) -> None:
    with psycopg.connect(url) as connection:
        for start in range(0, len(rows), _BATCH):
            insert(connection, rows[start : start + _BATCH])
            connection.commit()


def _straight(url: str, parts: list[EncodedRows]) -> None:
    with psycopg.connect(url) as connection:
        version, waiting = names_version(connection), list[EncodedRows]()
        for part in parts:
            waiting.append(part)
            if sum(map(len, waiting)) >= _BATCH or part is parts[-1]:
                insert(connection, (), waiting, version)
                connection.commit()
                waiting.clear()


def _values(url: str, rows: list[Row]) -> None:
    statement = f"INSERT INTO raw_events ({', '.join(COLUMNS)}) VALUES %s ON CONFLICT DO NOTHING"
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        for start in range(0, len(rows), _BATCH):
            batch = [(*r[:-2], Json(r[-2]), Json(r[-1])) for r in rows[start : start + _BATCH]]
            execute_values(cursor, statement, batch, page_size=_BATCH)
            connection.commit()
    connection.close()
