"""A wallet's history from a node: its rows, exactly as a full ingest has them, whatever interrupts the run."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from datetime import date

import psycopg
import pytest
from aiohttp import web
from backfill_chain import (
    FAR_AWAY,
    LONG_AGO,
    Period,
    backfill,
    busiest_wallets,
    command,
    cut_hole,
    database,
    ingest_tape,
    node,
    query,
    rows,
    tape_slots,
)

from copytrader_core.errors import StoreError
from copytrader_core.solana.rpc import RpcUnavailableError
from copytrader_core.store import backfill as store
from copytrader_core.store.days import recount_sealed
from ingest_worker.backfill_desk import Desk

SLOT_LIST = tape_slots()


@pytest.fixture(scope="module")
def full(pg_server: str) -> Iterator[str]:
    """The whole tape, ingested live."""
    with database(pg_server) as url:
        asyncio.run(ingest_tape(url))
        yield url


@pytest.fixture(scope="module")
def whale(full: str) -> str:
    """The wallet with the most events."""
    return busiest_wallets(full)[0]


def of(wallet: str) -> str:
    """Every row of the wallet's transactions."""
    return f"WHERE wallet = '{wallet}'"


def midnight(full: str, day: int) -> int:
    """The beginning of a day of the tape, in unix seconds."""
    ((seconds,),) = query(full, "SELECT min(ts_ns) / 86400000000000 * 86400 FROM raw_events")
    return int(seconds) + day * 86_400


def spy(wallet: str) -> str:
    return f"SELECT count(*) FROM raw_events WHERE wallet = '{wallet}'"


async def test_an_empty_database_gets_exactly_the_wallets_rows_of_a_full_ingest(
    pg_url: str, full: str, whale: str
) -> None:
    async with node() as rpc:
        summary, _ = await backfill(rpc, pg_url, (whale,))
    assert rows(pg_url, of(whale)) == rows(full, of(whale)) != []
    assert summary.unplaced == 0 and summary.dead_letters == 0 and summary.wallets == 1
    assert query(pg_url, "SELECT count(*) FROM raw_events WHERE tx_index IS NULL") == [(0,)]


async def test_every_imported_wallet_gets_its_rows_and_its_name(pg_url: str, full: str) -> None:
    wallets = busiest_wallets(full, 12)
    for number, wallet in enumerate(wallets):
        query(pg_url, "INSERT INTO wallets (wallet, alias) VALUES (%s, %s)", wallet, f"n{number}")
    async with node() as rpc:
        summary, _ = await backfill(rpc, pg_url)
    assert summary.wallets == 12
    for number, wallet in enumerate(wallets):
        strip = (
            "SELECT sig, outer_ix, inner_ix, event_seq, tx_index FROM raw_events WHERE wallet = %s ORDER BY 1, 2, 3, 4"
        )
        assert query(pg_url, strip, wallet) == query(full, strip, wallet)
        assert query(pg_url, "SELECT DISTINCT alias FROM raw_events WHERE wallet = %s", wallet) == [(f"n{number}",)]


async def test_a_second_run_asks_for_one_list_only(pg_url: str, whale: str) -> None:
    async with node() as rpc:
        await backfill(rpc, pg_url, (whale,))
        again, _ = await backfill(rpc, pg_url, (whale,))
        assert rpc.calls == {"getFirstAvailableBlock": 1, "getBlockTime": 1, "getSignaturesForAddress": 1}
    assert (again.events, again.transactions) == (0, 0)


async def test_what_live_ingest_has_landed_is_not_fetched_again(pg_server: str, full: str, whale: str) -> None:
    with database(pg_server, full) as url:
        before = rows(url)
        async with node() as rpc:
            summary, _ = await backfill(rpc, url, (whale,))
            assert rpc.calls["getTransaction"] == rpc.calls["getBlock"] == summary.events == 0
        assert rows(url) == before


async def test_since_and_until_bound_the_history_by_chain_time(pg_url: str, full: str, whale: str) -> None:
    first, last = midnight(full, 1), midnight(full, 2)
    async with node() as rpc:
        await backfill(rpc, pg_url, (whale,), Period(first, last))
    where = f"{of(whale)} AND ts_ns >= {first * 10**9} AND ts_ns < {last * 10**9}"
    assert rows(pg_url) == rows(full, where) != []


