"""Every fault of the menu shows its symptom, and the chain is whole after it."""

from __future__ import annotations

from itertools import pairwise

import aiohttp
import grpc
import pytest
from solders.keypair import Keypair

from copytrader_core.errors import ConfigError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump import instructions as ix
from copytrader_core.pump.instructions import FeeRecipients
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.message import create_token_account
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM
from simnet.faults import parse_faults
from tests.simnet.chain import Client
from tests.simnet.live_client import SOL, Trader
from tests.simnet.live_story import run

needs_programs = pytest.mark.usefixtures("snapshot")


def test_a_menu_is_read_and_nonsense_is_refused() -> None:
    faults = parse_faults("drop=0.25,late_slots=12,blockhash_stall=true")
    assert (faults.drop, faults.late_slots, faults.blockhash_stall) == (0.25, 12, True)
    for text in ("drop=2", "dorp=0.1", "late_slots=1.5", "drop=often"):
        with pytest.raises(ConfigError):
            parse_faults(text)


def test_a_fault_strikes_once_and_by_its_probability() -> None:
    faults = parse_faults("late=0.5", seed=3)
    faults.once("drop")
    assert [faults.strikes("drop"), faults.strikes("drop")] == [True, False]
    assert 400 < sum(faults.strikes("late") for _ in range(1_000)) < 600


@needs_programs
def test_a_dropped_transaction_never_lands() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.once("drop")
        signature = await trader.send(trader.transfer(SOL))
        await trader.live.slots(20)
        assert await trader.status(signature) is None

    run(story)


@needs_programs
def test_a_late_transaction_lands_later() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"late_slots": 15})
        trader.live.faults.once("late")
        sent = trader.live.slot
        status = await trader.landed(await trader.send(trader.transfer(SOL)))
        assert status["slot"] >= sent + 15

    run(story)


@needs_programs
def test_what_is_later_than_its_blockhash_never_lands() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"late_slots": 152})
        trader.live.faults.once("late")
        signature = await trader.send(trader.transfer(SOL))
        await trader.live.slots(170)
        assert await trader.status(signature) is None

    run(story, slot_ms=8.0)


@needs_programs
def test_a_duplicate_delivery_pays_once() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"duplicate": 1})
        to = Keypair().pubkey()
        await trader.landed(await trader.send(trader.transfer(SOL, to)))
        await trader.live.slots(10)
        assert trader.live.bank.lamports(to) == SOL

    run(story)


@needs_programs
def test_a_competing_buy_ahead_breaks_the_slippage_limit() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.once("front_run")
        transaction = trader.buy(trader.open_coin(), slippage_bps=1_500)
        status = await trader.landed(await trader.send(transaction))
        assert status["err"] == {"InstructionError": [2, {"Custom": 6042}]}
        block = trader.live.chain.ledger.block(trader.live.chain.landed[bytes(transaction.signatures[0])])
        assert len(block.transactions) >= 2

    run(story)


@needs_programs
def test_a_skipped_leader_leaves_a_slot_without_a_block() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.once("leader_skip", 3)
        first = trader.live.slot
        await trader.live.slots(12)
        options = {"commitment": "confirmed"}
        blocks = await trader.call("getBlocks", first + 1, first + 8, options)
        missing = set(range(first + 1, first + 9)) - set(blocks)
        assert len(missing) == 3
        assert (await trader.error("getBlock", min(missing), options))["code"] == -32007

    run(story)


@needs_programs
def test_a_busy_node_answers_429_and_a_silent_one_504() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.once("rpc_429")
        status, body = await trader.post(trader.live.rpc_url, "getSlot")
        assert (status, body["error"]["code"]) == (429, 429)
        trader.live.faults.set({"rpc_timeout_ms": 30_000})
        trader.live.faults.once("rpc_timeout")
        request = {"jsonrpc": "2.0", "id": 1, "method": "getSlot"}
        with pytest.raises(TimeoutError):
            await trader.http.post(trader.live.rpc_url, json=request, timeout=aiohttp.ClientTimeout(total=0.2))
        assert await trader.call("getHealth") == "ok"

    run(story)


