"""A v3 buy of a fresh wallet lands by every route of a live chain, and every door says the same about it."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from solders.keypair import Keypair

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from tests.simnet.chain import Client
from tests.simnet.live_client import SOL, Trader, encoded
from tests.simnet.live_story import run

pytestmark = pytest.mark.usefixtures("snapshot")


async def _by_rpc(trader: Trader, transaction: Any) -> None:
    await trader.send(transaction)


async def _by_quic(trader: Trader, transaction: Any) -> None:
    leader = trader.live.chain.leaders.at(trader.live.slot + 4)
    await trader.send_quic(trader.live.tpu[leader], bytes(transaction))


async def _by_bundle(trader: Trader, transaction: Any) -> None:
    status, body = await trader.send_bundle(transaction)
    assert status == 200, body


@pytest.mark.parametrize("route", [_by_rpc, _by_quic, _by_bundle])
def test_a_buy_lands_and_is_seen_everywhere(route: Callable[[Trader, Any], Awaitable[None]]) -> None:
    async def story(trader: Trader) -> None:
        async with grpc.aio.insecure_channel(trader.live.geyser) as channel:
            client = Client(channel, None).send(
                transactions={"mine": {"account_include": [str(trader.wallet)]}}, commitment=pb.PROCESSED
            )
            await trader.live.slots(2)
            coin = trader.open_coin()
            transaction = trader.buy(coin, tip=10_000)
            await route(trader, transaction)
            signature = str(transaction.signatures[0])
            status = await trader.landed(signature)
            assert status["err"] is None
            update = (await client.take(1))[0].transaction
            assert (signature_text(update.transaction.signature), update.slot) == (signature, status["slot"])
            client.cancel()
        options = {"encoding": "jsonParsed"}
        found = await trader.call(
            "getTokenAccountsByOwner", str(trader.wallet), {"programId": str(TOKEN_2022_PROGRAM)}, options
        )
        info = found["value"][0]["account"]["data"]["parsed"]["info"]
        assert info["mint"] == str(coin.mint)
        assert int(info["tokenAmount"]["amount"]) == trader.held(coin) > 0

    run(story)


def test_commitments_rise_and_history_shows_the_transaction() -> None:
    async def story(trader: Trader) -> None:
        signature = await trader.send(trader.buy(trader.open_coin()))
        levels = []
        for _ in range(60):
            status = await trader.status(signature)
            if status and status["confirmationStatus"] not in levels:
                levels.append(status["confirmationStatus"])
            await trader.live.slots(1)
        assert levels == ["processed", "confirmed", "finalized"]
        options = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
        assert (await trader.call("getTransaction", signature, options))["meta"]["err"] is None
        history = await trader.call("getSignaturesForAddress", str(trader.wallet), {"commitment": "confirmed"})
        assert [row["signature"] for row in history] == [signature]

    run(story)


def test_a_failed_buy_of_ours_is_on_the_stream_with_its_code() -> None:
    async def story(trader: Trader) -> None:
        transaction = trader.buy(trader.open_coin(), slippage_bps=-5_000)
        signature = await trader.send(transaction)
        status = await trader.landed(signature)
        assert status["err"] == {"InstructionError": [2, {"Custom": 6042}]}

    run(story)


def test_preflight_refuses_what_would_fail() -> None:
    async def story(trader: Trader) -> None:
        transaction = trader.buy(trader.open_coin(), slippage_bps=-5_000)
        error = await trader.error("sendTransaction", encoded(transaction), {"encoding": "base64"})
        assert error["code"] == -32002
        assert error["message"].endswith("Error processing Instruction 2: custom program error: 0x179a")
        assert error["data"]["err"] == {"InstructionError": [2, {"Custom": 6042}]}

    run(story)


def test_a_wrong_signature_is_refused() -> None:
    async def story(trader: Trader) -> None:
        raw = bytearray(bytes(trader.transfer(SOL)))
        raw[10] ^= 1
        text = base64.b64encode(raw).decode()
        assert (await trader.error("sendTransaction", text, {"encoding": "base64"}))["code"] == -32003

    run(story)


def test_simulation_tells_units_and_changes_nothing() -> None:
    async def story(trader: Trader) -> None:
        coin = trader.open_coin()
        found = await trader.call("simulateTransaction", encoded(trader.buy(coin)), {"encoding": "base64"})
        assert found["value"]["err"] is None
        assert 40_000 < found["value"]["unitsConsumed"] < 200_000
        assert trader.held(coin) == 0

    run(story)


def test_blockhashes_die_after_150_blocks() -> None:
    async def story(trader: Trader) -> None:
        latest = (await trader.call("getLatestBlockhash", {"commitment": "processed"}))["value"]
        height = await trader.call("getBlockHeight", {"commitment": "processed"})
        assert 149 <= latest["lastValidBlockHeight"] - height <= 150
        late = trader.transfer(SOL)
        while trader.live.bank.block_height <= latest["lastValidBlockHeight"]:
            await trader.live.slots(1)
        assert (await trader.call("isBlockhashValid", latest["blockhash"]))["value"] is False
        signature = await trader.send(late)
        await trader.live.slots(10)
        assert await trader.status(signature) is None

    run(story, slot_ms=8.0)


def test_an_airdrop_is_a_transaction() -> None:
    async def story(trader: Trader) -> None:
        wallet = str(Keypair().pubkey())
        status = await trader.landed(await trader.call("requestAirdrop", wallet, SOL))
        assert status["err"] is None
        assert (await trader.call("getBalance", wallet))["value"] == SOL

    run(story)


def test_leaders_nodes_and_schedule_agree() -> None:
    async def story(trader: Trader) -> None:
        slot = await trader.call("getSlot", {"commitment": "processed"})
        leaders = await trader.call("getSlotLeaders", slot, 8)
        schedule = await trader.call("getLeaderSchedule")
        assert all((slot + n) % 432_000 in schedule[leader] for n, leader in enumerate(leaders))
        nodes = {node["pubkey"]: node["tpuQuic"] for node in await trader.call("getClusterNodes")}
        assert nodes == {str(identity): address for identity, address in trader.live.tpu.items()}
        assert len(set(nodes.values())) == 4

    run(story)


def test_old_token_program_has_no_accounts_of_a_new_wallet() -> None:
    async def story(trader: Trader) -> None:
        for encoding in ("base64", "jsonParsed"):
            found = await trader.call(
                "getTokenAccountsByOwner", str(trader.wallet), {"programId": str(TOKEN_PROGRAM)}, {"encoding": encoding}
            )
            assert found["value"] == []

    run(story)


def test_a_replay_from_a_slot_has_no_holes() -> None:
    async def story(trader: Trader) -> None:
        await trader.live.slots(5)
        first = await trader.call("getSlot", {"commitment": "confirmed"}) - 20
        async with grpc.aio.insecure_channel(trader.live.geyser) as channel:
            client = Client(channel, None).send(blocks_meta={"all": {}}, commitment=pb.CONFIRMED, from_slot=first)
            slots = [update.block_meta.slot for update in await client.take(40)]
            client.cancel()
        assert slots == list(range(first, first + 40))

    run(story)