async def test_later_runs_extend_the_history_upwards_and_downwards_and_fetch_nothing_twice(
    pg_url: str, full: str, whale: str
) -> None:
    days = [midnight(full, n) for n in range(4)]
    fetched = 0
    async with node() as rpc:
        for period in (Period(days[1], days[2]), Period(days[2]), Period(days[0], days[1]), LONG_AGO):
            summary, _ = await backfill(rpc, pg_url, (whale,), period)
            fetched += summary.transactions
    assert rows(pg_url, of(whale)) == rows(full, of(whale))
    signatures = query(full, "SELECT count(DISTINCT sig) FROM raw_events WHERE wallet = %s", whale)
    assert fetched == signatures[0][0]


async def test_a_node_that_cannot_tell_the_order_gives_rows_without_a_place_and_a_better_one_completes_them(
    pg_url: str, full: str, whale: str
) -> None:
    async def no_blocks(method: str) -> web.Response | None:
        if method != "getBlock":
            return None
        return web.json_response({"error": {"code": -32011, "message": "history is not available"}, "id": 1})

    async with node(intercept=no_blocks) as rpc:
        summary, _ = await backfill(rpc, pg_url, (whale,))
    assert query(pg_url, "SELECT count(*), count(tx_index) FROM raw_events") == [(summary.events, 0)]
    assert summary.unplaced == summary.transactions
    query(pg_url, "DELETE FROM backfill_progress")
    async with node() as rpc:
        await backfill(rpc, pg_url, (whale,))
    assert rows(pg_url, of(whale)) == rows(full, of(whale))


async def test_a_storm_of_429_and_broken_answers_costs_time_and_no_row(pg_url: str, full: str, whale: str) -> None:
    rng = random.Random(5)

    async def storm(_: str) -> web.Response | None:
        kind = rng.random()
        if kind < 0.2:
            return web.Response(status=429, headers={"Retry-After": "0.01"})
        if kind < 0.25:
            return web.json_response({"error": {"code": -32429, "message": "slow down"}, "id": 1}, status=200)
        if kind < 0.3:
            return web.json_response({"error": {"code": -32005, "message": "Node is behind"}, "id": 1})
        return web.Response(status=502, text="<html>") if kind < 0.35 else None

    period = Period(midnight(full, 2))
    async with node(intercept=storm) as rpc:
        summary, _ = await backfill(rpc, pg_url, (whale,), period)
    assert rows(pg_url) == rows(full, f"{of(whale)} AND ts_ns >= {period.since * 10**9}") != []
    assert summary.retries > 20


async def test_a_node_that_never_answers_ends_the_run_and_keeps_what_has_come(
    pg_url: str, full: str, whale: str
) -> None:
    served = 0

    async def dying(method: str) -> web.Response | None:
        nonlocal served
        served += method == "getTransaction"
        return web.Response(status=503) if served > 150 else None

    async with node(intercept=dying) as rpc:
        with pytest.raises(RpcUnavailableError, match="gave no answer"):
            await backfill(rpc, pg_url, (whale,), patience_seconds=0.3)
        assert 100 <= query(pg_url, spy(whale))[0][0] <= 150
        rpc.intercept = None
        await backfill(rpc, pg_url, (whale,))
    assert rows(pg_url, of(whale)) == rows(full, of(whale))


async def test_kill_9_again_and_again_loses_nothing_and_the_runs_go_on(pg_url: str, full: str, whale: str) -> None:
    async def slow(_: str) -> web.Response | None:
        await asyncio.sleep(0.02)
        return None

    async with node(intercept=slow) as rpc:
        arguments = ("--wallet", whale, "--since", "2026-01-01", "--rpc", f"http://{rpc.address}")
        counts = []
        for _ in range(3):
            process = await command(*arguments, url=pg_url)
            before = query(pg_url, spy(whale))[0][0]
            while query(pg_url, spy(whale))[0][0] == before and process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            if process.returncode is None:
                process.kill()
            await process.communicate()
            counts.append(query(pg_url, spy(whale))[0][0])
        assert counts == sorted(counts) and counts[0] > 0
        process = await command(*arguments, url=pg_url)
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert rows(pg_url, of(whale)) == rows(full, of(whale))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_commits_and_ends_in_good_order(
    pg_url: str, full: str, whale: str, number: signal.Signals, status: int
) -> None:
    async def slow(_: str) -> web.Response | None:
        await asyncio.sleep(0.05)
        return None

    async with node(intercept=slow) as rpc:
        arguments = ("--wallet", whale, "--since", "2026-01-01", "--rpc", f"http://{rpc.address}")
        process = await command(*arguments, url=pg_url)
        while rpc.calls["getTransaction"] < 40:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        process.send_signal(number)
        output, errors = await asyncio.wait_for(process.communicate(), 5)
        assert process.returncode == status, errors.decode()
        assert b"stopped" in errors
        landed = query(pg_url, spy(whale))[0][0]
        assert landed > 0 and f"events={landed}" in output.decode()
        rpc.intercept = None
        summary, _ = await backfill(rpc, pg_url, (whale,))
    assert rows(pg_url, of(whale)) == rows(full, of(whale))
    assert summary.events == query(full, spy(whale))[0][0] - landed


