"""Events in the lake to round trips: our step beside a pandas groupby-apply ledger and a DuckDB window-function ledger.

Every contender begins with the same Parquet file, load and sort included. Ours ends with the published rows of trades
and open_positions, meta_json included. pandas makes one object a round trip, without legs, and gets the events of some
of the wallets only; its speed is a rate, so that stands for all of them. DuckDB takes integer keys and cuts trips where
nothing is held; once it matches lots to legs and writes those as JSON, as we do, and once it only sums buys and sells.
Neither knows of dust, fees that count once, other quotes, or coins that came by transfer. EVENTS sets the size.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Measured, race
from benchmarks.synthetic_day import DAY, Sizes, publish
from copytrader_assets.analysis.moves import bucket_of
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.lake import Lake
from copytrader_assets.ledger_day import ledger_day
from copytrader_core.settings import LedgerSettings

_EVENTS = 1_000_000
_PANDAS_EVENTS = 25_000
_COLUMNS = ["slot", "tx_index", "wallet", "mint", "quote_mint", "action", "base_raw", "quote_raw", "sig", "ts_ns"]
_COLUMNS += ["tx_fee_lamports", "tip_lamports"]
_DUST = 1_000
_NUMBERED = """
WITH moves AS (
    SELECT hash(wallet, mint, quote_mint) AS key, (slot << 24) + tx_index AS place, action = 'BUY' AS bought,
        base_raw::HUGEINT AS base, quote_raw::HUGEINT AS quote, (tx_fee_lamports + tip_lamports)::HUGEINT AS fee,
        sig, ts_ns
    FROM read_parquet($file) WHERE action IN ('BUY', 'SELL')
), held AS (
    SELECT *, sum(CASE WHEN bought THEN base ELSE -base END) OVER one AS held FROM moves
    WINDOW one AS (PARTITION BY key ORDER BY place)
), numbered AS (
    SELECT *, coalesce(sum((held <= $dust)::INT) OVER before, 0) AS trip FROM held
    WINDOW before AS (PARTITION BY key ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), trips AS (
    SELECT key, trip, arg_min(sig, place) AS open_sig, arg_max(sig, place) AS close_sig, min(ts_ns), max(ts_ns),
        sum(base) FILTER (bought) AS qty, sum(quote + fee) FILTER (bought) AS cost,
        count(*) FILTER (NOT bought) AS n_sells, sum(quote - fee) FILTER (NOT bought) AS proceeds,
        arg_max(held, place) <= $dust AS closed
    FROM numbered GROUP BY key, trip
)
"""
_SUMS = f"{_NUMBERED} SELECT * FROM trips"
# Lots and sales as intervals of the coins bought: a leg's cost is what its interval shares with those of the lots.
_MATCHED = f"""{_NUMBERED}, spans AS (
    SELECT key, trip, place, bought, base, quote, fee, sig, ts_ns,
        sum(base) OVER (PARTITION BY key, trip, bought ORDER BY place) AS upto
    FROM numbered
), legs AS (
    SELECT s.key, s.trip, s.place, any_value(s.sig) AS sig, any_value(s.ts_ns) AS ts_ns, any_value(s.base) AS qty,
        any_value(s.quote - s.fee) AS proceeds,
        sum((b.quote + b.fee) * (least(s.upto, b.upto) - greatest(s.upto - s.base, b.upto - b.base)) // b.base) AS cost
    FROM spans s JOIN spans b ON s.key = b.key AND s.trip = b.trip AND NOT s.bought AND b.bought
        AND b.upto > s.upto - s.base AND b.upto - b.base < s.upto
    GROUP BY s.key, s.trip, s.place
), listed AS (
    SELECT key, trip, to_json(list({{cost_raw: cost, proceeds_raw: proceeds, qty_raw: qty, sig: sig, ts_ns: ts_ns}}
        ORDER BY place)) AS legs
    FROM legs GROUP BY key, trip
)
SELECT trips.*, legs FROM trips LEFT JOIN listed USING (key, trip)
"""


def run() -> list[Measured]:
    """They make the same number of closed round trips, which is checked before anything is timed."""
    events = int(os.environ.get("EVENTS", _EVENTS))
    with synthetic_lake(Sizes(events)) as lake:
        file = lake.file("events", DAY)
        sample = _sample(file, events)
        counted = {_ours(lake), _duckdb(file, _MATCHED), _duckdb(file, _SUMS)}
        assert len(counted) == 1, f"the ledgers disagree: {counted} closed trips"
        mine = _ours(_lake_of(lake.root / "sample", sample))
        assert mine == _pandas(sample), f"the ledgers disagree: {mine} closed trips of the sample, ours"
        contenders = {
            f"our step, {events:,} events": lambda: _ours(lake) and events,
            "DuckDB windows, lots matched, legs as JSON": lambda: _duckdb(file, _MATCHED) and events,
            "DuckDB windows, sums only": lambda: _duckdb(file, _SUMS) and events,
            f"pandas groupby-apply, {_rows(sample):,} events": lambda: _pandas(sample) and _rows(sample),
        }
        return race(contenders, "events", rounds=3)


@contextmanager
def synthetic_lake(sizes: Sizes) -> Iterator[Lake]:
    """A lake with the synthetic day, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="copytrader-bench-") as folder:
        lake = Lake(Path(folder))
        publish(lake, sizes)
        yield lake


def _rows(file: Path) -> int:
    return int(pq.read_metadata(file).num_rows)


def _sample(file: Path, events: int) -> Path:
    """The events of as many wallets as make up about _PANDAS_EVENTS, in a file of their own."""
    table = pq.ParquetFile(file).read()
    shares = max(1, events // _PANDAS_EVENTS)
    sample = file.with_name("sample.parquet.tmp")
    pq.write_table(table.filter(pa.array(bucket_of(table["wallet"], shares) == 0)), sample, compression="zstd")
    return sample


def _lake_of(root: Path, sample: Path) -> Lake:
    lake = Lake(root)
    table = pq.ParquetFile(sample).read().replace_schema_metadata(None)
    lake.publish([lake.stage("events", DAY, table, {})])
    return lake


def _ours(lake: Lake) -> int:
    rules = LedgerSettings()
    day = ledger_day(lake, DAY, Carry.nothing(), rules)
    rows = sum(part.num_rows for part in (*day.trades(rules), *day.open_positions(rules)))
    assert rows
    return day.ends()["closed"]


def _duckdb(file: Path, query: str) -> int:
    with duckdb.connect(config={"threads": LedgerSettings().threads}) as connection:
        connection.execute(f"CREATE TEMP TABLE result AS {query}", {"file": str(file), "dust": _DUST})
        row = connection.execute("SELECT count(*) FILTER (closed) FROM result").fetchone()
    return int(row[0]) if row else 0


def _pandas(file: Path) -> int:
    frame = pd.read_parquet(file, columns=_COLUMNS).sort_values(["slot", "tx_index"])
    moves = frame[frame["action"].isin(["BUY", "SELL"])]
    trips = moves.groupby(["wallet", "mint", "quote_mint"], sort=False)[_COLUMNS].apply(_trips)
    return int(trips["closed"].sum())


def _trips(group: pd.DataFrame) -> pd.DataFrame:
    """The round trips of one position, first in, first out."""
    found: list[dict[str, object]] = []
    lots: deque[list[int]] = deque()
    trip: dict[str, object] = {}
    held = bought = matched = proceeds = 0
    for row in group.itertuples(index=False):
        base, quote, fee = int(row.base_raw), int(row.quote_raw), int(row.tx_fee_lamports + row.tip_lamports)
        if row.action == "BUY":
            if not trip:
                trip, bought, matched, proceeds = {"open_sig": row.sig, "open_ts_ns": row.ts_ns}, 0, 0, 0
            lots.append([base, quote + fee])
            held, bought = held + base, bought + base
            continue
        left = min(base, held)
        held, proceeds = held - left, proceeds + quote - fee
        while left:
            qty, cost = lots[0]
            taken = min(left, qty)
            share = cost * taken // qty
            matched, left = matched + share, left - taken
            lots[0] = [qty - taken, cost - share]
            if taken == qty:
                lots.popleft()
        if trip and held <= max(1, bought // 1000):
            ends = {"close_sig": row.sig, "close_ts_ns": row.ts_ns, "pnl": proceeds - matched, "closed": True}
            found.append(trip | ends)
            trip, held = {}, 0
            lots.clear()
    if trip:
        found.append(trip | {"pnl": proceeds - matched, "closed": False})
    return pd.DataFrame(found, columns=["open_sig", "open_ts_ns", "close_sig", "close_ts_ns", "pnl", "closed"])
