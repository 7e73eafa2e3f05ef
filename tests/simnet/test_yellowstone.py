"""The local chain's Yellowstone endpoint: exact sets, exact order, and the plugin's own words when it refuses."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from copytrader_core.errors import ConfigError, DataError, StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from simnet.yellowstone import serve
from tests.simnet.chain import address, block, played, short, signature_text, transaction, write_tape

PUMP, AMM, ALICE, BOB = 1, 2, 50, 51
CONFIRMED = {"commitment": pb.CONFIRMED}


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Three blocks: slot 100 with one of everything, 101 empty, 103 after a skipped slot."""
    return write_tape(
        tmp_path / "small.tape",
        [
            block(
                100,
                [
                    transaction(100, 0, [ALICE, PUMP]),
                    transaction(100, 1, [BOB, AMM]),
                    transaction(100, 2, [9], vote=True),
                    transaction(100, 3, [ALICE, AMM], failed=True),
                    transaction(100, 4, [BOB], loaded=([ALICE], [PUMP])),
                ],
            ),
            block(101, []),
            block(103, [transaction(103, 0, [BOB, PUMP])], parent=101),
        ],
    )


def long_tape(path: Path, n_blocks: int = 50, per_block: int = 1, padding: int = 0) -> Path:
    return write_tape(
        path,
        [
            block(slot, [transaction(slot, i, [ALICE, PUMP], padding=padding) for i in range(per_block)])
            for slot in range(100, 100 + n_blocks)
        ],
    )


async def all_of(tape: Path, **request: Any) -> list[pb.SubscribeUpdate]:
    async with played(tape, exit_at_end=True) as client:
        return await client().send(**request).rest()


async def matching(tape: Path, **wanted: Any) -> list[tuple[int, int]]:
    updates = await all_of(tape, transactions={"f": wanted}, **CONFIRMED)
    return [(u.transaction.slot, u.transaction.transaction.index) for u in updates]


async def test_a_block_comes_as_transactions_block_meta_and_status_in_this_order(tape: Path) -> None:
    updates = await all_of(
        tape,
        transactions={"t": {}},
        blocks={"b": {}},
        blocks_meta={"m": {}},
        slots={"s": {"filter_by_commitment": True}},
        **CONFIRMED,
    )
    assert [short(update) for update in updates] == [
        *[("tx", 100, i) for i in range(5)], ("block", 100, (0, 1, 2, 3, 4)), ("meta", 100), ("slot", 100, "confirmed"),
        ("block", 101, ()), ("meta", 101), ("slot", 101, "confirmed"),
        ("tx", 103, 0), ("block", 103, (0,)), ("meta", 103), ("slot", 103, "confirmed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"vote": False}, [0, 1, 3, 4]),
        ({"vote": True}, [2]),
        ({"failed": False}, [0, 1, 2, 4]),
        ({"failed": True}, [3]),
        ({"signature": signature_text(100, 1)}, [1]),
        ({"account_include": [address(ALICE)]}, [0, 3, 4]),
        ({"account_include": [address(ALICE), address(9)]}, [0, 2, 3, 4]),
        ({"account_exclude": [address(ALICE)]}, [1, 2]),
        ({"account_required": [address(ALICE), address(PUMP)]}, [0, 4]),
        ({"account_include": [address(ALICE), address(BOB)], "account_required": [address(AMM)], "failed": False}, [1]),
    ],
)
async def test_a_transaction_filter_gives_exactly_what_it_describes(
    tape: Path, wanted: dict[str, Any], indices: list[int]
) -> None:
    assert [index for slot, index in await matching(tape, **wanted) if slot == 100] == indices


async def test_one_update_names_every_filter_that_matched(tape: Path) -> None:
    filters = {
        "pump": {"account_include": [address(PUMP)]},
        "alice": {"account_include": [address(ALICE)]},
        "none": {"signature": signature_text(1, 1)},
    }
    updates = await all_of(tape, transactions=filters, **CONFIRMED)
    assert [(u.transaction.transaction.index, list(u.filters)) for u in updates if u.transaction.slot == 100] == [
        (0, ["alice", "pump"]), (3, ["alice"]), (4, ["alice", "pump"]),
    ]  # fmt: skip


async def test_a_block_filter_keeps_touching_transactions_and_every_block(tape: Path) -> None:
    updates = await all_of(tape, blocks={"b": {"account_include": [address(PUMP), address(AMM)]}}, **CONFIRMED)
    assert [short(update) for update in updates] == [
        ("block", 100, (0, 1, 3, 4)),
        ("block", 101, ()),
        ("block", 103, (0,)),
    ]
    first = updates[0].block
    assert (first.blockhash, first.parent_slot, first.executed_transaction_count) == ("hash-100", 99, 5)
    assert first.block_time.timestamp == 1_750_000_040


