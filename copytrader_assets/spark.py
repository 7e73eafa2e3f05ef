"""`engine = "spark"`: the ledger's buckets of a day, folded by Spark over the same lake. Needs the extra `spark`.

The functions are those of the threads: `ledger_bucket` under `applyInArrow`, a group a bucket of wallets. Tasks read
row groups of the day's events from the lake by themselves, wherever fsspec reaches it; rows travel between tasks as
Arrow messages in a binary column, because Spark's types know no unsigned 64-bit amounts. A bucket's round trips come
back one bucket at a time; no process ever holds the day's events. Not here: the fold, the order of rows, publishing.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.ipc

from copytrader_assets.analysis.coin_facts import CoinFacts
from copytrader_assets.analysis.ledger import Folded, ledger_bucket, of_bucket
from copytrader_assets.analysis.moves import DICTIONARIES, EVENT_COLUMNS, MOVES, bucket_of, moves
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.lake import Lake
from copytrader_assets.lake_root import open_parquet
from copytrader_assets.schemas import EVENTS
from copytrader_core.errors import ConfigError
from copytrader_core.settings import LedgerSettings, SparkSettings, settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# One task reads so many of a file's row groups: about half a million events.
_ROW_GROUPS: Final = 8
_MOVES, _HELD, _WRITTEN_OFF = "moves", "held", "written_off"
_PIECES: Final = "bucket int, kind string, place int, rows binary"
_FOLDED: Final = "bucket int, finished binary, held binary, written_off binary, unseen string, forgotten string"
_PIECES_ARROW: Final = pa.schema(
    [("bucket", pa.int32()), ("kind", pa.string()), ("place", pa.int32()), ("rows", pa.binary())]
)


def spark_session(options: SparkSettings) -> SparkSession:
    """The session of this process, made if there is none. Raises ConfigError where pyspark or Java is missing."""
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ConfigError('engine = "spark" needs PySpark: pip install "copytrader[spark]"') from error
    builder = SparkSession.builder.appName("copytrader").master(options.master)
    for name, value in {**_loopback(options.master), **options.options}.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        raise ConfigError(f"Spark does not start at {options.master}: {error}; it needs Java 17 or newer") from error


def _loopback(master: str) -> dict[str, str]:
    """Nothing listens beyond this machine unless the options say so; workers here use this very interpreter."""
    always = {"spark.ui.enabled": "false"}
    if not master.startswith("local"):
        return always
    path = os.pathsep.join(dict.fromkeys([*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]))
    return always | {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.pyspark.python": sys.executable,
        "spark.executorEnv.PYTHONPATH": path,
        "spark.executorEnv.SPARK_LOCAL_IP": "127.0.0.1",
    }


def folded_by_spark(
    lake: Lake, day: dt.date, carry: Carry, facts: CoinFacts, rules: LedgerSettings
) -> Iterator[Folded]:
    """What each bucket of wallets did on the day, in the order of the buckets; any number of them gives the same."""
    session = spark_session(settings().spark)
    rows = lake.snapshot(EVENTS.name, day).rows
    buckets = max(-(-rows // rules.bucket_rows), session.sparkContext.defaultParallelism)
    with open_parquet(lake.file(EVENTS.name, day)) as file:
        tasks = max(1, -(-file.num_row_groups // _ROW_GROUPS))
    pieces = session.range(0, tasks, 1, tasks).mapInArrow(_reading(lake, day, buckets), _PIECES)
    carried = session.createDataFrame(_carried(carry, buckets), _PIECES)
    fold = _folding(session.sparkContext.broadcast(facts), lake.end_ns(day), rules)
    found = pieces.unionAll(carried).repartition(buckets, "bucket").groupBy("bucket").applyInArrow(fold, _FOLDED)
    yield from _streamed(found)


def _streamed(found: DataFrame) -> Iterator[Folded]:
    """The buckets' results in their order. Computed side by side first: Spark streams one partition at a time."""
    from pyspark import StorageLevel

    stored = found.persist(StorageLevel.DISK_ONLY)
    try:
        stored.count()
        by_bucket = {row.bucket: _folded(row) for row in stored.toLocalIterator()}
    finally:
        stored.unpersist()
    yield from (by_bucket[bucket] for bucket in sorted(by_bucket))


def _reading(lake: Lake, day: dt.date, buckets: int) -> Any:
    """A function for mapInArrow: numbers of parts of the day's file -> the moves of each bucket in them."""

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in batch.column("id").to_pylist():
                found = moves(_events(lake, day, part))
                owner = bucket_of(found["wallet"], buckets)
                for bucket in range(buckets):
                    yield _piece(bucket, _MOVES, part, found.filter(pa.array(owner == bucket)))

    return read


def _events(lake: Lake, day: dt.date, part: int) -> pa.Table:
    with open_parquet(lake.file(EVENTS.name, day), read_dictionary=list(DICTIONARIES)) as file:
        groups = range(part * _ROW_GROUPS, min((part + 1) * _ROW_GROUPS, file.num_row_groups))
        return file.read_row_groups(list(groups), columns=list(EVENT_COLUMNS)).replace_schema_metadata(None)


def _carried(carry: Carry, buckets: int) -> pa.Table:
    """The carried rows of every bucket, as pieces."""
    pieces = []
    for bucket in range(buckets):
        own = of_bucket(carry, bucket, buckets)
        pieces += [_piece(bucket, _HELD, 0, own.held), _piece(bucket, _WRITTEN_OFF, 0, own.written_off)]
    return pa.Table.from_batches(pieces)


def _folding(facts: Any, day_end_ns: int, rules: LedgerSettings) -> Any:
    """A function for applyInArrow: the pieces of one bucket -> what it did. `facts` is Spark's broadcast of them."""

    def fold(pieces: pa.Table) -> pa.Table:
        in_order = pieces.sort_by("place")
        own = Carry(_rows(in_order, _HELD), _rows(in_order, _WRITTEN_OFF))
        done = ledger_bucket(_rows(in_order, _MOVES), own, facts.value, day_end_ns, rules)
        return pa.table(
            {
                "bucket": pieces["bucket"].slice(0, 1),
                "finished": [_message(done.finished)],
                "held": [_message(done.carry.held)],
                "written_off": [_message(done.carry.written_off)],
                "unseen": [str(done.unseen_raw)],
                "forgotten": [str(done.forgotten_raw)],
            }
        )

    return fold


def _folded(row: Any) -> Folded:
    carry = Carry(_table(row.held), _table(row.written_off))
    return Folded(_table(row.finished), carry, int(row.unseen), int(row.forgotten))


def _rows(pieces: pa.Table, kind: str) -> pa.Table:
    """The rows of all pieces of one kind, in the order of the pieces."""
    messages = [
        rows for what, rows in zip(*(pieces[n].to_pylist() for n in ("kind", "rows")), strict=True) if what == kind
    ]
    return pa.concat_tables([_table(message) for message in messages] or [MOVES.empty_table()])


def _piece(bucket: int, kind: str, place: int, rows: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{"bucket": bucket, "kind": kind, "place": place, "rows": _message(rows)}], _PIECES_ARROW
    )


def _message(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table.combine_chunks().unify_dictionaries())
    return bytes(sink.getvalue())


def _table(message: bytes) -> pa.Table:
    return pa.ipc.open_stream(message).read_all()
