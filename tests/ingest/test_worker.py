"""The worker against planted chains: exactly their events, once each, whatever the stream does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from chain_double import DAY, T0, WALLETS, Act, Chain, Server, plant_transaction, serving
from worker_runs import PATIENCE_SECONDS, Heard, ingest, landed, open_gaps, query, until

from copytrader_core.errors import StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from ingest_worker.scope import Scope, ScopeRules
from ingest_worker.subscription import Shape
from ingest_worker.waits import Waits


async def test_lands_exactly_the_planted_events_with_their_names(pg_url: str) -> None:
    chain = Chain.plant(60)
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, 'whale')", (WALLETS[0],))
    async with serving(Server(chain)) as server:
        summary = await ingest(server, pg_url)
    assert landed(pg_url) == chain.truth()
    assert (summary.slots, summary.events, summary.duplicates, summary.gaps) == (60, len(chain.truth()), 0, 0)
    assert query(pg_url, "SELECT DISTINCT alias FROM raw_events ORDER BY 1") == [("whale",), (None,)]
    assert query(pg_url, "SELECT DISTINCT wallet FROM raw_events WHERE alias = 'whale'") == [(WALLETS[0],)]
    assert query(pg_url, "SELECT count(*), sum(n_events), max(slot) FROM ingest_slots") == [
        (60, summary.events, chain.slots[-1])
    ]
    assert query(pg_url, "SELECT slot, blockhash FROM ingest_checkpoint") == [
        (chain.slots[-1], f"hash{chain.slots[-1]}")
    ]


async def test_keeps_amounts_and_json_exact(pg_url: str) -> None:
    chain = Chain.plant(5)
    async with serving(Server(chain)) as server:
        await ingest(server, pg_url)
    assert query(
        pg_url,
        "SELECT DISTINCT base_raw = 18446744073709551615 - slot, jsonb_typeof(ix_accounts_json), meta_json->>'venue',"
        " recv_ts_ns > 0 FROM raw_events",
    ) == [(True, "array", "curve", True)]


async def test_a_second_run_over_the_same_chain_changes_nothing(pg_url: str) -> None:
    chain = Chain.plant(30)
    async with serving(Server(chain)) as server:
        await ingest(server, pg_url)
        again = await ingest(server, pg_url, from_slot=chain.slots[0])
    assert landed(pg_url) == chain.truth()
    assert (again.events, again.duplicates) == (0, len(chain.truth()))
    assert open_gaps(pg_url) == []


async def test_resumes_from_the_checkpoint_inclusive(pg_url: str) -> None:
    chain = Chain.plant(20)
    async with serving(Server(Chain(chain.blocks[:10]))) as server:
        await ingest(server, pg_url)
        server.chain = chain
        await ingest(server, pg_url)
    assert not server.requests[0].HasField("from_slot")
    assert server.requests[1].from_slot == chain.slots[9]
    assert landed(pg_url) == chain.truth()


async def test_asks_for_confirmed_blocks_of_both_programs_with_a_heartbeat(pg_url: str) -> None:
    async with serving(Server(Chain.plant(3))) as server:
        await ingest(server, pg_url)
    asked = server.requests[0]
    (blocks,) = asked.blocks.values()
    assert asked.commitment == pb.CONFIRMED
    assert (len(blocks.account_include), blocks.include_transactions) == (2, True)
    assert len(asked.blocks_meta) == len(asked.slots) == 1


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, None], ids=str)
@pytest.mark.parametrize("shape", list(Shape))
async def test_a_stream_that_is_cut_loses_and_doubles_nothing(
    pg_url: str, status: grpc.StatusCode | None, shape: Shape
) -> None:
    chain = Chain.plant(30)
    cut = Act(cut_after=12, cut_with=status)
    async with serving(Server(chain, acts=[cut, cut, Act()])) as server:
        summary = await ingest(server, pg_url, shape=shape)
    assert len(server.requests) == 3
    assert landed(pg_url) == chain.truth()
    assert (summary.gaps, open_gaps(pg_url)) == (0, [])


async def test_transactions_and_metas_in_any_order_give_the_same_rows(pg_url: str) -> None:
    chain = Chain.plant(60)
    async with serving(Server(chain, shuffle_seed=7)) as server:
        await ingest(server, pg_url, shape=Shape.TRANSACTIONS)
    assert landed(pg_url) == chain.truth()
    assert open_gaps(pg_url) == []
    assert query(pg_url, "SELECT slot, n_events, n_txs FROM ingest_slots ORDER BY 1") == [
        (b.slot, len(Chain([b]).truth()), len(b.transactions)) for b in chain.blocks
    ]


async def test_a_provider_without_a_blocks_filter_is_asked_for_transactions(pg_url: str) -> None:
    chain = Chain.plant(10)
    refused = Act(refuse=(grpc.StatusCode.INVALID_ARGUMENT, "failed to create filter: blocks are not allowed"))
    async with serving(Server(chain, acts=[refused, Act()])) as server:
        await ingest(server, pg_url)
    assert server.requests[1].transactions and not server.requests[1].blocks
    assert landed(pg_url) == chain.truth()


@pytest.mark.parametrize(
    "refusal",
    [
        (grpc.StatusCode.OUT_OF_RANGE, "broadcast from 1009 is not available, last available: 1015"),
        (grpc.StatusCode.INTERNAL, "failed to get replay response"),
        (grpc.StatusCode.INTERNAL, "from_slot is not supported"),
    ],
    ids=lambda refusal: refusal[1][:12],
)
async def test_a_refused_replay_goes_live_and_records_the_gap(pg_url: str, refusal: tuple[Any, str]) -> None:
    chain = Chain.plant(30)
    first, rest = Chain(chain.blocks[:10]), Chain(chain.blocks[20:])
    async with serving(Server(first)) as server:
        await ingest(server, pg_url)
        server.chain, server.acts = rest, [Act(refuse=refusal), Act()]
        summary = await ingest(server, pg_url)
    assert not server.requests[-1].HasField("from_slot")
    assert open_gaps(pg_url) == [(first.slots[-1] + 1, chain.blocks[20].parent_slot)]
    assert summary.gaps == 1
    assert refusal[1] in query(pg_url, "SELECT reason FROM ingest_gaps")[0][0]
    assert landed(pg_url) == first.truth() + rest.truth()


async def test_a_replay_too_old_resumes_at_the_oldest_slot_that_is_left(pg_url: str) -> None:
    chain = Chain.plant(30)
    async with serving(Server(Chain(chain.blocks[:10]))) as server:
        await ingest(server, pg_url)
        too_old = Act(refuse=(grpc.StatusCode.OUT_OF_RANGE, "not available"))
        server.chain, server.acts, server.replay_from = chain, [too_old, Act()], chain.slots[15]
        await ingest(server, pg_url)
    assert server.requests[-1].from_slot == chain.slots[15]
    assert open_gaps(pg_url) == [(chain.slots[9] + 1, chain.blocks[15].parent_slot)]


async def test_a_block_that_never_comes_is_a_gap_and_a_skipped_slot_is_none(pg_url: str) -> None:
    chain = Chain.plant(40)
    missing = chain.slots[20]
    async with serving(Server(chain, withheld={missing})) as server:
        summary = await ingest(server, pg_url)
    assert len(chain.slots) < chain.slots[-1] - chain.slots[0] + 1, "the plan has skipped slots"
    assert [(start <= missing <= end) for start, end in open_gaps(pg_url)] == [True]
    assert not any(start <= slot <= end for start, end in open_gaps(pg_url) for slot in chain.slots if slot != missing)
    assert summary.gaps == 1
    assert landed(pg_url) == chain.truth(among=set(chain.slots) - {missing})


async def test_a_gap_closes_when_its_slots_come_after_all(pg_url: str) -> None:
    chain = Chain.plant(40)
    async with serving(Server(chain, withheld=set(chain.slots[20:23]))) as server:
        await ingest(server, pg_url)
        assert len(open_gaps(pg_url)) == 1
        server.withheld = {chain.slots[21]}
        await ingest(server, pg_url, from_slot=chain.slots[10])
        assert len(open_gaps(pg_url)) == 1
        server.withheld = set()
        await ingest(server, pg_url, from_slot=chain.slots[10])
    assert open_gaps(pg_url) == []
    assert landed(pg_url) == chain.truth()


async def test_a_replay_of_what_lies_before_the_first_slot_leaves_no_hidden_hole(pg_url: str) -> None:
    chain = Chain.plant(30)
    async with serving(Server(chain, acts=[Act(live_from=chain.slots[20])])) as server:
        await ingest(server, pg_url)
        assert open_gaps(pg_url) == []
        server.acts, heard = [Act(cut_after=5, silent=True)], Heard()
        begun = chain.slots[4]
        await ingest(server, pg_url, from_slot=chain.slots[0], observer=heard, done=lambda: heard.landed_slot >= begun)
        ((start, end),) = open_gaps(pg_url)
        assert start <= chain.slots[5] and end == chain.blocks[20].parent_slot
        server.acts = [Act()]
        await ingest(server, pg_url, from_slot=chain.slots[0])
    assert open_gaps(pg_url) == []
    assert landed(pg_url) == chain.truth()


async def test_a_first_run_that_asked_for_an_older_slot_records_what_it_did_not_get(pg_url: str) -> None:
    chain = Chain.plant(20)
    async with serving(Server(Chain(chain.blocks[5:]))) as server:
        await ingest(server, pg_url, from_slot=chain.slots[0])
    assert open_gaps(pg_url) == [(chain.slots[0], chain.blocks[5].parent_slot)]


async def test_what_cannot_be_decoded_is_kept_and_stops_nothing(pg_url: str) -> None:
    chain = Chain.plant(10)
    plant_transaction(chain.blocks[3], [], index=90, data=b"cut")
    plant_transaction(chain.blocks[4], [], index=91, data=b"boom")
    async with serving(Server(chain, extra=[b"\xff\xff\xff"])) as server:
        summary = await ingest(server, pg_url)
        again = await ingest(server, pg_url, from_slot=chain.slots[0])
    letters = query(pg_url, "SELECT slot, reason, raw FROM ingest_dead_letters ORDER BY slot NULLS FIRST")
    assert [slot for slot, _, _ in letters] == [None, chain.slots[3], chain.slots[4]]
    assert letters[0][2] == b"\xff\xff\xff"
    assert pb.SubscribeUpdate.FromString(letters[1][2]).transaction.transaction.index == 90
    assert (summary.dead_letters, again.dead_letters) == (3, 0)
    assert landed(pg_url) == chain.truth()


async def test_failed_transactions_give_nothing(pg_url: str) -> None:
    chain = Chain.plant(10)
    truth = chain.truth()
    plant_transaction(chain.blocks[3], [WALLETS[0]], index=90)
    chain.blocks[3].transactions[-1].meta.err.err = b"\x01"
    async with serving(Server(chain)) as server:
        await ingest(server, pg_url)
    assert landed(pg_url) == truth


async def test_a_row_that_postgres_refuses_becomes_a_dead_letter_and_the_others_land(pg_url: str) -> None:
    chain = Chain.plant(10)
    truth = chain.truth()
    plant_transaction(chain.blocks[3], ["not\0text"], index=90)
    async with serving(Server(chain)) as server:
        await ingest(server, pg_url)
    assert landed(pg_url) == truth
    assert query(pg_url, "SELECT slot FROM ingest_dead_letters") == [(chain.slots[3],)]


async def test_scope_tracked_keeps_tracked_wallets_only(pg_url: str) -> None:
    chain = Chain.plant(30)
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("INSERT INTO wallets (wallet, is_tracked) VALUES (%s, true), (%s, false)", WALLETS[:2])
    async with serving(Server(chain)) as server:
        await ingest(server, pg_url, scope=ScopeRules(Scope.TRACKED))
    assert landed(pg_url) == [row for row in chain.truth() if row[6] == WALLETS[0]]


async def test_slots_without_a_block_time_get_an_estimate_that_is_corrected_later(pg_url: str) -> None:
    chain = Chain.plant(30)
    blind = Chain([pb.SubscribeUpdateBlock.FromString(block.SerializeToString()) for block in chain.blocks])
    for block in blind.blocks[10:20]:
        block.ClearField("block_time")
    async with serving(Server(blind)) as server:
        await ingest(server, pg_url)
        clocks = [row[7] for row in landed(pg_url)]
        assert clocks == sorted(clocks)
        server.chain = chain
        await ingest(server, pg_url, from_slot=chain.slots[0])
    assert landed(pg_url) == chain.truth()


def days_chain() -> Chain:
    """Three UTC days, 60 slots a day."""
    return Chain.plant(180, slots_per_second=60 / DAY, t0=T0)


def sealed(url: str) -> dict[int, int]:
    rows = query(url, "SELECT (day - DATE '1970-01-01') - 20000, n_events FROM ingest_days WHERE sealed_by = 'worker'")
    return dict(rows)


def events_by_day(chain: Chain) -> dict[int, int]:
    counted: dict[int, int] = {}
    for row in chain.truth():
        number = (row[7] // 10**9 - T0) // DAY
        counted[number] = counted.get(number, 0) + 1
    return counted


@pytest.mark.parametrize(("complete_start", "expected"), [(False, [1]), (True, [0, 1])])
async def test_seals_the_days_that_it_saw_whole(pg_url: str, complete_start: bool, expected: list[int]) -> None:
    chain = days_chain()
    async with serving(Server(Chain(chain.blocks[:30]))) as server:
        await ingest(server, pg_url, complete_start=complete_start)
        server.chain = Chain([b for b in chain.blocks if b.block_time.timestamp < T0 + 2 * DAY + DAY // 2])
        await ingest(server, pg_url)
    assert sealed(pg_url) == {day: events_by_day(chain)[day] for day in expected}


async def test_does_not_seal_a_day_with_a_gap_until_it_is_filled(pg_url: str) -> None:
    chain = days_chain()
    async with serving(Server(chain, withheld={chain.slots[80]})) as server:
        await ingest(server, pg_url, complete_start=True)
        assert 0 in sealed(pg_url) and 1 not in sealed(pg_url)
        server.withheld = set()
        await ingest(server, pg_url, from_slot=chain.slots[70])
    assert sealed(pg_url) == {day: events_by_day(chain)[day] for day in sealed(pg_url)}
    assert {0, 1} <= sealed(pg_url).keys()


async def test_the_first_late_events_after_a_restart_are_counted_into_their_sealed_day(pg_url: str) -> None:
    chain = days_chain()
    async with serving(Server(chain)) as server:
        await ingest(server, pg_url, complete_start=True)
        slot = max(row[0] for row in chain.truth() if row[7] // 10**9 < T0 + 2 * DAY)
        with psycopg.connect(pg_url) as connection:
            gone = connection.execute("DELETE FROM raw_events WHERE slot = %s", (slot,)).rowcount
            connection.execute("UPDATE ingest_days SET n_events = n_events - %s WHERE %s <= last_slot", (gone, slot))
        assert sealed(pg_url)[1] == events_by_day(chain)[1] - gone < events_by_day(chain)[1]
        server.chain = Chain([block for block in chain.blocks if block.slot == slot])
        await ingest(server, pg_url, from_slot=slot)
    assert sealed(pg_url)[1] == events_by_day(chain)[1]


async def test_a_wrong_token_is_an_error_at_once(pg_url: str) -> None:
    async with serving(Server(Chain.plant(3), token="right")) as server:
        with pytest.raises(StreamError, match="token"):
            await ingest(server, pg_url, token="wrong")
        await ingest(server, pg_url, token="right")
    assert len(landed(pg_url)) > 0


async def test_a_refused_filter_is_an_error_at_once(pg_url: str) -> None:
    refusal = (grpc.StatusCode.INVALID_ARGUMENT, "failed to create filter")
    async with serving(Server(Chain.plant(3), acts=[Act(refuse=refusal)])) as server:
        with pytest.raises(StreamError, match="failed to create filter"):
            await ingest(server, pg_url)


async def test_a_stream_without_any_data_is_not_a_success(pg_url: str) -> None:
    async with serving(Server(Chain())) as server:
        with pytest.raises(StreamError, match="nothing at all"):
            await ingest(server, pg_url, until_idle=0.3)


async def test_pings_do_not_keep_a_worker_that_ends_when_idle(pg_url: str) -> None:
    chain = Chain.plant(10)
    async with serving(Server(chain)) as server:
        await ingest(server, pg_url, until_idle=0.5)
    assert server.pings > 0
    assert landed(pg_url) == chain.truth()


async def test_a_server_that_ends_every_stream_after_the_tip_is_idle(pg_url: str) -> None:
    chain = Chain.plant(10)
    async with serving(Server(chain, acts=[Act(cut_after=10), Act(cut_after=1)])) as server:
        await ingest(server, pg_url, until_idle=1.0, waits=Waits(first_seconds=0.1))
    assert 2 <= len(server.requests) <= 12, "each fruitless connect waits longer than the one before"
    assert landed(pg_url) == chain.truth()


async def start(server: Server, url: str, *arguments: str) -> asyncio.subprocess.Process:
    script = Path(__file__).with_name("worker_process.py")
    return await asyncio.create_subprocess_exec(
        sys.executable, script, server.address, url, *arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


async def test_killed_in_the_middle_it_resumes_without_loss(pg_url: str) -> None:
    chain = Chain.plant(200)
    async with serving(Server(chain, seconds_per_slot=0.005)) as server:
        for target in (40, 90):
            worker = await start(server, pg_url)
            await until(lambda target=target: query(pg_url, "SELECT count(*) FROM ingest_slots")[0][0] >= target)
            os.kill(worker.pid, signal.SIGKILL)
            await worker.wait()
            held = {slot for (slot,) in query(pg_url, "SELECT slot FROM ingest_slots")}
            assert landed(pg_url) == chain.truth(among=held), "a slot is landed whole or not at all"
        server.seconds_per_slot = 0
        await ingest(server, pg_url)
    assert landed(pg_url) == chain.truth()
    assert open_gaps(pg_url) == []


async def test_sigterm_commits_and_lets_a_second_worker_go_on(pg_url: str) -> None:
    chain, second = Chain.plant(400), Heard()
    async with serving(Server(chain, seconds_per_slot=0.01)) as server:
        first = await start(server, pg_url, "patient")
        await until(lambda: len(landed(pg_url)) > 0)
        standby = asyncio.create_task(ingest(server, pg_url, observer=second))
        await until(lambda: second.is_waiting)
        assert len(server.requests) == 1, "the standby does not subscribe"
        first.terminate()
        assert await asyncio.wait_for(first.wait(), PATIENCE_SECONDS) == 0
        server.seconds_per_slot = 0
        await standby
    assert landed(pg_url) == chain.truth()


async def test_a_database_that_went_away_is_waited_for(pg_url: str) -> None:
    chain = Chain.plant(100)
    async with serving(Server(chain, seconds_per_slot=0.01)) as server:
        running = asyncio.create_task(ingest(server, pg_url))
        await until(lambda: len(landed(pg_url)) > 0)
        with psycopg.connect(pg_url, autocommit=True) as connection:
            killed = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'copytrader ingest'"
                " AND datname = current_database()"
            ).fetchall()
        assert killed == [(True,)]
        await running
    assert landed(pg_url) == chain.truth()
