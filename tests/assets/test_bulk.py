"""The bulk reader: what Postgres sends comes out exact, in chain order, whatever the order it was stored in."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytrader_assets.bulk import content, decode, wire
from copytrader_assets.bulk.day import slot_ranges
from copytrader_assets.bulk.md5 import PADDING_BYTES, md5
from copytrader_assets.resources import Warehouse
from copytrader_assets.schemas import EVENTS
from copytrader_core.errors import DataError
from copytrader_core.store.day_digest import day_digests
from copytrader_core.store.partitions import day_bounds_ns
from tests.assets.conftest import Platform
from tests.assets.planted import Market, day, event

KEY = ("slot", "tx_index", "sig", "outer_ix", "inner_ix", "event_seq")
SCHEMA = pa.schema(
    [
        ("slot", pa.int64()),
        ("tx_index", pa.int32()),
        ("sig", pa.string()),
        ("outer_ix", pa.int32()),
        ("inner_ix", pa.int32()),
        ("event_seq", pa.int32()),
        ("amount", pa.uint64()),
        ("price", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
        ("meta", pa.string()),
    ]
)
LAYOUT = decode.Layout(SCHEMA, frozenset({"meta"}), KEY)
U64 = 2**64 - 1


@pytest.fixture(scope="module")
def db(pg_server: str) -> Iterator[psycopg.Connection[Any]]:
    # Not the database that every test's own is copied from: nobody may be in that one.
    elsewhere = f"{pg_server.rpartition('/')[0]}/postgres"
    with psycopg.connect(elsewhere, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute(
            "CREATE TEMP TABLE sent (slot int8, tx_index int4, sig text, outer_ix int4, inner_ix int4, event_seq int4,"
            " amount numeric, price float8, at timestamptz, meta jsonb)"
        )
        yield connection


def read(db: psycopg.Connection[Any], query: str = "SELECT * FROM sent") -> pa.Table:
    buffer = wire.Wire()
    wire.receive(db, f"COPY ({query}) TO STDOUT (FORMAT binary)", buffer)
    return decode.table(buffer, LAYOUT)


def send(db: psycopg.Connection[Any], *rows: tuple[Any, ...]) -> None:
    db.execute("TRUNCATE sent")
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO sent VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)", rows)


def row(**changes: Any) -> tuple[Any, ...]:
    base = {"slot": 1, "tx_index": 0, "sig": "s", "outer_ix": 0, "inner_ix": -1, "event_seq": 0}
    return tuple((base | dict.fromkeys(("amount", "price", "at", "meta")) | changes).values())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, U64), st.sampled_from([0, 1, 9_999, 10_000, 10**16, 2**63, U64])),
            st.one_of(st.none(), st.floats(allow_nan=False)),
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
        ),
        max_size=8,
    )
)
def test_every_amount_float_and_text_comes_out_as_it_went_in(
    db: psycopg.Connection[Any], values: list[tuple[int | None, float | None, str]]
) -> None:
    send(db, *(row(slot=n, amount=a, price=p, sig=text) for n, (a, p, text) in enumerate(values)))
    found = read(db)
    assert list(zip(*(found[name].to_pylist() for name in ("amount", "price", "sig")), strict=True)) == values


def test_json_is_postgres_own_text_of_it_and_times_are_microseconds(db: psycopg.Connection[Any]) -> None:
    send(db, row(meta='{"b": [1, "é"], "a": null}', at="1999-12-31 23:59:59.000001+00"))
    found = read(db).to_pylist()[0]
    assert found["meta"] == '{"a": null, "b": [1, "é"]}'
    assert found["at"].isoformat() == "1999-12-31T23:59:59.000001+00:00"


@pytest.mark.parametrize("amount", [str(2**64), "-1", "0.5", "12345.00001", "NaN", "1e30"])
def test_what_is_no_u64_is_refused_and_its_row_named(db: psycopg.Connection[Any], amount: str) -> None:
    send(db, row(amount=5), row(slot=2, sig="odd-one", amount=amount))
    with pytest.raises(DataError, match="amount of odd-one/0/-1/0 is not an integer from 0"):
        read(db)


def test_rows_come_in_chain_order_from_any_order(db: psycopg.Connection[Any]) -> None:
    rng = random.Random(3)
    keys = [
        (rng.randrange(3), rng.choice([None, 0, 1]), rng.choice(["b", "a", "aa", "Ä"]), *(rng.randrange(-1, 2),) * 2, n)
        for n in range(200)
    ]
    send(db, *((*key, None, None, None, None) for key in keys))
    expected = sorted(keys, key=lambda k: (k[0], -1 if k[1] is None else k[1], k[2].encode(), *k[3:]))
    assert list(zip(*(read(db)[name].to_pylist() for name in KEY), strict=True)) == expected


def test_the_errors_of_the_server_are_raised_and_the_connection_goes_on(db: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable, match="nowhere"):
        read(db, "SELECT * FROM nowhere")
    with pytest.raises(psycopg.errors.DivisionByZero):
        read(db, "SELECT 1 / (2 - n) FROM generate_series(1, 3) AS n")
    assert db.execute("SELECT 7").fetchone() == (7,)


def test_an_encrypted_connection_reads_the_same(db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    send(db, *(row(slot=n, amount=n * 10**15, meta='{"n": 1}') for n in range(500)))
    plain = read(db)
    monkeypatch.setattr(wire, "is_plain", lambda _: False)
    assert read(db).equals(plain) and plain.num_rows == 500


def test_a_row_larger_than_the_buffer_comes_out_whole(db: psycopg.Connection[Any]) -> None:
    big = "x" * 20_000_000
    send(db, row(sig=big), row(slot=2))
    assert read(db)["sig"].to_pylist() == [big, "s"]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_md5_is_md5(text: bytes) -> None:
    memory = np.zeros((len(text) + PADDING_BYTES + 3) // 4 * 4, np.uint8)
    memory[: len(text)] = np.frombuffer(text, np.uint8)
    high, low = md5(memory, memory.view(np.uint32), len(text))
    assert f"{int(high):016x}{int(low):016x}" == hashlib.md5(text).hexdigest()


def test_ranges_of_slots_take_every_row_once(platform: Platform) -> None:
    platform.plant(Market(1, 1, events_per_day=300).rows)
    everything = platform.sql("SELECT count(*) FROM raw_events")[0][0]
    with psycopg.connect(platform.url) as connection:
        ranges = slot_ranges(connection, day(0), 0, 50)
        counts = [platform.sql(f"SELECT count(*) FROM raw_events WHERE {one}")[0][0] for one in ranges]
    assert sum(counts) == everything and len(counts) > 5 and max(counts) < 150


def test_connections_and_parts_change_nothing_and_the_digests_are_those_of_postgres(platform: Platform) -> None:
    platform.plant(Market(2, 1, events_per_day=300).rows)
    with Warehouse().read_day(day(0), 40, connections=3) as (_, parts):
        found = pa.concat_tables(parts)
    with Warehouse().read_day(day(0), connections=1) as (_, parts):
        assert pa.concat_tables(parts).equals(found)
    assert found.schema.names == EVENTS.names
    with psycopg.connect(platform.url, options="-c timezone=UTC") as connection:
        assert content.digests(found) == day_digests(connection, day(0))


def test_rows_of_other_days_stay_out(platform: Platform) -> None:
    platform.plant([event(1, "BUY", 1, 1), event(216_001, "BUY", 1, 1)])
    with Warehouse().read_day(day(0)) as (_, parts):
        times = [t for part in parts for t in part["ts_ns"].to_pylist()]
    assert len(times) == 1 and times[0] < day_bounds_ns(day(0))[1]


def test_leaving_a_day_half_read_closes_its_connections(platform: Platform) -> None:
    platform.plant(Market(3, 1, events_per_day=200).rows)
    with Warehouse().read_day(day(0), 20) as (_, parts):
        next(parts)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert platform.sql(others) == [(0,)]