@needs_programs
def test_a_stale_node_answers_of_slots_ago() -> None:
    async def story(trader: Trader) -> None:
        options = {"commitment": "processed"}
        trader.live.faults.set({"stale_slots": 40})
        slot = await trader.call("getSlot", options)
        assert trader.live.slot - 42 <= slot <= trader.live.slot - 38
        signature = await trader.send(trader.transfer(SOL))
        await trader.live.slots(10)
        assert await trader.status(signature) is None
        assert (await trader.error("getSlot", {**options, "minContextSlot": trader.live.slot}))["code"] == -32016
        trader.live.faults.set({"stale_slots": 0})
        assert (await trader.landed(signature))["err"] is None

    run(story)


@needs_programs
def test_a_status_is_null_before_it_is_confirmed() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"status_null_slots": 20})
        transaction = trader.transfer(SOL)
        signature = await trader.send(transaction)
        await trader.live.slots(8)
        assert bytes(transaction.signatures[0]) in trader.live.chain.landed
        assert await trader.status(signature) is None
        assert (await trader.landed(signature))["confirmationStatus"] == "confirmed"

    run(story)


async def _roll_back_after(trader: Trader, signature: bytes) -> None:
    """Leaves the fork as soon as the transaction is in it."""
    while signature not in trader.live.chain.landed:
        await trader.live.slots(1)
    trader.live.faults.once("rollback")
    while signature in trader.live.chain.landed and trader.live.faults._next["rollback"]:
        await trader.live.slots(1)


@needs_programs
def test_a_rollback_takes_a_processed_buy_away() -> None:
    async def story(trader: Trader) -> None:
        coin, before = trader.open_coin(), trader.live.bank.lamports(trader.wallet)
        async with grpc.aio.insecure_channel(trader.live.geyser) as channel:
            mine = {"mine": {"account_include": [str(trader.wallet)]}}
            early = Client(channel, None).send(transactions=mine, commitment=pb.PROCESSED)
            sure = Client(channel, None).send(transactions=mine, commitment=pb.CONFIRMED)
            await trader.live.slots(2)
            gone = trader.buy(coin)
            await trader.send(gone)
            await _roll_back_after(trader, bytes(gone.signatures[0]))
            assert await trader.status(str(gone.signatures[0])) is None
            assert (trader.held(coin), trader.live.bank.lamports(trader.wallet)) == (0, before)
            stays = trader.buy(coin, spend=SOL // 5)
            await trader.send(stays)
            seen = [update.transaction.transaction.signature for update in await early.take(2)]
            assert seen == [bytes(gone.signatures[0]), bytes(stays.signatures[0])]
            confirmed = (await sure.take(1))[0].transaction.transaction.signature
            assert confirmed == bytes(stays.signatures[0])
            early.cancel()
            sure.cancel()

    run(story, confirmed_after_slots=6)


@needs_programs
def test_what_a_rollback_took_may_land_again_with_the_same_signature() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"reland": 1})
        coin = trader.open_coin()
        blockhash = trader.live.chain.finalized_blockhash
        transaction = trader.signed(trader.buy_steps(coin, SOL // 10, 9_000), blockhash)
        await trader.send(transaction)
        await _roll_back_after(trader, bytes(transaction.signatures[0]))
        assert (await trader.landed(str(transaction.signatures[0])))["err"] is None
        assert trader.held(coin) > 0

    run(story, confirmed_after_slots=6)


@needs_programs
def test_the_market_goes_on_over_many_forks() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"rollback": 0.2, "leader_skip": 0.1})
        before = trader.live.chain.market.truth.n_transactions
        await trader.live.slots(150)
        trader.live.faults.set({"rollback": 0, "leader_skip": 0})
        truth = trader.live.chain.market.truth
        assert truth.n_transactions > before
        landed = {str(event.sig) for event in truth.events}
        ledger = trader.live.chain.ledger
        alive = [ledger.block(n) for n in range(len(ledger)) if not ledger.entry(n).is_dead]  # type: ignore[union-attr]
        assert landed <= {signature_text(info.signature) for block in alive for info in block.transactions}
        assert all(b.parent_slot == a.slot for a, b in pairwise(alive))

    run(story, slot_ms=10.0)


