"""Every fault of a stream: what the worker then holds is the truth exactly once, or the hole is written down."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

import grpc
import psycopg
import pytest
from chain_double import WALLETS, Act, Chain, Server, serving
from worker_runs import Heard, check_nothing_is_silent, has_all, ingest, landed, open_gaps, query, until

from copytrader_core.errors import StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from ingest_worker.subscription import Filter, Shape

Code = grpc.StatusCode

CUTS = {
    "unavailable": (Code.UNAVAILABLE, "going away"),
    "internal": (Code.INTERNAL, "boom"),
    "lagged": (Code.INTERNAL, "lagged to send an update"),
    "lagged receiving": (Code.INTERNAL, "lagged to receive geyser messages"),
    "exhausted": (Code.RESOURCE_EXHAUSTED, "too many subscriptions"),
    "aborted": (Code.ABORTED, "connection error"),
    "cancelled": (Code.CANCELLED, "server shut down"),
    "unknown": (Code.UNKNOWN, "transport error"),
    "eof": None,
}
REASONS = {"lagged receiving": "lagged", "aborted": "unavailable", "cancelled": "unavailable", "unknown": "unavailable"}


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("name", CUTS)
async def test_a_cut_stream_resumes_without_loss(pg_url: str, name: str, shape: Shape) -> None:
    chain, heard = Chain.plant(25), Heard()
    cut = Act(cut_after=11, cut_with=CUTS[name])
    async with serving(Server(chain, acts=[cut, cut, Act()])) as server:
        await ingest(server, pg_url, shape=shape, observer=heard)
    # gRPC may lose a status that meets a request on its way.
    assert len(heard.reasons) == 2 and set(heard.reasons) <= {REASONS.get(name, name), "status_lost"}
    assert check_nothing_is_silent(pg_url, chain) == set()


@pytest.mark.parametrize("shape", list(Shape))
async def test_slots_and_statuses_that_come_twice_count_once(pg_url: str, shape: Shape) -> None:
    chain = Chain.plant(25)
    async with serving(Server(chain, repeats=2, statuses=True)) as server:
        summary = await ingest(server, pg_url, shape=shape)
    assert check_nothing_is_silent(pg_url, chain) == set()
    assert (summary.slots, summary.gaps) == (25, 0)


async def test_an_outage_longer_than_the_replay_window_is_a_gap_and_is_known_before_the_resume(pg_url: str) -> None:
    chain, heard = Chain.plant(40), Heard()
    async with serving(Server(Chain(chain.blocks[:10]))) as server:
        await ingest(server, pg_url)
        server.chain, server.replay_from = chain, chain.slots[25]
        await ingest(server, pg_url, observer=heard)
    assert heard.reasons == ["out_of_range"]
    assert [request.from_slot for request in server.requests[1:]] == [chain.slots[25]]
    assert check_nothing_is_silent(pg_url, chain) == set(chain.slots[10:25])


async def test_a_window_that_moves_while_it_is_asked_for_is_tried_again_and_then_given_up(pg_url: str) -> None:
    chain = Chain.plant(40)
    gone = Act(refuse=(Code.OUT_OF_RANGE, "broadcast from 1 is not available, last available: 2"))
    async with serving(Server(Chain(chain.blocks[:10]))) as server:
        await ingest(server, pg_url)
        server.chain, server.replay_from = chain, chain.slots[25]
        server.acts = [gone, gone, gone, Act(live_from=chain.slots[30])]
        await ingest(server, pg_url)
    assert not server.requests[-1].HasField("from_slot") and len(server.requests) == 5
    assert check_nothing_is_silent(pg_url, chain) == set(chain.slots[10:30])


@pytest.mark.parametrize("text", ["failed to get replay response", "from_slot is not supported"])
async def test_a_server_that_cannot_replay_is_followed_live(pg_url: str, text: str) -> None:
    chain = Chain.plant(30)
    async with serving(Server(Chain(chain.blocks[:10]), answers_replay_info=False)) as server:
        await ingest(server, pg_url)
        server.chain = chain
        server.acts = [Act(refuse=(Code.INTERNAL, text)), Act(live_from=chain.slots[20])]
        await ingest(server, pg_url)
    assert check_nothing_is_silent(pg_url, chain) == set(chain.slots[10:20])
    assert text in query(pg_url, "SELECT reason FROM ingest_gaps")[0][0]


async def test_a_restarted_node_that_is_behind_the_checkpoint_leaves_no_gap(pg_url: str) -> None:
    chain = Chain.plant(40)
    async with serving(Server(Chain(chain.blocks[:20]))) as server:
        await ingest(server, pg_url)
        server.chain = chain
        server.acts = [
            Act(refuse=(Code.INTERNAL, "failed to get replay response")),
            Act(live_from=chain.slots[12], cut_after=4, cut_with=Code.UNAVAILABLE),
            Act(refuse=(Code.INTERNAL, "failed to get replay response")),
            Act(live_from=chain.slots[16]),
        ]
        summary = await ingest(server, pg_url)
    assert check_nothing_is_silent(pg_url, chain) == set()
    assert summary.gaps == 0


async def test_a_block_that_the_stream_lost_is_asked_for_again_and_its_gap_filled(pg_url: str) -> None:
    chain, heard = Chain.plant(40), Heard()
    lost = Act(lost_slots=frozenset(chain.slots[10:13]))
    async with serving(Server(chain, acts=[lost, Act()], replay_from=chain.slots[0])) as server:
        await ingest(server, pg_url, observer=heard, done=lambda: bool(heard.filled) and has_all(heard, server))
    assert query(pg_url, "SELECT from_slot FROM ingest_gaps WHERE filled_at IS NOT NULL") == [(chain.slots[9] + 1,)]
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_a_restart_comes_back_to_a_hole_that_the_provider_still_has(pg_url: str) -> None:
    chain = Chain.plant(40)
    lost = {chain.slots[30]}
    async with serving(Server(Chain(chain.blocks[:35]), withheld=lost, replay_from=chain.slots[0])) as server:
        await ingest(server, pg_url)
        assert check_nothing_is_silent(pg_url, Chain(chain.blocks[:35])) == lost
        server.chain, server.withheld = chain, set()
        await ingest(server, pg_url)
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_a_hole_that_no_replay_fills_does_not_make_it_reconnect_for_ever(pg_url: str) -> None:
    chain = Chain.plant(60)
    async with serving(Server(chain, withheld={chain.slots[10]}, replay_from=chain.slots[0])) as server:
        await ingest(server, pg_url, done=lambda: server.pings >= 12)
    assert len(server.requests) <= 3
    assert check_nothing_is_silent(pg_url, chain) == {chain.slots[10]}


@pytest.mark.parametrize(
    "act", [Act(cut_after=5, silent=True), Act(cut_after=5, pings_alone=True)], ids=["no pings", "pings alone"]
)
async def test_a_stall_is_noticed_with_and_without_pings(pg_url: str, act: Act) -> None:
    chain, heard = Chain.plant(10), Heard()
    async with serving(Server(chain, acts=[act, Act()])) as server:
        await ingest(server, pg_url, stall_seconds=0.3, observer=heard)
    assert heard.reasons[0] == "stalled"
    assert check_nothing_is_silent(pg_url, chain) == set()


@pytest.mark.parametrize("code", [Code.UNAUTHENTICATED, Code.PERMISSION_DENIED])
async def test_a_token_that_is_refused_later_is_asked_again_slowly(pg_url: str, code: Code) -> None:
    chain = Chain.plant(20)
    acts = [Act(cut_after=5, cut_with=Code.UNAVAILABLE), Act(refuse=(code, "No valid auth token")), Act()]
    async with serving(Server(chain, acts=acts)) as server:
        await ingest(server, pg_url)
    assert check_nothing_is_silent(pg_url, chain) == set()


@pytest.mark.parametrize(
    "refusal",
    [
        (Code.INVALID_ARGUMENT, "failed to create filter: blocks are not allowed"),
        (Code.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 4)"),
        (Code.OUT_OF_RANGE, "Error, encoded message length too large: found 9 bytes, the limit is: 4 bytes"),
    ],
    ids=["no blocks filter", "too large", "too large, as tonic says it"],
)
async def test_a_provider_that_cannot_send_blocks_is_asked_for_transactions(pg_url: str, refusal: Any) -> None:
    chain = Chain.plant(20)
    async with serving(Server(chain, acts=[Act(cut_after=7, cut_with=refusal), Act()])) as server:
        await ingest(server, pg_url)
    assert [bool(request.blocks) for request in server.requests] == [True, False]
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_metas_before_their_transactions_and_a_cut_between_them_lose_nothing(pg_url: str) -> None:
    chain = Chain.plant(40)
    acts = [Act(cut_after=n, cut_with=Code.UNAVAILABLE) for n in (9, 17, 14, 23)]
    async with serving(Server(chain, acts=[*acts, Act()], shuffle_seed=3)) as server:
        await ingest(server, pg_url, shape=Shape.TRANSACTIONS)
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_another_endpoint_takes_over_and_the_first_is_used_again_when_it_can_resume(pg_url: str) -> None:
    chain, heard = Chain.plant(80), Heard()
    dying = [Act(cut_after=20, cut_with=Code.UNAVAILABLE), *[Act(refuse=(Code.UNAVAILABLE, "gone"))] * 3, Act()]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(Server(chain, acts=dying, replay_from=chain.slots[0])))
        second = await stack.enter_async_context(serving(Server(chain)))

        def is_back() -> bool:
            return has_all(heard, first) and heard.subscriptions[-1][0] == first.address

        await ingest(first, pg_url, second, return_after_seconds=0.4, observer=heard, done=is_back)
    order = [endpoint for endpoint, _ in heard.subscriptions]
    assert second.address in order and order[-1] == first.address
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_a_replay_that_one_endpoint_does_not_have_is_asked_of_the_next(pg_url: str) -> None:
    chain = Chain.plant(40)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(Server(Chain(chain.blocks[:10]))))
        second = await stack.enter_async_context(serving(Server(chain, replay_from=chain.slots[0])))
        await ingest(first, pg_url)
        first.chain, first.replay_from = chain, chain.slots[30]
        await ingest(first, pg_url, second)
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_a_stalled_or_refusing_endpoint_is_left_at_once(pg_url: str) -> None:
    chain, heard = Chain.plant(20), Heard()
    async with AsyncExitStack() as stack:
        refusing = await stack.enter_async_context(serving(Server(chain, token="another")))
        stalling = await stack.enter_async_context(serving(Server(Chain(chain.blocks[:7]), acts=[Act(silent=True)])))
        working = await stack.enter_async_context(serving(Server(chain)))
        await ingest(refusing, pg_url, stalling, working, stall_seconds=0.3, observer=heard)
    assert [endpoint for endpoint, _ in heard.subscriptions[:3]] == [s.address for s in (refusing, stalling, working)]
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_when_every_endpoint_refuses_it_is_an_error(pg_url: str) -> None:
    chain = Chain.plant(3)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(Server(chain, token="another"))) for _ in range(2)]
        with pytest.raises(StreamError, match="token"):
            await ingest(servers[0], pg_url, servers[1])


async def test_a_reset_connection_counts_as_a_cut(pg_url: str) -> None:
    chain, heard = Chain.plant(40), Heard()
    async with serving(Server(chain, acts=[Act(cut_after=20, silent=True)])) as server:
        running = asyncio.create_task(ingest(server, pg_url, observer=heard))
        await until(lambda: heard.landed_slot >= chain.slots[10])
    async with serving(Server(chain), server.address):
        await running
    assert heard.reasons and set(heard.reasons) <= {"unavailable", "status_lost"}
    assert check_nothing_is_silent(pg_url, chain) == set()


async def test_another_block_for_a_slot_is_reported(pg_url: str, caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain.plant(10)
    async with serving(Server(Chain(chain.blocks[:5]))) as server:
        await ingest(server, pg_url)
        server.chain = chain
        chain.blocks[4].blockhash = "another"
        await ingest(server, pg_url)
    assert f"other_blockhash slot={chain.slots[4]}" in caplog.text


def track(url: str, wallets: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.cursor().executemany(
            "INSERT INTO wallets (wallet, is_tracked) VALUES (%s, true)", [(w,) for w in wallets]
        )


def of_wallets(chain: Chain, wallets: list[str]) -> list[tuple[Any, ...]]:
    """The rows of every transaction that names one of the wallets."""
    named = {row[5] for row in chain.truth() if row[6] in wallets}
    return [row for row in chain.truth() if row[5] in named]


@pytest.mark.parametrize("shape", list(Shape))
async def test_wallet_chunks_are_merged_slot_by_slot(pg_url: str, shape: Shape) -> None:
    chain = Chain.plant(40)
    track(pg_url, WALLETS[:7])
    cut = Act(cut_after=9, cut_with=Code.UNAVAILABLE)
    async with serving(Server(chain, acts=[cut, Act(), cut, cut, Act()])) as server:
        summary = await ingest(server, pg_url, filter=Filter.WALLETS, chunk=3, shape=shape, hold_seconds=20.0)
    assert sorted(
        len(next(iter((r.blocks or r.transactions).values())).account_include) for r in server.requests[:3]
    ) == [1, 3, 3]
    assert landed(pg_url) == of_wallets(chain, WALLETS[:7])
    assert (summary.gaps, query(pg_url, "SELECT count(*) FROM ingest_slots")) == (0, [(40,)])


async def test_a_slot_that_one_chunk_lost_is_not_closed(pg_url: str) -> None:
    chain = Chain.plant(40)
    track(pg_url, WALLETS[:6])
    lost = Act(lost_slots=frozenset(chain.slots[20:21]))
    async with serving(Server(chain, acts=[Act(), lost, Act()])) as server:
        await ingest(server, pg_url, filter=Filter.WALLETS, chunk=3, hold_seconds=0.1)
    assert open_gaps(pg_url) == [(chain.slots[19] + 1, chain.slots[20])]


async def test_a_chunk_that_is_away_holds_the_others_back_and_memory_stays_small(pg_url: str) -> None:
    chain = Chain.plant(300, txs=1)
    track(pg_url, WALLETS[:4])
    away = [Act(refuse=(Code.UNAVAILABLE, "gone"))] * 3
    async with serving(Server(chain)) as server:
        server.acts = [Act(), *away, Act()]
        await ingest(server, pg_url, filter=Filter.WALLETS, chunk=2, hold_seconds=20.0)
    assert landed(pg_url) == of_wallets(chain, WALLETS[:4])
    assert open_gaps(pg_url) == []


async def test_without_tracked_wallets_there_is_nothing_to_ask_for(pg_url: str) -> None:
    async with serving(Server(Chain.plant(3))) as server:
        with pytest.raises(StreamError, match="no wallet is tracked"):
            await ingest(server, pg_url, filter=Filter.WALLETS)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.drill) for n in range(6, 60))])
async def test_a_random_run_of_faults_ends_in_the_truth_or_in_gaps(pg_url: str, seed: int) -> None:
    rng, chain = random.Random(seed), Chain.plant(120, seed=seed)
    acts = [_random_act(rng, chain) for _ in range(8)]
    server = Server(
        chain, acts=[*acts, Act()], replay_from=chain.slots[0], shuffle_seed=seed, repeats=rng.choice((1, 2))
    )
    async with serving(server):
        await ingest(server, pg_url, shape=rng.choice(list(Shape)))
    check_nothing_is_silent(pg_url, chain)


def _random_act(rng: random.Random, chain: Chain) -> Act:
    lost = frozenset(rng.sample(chain.slots, 2)) if rng.random() < 0.3 else frozenset()
    if rng.random() < 0.2:
        return Act(refuse=rng.choice([cut for cut in CUTS.values() if cut]), lost_slots=lost)
    return Act(cut_after=rng.randrange(40), cut_with=rng.choice(list(CUTS.values())), lost_slots=lost)


def test_a_processed_commitment_is_never_asked_for() -> None:
    from ingest_worker.subscription import request

    assert {request(shape, start).commitment for shape in Shape for start in (None, 5)} == {pb.CONFIRMED}