async def test_a_block_filter_may_leave_the_transactions_out(tape: Path) -> None:
    updates = await all_of(tape, blocks={"b": {"include_transactions": False}}, **CONFIRMED)
    assert [short(update) for update in updates] == [("block", 100, ()), ("block", 101, ()), ("block", 103, ())]
    assert updates[0].block.executed_transaction_count == 5


async def test_transaction_statuses_carry_the_error(tape: Path) -> None:
    updates = await all_of(tape, transactions_status={"f": {"failed": True}}, **CONFIRMED)
    assert [short(update) for update in updates] == [("tx_status", 100, 3)]
    assert updates[0].transaction_status.err.err == b"\x01"


async def test_slots_reach_each_level_in_time_order_with_their_parent(tape: Path) -> None:
    async with played(tape, exit_at_end=True, confirmed_after_ms=500, finalized_after_ms=60_000) as client:
        updates = await client().send(slots={"s": {}}).rest()
    assert [short(update)[1:] for update in updates] == [
        (100, "processed"), (101, "processed"), (100, "confirmed"), (101, "confirmed"), (103, "processed"),
        (103, "confirmed"), (100, "finalized"), (101, "finalized"), (103, "finalized"),
    ]  # fmt: skip
    assert [u.slot.parent for u in updates if u.slot.status == pb.SLOT_PROCESSED] == [99, 100, 101]


async def test_every_update_is_stamped(tape: Path) -> None:
    before = time.time()
    for update in await all_of(tape, blocks_meta={"m": {}}):
        assert before - 1 <= update.created_at.seconds <= time.time()


@pytest.mark.parametrize(("commitment", "behind"), [(pb.PROCESSED, 0.0), (pb.CONFIRMED, 0.2)])
async def test_the_clock_gives_each_commitment_its_delay(tmp_path: Path, commitment: int, behind: float) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=6)
    async with played(tape, speed=4.0, confirmed_after_ms=800, exit_at_end=True) as client:
        stream = client().send(blocks_meta={"m": {}}, commitment=commitment)
        arrivals = [(await stream.take(1), time.monotonic())[1] for _ in range(6)]
        first = client.server.broadcast._started
    # Never early; how late is the machine's business, within reason.
    assert behind <= arrivals[0] - first < behind + 1
    assert 5 * 0.4 / 4 <= arrivals[-1] - first - behind < 5 * 0.4 / 4 + 1


async def test_idle_hours_between_sessions_are_shortened(tmp_path: Path) -> None:
    later = block(101, [])
    later.block_time.timestamp += 7200
    tape = write_tape(tmp_path / "a.tape", [block(100, []), later])
    started = time.monotonic()
    async with played(tape, speed=10.0, max_gap_seconds=2.0, finalized_after_ms=100, exit_at_end=True) as client:
        assert len(await client().send(blocks_meta={"m": {}}).rest()) == 2
    assert 0.2 <= time.monotonic() - started < 5


async def test_a_replay_begins_with_its_whole_slot_and_runs_into_the_live_blocks(tmp_path: Path) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=10)
    async with played(tape, from_slot=105, exit_at_end=True) as client:
        updates = await client().send(blocks_meta={"m": {}}, from_slot=102, **CONFIRMED).rest()
    assert [u.block_meta.slot for u in updates] == list(range(102, 110))


async def test_without_from_slot_only_live_blocks_come(tmp_path: Path) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=10)
    async with played(tape, from_slot=105, until_slot=107, exit_at_end=True) as client:
        updates = await client().send(blocks_meta={"m": {}}, **CONFIRMED).rest()
    assert [u.block_meta.slot for u in updates] == [105, 106, 107]


async def test_a_stream_can_go_back_in_a_later_request(tape: Path) -> None:
    async with played(tape) as client:
        stream = client().send(blocks_meta={"m": {}}, **CONFIRMED)
        await stream.take(3)
        stream.send(blocks_meta={"again": {}}, from_slot=101, **CONFIRMED)
        assert [(u.block_meta.slot, list(u.filters)) for u in await stream.take(2)] == [
            (101, ["again"]),
            (103, ["again"]),
        ]


@pytest.mark.parametrize(
    ("options", "from_slot", "code", "text"),
    [
        ({}, 99, grpc.StatusCode.OUT_OF_RANGE, "broadcast from 99 is not available, last available: 100"),
        (
            {"replay_slots": 3},
            101,
            grpc.StatusCode.OUT_OF_RANGE,
            "broadcast from 101 is not available, last available: 102",
        ),
        ({"replay_slots": 0}, 104, grpc.StatusCode.INTERNAL, "from_slot is not supported"),
        ({}, 105, grpc.StatusCode.INTERNAL, "failed to get replay response"),
    ],
)
async def test_a_replay_that_cannot_be_had_is_refused_in_the_plugin_s_words(
    tmp_path: Path, options: dict[str, int], from_slot: int, code: grpc.StatusCode, text: str
) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=10)
    async with played(tape, from_slot=105, **options) as client:
        assert await client().send(blocks_meta={"m": {}}, from_slot=from_slot).refusal() == (code, text)


