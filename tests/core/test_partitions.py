"""raw_events by day: every event stored once, whatever clock it comes with and whoever makes the partitions."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from copytrader_core.errors import StoreError
from copytrader_core.files import data_dir
from copytrader_core.records import Event
from copytrader_core.store import days, partitions, raw_events
from copytrader_core.store.migrations import migrate

DAY = date(2026, 3, 1)
NOON = partitions.day_bounds_ns(DAY)[0] + 43_200 * 10**9
DAY_NS = 86_400 * 10**9
COPIED = "ts_ns, slot, sig, outer_ix, inner_ix, event_seq, wallet, program, action"


def row(n: int, *, days_later: int = 0, slot: int | None = None, ts_ns: int | None = None) -> raw_events.Row:
    event = Event(
        slot=n if slot is None else slot,
        tx_index=0,
        sig=f"sig{n}",
        outer_ix=0,
        inner_ix=-1,
        event_seq=0,
        wallet=f"wallet{n % 7}",
        fee_payer="payer",
        program="program",
        action="BUY",
        mint="mint",
        base_mint="mint",
        quote_mint="quote",
        base_raw=1,
        quote_raw=2,
        swap_fee_raw=0,
        tx_fee_lamports=5000,
        tip_lamports=0,
        reserve_base_raw=3,
        reserve_quote_raw=4,
        amount_in=0.5,
        amount_out=0.25,
        price_est=2.0,
        fee_sol=0.1,
    )
    return raw_events.row(event, ts_ns=(ts_ns or NOON) + days_later * DAY_NS, recv_ts_ns=1, alias=None)


def open_database(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, options="-c client_min_messages=error")


@pytest.fixture
def db(pg_url: str) -> Iterable[psycopg.Connection[Any]]:
    with open_database(pg_url) as connection:
        yield connection


def copy_plainly(connection: psycopg.Connection[Any], rows: Iterable[tuple[int, int, str]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY raw_events ({COPIED}) FROM STDIN") as copy:
        for ts_ns, slot, sig in rows:
            copy.write_row((ts_ns, slot, sig, 0, -1, 0, "w", "p", "BUY"))


def where(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """How many rows lie in which table."""
    return dict(connection.execute("SELECT tableoid::regclass::text, count(*) FROM raw_events GROUP BY 1").fetchall())


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def blocked(connection: psycopg.Connection[Any]) -> bool:
    query = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
    )
    return connection.execute(query).fetchone() == (True,)


def test_rows_of_the_first_schema_are_all_there_and_sorted_into_their_days(pg_url: str, tmp_path: Path) -> None:
    shutil.copy(data_dir("sql") / "migrations" / "0001_spine.sql", tmp_path)
    with open_database(pg_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        migrate(pg_url, tmp_path)
        copy_plainly(connection, ((NOON + n % 3 * DAY_NS, n, f"sig{n}") for n in range(300)))
        before = connection.execute("SELECT * FROM raw_events ORDER BY sig").fetchall()
    migrate(pg_url)
    with open_database(pg_url) as connection:
        assert connection.execute("SELECT * FROM raw_events ORDER BY sig").fetchall() == before
        assert where(connection) == {partitions.partition_name(DAY + timedelta(n)): 100 for n in range(3)}
        assert raw_events.insert(connection, [row(0), row(1, days_later=5), row(1000)]) == 1


def test_plain_copy_takes_any_day_and_the_rows_move_when_the_day_is_ensured(db: psycopg.Connection[Any]) -> None:
    long_ago, far_ahead = date(2021, 5, 6), date(2199, 1, 2)
    for n, day in enumerate((long_ago, far_ahead)):
        copy_plainly(db, [(partitions.day_bounds_ns(day)[0] + n, n, f"sig{n}")])
    assert partitions.days_in_default(db) == {long_ago: 1, far_ahead: 1}
    assert partitions.ensure_partitions(db, far_ahead, far_ahead) == [partitions.Ensured(far_ahead, 1)]
    assert days.seal(db, long_ago, "manual").n_events == 1
    assert where(db) == {"raw_events_20210506": 1, "raw_events_21990102": 1}


def test_a_partition_has_every_index_and_its_own_unique_key(db: psycopg.Connection[Any]) -> None:
    partitions.ensure_partitions(db, DAY, DAY)
    found = db.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'raw_events_20260301'").fetchall()
    columns = sorted(definition.partition("USING btree ")[2] for (definition,) in found)
    assert columns == ["(mint, ts_ns)", "(sig, outer_ix, inner_ix, event_seq)", "(slot)", "(wallet, ts_ns)"]


def test_partitions_are_made_ahead_of_the_wall_clock_and_of_the_chains(db: psycopg.Connection[Any]) -> None:
    db.execute("INSERT INTO ingest_slots (slot, block_time, n_txs, n_events) VALUES (1, %s, 0, 0)", (NOON // 10**9,))
    partitions.ensure_ahead(db)
    today = datetime.now(UTC).date()
    expected = {centre + timedelta(n) for centre in (today, DAY) for n in range(-1, partitions.DAYS_AHEAD + 1)}
    assert set(partitions.partition_days(db)) == expected
    assert partitions.ensure_ahead(db) == []


def test_many_makers_at_once_make_each_partition_once(pg_url: str, db: psycopg.Connection[Any]) -> None:
    copy_plainly(db, ((NOON + n % 4 * DAY_NS, n, f"sig{n}") for n in range(400)))

    def make(_: int) -> list[partitions.Ensured]:
        with open_database(pg_url) as connection:
            return partitions.ensure_partitions(connection, DAY, DAY + timedelta(3))

    with ThreadPoolExecutor(4) as pool:
        made = [one for result in pool.map(make, range(4)) for one in result]
    assert sorted(made, key=lambda one: one.day) == [partitions.Ensured(DAY + timedelta(n), 100) for n in range(4)]


def test_two_writers_and_a_maker_at_once_lose_nothing_and_store_nothing_twice(
    pg_url: str, db: psycopg.Connection[Any]
) -> None:
    batches = [[row(n, days_later=n % 5, slot=n // 7) for n in range(k, k + 40)] for k in range(0, 1200, 20)]
    start = threading.Barrier(3)

    def write(own: list[list[raw_events.Row]]) -> int:
        with open_database(pg_url) as connection:
            start.wait()
            return sum(raw_events.insert(connection, batch) for batch in own)

    def make() -> None:
        with open_database(pg_url) as connection:
            start.wait()
            for n in range(5):
                partitions.ensure_partitions(connection, DAY, DAY + timedelta(n))
                time.sleep(0.05)

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, batches), pool.submit(write, batches[::-1])]
        pool.submit(make).result()
        assert sum(writer.result() for writer in writers) == 1220
    assert db.execute("SELECT count(*), count(DISTINCT sig) FROM raw_events").fetchone() == (1220, 1220)
    assert where(db) == {partitions.partition_name(DAY + timedelta(n)): 244 for n in range(5)}


def test_a_move_that_is_killed_half_way_leaves_everything_where_it_was(
    pg_url: str, db: psycopg.Connection[Any]
) -> None:
    copy_plainly(db, ((NOON, n, f"sig{n}") for n in range(50)))
    with psycopg.connect(pg_url) as mover:
        assert mover.execute("SELECT raw_events_partition(%s)", (DAY,)).fetchone() == (50,)
        db.execute("SELECT pg_terminate_backend(%s)", (mover.info.backend_pid,))
        eventually(lambda: not blocked(db))
        mover.close()
    assert where(db) == {"raw_events_default": 50}
    assert partitions.partition_days(db) == []
    assert partitions.ensure_partitions(db, DAY, DAY) == [partitions.Ensured(DAY, 50)]


def test_a_writer_that_meets_the_making_of_its_partition_waits_and_lands(
    pg_url: str, db: psycopg.Connection[Any]
) -> None:
    with open_database(pg_url) as writer, psycopg.connect(pg_url) as maker, ThreadPoolExecutor(1) as pool:
        maker.execute("SELECT raw_events_partition(%s)", (DAY,))
        landing = pool.submit(raw_events.insert, writer, [row(1), row(2)])
        eventually(lambda: blocked(db))
        maker.commit()
        assert landing.result() == 2
    assert where(db) == {"raw_events_20260301": 2}


def test_a_long_query_delays_the_maker_but_never_a_writer(pg_url: str, db: psycopg.Connection[Any]) -> None:
    partitions.ensure_partitions(db, DAY, DAY)
    with open_database(pg_url) as maker, psycopg.connect(pg_url) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("SELECT count(*) FROM raw_events")
        tomorrow = DAY + timedelta(1)
        making = pool.submit(partitions.ensure_partitions, maker, tomorrow, tomorrow)
        eventually(lambda: blocked(db))
        began = time.monotonic()
        assert raw_events.insert(db, [row(1)]) == 1
        assert time.monotonic() - began < 0.5 and not making.done()
        reader.rollback()
        assert making.result() == [partitions.Ensured(tomorrow, 0)]


def test_a_long_query_stops_neither_the_worker_nor_its_sealing(pg_url: str, db: psycopg.Connection[Any]) -> None:
    with psycopg.connect(pg_url) as reader:
        reader.execute("SELECT count(*) FROM raw_events")
        with pytest.raises(StoreError, match="in use"):
            partitions.ensure_ahead(db)
        assert days.seal_covered(db) == []
    assert len(partitions.ensure_ahead(db)) == partitions.DAYS_AHEAD + 2


@pytest.mark.parametrize("days_later", [-400, -1, 1, 400])
def test_a_replay_under_another_days_clock_is_not_stored_again(db: psycopg.Connection[Any], days_later: int) -> None:
    partitions.ensure_partitions(db, DAY, DAY + timedelta(1))
    assert raw_events.insert(db, [row(1), row(2)]) == 2
    replay = [row(1, days_later=days_later), row(2, days_later=days_later), row(3, days_later=days_later)]
    assert raw_events.insert(db, replay) == 1
    assert raw_events.insert(db, [row(n) for n in (1, 2, 3)]) == 0


def test_one_batch_with_an_event_under_two_days_clocks_stores_it_once(db: psycopg.Connection[Any]) -> None:
    assert raw_events.insert(db, [row(1), row(1, days_later=1), row(2, days_later=1)]) == 2


def test_writers_of_one_slot_take_turns_so_that_neither_misses_the_other(
    pg_url: str, db: psycopg.Connection[Any]
) -> None:
    partitions.ensure_partitions(db, DAY, DAY + timedelta(1))
    with open_database(pg_url) as first, open_database(pg_url) as second, ThreadPoolExecutor(1) as pool:
        first.execute("BEGIN")
        assert raw_events.insert(first, [row(1)]) == 1
        late = pool.submit(raw_events.insert, second, [row(1, days_later=1)])
        eventually(lambda: blocked(db))
        first.commit()
        assert late.result() == 0


def test_a_corrected_clock_moves_the_event_to_its_day(db: psycopg.Connection[Any]) -> None:
    partitions.ensure_partitions(db, DAY, DAY + timedelta(1))
    raw_events.insert(db, [row(1)])
    db.execute("UPDATE raw_events SET ts_ns = ts_ns + %s WHERE sig = 'sig1'", (DAY_NS,))
    assert where(db) == {"raw_events_20260302": 1}
    assert raw_events.insert(db, [row(1, days_later=1)]) == 0
    assert raw_events.insert(db, [row(1)]) == 0


def test_a_day_with_events_that_plain_copy_stored_under_two_days_is_not_sealed(db: psycopg.Connection[Any]) -> None:
    partitions.ensure_partitions(db, DAY, DAY + timedelta(1))
    copy_plainly(db, [(NOON, 7, "twice"), (NOON, 8, "once")])
    days.seal(db, DAY, "manual")
    copy_plainly(db, [(NOON + DAY_NS, 7, "twice")])
    with pytest.raises(StoreError, match=r"twice \(also on 2026-03-01\)"):
        days.seal(db, DAY + timedelta(1), "manual")


def test_an_event_that_plain_copy_stored_is_not_stored_again_once_its_day_is_sealed(
    db: psycopg.Connection[Any],
) -> None:
    copy_plainly(db, [(NOON, 1, "sig1")])
    days.seal(db, DAY, "manual")
    assert raw_events.insert(db, [row(1, days_later=3)]) == 0


def covered(connection: psycopg.Connection[Any]) -> None:
    """Three days of slots without a hole; the one in the middle can be sealed."""
    for slot, days_later in ((1, -1), (2, 0), (3, 0), (4, 1)):
        connection.execute(
            "INSERT INTO ingest_slots (slot, parent_slot, block_time, n_txs, n_events) VALUES (%s, %s, %s, 1, 1)",
            (slot, slot - 1, (NOON + days_later * DAY_NS) // 10**9 + slot),
        )
    raw_events.insert(connection, [row(2), row(3)])


def test_a_gap_inside_a_sealed_day_ends_the_seal_until_it_is_filled(db: psycopg.Connection[Any]) -> None:
    covered(db)
    assert [one.day for one in days.seal_covered(db)] == [DAY]
    db.execute("INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (3, 3, 'found late')")
    assert [one.day for one in days.unseal_gapped(db)] == [DAY]
    assert days.seal_covered(db) == []
    assert "slots 3 to 3" in str(db.execute("SELECT unsealed_reason FROM ingest_days").fetchall())
    db.execute("UPDATE ingest_gaps SET filled_at = now()")
    assert [one.day for one in days.seal_covered(db)] == [DAY]
    assert db.execute("SELECT unsealed_at, unsealed_reason FROM ingest_days").fetchall() == [(None, None)]


def test_the_users_own_seal_ends_only_by_a_gap_among_the_days_own_slots(db: psycopg.Connection[Any]) -> None:
    raw_events.insert(db, [row(10), row(20)])
    days.seal(db, DAY, "manual")
    db.execute("INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (30, 99, 'elsewhere'), (1, 9, 'elsewhere')")
    assert days.unseal_gapped(db) == []
    db.execute("INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (15, 16, 'inside')")
    assert [one.day for one in days.unseal_gapped(db)] == [DAY]
    days.seal(db, DAY, "manual")
    assert days.unseal_gapped(db) == []