async def test_beside_live_ingest_every_event_is_there_once(pg_url: str, full: str) -> None:
    wallets = tuple(busiest_wallets(full, 6))
    async with node() as rpc:
        await asyncio.gather(ingest_tape(pg_url), backfill(rpc, pg_url, wallets))
    assert rows(pg_url) == rows(full)
    assert query(pg_url, "SELECT sum(n_events) FROM ingest_slots") == query(full, "SELECT count(*) FROM raw_events")


async def test_late_rows_bring_a_sealed_day_up_to_date(pg_server: str, full: str, whale: str) -> None:
    with database(pg_server, full) as url:
        sealed = query(url, "SELECT day, n_events FROM ingest_days ORDER BY 1")
        cut_hole(url, SLOT_LIST[700], SLOT_LIST[1400])
        query(url, "DELETE FROM ingest_gaps")
        query(url, "UPDATE ingest_days SET n_events = 0")
        async with node() as rpc:
            _, watching = await backfill(rpc, url, (whale,))
        days: list[tuple[date, int]] = query(url, "SELECT day, n_events FROM ingest_days WHERE n_events > 0")
        assert days and all(n <= dict(sealed)[day] for day, n in days)
        assert any("counted again" in line for line in watching.lines)


async def test_a_kill_before_the_final_count_leaves_a_sealed_days_number_true(
    pg_server: str, full: str, whale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(desk: Desk) -> None:
        desk.late_for.clear()

    monkeypatch.setattr(Desk, "recount", killed)
    counted = (
        "SELECT day, n_events, first_slot, last_slot FROM ingest_days ORDER BY 1",
        "SELECT utc_day(ts_ns), count(*), min(slot), max(slot) FROM raw_events"
        " WHERE utc_day(ts_ns) IN (SELECT day FROM ingest_days) GROUP BY 1 ORDER BY 1",
    )
    with database(pg_server, full) as url:
        cut_hole(url, SLOT_LIST[700], SLOT_LIST[1400])
        query(url, "DELETE FROM ingest_gaps")
        with psycopg.connect(url, autocommit=True) as connection:
            recount_sealed(connection, {day for (day,) in query(url, "SELECT day FROM ingest_days")})
        before = query(url, counted[0])
        async with node() as rpc:
            await backfill(rpc, url, (whale,))
        assert query(url, counted[0]) == query(url, counted[1]) != before


async def test_two_backfills_of_one_database_do_not_run_side_by_side(
    pg_url: str, whale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest_worker.backfill._LOCK_SECONDS", 0.1)
    with psycopg.connect(pg_url, autocommit=True) as other:
        assert store.try_lock(other)
        async with node() as rpc:
            with pytest.raises(StoreError, match="another backfill"):
                await backfill(rpc, pg_url, (whale,))


async def test_a_node_with_a_short_history_says_so_and_a_longer_one_goes_on_from_there(
    pg_url: str, full: str, whale: str
) -> None:
    async with node(keep_from_slot=SLOT_LIST[2000]) as rpc:
        _, watching = await backfill(rpc, pg_url, (whale,))
        assert any("keeps blocks from" in line for line in watching.lines)
    assert rows(pg_url) == rows(full, f"{of(whale)} AND slot >= {SLOT_LIST[2000]}") != []
    async with node() as rpc:
        await backfill(rpc, pg_url, (whale,))
    assert rows(pg_url, of(whale)) == rows(full, of(whale))


async def test_a_wallet_that_never_traded_costs_one_call_and_leaves_no_trace(pg_url: str) -> None:
    async with node() as rpc:
        summary, _ = await backfill(rpc, pg_url, ("11111111111111111111111111111112",), FAR_AWAY)
        assert rpc.calls["getSignaturesForAddress"] == 1
    assert summary.events == 0 and query(pg_url, "SELECT * FROM backfill_progress") == []
