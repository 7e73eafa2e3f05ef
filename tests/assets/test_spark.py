"""`engine = "spark"`: two worker processes give the very tables that the threads give."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.lake import Lake
from copytrader_assets.ledger_day import LedgerDay, ledger_day
from copytrader_assets.schemas import EVENTS
from copytrader_core.settings import LedgerSettings, settings
from tests.assets.books import lake_events, of_day
from tests.assets.planted import Market, day

RULES = LedgerSettings(bucket_rows=450)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def cluster(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A standalone cluster of two worker processes on this machine; how many executors it has."""
    pyspark = pytest.importorskip("pyspark", reason='PySpark is missing (pip install "copytrader[spark]")')
    if shutil.which("java") is None:
        pytest.skip("Java is missing: the Spark engine is not checked here")
    from copytrader_assets.spark import spark_session

    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("COPYTRADER_SPARK__MASTER", "local-cluster[2,1,1024]")
    monkeypatch.setenv("COPYTRADER_SPARK__OPTIONS", '{"spark.sql.shuffle.partitions": "4"}')
    settings.cache_clear()
    session = spark_session(settings().spark)
    session.range(2, numPartitions=2).count()
    yield session.sparkContext._jsc.sc().statusTracker().getExecutorInfos().__len__() - 1
    session.stop()
    assert pyspark is not None


def tables(done: LedgerDay) -> list[pa.Table]:
    rows = [pa.concat_tables(part) for part in (done.trades(RULES), done.open_positions(RULES))]
    return [*rows, done.carry.stored()]


def test_two_worker_processes_give_the_tables_of_the_threads(cluster: int, tmp_path: Path) -> None:
    lake, market = Lake.at(tmp_path / "lake"), Market(5, 2, events_per_day=900, wallets=40)
    carries = {"threads": Carry.nothing(), "spark": Carry.nothing()}
    for number in range(2):
        rows = lake_events(of_day(market.rows, number))
        lake.publish([lake.stage(EVENTS.name, day(number), rows, {})])
        done = {engine: ledger_day(lake, day(number), carry, RULES, engine) for engine, carry in carries.items()}
        ours, theirs = tables(done["threads"]), tables(done["spark"])
        assert all(one.equals(other) for one, other in zip(ours, theirs, strict=True)) and ours[0].num_rows > 50
        assert done["threads"].flow == done["spark"].flow and len(done["spark"].finished) > 1
        carries = {engine: one.carry for engine, one in done.items()}
    assert cluster == 2