@needs_programs
def test_a_cut_stream_can_be_resumed() -> None:
    async def story(trader: Trader) -> None:
        async with grpc.aio.insecure_channel(trader.live.geyser) as channel:
            client = Client(channel, None).send(blocks_meta={"all": {}}, commitment=pb.CONFIRMED)
            last = (await client.take(3))[-1].block_meta.slot
            trader.live.faults.once("stream_cut")
            code, _ = await client.refusal()
            assert code == grpc.StatusCode.UNAVAILABLE
            again = Client(channel, None).send(blocks_meta={"all": {}}, commitment=pb.CONFIRMED, from_slot=last + 1)
            assert (await again.take(1))[0].block_meta.slot == last + 1
            again.cancel()

    run(story)


@needs_programs
def test_a_curve_sells_out_and_waits_for_its_pool() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"migration_delay_slots": 60})
        coin, desk = trader.open_coin(), trader.live.chain.market.desk
        trader.live.faults.once("complete")

        async def is_complete() -> bool:
            return desk.reserves(coin).complete

        await trader.until(is_complete)
        completed = trader.live.slot
        transaction = trader.buy(coin, slippage_bps=9_999)
        status = await trader.landed(await trader.send(transaction))
        assert status["err"] == {"InstructionError": [2, {"Custom": 6005}]}

        async def is_migrated() -> bool:
            return coin.migrated

        await trader.until(is_migrated, 200)
        assert trader.live.slot - completed >= 60

    run(story)


@needs_programs
def test_a_changed_creator_breaks_v2_and_not_v3() -> None:
    async def story(trader: Trader) -> None:
        coin, known = trader.open_coin(), trader.live.bank.authorities
        stale = coin.curve
        trader.live.faults.once("creator_change")
        await trader.live.slots(3)
        assert coin.curve != stale
        recipients = FeeRecipients(known.protocol[0], known.buyback[0])
        old = trader.signed(
            [
                create_token_account(trader.wallet, trader.wallet, coin.mint, TOKEN_2022_PROGRAM),
                ix.buy_exact_quote_in_v2(stale, trader.wallet, recipients, SOL // 10, 1),
            ]
        )
        assert (await trader.landed(await trader.send(old)))["err"] == {"InstructionError": [2, {"Custom": 2006}]}
        assert (await trader.landed(await trader.send(trader.buy(coin))))["err"] is None

    run(story)


@needs_programs
def test_during_an_upgrade_trades_fail_with_a_foreign_code() -> None:
    async def story(trader: Trader) -> None:
        coin = trader.open_coin()
        trader.live.faults.set({"program_upgrade": True})
        await trader.live.slots(2)
        status = await trader.landed(await trader.send(trader.buy(coin)))
        assert status["err"] == {"InstructionError": [2, {"Custom": 4100}]}
        trader.live.faults.set({"program_upgrade": False})
        await trader.live.slots(2)
        assert (await trader.landed(await trader.send(trader.buy(coin))))["err"] is None

    run(story)


@needs_programs
def test_a_stalled_blockhash_repeats_and_runs_out() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"blockhash_stall": True})
        first = (await trader.call("getLatestBlockhash"))["value"]
        await trader.live.slots(20)
        assert (await trader.call("getLatestBlockhash"))["value"] == first
        trader.live.faults.set({"blockhash_stall": False})
        assert (await trader.call("getLatestBlockhash"))["value"]["blockhash"] != first["blockhash"]

    run(story)


@needs_programs
def test_faults_are_set_over_http() -> None:
    async def story(trader: Trader) -> None:
        url = f"{trader.live.rpc_url}/faults"
        async with trader.http.post(url, json={"set": {"drop": 0.5}, "once": ["rollback"]}) as answer:
            assert (await answer.json())["drop"] == 0.5
        assert trader.live.faults.drop == 0.5
        async with trader.http.post(url, json={"set": {"drop": 7}}) as answer:
            assert answer.status == 400
            assert "probability" in (await answer.json())["error"]

    run(story)
