"""The bulk insert: exact values, each key once, inside the caller's transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest
from chain_double import WALLETS, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copytrader_core.store import raw_events

U64 = 2**64 - 1


def row(n: int = 0, **changes: Any) -> raw_events.Row:
    return raw_events.row(event(100, 1, f"sig{n}", 0, WALLETS[0], **changes), ts_ns=5, recv_ts_ns=6, alias="whale")


def stored(connection: psycopg.Connection, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {columns} FROM raw_events ORDER BY sig").fetchall()


def test_every_column_comes_back_as_it_went_in(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        sent = row(base_raw=U64, meta={"venue": "curve", "n": U64, "name": 'a"b\\u0000'}, ix_accounts=("x", "y"))
        assert raw_events.insert(connection, [sent]) == 1
        (found,) = stored(connection, ", ".join(raw_events.COLUMNS))
    assert list(found) == [
        Decimal(v) if c.endswith("_raw") else v for c, v in zip(raw_events.COLUMNS, sent, strict=True)
    ]


def test_what_is_not_known_is_null(pg_url: str) -> None:
    unknown = dict.fromkeys(
        ("tx_index", "base_raw", "quote_raw", "swap_fee_raw", "amount_in", "price_est", "quote_mint")
    )
    with psycopg.connect(pg_url) as connection:
        raw_events.insert(connection, [row(**unknown, ix_accounts=(), meta={})])
        assert stored(connection, f"{', '.join(unknown)}, ix_accounts_json, meta_json, leader_wallet") == [(None,) * 10]


def test_a_known_key_is_left_as_it_is_and_not_counted(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        assert raw_events.insert(connection, [row(1), row(2), row(2)]) == 2
        assert raw_events.insert(connection, [row(2, quote_raw=1), row(3)]) == 1
        assert stored(connection, "sig, quote_raw = 1") == [("sig1", False), ("sig2", False), ("sig3", False)]


def test_nul_characters_are_left_out_of_json(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        raw_events.insert(connection, [row(meta={"name": "a\0b", "list": ["\0", {"k\0": 1}]})])
        assert stored(connection, "meta_json") == [({"name": "ab", "list": ["", {"k": 1}]},)]


def test_rolls_back_with_its_transaction_and_works_again(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        with pytest.raises(RuntimeError), connection.transaction():
            raw_events.insert(connection, [row(1)])
            raise RuntimeError
        assert raw_events.insert(connection, [row(1)]) == 1
        assert len(stored(connection, "sig")) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, U64), st.integers(0, U64), st.none() | st.integers(0, U64)), max_size=20))
def test_any_u64_survives(pg_url: str, amounts: list[tuple[int, int, int | None]]) -> None:
    with psycopg.connect(pg_url) as connection, connection.transaction(force_rollback=True):
        rows = [
            row(n, base_raw=base, reserve_base_raw=reserve, swap_fee_raw=fee)
            for n, (base, reserve, fee) in enumerate(amounts)
        ]
        raw_events.insert(connection, rows)
        found = connection.execute(
            "SELECT base_raw, reserve_base_raw, swap_fee_raw FROM raw_events ORDER BY substr(sig, 4)::int"
        )
        assert found.fetchall() == amounts


def test_a_name_imported_a_moment_ago_is_on_the_next_row(pg_url: str) -> None:
    with psycopg.connect(pg_url) as connection:
        connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, 'Ada')", (WALLETS[0],))
        assert raw_events.insert(connection, [row()]) == 1
        assert stored(connection, "alias") == [("Ada",)]
