"""The rules of the ways into a live chain: QUIC ports, block engine, nonces, and a transaction that comes twice."""

from __future__ import annotations

import asyncio

import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.events import HandshakeCompleted, QuicEvent
from cryptography.x509 import load_der_x509_certificate
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account, create_nonce_account
from solders.transaction import VersionedTransaction

from copytrader_core.solana.message import transfer_sol
from simnet.live import Live
from simnet.tpu import dummy_certificate
from tests.simnet.live_client import SOL, Trader, encoded, put, quic_configuration
from tests.simnet.live_story import run

pytestmark = pytest.mark.usefixtures("snapshot")


def test_the_dummy_certificate_is_one_that_others_can_read() -> None:
    key = bytes(Keypair().pubkey())
    raw = dummy_certificate(key)
    assert len(raw) == 249
    read = load_der_x509_certificate(raw)
    assert read.public_key().public_bytes_raw() == key  # type: ignore[union-attr]
    assert read.issuer.rfc4514_string() == "CN=Solana node"


# --- QUIC -------------------------------------------------------------------------------------------------------------


def _others(live: Live) -> list[str]:
    """The ports of validators that lead neither now nor in the next slots."""
    near = {live.chain.leaders.at(live.slot + n) for n in range(9)}
    return [address for identity, address in live.tpu.items() if identity not in near]


def test_a_validator_that_leads_neither_now_nor_next_takes_nothing() -> None:
    async def story(trader: Trader) -> None:
        transaction = trader.transfer(SOL)
        await trader.send_quic(_others(trader.live)[0], bytes(transaction))
        await trader.live.slots(12)
        assert await trader.status(str(transaction.signatures[0])) is None

    run(story, slot_ms=100.0)


def test_a_leader_includes_what_reaches_it_only_in_its_own_slots() -> None:
    async def story(trader: Trader) -> None:
        transaction = trader.transfer(SOL)
        leader = trader.live.chain.leaders.at(trader.live.slot + 4)
        await trader.send_quic(trader.live.tpu[leader], bytes(transaction))
        status = await trader.landed(str(transaction.signatures[0]))
        assert trader.live.chain.leaders.at(status["slot"]) == leader

    run(story, slot_ms=100.0)


class _Watching(QuicConnectionProtocol):
    """Notes how many streams it might open when the handshake was over."""

    at_handshake: int | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.at_handshake = self._quic._remote_max_streams_uni


def test_streams_may_be_opened_only_after_admission() -> None:
    async def story(trader: Trader) -> None:
        host, _, port = next(iter(trader.live.tpu.values())).partition(":")
        async with connect(host, int(port), configuration=quic_configuration(), create_protocol=_Watching) as client:
            await trader.live.slots(5)
            assert isinstance(client, _Watching)
            assert (client.at_handshake, client._quic._remote_max_streams_uni) == (0, 128)

    run(story)


def test_a_client_proves_its_key_or_stays_unknown() -> None:
    async def story(trader: Trader) -> None:
        identity, address = next(iter(trader.live.tpu.items()))
        host, _, port = address.partition(":")
        await trader.send_quic(address, bytes(trader.transfer(SOL)))
        async with connect(host, int(port), configuration=quic_configuration()):
            await trader.live.slots(3)
        assert trader.live.ports[identity].clients == [bytes(trader.wallet), None]

    run(story)


def test_a_parked_client_is_connected_and_sends_in_vain() -> None:
    async def story(trader: Trader) -> None:
        trader.live.faults.set({"tpu_parked": True})
        transaction = trader.transfer(SOL)
        for address in trader.live.tpu.values():
            await trader.send_quic(address, bytes(transaction))
        await trader.live.slots(10)
        assert await trader.status(str(transaction.signatures[0])) is None
        assert all(len(port.clients) == 1 and not port.n_streams for port in trader.live.ports.values())

    run(story)


def test_a_stream_of_more_than_a_packet_ends_the_connection() -> None:
    async def story(trader: Trader) -> None:
        identity, address = next(iter(trader.live.tpu.items()))
        host, _, port = address.partition(":")
        async with connect(host, int(port), configuration=quic_configuration()) as client:
            put(client, b"x" * 1_233)
            await asyncio.wait_for(client.wait_closed(), 5)
        assert trader.live.ports[identity].n_streams["transactions"] == 0

    run(story)


# --- block engine -----------------------------------------------------------------------------------------------------


def test_a_bundle_needs_a_tip() -> None:
    async def story(trader: Trader) -> None:
        for tip in (0, 999):
            status, body = await trader.send_bundle(trader.buy(trader.open_coin(), tip=tip))
            assert (status, body["error"]["code"]) == (400, -32602)

    run(story)


def test_a_bundle_lands_whole_or_not_at_all() -> None:
    async def story(trader: Trader) -> None:
        before = trader.live.bank.lamports(trader.wallet)
        good = trader.buy(trader.open_coin(), tip=5_000)
        bad = trader.buy(trader.open_coin(), slippage_bps=-5_000)
        _, body = await trader.send_bundle(good, bad)
        await trader.live.slots(20)
        assert await trader.status(str(good.signatures[0])) is None
        assert trader.live.bank.lamports(trader.wallet) == before
        url = f"{trader.live.block_engine_url}/api/v1/getInflightBundleStatuses"
        _, found = await trader.post(url, "getInflightBundleStatuses", [body["result"]])
        assert found["result"]["value"][0]["status"] == "Failed"

    run(story)


