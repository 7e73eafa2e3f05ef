"""Encoded rows in Postgres: the same as sent as values, each key once, under the names of the moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from both import SLOT, TS_NS, by_decoder, landed, rows_by_kernel

from copytrader_core.store import raw_events, wallets
from copytrader_core.store.encoded import EncodedRows

COLUMNS = ", ".join(raw_events.COLUMNS)


@pytest.fixture
def connection(pg_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def encoded(lane, taped) -> EncodedRows:
    return landed(lane, taped[:300]).rows


def stored(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT {COLUMNS} FROM raw_events ORDER BY sig, outer_ix, inner_ix").fetchall()


def land(connection: psycopg.Connection, *parts: EncodedRows, rows=(), version: int | None = -1) -> int:
    version = wallets.names_version(connection) if version == -1 else version
    return raw_events.insert(connection, rows, parts, version)


def test_straight_and_merged_rows_are_the_rows_that_values_give(connection, encoded):
    assert land(connection, encoded) == len(encoded)
    straight = stored(connection)
    connection.execute("TRUNCATE raw_events, raw_event_slots")
    assert land(connection, encoded, version=None) == len(encoded)
    assert stored(connection) == straight
    connection.execute("TRUNCATE raw_events, raw_event_slots")
    assert raw_events.insert(connection, list(encoded.rows())) == len(encoded)
    assert stored(connection) == straight


def test_a_replay_adds_nothing(connection, encoded):
    land(connection, encoded)
    assert land(connection, encoded) == 0
    assert land(connection, replace(encoded, slot=SLOT + 1)) == 0
    assert len(stored(connection)) == len(encoded)


def test_a_key_that_stands_twice_in_a_batch_is_landed_once(connection, encoded):
    assert land(connection, encoded, encoded) == len(encoded)
    assert len(stored(connection)) == len(encoded)


def test_rows_that_came_by_a_plain_copy_are_not_landed_again(connection, encoded):
    raw_events.insert(connection, list(encoded.rows())[:3])
    connection.execute("TRUNCATE raw_event_slots")
    assert land(connection, encoded) == len(encoded) - 3


def test_values_and_encoded_rows_of_one_slot_land_together(connection, encoded):
    rows = list(encoded.rows())
    half = EncodedRows(SLOT, TS_NS, encoded.data[: encoded.starts[5]], encoded.starts[:5])
    assert land(connection, half, rows=rows[5:]) == len(rows)


def test_a_name_of_a_moment_ago_is_on_the_rows(connection, encoded):
    version = wallets.names_version(connection)
    wallet = next(encoded.rows())[8]
    connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, 'Ada')", (wallet,))
    assert wallets.names_version(connection) > version
    land(connection, encoded, version=version)
    named = connection.execute("SELECT DISTINCT wallet FROM raw_events WHERE alias = 'Ada'").fetchall()
    assert named == [(wallet,)]


def test_the_kernels_write_the_names_that_they_know(lane, taped):
    raw = next(raw for raw in taped if by_decoder(raw) and by_decoder(raw).events)
    wallet = by_decoder(raw).events[0].wallet
    lane.name({wallet: wallets.Wallet(wallet, "Zoë", True)})
    (rows,) = rows_by_kernel(landed(lane, [raw])).values()
    lane.name({})
    assert {row[9] for row in rows if row[8] == wallet} == {"Zoë"}
