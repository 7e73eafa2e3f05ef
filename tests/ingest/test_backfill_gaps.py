"""Holes of the stream, filled from a node: exactly what live ingest would have landed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from backfill_chain import (
    FAR_AWAY,
    SLOTS,
    backfill,
    cut_hole,
    database,
    ingest_tape,
    node,
    open_gaps,
    query,
    rows,
    tape_slots,
)
from worker_runs import Heard, ended

from copytrader_core.errors import DataError
from copytrader_core.geyser.client import Endpoint
from ingest_worker.worker import Options
from simnet.demo_tape import TAPE
from simnet.yellowstone import serve

SLOT_LIST = tape_slots()
HOLE = (SLOT_LIST[700] + 1, SLOT_LIST[1400])


@pytest.fixture(scope="module")
def full(pg_server: str) -> Iterator[str]:
    """The whole tape, ingested live."""
    with database(pg_server) as url:
        asyncio.run(ingest_tape(url))
        yield url


@pytest.fixture
def holed(pg_server: str, full: str) -> Iterator[str]:
    """The same with 700 blocks missing."""
    with database(pg_server, full) as url:
        cut_hole(url, *HOLE)
        yield url


async def test_a_hole_is_filled_exactly_as_live_ingest_would_have(full: str, holed: str) -> None:
    async with node() as rpc:
        summary, watching = await backfill(rpc, holed, period=FAR_AWAY)
    assert rows(holed) == rows(full) and query(holed, SLOTS) == query(full, SLOTS)
    assert open_gaps(holed) == [] and summary.gaps_filled == 1 and summary.open_gaps == []
    assert (summary.slots, watching.steps) == (700, 700)
    assert query(holed, "SELECT count(*) FROM ingest_dead_letters") == [(0,)]
    assert query(holed, "SELECT count(*) FROM protocol_drift") == query(full, "SELECT count(*) FROM protocol_drift")


async def test_an_outage_longer_than_the_replay_window_is_filled(pg_server: str, full: str) -> None:
    with database(pg_server) as url:
        before, after = SLOT_LIST[500], SLOT_LIST[3000]
        await ingest_tape(url, until_slot=before)
        await ingest_tape(url, from_slot=after, replay_slots=0)
        (gap,) = open_gaps(url)
        assert before < gap[0] <= gap[1] < after
        async with node() as rpc:
            await backfill(rpc, url, period=FAR_AWAY)
        assert open_gaps(url) == []
        assert rows(url) == rows(full) and query(url, SLOTS) == query(full, SLOTS)


async def test_a_hole_before_everything_that_is_known_is_filled_and_closed(pg_server: str, full: str) -> None:
    with database(pg_server) as url:
        await ingest_tape(url, from_slot=SLOT_LIST[3500], replay_slots=0)
        first = SLOT_LIST[3000]
        query(url, "INSERT INTO ingest_gaps VALUES (%s, %s, 'asked for')", first, SLOT_LIST[3499])
        async with node() as rpc:
            summary, _ = await backfill(rpc, url, period=FAR_AWAY)
        assert (open_gaps(url), summary.gaps_filled, summary.slots) == ([], 1, 500)
        assert rows(url) == rows(full, f"WHERE slot >= {first}")


async def test_a_second_run_asks_the_node_for_no_block(holed: str) -> None:
    async with node() as rpc:
        await backfill(rpc, holed, period=FAR_AWAY)
        again, _ = await backfill(rpc, holed, period=FAR_AWAY)
        assert rpc.calls["getBlock"] == rpc.calls["getBlocks"] == 0
    assert (again.events, again.duplicates, again.slots) == (0, 0, 0)


async def test_a_gap_whose_blocks_the_node_has_not_any_more_stays_open_and_says_what_to_do(
    full: str, holed: str
) -> None:
    async with node(keep_from_slot=SLOT_LIST[1000]) as rpc:
        summary, _ = await backfill(rpc, holed, period=FAR_AWAY)
    assert open_gaps(holed) == [HOLE]
    assert summary.slots == 401 and summary.gaps_filled == 0
    (complaint,) = summary.open_gaps
    assert f"slots {HOLE[0]} to {HOLE[1]}" in complaint and f"from {SLOT_LIST[1000]} on" in complaint
    async with node() as rpc:
        summary, _ = await backfill(rpc, holed, period=FAR_AWAY)
    assert (summary.slots, open_gaps(holed), rows(holed) == rows(full)) == (299, [], True)


async def test_a_node_of_another_chain_is_refused_before_anything_of_it_lands(holed: str) -> None:
    query(holed, "UPDATE ingest_slots SET blockhash = 'ours' WHERE slot = %s", SLOT_LIST[700])
    before = rows(holed)
    async with node() as rpc:
        with pytest.raises(DataError, match="another chain"):
            await backfill(rpc, holed, period=FAR_AWAY)
    assert rows(holed) == before and open_gaps(holed) == [HOLE]


async def test_a_day_that_was_sealed_with_the_hole_is_counted_again_and_said(full: str, holed: str) -> None:
    sealed = query(holed, "SELECT day, n_events FROM ingest_days ORDER BY 1")
    assert sealed
    query(holed, "UPDATE ingest_days SET n_events = n_events - 1")
    async with node() as rpc:
        _, watching = await backfill(rpc, holed, period=FAR_AWAY)
    touched = {line[:10] for line in watching.lines if "counted again" in line}
    assert touched
    counted = {str(day): n for day, n in query(holed, "SELECT day, n_events FROM ingest_days")}
    assert {day: counted[day] for day in touched} == {str(day): n for day, n in sealed if str(day) in touched}


async def test_filling_a_gap_beside_live_ingest_loses_and_doubles_nothing(pg_server: str, full: str) -> None:
    with database(pg_server) as url:
        await ingest_tape(url, until_slot=SLOT_LIST[500])
        await ingest_tape(url, from_slot=SLOT_LIST[2000], until_slot=SLOT_LIST[2100], replay_slots=0)
        assert open_gaps(url)
        async with serve(TAPE, from_slot=SLOT_LIST[2101]) as stream, node() as rpc:
            heard, options = Heard(), Options(Endpoint(stream.address), url)
            worker = asyncio.create_task(ended(options, None, heard, lambda: heard.landed_slot >= SLOT_LIST[-1]))
            await backfill(rpc, url, period=FAR_AWAY)
            await worker
        assert open_gaps(url) == []
        assert rows(url) == rows(full) and query(url, SLOTS) == query(full, SLOTS)