def test_bundles_land_in_order_in_slots_of_jito_leaders_only() -> None:
    async def story(trader: Trader) -> None:
        for n in range(6):
            pair = (
                trader.transfer(SOL),
                trader.signed([*trader.buy_steps(trader.open_coin(), SOL // 10, 9_000, 2_000 + n)]),
            )
            _, body = await trader.send_bundle(*pair)
            statuses = [await trader.landed(str(one.signatures[0])) for one in pair]
            slot = statuses[0]["slot"]
            assert slot == statuses[1]["slot"]
            assert trader.live.chain.leaders.is_jito(slot)
            url = f"{trader.live.block_engine_url}/api/v1/getBundleStatuses"
            _, found = await trader.post(url, "getBundleStatuses", [body["result"]])
            assert found["result"]["value"][0]["slot"] == slot

    run(story, n_leaders=4, n_jito=1)


def test_more_than_the_limit_is_answered_with_429() -> None:
    async def story(trader: Trader) -> None:
        url = f"{trader.live.block_engine_url}/api/v1/bundles"
        statuses = [(await trader.post(url, "getTipAccounts"))[0] for _ in range(3)]
        assert statuses == [200, 429, 429]

    run(story, bundle_requests_per_s=0.01)


def test_a_single_transaction_goes_through_the_block_engine() -> None:
    async def story(trader: Trader) -> None:
        transaction = trader.transfer(SOL)
        url = f"{trader.live.block_engine_url}/api/v1/transactions"
        _, body = await trader.post(url, "sendTransaction", encoded(transaction), {"encoding": "base64"})
        assert (await trader.landed(body["result"]))["err"] is None
        async with trader.http.get(f"{trader.live.block_engine_url}/api/v1/bundles/tip_floor") as answer:
            assert (await answer.json())[0]["landed_tips_50th_percentile"] > 0

    run(story)


# --- life times -------------------------------------------------------------------------------------------------------


def test_the_same_bytes_by_every_route_land_once() -> None:
    async def story(trader: Trader) -> None:
        to = Keypair().pubkey()
        transaction = trader.signed(
            [transfer_sol(trader.wallet, to, SOL), *trader.buy_steps(trader.open_coin(), SOL // 10, 9_000, 1_000)]
        )
        await trader.send(transaction)
        await trader.send_quic(trader.live.tpu[trader.live.chain.leaders.at(trader.live.slot + 4)], bytes(transaction))
        await trader.send_bundle(transaction)
        await trader.send(transaction)
        await trader.live.slots(30)
        assert trader.live.bank.lamports(to) == SOL
        error = await trader.error("sendTransaction", encoded(transaction), {"encoding": "base64"})
        assert (error["code"], error["data"]["err"]) == (-32002, "AlreadyProcessed")

    run(story)


def _nonce_value(trader: Trader, nonce: Keypair) -> Hash:
    data = trader.live.bank.data(nonce.pubkey())
    assert data is not None
    return Hash.from_bytes(data[40:72])


def _with_nonce(trader: Trader, nonce: Keypair, lamports: int) -> VersionedTransaction:
    advance = advance_nonce_account(
        AdvanceNonceAccountParams(nonce_pubkey=nonce.pubkey(), authorized_pubkey=trader.wallet)
    )
    steps = [advance, transfer_sol(trader.wallet, Keypair().pubkey(), lamports)]
    return VersionedTransaction(
        MessageV0.try_compile(trader.wallet, steps, [], _nonce_value(trader, nonce)), [trader.keys]
    )


def test_a_nonce_outlives_blockhashes_and_is_used_up_by_success_and_failure() -> None:
    async def story(trader: Trader) -> None:
        nonce = Keypair()
        create = create_nonce_account(trader.wallet, nonce.pubkey(), trader.wallet, 2_000_000)
        message = MessageV0.try_compile(trader.wallet, list(create), [], trader.live.bank.blockhash)
        signature = await trader.send(VersionedTransaction(message, [trader.keys, nonce]))
        await trader.landed(signature)
        good, rival = _with_nonce(trader, nonce, SOL), _with_nonce(trader, nonce, SOL)
        await trader.live.slots(160)
        tried = await trader.call("simulateTransaction", encoded(good), {"encoding": "base64"})
        assert tried["value"]["err"] is None
        assert (await trader.landed(await trader.send(good)))["err"] is None
        late = await trader.send(rival)
        await trader.live.slots(10)
        assert await trader.status(late) is None
        failing = _with_nonce(trader, nonce, 10_000 * SOL)
        before = _nonce_value(trader, nonce)
        assert (await trader.landed(await trader.send(failing)))["err"] == {"InstructionError": [1, {"Custom": 1}]}
        assert _nonce_value(trader, nonce) != before

    run(story, slot_ms=10.0)