async def test_a_ping_comes_at_once_and_then_at_its_interval(tape: Path) -> None:
    async with played(tape, ping_seconds=0.2) as client:
        stream = client()
        started = time.monotonic()
        for _ in range(3):
            assert (await stream.read()).HasField("ping")
        assert 0.38 <= time.monotonic() - started < 2


async def test_a_client_s_ping_is_answered_and_leaves_the_filter_alone(tape: Path) -> None:
    async with played(tape, from_slot=103, wait_for_clients=2) as client:
        stream = client().send(blocks_meta={"kept": {}}, **CONFIRMED)
        stream.send(ping={"id": 7}, blocks_meta={"ignored": {}})
        assert [short(update) for update in await stream.take(1)] == [("pong", 7)]
        client().send(blocks_meta={"second": {}})
        assert [(short(u), list(u.filters)) for u in await stream.take(1)] == [(("meta", 103), ["kept"])]


async def test_any_other_request_replaces_the_subscription_without_a_hole(tmp_path: Path) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=200, padding=4000)
    async with played(tape, speed=400.0, finalized_after_ms=200, exit_at_end=True) as client:
        stream = client().send(transactions={"old": {}}, blocks_meta={"old": {}}, **CONFIRMED)
        early = await stream.take(20)
        updates = early + await stream.send(blocks_meta={"new": {}}, **CONFIRMED).rest()
    metas = [u for u in updates if u.HasField("block_meta")]
    assert [u.block_meta.slot for u in metas] == list(range(100, 300))
    assert list(metas[0].filters) == ["old"]
    assert list(metas[-1].filters) == ["new"]
    switch = [list(u.filters) for u in updates].index(["new"])
    assert all(list(u.filters) == ["new"] for u in updates[switch:]), (
        "nothing of the old filter after the first of the new"
    )


async def test_an_empty_subscription_gets_pings_only_and_starts_nothing(tape: Path) -> None:
    async with played(tape, ping_seconds=0.05) as client:
        stream = client().send()
        assert [(await stream.read()).WhichOneof("update_oneof") for _ in range(4)] == ["ping"] * 4
        stream.send(blocks_meta={"m": {}})
        assert [u.block_meta.slot for u in await stream.take(3)] == [100, 101, 103]


async def test_after_a_half_close_the_stream_goes_on(tape: Path) -> None:
    async with played(tape, wait_for_clients=2) as client:
        stream = client().send(blocks_meta={"m": {}})
        stream.half_close()
        await stream.read()
        await asyncio.sleep(0.1)
        client().send(blocks_meta={"m": {}})
        assert [u.block_meta.slot for u in await stream.take(3)] == [100, 101, 103]


@pytest.mark.parametrize("given", [None, "wrong"])
async def test_streams_and_calls_without_the_token_are_refused(tape: Path, given: str | None) -> None:
    async with played(tape, token="secret") as client:
        refused = (grpc.StatusCode.UNAUTHENTICATED, "No valid auth token")
        assert await client(given).send(blocks_meta={"m": {}}).refusal() == refused
        call = client.channel.unary_unary("/geyser.Geyser/GetVersion")
        with pytest.raises(grpc.aio.AioRpcError, match="No valid auth token"):
            await call(b"", metadata=(("x-token", given),) if given else None)


async def test_the_right_token_opens_the_stream(tape: Path) -> None:
    async with played(tape, token="secret", exit_at_end=True) as client:
        assert len(await client("secret").send(blocks_meta={"m": {}}).rest()) == 3


@pytest.mark.parametrize(
    "request_",
    [
        {"transactions": {"f": {"account_include": ["not base58 0OIl"]}}},
        {"transactions": {"f": {"signature": "short"}}},
        {"blocks": {"f": {"account_include": ["abc"]}}},
        {"blocks_meta": {"x" * 129: {}}},
        {"slots": {"f": {}}, "commitment": 9},
    ],
)
async def test_a_bad_filter_ends_the_stream_as_an_invalid_argument(tape: Path, request_: dict[str, Any]) -> None:
    async with played(tape) as client:
        code, text = await client().send(**request_).refusal()
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("failed to create filter: ")


