"""The local chain's JSON-RPC, read by solders' own parsers and by our decoder, against the tape itself."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from solders.rpc.responses import GetBlockResp, GetBlocksResp, GetSignaturesForAddressResp, GetTransactionResp

from copytrader_core.errors import StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.addresses import PUMP_PROGRAM
from copytrader_core.solana.base58 import address_text, signature_text
from copytrader_core.solana.rpc_json import transaction_from_json
from copytrader_core.solana.transaction import RawTransaction
from simnet.demo_tape import TAPE
from simnet.json_blocks import encode_base58
from simnet.json_rpc import RpcServer, serve_rpc
from simnet.tape import read_tape

BLOCKS: list[pb.SubscribeUpdateBlock] = list(read_tape(TAPE).blocks)
V1 = {"maxSupportedTransactionVersion": 1, "commitment": "confirmed"}


@pytest.fixture
async def server() -> AsyncIterator[RpcServer]:
    async with serve_rpc(TAPE) as running:
        yield running


async def raw(server: RpcServer, method: str, *params: Any) -> str:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    async with aiohttp.ClientSession() as session, session.post(f"http://{server.address}/", json=request) as answer:
        return await answer.text()


async def call(server: RpcServer, method: str, *params: Any) -> Any:
    return json.loads(await raw(server, method, *params))["result"]


async def code(server: RpcServer, method: str, *params: Any) -> int:
    return int(json.loads(await raw(server, method, *params))["error"]["code"])


def plain(tx: RawTransaction) -> dict[str, Any]:
    """The values alone: whether a source holds them in a tuple or in the message is its own affair."""
    return {**asdict(tx), "pre_balances": [*tx.pre_balances], "post_balances": [*tx.post_balances]}


def a_block(n_transactions: int = 2) -> pb.SubscribeUpdateBlock:
    return next(block for block in BLOCKS if len(block.transactions) >= n_transactions)


async def test_every_transaction_of_the_tape_reads_the_same_as_from_the_stream(server: RpcServer) -> None:
    for block in BLOCKS[::10]:
        found = await call(server, "getBlock", block.slot, V1)
        assert (found["blockhash"], found["previousBlockhash"]) == (block.blockhash, block.parent_blockhash)
        assert (found["parentSlot"], found["blockTime"]) == (block.parent_slot, block.block_time.timestamp)
        for index, (info, entry) in enumerate(zip(block.transactions, found["transactions"], strict=True)):
            document = {**entry, "slot": block.slot, "blockTime": found["blockTime"], "transactionIndex": index}
            streamed = transaction_from_update(info, block.slot, found["blockTime"])
            assert plain(transaction_from_json(document)) == plain(streamed)


async def test_solders_reads_blocks_and_transactions(server: RpcServer) -> None:
    block = next(b for b in BLOCKS if any(i.meta.HasField("err") for i in b.transactions))
    whole = GetBlockResp.from_json(await raw(server, "getBlock", block.slot, V1)).value
    assert whole is not None and whole.transactions is not None
    assert len(whole.transactions) == len(block.transactions) and whole.parent_slot == block.parent_slot
    for info in block.transactions:
        text = await raw(server, "getTransaction", signature_text(info.signature), V1)
        found = GetTransactionResp.from_json(text).value
        assert found is not None and found.slot == block.slot and found.transaction.meta is not None
        assert (found.transaction.meta.err is not None) == info.meta.HasField("err")
        assert found.transaction.meta.fee == info.meta.fee


async def test_a_block_can_be_had_as_signatures_or_without_transactions(server: RpcServer) -> None:
    block = a_block()
    only = await call(server, "getBlock", block.slot, {**V1, "transactionDetails": "signatures", "rewards": False})
    assert only["signatures"] == [signature_text(info.signature) for info in block.transactions]
    assert "transactions" not in only and "rewards" not in only
    none = await call(server, "getBlock", block.slot, {**V1, "transactionDetails": "none"})
    assert not {"transactions", "signatures"} & none.keys()


async def test_versions_that_the_caller_does_not_know_are_refused(server: RpcServer) -> None:
    versioned = next(b for b in BLOCKS if any(i.transaction.message.HasField("config") for i in b.transactions))
    assert await code(server, "getBlock", versioned.slot, {"maxSupportedTransactionVersion": 0}) == -32015
    signature = next(i.signature for i in versioned.transactions if i.transaction.message.HasField("config"))
    assert await code(server, "getTransaction", signature_text(signature)) == -32015


async def test_blocks_are_listed_with_both_ends_and_by_count(server: RpcServer) -> None:
    slots = [block.slot for block in BLOCKS]
    text = await raw(server, "getBlocks", slots[10], slots[20], {"commitment": "confirmed"})
    assert GetBlocksResp.from_json(text).value == slots[10:21]
    assert await call(server, "getBlocks", slots[-5]) == slots[-5:]
    assert await call(server, "getBlocksWithLimit", slots[10] + 1, 3) == slots[11:14]
    assert await code(server, "getBlocks", 0, 500_001) == -32602


async def test_slots_without_a_block_tell_why(server: RpcServer) -> None:
    skipped = next(a.slot + 1 for a, b in pairwise(BLOCKS) if b.slot > a.slot + 1)
    for method in ("getBlock", "getBlockTime"):
        assert await code(server, method, skipped) == -32009
        assert await code(server, method, BLOCKS[-1].slot + 1) == -32004
        assert await code(server, method, BLOCKS[0].slot - 1) == -32001


async def test_signatures_of_an_address_come_newest_first_and_page_by_page(server: RpcServer) -> None:
    program = str(PUMP_PROGRAM)
    expected = [
        signature_text(info.signature)
        for block in reversed(BLOCKS)
        for info in reversed(block.transactions)
        if program in {address_text(k) for k in info.transaction.message.account_keys}
        or bytes(PUMP_PROGRAM) in {*info.meta.loaded_readonly_addresses, *info.meta.loaded_writable_addresses}
    ]
    found: list[dict[str, Any]] = []
    while page := await call(
        server,
        "getSignaturesForAddress",
        program,
        {"limit": 700, **({"before": found[-1]["signature"]} if found else {})},
    ):
        found += page
    assert [info["signature"] for info in found] == expected
    failed = {signature_text(i.signature) for b in BLOCKS for i in b.transactions if i.meta.HasField("err")}
    assert {info["signature"] for info in found if info["err"]} == failed & set(expected)


async def test_bounds_of_a_list_of_signatures(server: RpcServer) -> None:
    wallet = address_text(a_block().transactions[0].transaction.message.account_keys[0])
    text = await raw(server, "getSignaturesForAddress", wallet)
    every = [str(info.signature) for info in GetSignaturesForAddressResp.from_json(text).value]
    options = {"before": every[0], "until": every[4]}
    assert [i["signature"] for i in await call(server, "getSignaturesForAddress", wallet, options)] == every[1:4]
    unknown = "1" * 64
    assert await call(server, "getSignaturesForAddress", wallet, {"before": unknown}) == []
    assert len(await call(server, "getSignaturesForAddress", wallet, {"until": unknown})) == len(every)
    assert await code(server, "getSignaturesForAddress", wallet, {"limit": 1001}) == -32602
    assert await code(server, "getSignaturesForAddress", wallet, {"minContextSlot": 2**50}) == -32016


async def test_the_rest_of_the_node(server: RpcServer) -> None:
    assert await call(server, "getHealth") == "ok"
    assert await call(server, "getSlot") == BLOCKS[-1].slot
    assert await call(server, "getBlockHeight") == BLOCKS[-1].block_height.block_height
    assert await call(server, "getFirstAvailableBlock") == BLOCKS[0].slot
    assert "solana-core" in await call(server, "getVersion")
    assert await call(server, "getTransaction", "1" * 64, V1) is None
    assert await code(server, "getNothing") == -32601
    assert await code(server, "getBlock", "five") == -32602
    assert await code(server, "getTransaction", "nonsense") == -32602
    assert await code(server, "getBlock", BLOCKS[0].slot, {"commitment": "processed"}) == -32602


async def test_several_requests_in_one_are_answered_together(server: RpcServer) -> None:
    batch = [{"jsonrpc": "2.0", "id": n, "method": "getHealth"} for n in range(3)]
    async with aiohttp.ClientSession() as session, session.post(f"http://{server.address}", json=batch) as answer:
        assert [one["id"] for one in await answer.json()] == [0, 1, 2]


async def test_a_taken_port_is_one_message(server: RpcServer) -> None:
    with pytest.raises(StreamError, match="cannot be used"):
        async with serve_rpc(TAPE, port=int(server.address.rpartition(":")[2])):
            pass


@pytest.mark.parametrize("raw_", [b"", b"\0", b"\0\0\1", bytes(range(70)), b"\xff" * 33])
def test_base58_of_any_bytes_reads_back(raw_: bytes) -> None:
    from copytrader_core.solana.base58 import decode

    assert decode(encode_base58(raw_)) == raw_


@pytest.mark.parametrize("speed", ["0", "1"])
def test_play_serves_rpc_beside_the_stream_and_shows_what_was_played(speed: str) -> None:
    start = BLOCKS[100].slot
    arguments = ["--speed", speed, "--rpc-port", "0", "--from-slot", str(start)]
    command = [sys.executable, "-m", "copytrader_cli.main", "simnet", "play", str(TAPE), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            assert re.fullmatch(r"127\.0\.0\.1:\d+\n", process.stdout.readline())
            line = re.fullmatch(r"rpc (127\.0\.0\.1:\d+)\n", process.stdout.readline())
            assert line
            tip = asyncio.run(_tip(line[1]))
        finally:
            process.terminate()
            process.communicate(timeout=10)
    assert process.returncode == 0
    # By the clock nothing after the history has fallen due: nobody has subscribed yet.
    assert tip == (BLOCKS[-1].slot if speed == "0" else BLOCKS[99].slot)


async def _tip(address: str) -> int:
    request = {"jsonrpc": "2.0", "id": 1, "method": "getSlot", "params": [{"commitment": "confirmed"}]}
    async with aiohttp.ClientSession() as session, session.post(f"http://{address}", json=request) as answer:
        return int((await answer.json())["result"])
