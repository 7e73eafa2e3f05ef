"""A made-up day of raw_events of real shape and its way into Postgres, for benchmarks. Nothing is timed here.

Real shape: base58 keys, a few wallets and coins that make most of the events, 17 or 27 accounts an instruction (some of
them the same everywhere, some the coin's, some the wallet's) and the thirteen things that meta_json says; together
about 1.9 kB a row, as measured on decoded mainnet transactions.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from copytrader_core.records import WSOL
from copytrader_core.store import days
from copytrader_core.store.partitions import day_bounds_ns, partition_name

DAY = dt.date(2026, 3, 1)
SLOTS = 216_000
_FIRST_SLOT = 403_000_000
_PART = 200_000
_BASE58 = np.frombuffer(b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", np.uint8)
_PROGRAMS = ("6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P", "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA")
_ACTIONS = ("BUY", "SELL", "CREATE")
Numbers = npt.NDArray[np.int64]


def size_of(default: int) -> int:
    """EVENTS of the environment, or `default`."""
    return int(os.environ.get("EVENTS", default))


def load(url: str, events: int, *, wallets: int = 200_000, coins: int = 50_000, json: bool = True) -> None:
    """Fills Postgres with a day of these rows."""
    fill(url, parts(events, wallets, coins, json=json))


def fill(url: str, tables: Iterable[pa.Table]) -> None:
    """Fills the partition of DAY by COPY, builds its indexes, analyses it and seals the day."""
    name = partition_name(DAY)
    start, end = day_bounds_ns(DAY)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {name} (LIKE raw_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        with connection.cursor() as cursor:
            for table in tables:
                with cursor.copy(f"COPY {name} ({', '.join(table.column_names)}) FROM STDIN (FORMAT csv)") as copy:
                    copy.write(_csv(table))
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (sig, outer_ix, inner_ix, event_seq)")
        connection.execute(f"ALTER TABLE raw_events ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})")
        connection.execute(f"VACUUM (ANALYZE) {name}")
        days.seal(connection, DAY, "benchmark")


def parts(events: int, wallets: int, coins: int, *, json: bool = True) -> Iterator[pa.Table]:
    """The rows in parts, in the order in which a worker would have landed them."""
    rng = np.random.default_rng(7)
    who = Names(rng, wallets, 3)
    what = Names(rng, coins, 5)
    for first in range(0, events, _PART):
        numbers = np.arange(first, min(events, first + _PART))
        yield _part(rng, numbers, events, who, what, json=json)


class Names:
    """Addresses, and for each the accounts that always come with it, as a piece of JSON."""

    def __init__(self, rng: np.random.Generator, count: int, companions: int) -> None:
        self.address = _keys(rng, count, 44)
        quoted = [self.address, *(_keys(rng, count, 44) for _ in range(companions))]
        self.accounts = pc.binary_join_element_wise(*quoted, '", "')

    def skewed(self, rng: np.random.Generator, count: int) -> Numbers:
        """Half of the picks fall on the first two percent."""
        return (len(self.address) * rng.random(count) ** 5.6).astype(np.int64)


def _part(rng: np.random.Generator, numbers: Numbers, events: int, who: Names, what: Names, *, json: bool) -> pa.Table:
    count = len(numbers)
    start, _ = day_bounds_ns(DAY)
    place = numbers * SLOTS // events
    wallet, coin = who.skewed(rng, count), what.skewed(rng, count)
    action = rng.choice(3, count, p=(0.52, 0.47, 0.01))
    venue = (coin % 3 == 0).astype(np.int64)
    base, quote = rng.integers(10**9, 10**14, count), rng.integers(10**6, 10**10, count)
    reserves = rng.integers(10**14, 10**15, count), rng.integers(3 * 10**10, 10**11, count)
    wallets, mints = pc.take(who.address, wallet), pc.take(what.address, coin)
    is_trade = pa.array(action < 2)
    ts_ns = start + place * 400_000_000 // 10**9 * 10**9
    columns = {
        "ts_ns": ts_ns,
        "recv_ts_ns": ts_ns + rng.integers(10**8, 10**9, count),
        "slot": _FIRST_SLOT + place,
        "tx_index": rng.integers(0, 1_200, count),
        "sig": _keys(rng, count, 88),
        "outer_ix": rng.integers(0, 6, count),
        "inner_ix": rng.choice(np.array([-1, 2, 5]), count),
        "event_seq": np.zeros(count, np.int64),
        "wallet": wallets,
        "alias": pc.if_else(pa.array(wallet < 400), pc.binary_join_element_wise("name", wallets, "-"), None),
        "fee_payer": wallets,
        "program": pc.take(pa.array(_PROGRAMS), venue),
        "action": pc.take(pa.array(_ACTIONS), action),
        "mint": mints,
        "base_mint": mints,
        "quote_mint": pa.repeat(WSOL, count),
        "base_raw": pc.if_else(is_trade, base, None),
        "quote_raw": pc.if_else(is_trade, quote, None),
        "swap_fee_raw": pc.if_else(is_trade, quote // 80, None),
        "tx_fee_lamports": rng.integers(5_000, 100_000, count),
        "tip_lamports": rng.choice(np.array([0, 0, 300_000]), count),
        "reserve_base_raw": reserves[0],
        "reserve_quote_raw": reserves[1],
        "amount_in": quote / 1e9,
        "amount_out": base / 1e6,
        "price_est": reserves[1] / reserves[0] / 1e3,
        "fee_sol": rng.integers(5_000, 10**6, count) / 1e9,
    }
    if json:
        columns |= json_columns(rng, wallet, coin, who, what, reserves, place)
    return pa.table(columns)


def json_columns(
    rng: np.random.Generator,
    wallet: Numbers,
    coin: Numbers,
    who: Names,
    what: Names,
    reserves: tuple[Numbers, Numbers],
    place: Numbers,
) -> dict[str, pa.Array]:
    """The accounts and the facts of events: codes of wallets and coins, reserves, and slots since the day began."""
    venue = (coin % 3 == 0).astype(np.int64)
    return {
        "ix_accounts_json": _accounts(wallet, coin, venue, who, what),
        "meta_json": _meta(rng, pc.take(what.address, coin), reserves, place),
    }


def _accounts(wallet: Numbers, coin: Numbers, venue: Numbers, who: Names, what: Names) -> pa.Array:
    rng = np.random.default_rng(1)
    everywhere = [_keys(rng, count, 44).to_pylist() for count in (7, 15)]
    shared = pc.take(pa.array(['", "'.join(names) for names in everywhere]), venue)
    own, coins = pc.take(who.accounts, wallet), pc.take(what.accounts, coin)
    return pc.binary_join_element_wise('["', shared, '", "', coins, '", "', own, '"]', "")


def _meta(rng: np.random.Generator, creators: pa.Array, reserves: tuple[Numbers, Numbers], place: Numbers) -> pa.Array:
    seconds = day_bounds_ns(DAY)[0] // 10**9 + place * 2 // 5
    return pc.binary_join_element_wise(
        '{"venue": "curve", "real_base_raw": ',
        pa.array(reserves[0] - 10**13).cast(pa.string()),
        ', "real_quote_raw": ',
        pa.array(reserves[1] - 3 * 10**10).cast(pa.string()),
        ', "protocol_fee_bps": 95, "creator_fee_bps": 30, "cashback_raw": 0, "creator": "',
        creators,
        '", "mayhem": false, "timestamp": ',
        pa.array(seconds).cast(pa.string()),
        ', "source": "cpi", "ix": "buy_exact_quote_in_v3", "base_decimals": 6, "quote_decimals": 9}',
        "",
    )


def _keys(rng: np.random.Generator, count: int, length: int) -> pa.Array:
    """Random base58 texts of one length."""
    letters = _BASE58[rng.integers(0, 58, count * length, dtype=np.uint8)]
    offsets = np.arange(count + 1, dtype=np.int32) * length
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters))


def _csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(include_header=False))
    return sink.getvalue().to_pybytes()