async def test_two_subscribers_each_get_their_own_everything(tmp_path: Path) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=100)
    async with played(tape, wait_for_clients=2, exit_at_end=True) as client:
        fast = client().send(transactions={"t": {}}, commitment=pb.PROCESSED)
        slow = client().send(blocks={"b": {}}, **CONFIRMED)
        first, second = await asyncio.gather(fast.rest(), slow.rest())
    assert [u.transaction.slot for u in first] == list(range(100, 200))
    assert [u.block.slot for u in second] == list(range(100, 200))


async def test_a_client_that_leaves_hurts_nobody(tmp_path: Path) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=100)
    async with played(tape, wait_for_clients=2, exit_at_end=True) as client:
        stays, leaves = (client().send(blocks_meta={"m": {}}) for _ in range(2))
        await leaves.take(3)
        leaves.cancel()
        assert len(await stays.rest()) == 100
        await asyncio.wait_for(client.server.wait_played(), 5)


async def test_a_slow_reader_holds_the_server_back_and_loses_nothing(tmp_path: Path) -> None:
    tape = long_tape(tmp_path / "a.tape", n_blocks=600, per_block=4, padding=20_000)
    async with played(tape, exit_at_end=True) as client:
        stream = client().send(blocks={"b": {}}, **CONFIRMED)
        await stream.take(1)
        await asyncio.sleep(0.5)
        given = client.server.broadcast.reached(pb.CONFIRMED)
        assert given < 400, "48 MB were asked for and not read: the server must not have built them"
        assert len(await stream.rest()) == 599


async def test_the_unary_calls_tell_the_tip(tape: Path) -> None:
    async with played(tape) as client:

        async def call(name: str, request: Any, response: Any) -> Any:
            method = client.channel.unary_unary(
                f"/geyser.Geyser/{name}", type(request).SerializeToString, response.FromString
            )
            return await method(request)

        assert (await call("Ping", pb.PingRequest(count=3), pb.PongResponse)).count == 3
        assert not (
            await call("SubscribeReplayInfo", pb.SubscribeReplayInfoRequest(), pb.SubscribeReplayInfoResponse)
        ).HasField("first_available")
        with pytest.raises(grpc.aio.AioRpcError, match="no slot has reached"):
            await call("GetSlot", pb.GetSlotRequest(), pb.GetSlotResponse)
        with pytest.raises(grpc.aio.AioRpcError, match="CommitmentLevel from 9"):
            await call("GetSlot", pb.GetSlotRequest(commitment=9), pb.GetSlotResponse)
        await client().send(slots={"s": {}}).take(9)
        assert (
            await call("SubscribeReplayInfo", pb.SubscribeReplayInfoRequest(), pb.SubscribeReplayInfoResponse)
        ).first_available == 100
        assert (await call("GetSlot", pb.GetSlotRequest(commitment=pb.FINALIZED), pb.GetSlotResponse)).slot == 103
        assert (await call("GetBlockHeight", pb.GetBlockHeightRequest(), pb.GetBlockHeightResponse)).block_height == 93
        latest = await call("GetLatestBlockhash", pb.GetLatestBlockhashRequest(), pb.GetLatestBlockhashResponse)
        assert (latest.blockhash, latest.last_valid_block_height) == ("hash-103", 243)
        assert (
            await call(
                "IsBlockhashValid", pb.IsBlockhashValidRequest(blockhash="hash-101"), pb.IsBlockhashValidResponse
            )
        ).valid
        assert not (
            await call("IsBlockhashValid", pb.IsBlockhashValidRequest(blockhash="x"), pb.IsBlockhashValidResponse)
        ).valid
        assert "copytrader" in (await call("GetVersion", pb.GetVersionRequest(), pb.GetVersionResponse)).version


async def test_a_port_that_is_taken_and_a_bad_pace_say_what_to_do(tape: Path) -> None:
    async with serve(tape) as server:
        with pytest.raises(StreamError, match="take another port"):
            async with serve(tape, port=int(server.address.rpartition(":")[2])):
                pass
    with pytest.raises(ConfigError, match="speed must be above 0"):
        async with serve(tape, speed=-1.0):
            pass
    with pytest.raises(ConfigError, match="max_gap_seconds"):
        async with serve(tape, speed=math.inf, max_gap_seconds=0):
            pass


async def test_a_tape_that_is_damaged_inside_ends_the_stream_with_the_reason(tmp_path: Path) -> None:
    path = long_tape(tmp_path / "a.tape", n_blocks=3000, padding=50)
    content = bytearray(path.read_bytes())
    content[-60] ^= 0xFF
    path.write_bytes(content)
    async with played(path, exit_at_end=True) as client:
        code, text = await client().send(blocks_meta={"m": {}}).refusal()
        assert code == grpc.StatusCode.INTERNAL
        assert "is damaged" in text
        with pytest.raises(DataError, match="is damaged"):
            await client.server.wait_played()
