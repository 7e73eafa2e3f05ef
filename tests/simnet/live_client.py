"""A trader on a live chain, for its tests: writes v3 trades, sends them by each route, and asks what became of them."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_der_x509_certificate
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.pump import addresses as a
from copytrader_core.pump import instructions as ix
from copytrader_core.solana.message import create_token_account, transfer_sol
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, associated_token_address
from simnet.desk import Coin
from simnet.live import Live
from simnet.tpu import ALPN, dummy_certificate

SOL = 1_000_000_000


class Trader:
    """A fresh wallet with 100 SOL. The `http` session is the test's."""

    def __init__(self, live: Live, http: aiohttp.ClientSession) -> None:
        self.live, self.http = live, http
        self.keys = Keypair()
        self.wallet: Pubkey = self.keys.pubkey()
        live.airdrop(self.wallet, 100 * SOL)

    def open_coin(self) -> Coin:
        """The newest coin that still trades on its curve."""
        desk = self.live.chain.market.desk
        return next(c for c in reversed(self.live.chain.market.coins) if not desk.reserves(c).complete)

    def signed(self, steps: list[Instruction], blockhash: Hash | None = None) -> VersionedTransaction:
        """The instructions as a transaction."""
        recent = blockhash or self.live.bank.blockhash
        message = MessageV0.try_compile(self.wallet, [set_compute_unit_limit(200_000), *steps], [], recent)
        return VersionedTransaction(message, [self.keys])

    def buy(
        self, coin: Coin, *, spend: int = SOL // 10, slippage_bps: int = 9_000, tip: int = 0
    ) -> VersionedTransaction:
        """A buy_exact_quote_in_v3."""
        return self.signed(self.buy_steps(coin, spend, slippage_bps, tip))

    def buy_steps(self, coin: Coin, spend: int, slippage_bps: int, tip: int = 0) -> list[Instruction]:
        """The instructions of a buy."""
        least = self.live.chain.market.desk.reserves(coin).tokens_for(spend) * (10_000 - slippage_bps) // 10_000
        buyback = self.live.bank.authorities.buyback[0]
        steps = [
            create_token_account(self.wallet, self.wallet, coin.mint, TOKEN_2022_PROGRAM),
            ix.buy_exact_quote_in_v3(coin.curve, self.wallet, buyback, spend, max(1, least)),
        ]
        return [*steps, transfer_sol(self.wallet, a.JITO_TIP_ACCOUNTS[0], tip)] if tip else steps

    def transfer(self, lamports: int, to: Pubkey | None = None) -> VersionedTransaction:
        """A plain transfer, by default to somebody new."""
        return self.signed([transfer_sol(self.wallet, to or Keypair().pubkey(), lamports)])

    def held(self, coin: Coin) -> int:
        """Coins in the wallet, from the bank."""
        return self.live.bank.token_amount(associated_token_address(self.wallet, coin.mint, TOKEN_2022_PROGRAM))

    # --- ways in ------------------------------------------------------------------------------------------------------

    async def post(self, url: str, method: str, *params: Any) -> tuple[int, dict[str, Any]]:
        """A JSON-RPC call: HTTP status and body."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with self.http.post(url, json=body) as answer:
            return answer.status, await answer.json()

    async def call(self, method: str, *params: Any) -> Any:
        """The result of an RPC method."""
        _, body = await self.post(self.live.rpc_url, method, *params)
        return body["result"]

    async def error(self, method: str, *params: Any) -> dict[str, Any]:
        """The error of an RPC method."""
        _, body = await self.post(self.live.rpc_url, method, *params)
        return dict(body["error"])

    async def send(self, transaction: VersionedTransaction, **options: Any) -> str:
        """By RPC, without preflight."""
        return str(
            await self.call(
                "sendTransaction", encoded(transaction), {"encoding": "base64", "skipPreflight": True, **options}
            )
        )

    async def send_quic(self, address: str, *raws: bytes) -> None:
        """To one QUIC port, under the wallet's own key."""
        host, _, port = address.partition(":")
        async with connect(host, int(port), configuration=quic_configuration(self.keys), wait_connected=True) as client:
            for raw in raws:
                put(client, raw)
            await asyncio.sleep(0.05)

    async def send_bundle(self, *transactions: VersionedTransaction) -> tuple[int, dict[str, Any]]:
        """By the block engine."""
        url = f"{self.live.block_engine_url}/api/v1/bundles"
        return await self.post(url, "sendBundle", [encoded(t) for t in transactions], {"encoding": "base64"})

    # --- what became of it --------------------------------------------------------------------------------------------

    async def status(self, signature: str) -> dict[str, Any] | None:
        """getSignatureStatuses of one."""
        found = await self.call("getSignatureStatuses", [signature], {"searchTransactionHistory": True})
        return found["value"][0]

    async def landed(self, signature: str) -> dict[str, Any]:
        """Waits for a status."""
        return await self.until(lambda: self.status(signature))

    async def until(self, ask: Callable[[], Awaitable[Any]], slots: int = 150) -> Any:
        """Asks once a slot until there is an answer."""
        for _ in range(slots):
            if answer := await ask():
                return answer
            await self.live.slots(1)
        raise AssertionError(f"nothing came within {slots} slots")


def encoded(transaction: VersionedTransaction) -> str:
    """Base64 of the wire bytes."""
    return base64.b64encode(bytes(transaction)).decode()


def quic_configuration(keys: Keypair | None = None) -> QuicConfiguration:
    """A client, by default without a certificate of its own."""
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN], is_client=True, verify_mode=ssl.CERT_NONE, server_name="localhost"
    )

    if keys:
        configuration.certificate = load_der_x509_certificate(dummy_certificate(bytes(keys.pubkey())))
        configuration.private_key = Ed25519PrivateKey.from_private_bytes(keys.secret())
    return configuration


def put(client: QuicConnectionProtocol, raw: bytes) -> None:
    """One transaction on a stream of its own."""
    stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
    client._quic.send_stream_data(stream, raw, end_stream=True)
    client.transmit()
