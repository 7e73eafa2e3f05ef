"""Sales under durable nonces on a chain that runs the deployed programs: of all attempts of a sale one lands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from live_nonces import check_nonces, sales, with_nonces
from live_world import MONEY, SEED, lines_of, release, settings, trade, world
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction
from test_executor_live import check, kills, options, settled

from copytrader_core.errors import ConfigError
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.nonce import advance_nonce, nonce_address
from copytrader_core.solana.routes.route import Route
from copytrader_core.solana.rpc import RpcClient
from executor.nonce_accounts import Found, find, opened
from simnet.live import Live, live_chain

pytestmark = pytest.mark.usefixtures("snapshot")


# Anchor's code where our account for the coin is not there any more.
ACCOUNT_MISSING = 3012


@dataclass
class Pairs:
    """A route that holds sales back until there are two attempts of one; then both go out at once, again and again."""

    inner: Route
    name: str = "pairs"

    def __post_init__(self) -> None:
        self.held: dict[bytes, dict[str, bytes]] = defaultdict(dict)

    async def start(self) -> None:
        """Nothing of its own."""

    async def close(self) -> None:
        """Nothing of its own."""

    async def send(self, wire: bytes, signature: str) -> None:
        message = VersionedTransaction.from_bytes(wire).message
        nonce = next((str(key) for key in message.account_keys if str(key) in self.nonces), None)
        if nonce is None:
            await self.inner.send(wire, signature)
            return
        held = self.held[bytes(message.recent_blockhash)]
        held[signature] = wire
        if len(held) >= 2:
            await asyncio.gather(*[self.inner.send(one, name) for name, one in held.items()])

    nonces: Sequence[str] = ()
    waits: bool = True
    is_scarce: bool = False


async def test_of_two_attempts_sent_at_once_one_lands_and_the_other_is_void(tmp_path: Path) -> None:
    async with live_chain(options()) as live:
        names = await with_nonces(live, 2)
        config = settings(tmp_path, nonce_accounts=names, exit_retry_ms=300)
        async with world(live, config) as found:
            pairs = [Pairs(route, route.name, names) for route in found.routes]
            await trade(live, config, replace(found, routes=pairs), release(live, hold_ms=1_000), 15.0)
        await settled(live, config)
        check(live, config)
        kinds, lines = check_nonces(config), lines_of(config)
        under = sales(lines)
        several = [intents for intents in under.values() if len(intents) > 1]
        assert several, "no sale was tried twice under one value"
        assert kinds["FILL"] >= 1 and kinds["EXPIRED"] >= len(several)
        reasons = {line["payload"]["reason"] for line in lines if line["kind"] == "EXPIRED"}
        assert any(names[0] in reason and "another attempt was first" in reason for reason in reasons)
        assert not [line for line in lines if line["kind"] == "TRIPPED"]
        failed = [line["payload"] for line in lines if line["kind"] == "REVERTED" and line["payload"]["side"] == "SELL"]
        assert not [one for one in failed if one["code"] == ACCOUNT_MISSING], "sold twice"


async def test_killed_a_few_times_with_every_fault_on_and_sales_under_nonces(tmp_path: Path) -> None:
    kinds = await kills(tmp_path, 6, seed=3, n_nonces=3)
    assert kinds["RUN"] >= 6


@pytest.mark.drill
async def test_killed_100_times_in_the_middle_of_sales_under_nonces(tmp_path: Path) -> None:
    kinds = await kills(tmp_path, 100, seed=4, n_nonces=2)
    assert kinds["RUN"] >= 100


async def test_a_wallet_creates_finds_and_checks_its_accounts(tmp_path: Path) -> None:
    async with live_chain(options()) as live:
        names = await with_nonces(live, 2)
        owner, other = Signer(SEED).pubkey, Signer(bytes(32)).pubkey
        assert names == tuple(str(nonce_address(owner, number)) for number in range(2))
        async with RpcClient(live.rpc_url) as client:
            node = ChainRpc(client)
            found: list[Found] = await find(node, owner)
            assert [str(one.address) for one in found] == list(names)
            rent = live.bank.svm.minimum_balance_for_rent_exemption(80)
            assert {(one.lamports, one.state.authority) for one in found} == {(rent, owner)}
            assert (await opened([node], names, owner)).lend("p", []) is not None
            with pytest.raises(ConfigError, match="to advance, our wallet is"):
                await opened([node], names, other)
            missing = await opened([node], [str(other), names[0]], owner)
            lent = missing.lend("p", [])
            assert lent is not None and lent.account == names[0], "exits do not wait for one that is closed"
            with pytest.raises(ConfigError, match="is no address"):
                await opened([node], ["abc"], owner)


def configured(folder: Path, rpc_url: str, owner: Keypair) -> Path:
    """The settings of a wallet that sends by one node; its key beside them."""
    (folder / "url").write_text(rpc_url)
    key = folder / "key.json"
    key.write_text(owner.to_json())
    key.chmod(0o600)
    config = folder / "copytrader.toml"
    config.write_text(f'[executor]\nkey_file = "{key}"\nrpc_url_files = ["{folder / "url"}"]\n')
    return config


async def command(folder: Path, *arguments: str, fails: bool = False) -> str:
    """What `copytrader executor nonce ...` prints."""
    environment = {**os.environ, "COPYTRADER_CONFIG": str(folder / "copytrader.toml"), "COPYTRADER_HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copytrader_cli.main", "executor", "nonce", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    output, _ = await process.communicate()
    assert (process.returncode != 0) == fails, output.decode()
    return output.decode()


async def test_the_commands_open_accounts_and_list_them(tmp_path: Path) -> None:
    async with live_chain(options()) as live:
        owner = Keypair.from_seed(SEED)
        live.airdrop(owner.pubkey(), MONEY)
        config = configured(tmp_path, live.rpc_url, owner)
        first, second = (str(nonce_address(owner.pubkey(), number)) for number in range(2))
        assert "no nonce accounts" in await command(tmp_path, "list")
        made = await command(tmp_path, "create", "--count", "2")
        assert "rent 1,447,680 lamports" in made
        assert f'nonce_accounts = ["{first}", "{second}"]' in made
        config.write_text(config.read_text() + f'nonce_accounts = ["{second}"]\n')
        listed = [line for line in (await command(tmp_path, "list")).splitlines() if str(owner.pubkey()) in line]
        assert [first in line and " no " in line for line in listed] == [True, False]
        assert [second in line and " yes " in line for line in listed] == [False, True]


async def test_the_commands_void_what_was_signed_and_give_the_rent_back(tmp_path: Path) -> None:
    async with live_chain(options()) as live:
        names = await with_nonces(live, 2)
        owner = Keypair.from_seed(SEED)
        config = configured(tmp_path, live.rpc_url, owner)
        config.write_text(config.read_text() + f'nonce_accounts = ["{names[0]}"]\n')
        async with RpcClient(live.rpc_url) as client:
            node = ChainRpc(client)
            before = await find(node, owner.pubkey())
            left = under(before[0], owner)
            assert live.bank.lives(left)
            advanced = await command(tmp_path, "advance")
            after = await find(node, owner.pubkey())
            assert f"advanced {names[0]} to {after[0].state.value}" in advanced
            assert after[0].state.value != before[0].state.value and after[1] == before[1]
            assert not live.bank.lives(left)
            assert "is in use" in await command(tmp_path, "close", names[0], fails=True)
            assert "is no address" in await command(tmp_path, "close", names[1], "abc", fails=True)
            assert await find(node, owner.pubkey()) == after
            kept = under(after[1], owner)
            assert "1,447,680 lamports are back" in await command(tmp_path, "close", names[1])
            assert await find(node, owner.pubkey()) == after[:1]
            assert not live.bank.lives(kept)
            assert "there is no nonce account" in await command(tmp_path, "advance", names[1], fails=True)
            await other_wallet(live, tmp_path, names[0])


async def other_wallet(live: Live, folder: Path, account: str) -> None:
    """A stranger's command changes nothing."""
    stranger = Keypair()
    live.airdrop(stranger.pubkey(), MONEY)
    configured(folder, live.rpc_url, stranger)
    assert "to advance, our wallet is" in await command(folder, "advance", account, fails=True)
    assert "to advance, our wallet is" in await command(folder, "close", account, fails=True)


def under(found: Found, owner: Keypair) -> VersionedTransaction:
    """A transaction that lives by a nonce account's value."""
    step = advance_nonce(found.address, owner.pubkey())
    return VersionedTransaction(MessageV0.try_compile(owner.pubkey(), [step], [], found.state.value), [owner])
