"""`copytrader executor nonce create | list | advance | close`: accounts under which each sale lands exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import typer
import uvloop
from rich.console import Console
from rich.table import Table
from solders.pubkey import Pubkey

from copytrader_core.errors import ConfigError
from copytrader_core.settings import ExecutorSettings, settings
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.keys import guard_process, load_signer
from copytrader_core.solana.routes.rpc import RpcRoute
from copytrader_core.solana.rpc import RpcClient
from executor.nonce_accounts import Found, advance, close, create, find
from executor.outside import urls_from

_nonces = typer.Typer(no_args_is_help=True, help="Durable nonce accounts, for sales that land exactly once.")


def add_to(app: typer.Typer) -> None:
    """Puts the group beside the executor's other commands."""
    app.add_typer(_nonces, name="nonce")


@_nonces.command("create")
def create_accounts(
    count: int = typer.Option(1, "--count", min=1, max=16, help="how many; each serves one sale at a time"),
) -> None:
    """Open nonce accounts of the wallet, one transaction each. Their rent stays the wallet's."""
    uvloop.run(_create(count))


@_nonces.command("advance")
def advance_accounts(
    accounts: list[str] = typer.Argument(None, help="addresses; without any all that `nonce_accounts` names"),
) -> None:
    """Call sales back that have left: what was signed under an account's value can never land any more.

    Works with the executor dead, whatever the trading state. One that runs learns the new values by itself.
    """
    uvloop.run(_advance(accounts or []))


@_nonces.command("close")
def close_accounts(accounts: list[str] = typer.Argument(help="addresses that `nonce_accounts` does not name")) -> None:
    """End nonce accounts; their rent goes back to the wallet."""
    uvloop.run(_close(accounts))


@_nonces.command("list")
def list_accounts() -> None:
    """Show the wallet's nonce accounts, those of the settings too."""
    found = uvloop.run(_list())
    if not found:
        print("the wallet has no nonce accounts: `copytrader executor nonce create --count 4` opens some")
        return
    configured = settings().executor.nonce_accounts
    table = Table("account", "in use", "rent", "may be advanced by", "value")
    for one in found:
        in_use = "yes" if str(one.address) in configured else "no"
        table.add_row(
            str(one.address), in_use, f"{one.lamports:,} lamports", str(one.state.authority), str(one.state.value)
        )
    Console(width=None if Console().is_terminal else 200).print(table)


async def _create(count: int) -> None:
    guard_process()
    config = settings().executor
    signer = load_signer(config.key_file)
    async with _node(config) as (node, route):
        made = []
        for _ in range(count):
            one = await create(node, route, signer, config.priority_fee_lamports)
            made.append(str(one.address))
            print(f"created {one.address}, rent {one.lamports:,} lamports")
    named = ", ".join(f'"{one}"' for one in [*config.nonce_accounts, *made])
    print(f"to use them, name them under [executor] and start again: nonce_accounts = [{named}]")


async def _advance(accounts: Sequence[str]) -> None:
    guard_process()
    config = settings().executor
    wanted = _keys(accounts or config.nonce_accounts)
    if not wanted:
        raise ConfigError("nonce_accounts names none: give addresses, `copytrader executor nonce list` shows them")
    signer = load_signer(config.key_file)
    async with _node(config) as (node, route):
        for one in wanted:
            found = await advance(node, route, signer, one, config.priority_fee_lamports)
            print(f"advanced {one} to {found.state.value}: what was signed under its old value is void")


async def _close(accounts: Sequence[str]) -> None:
    guard_process()
    config = settings().executor
    for one in accounts:
        if one in config.nonce_accounts:
            raise ConfigError(f"{one} is in use: take it out of nonce_accounts and start the executor again first")
    wanted = _keys(accounts)
    signer = load_signer(config.key_file)
    async with _node(config) as (node, route):
        for account in wanted:
            lamports = await close(node, route, signer, account, config.priority_fee_lamports)
            print(f"closed {account}, {lamports:,} lamports are back")


def _keys(accounts: Sequence[str]) -> list[Pubkey]:
    """The addresses of texts, all of them checked before anything is done."""
    found = []
    for one in accounts:
        try:
            found.append(Pubkey.from_string(one))
        except ValueError:
            raise ConfigError(f"{one} is no address: `copytrader executor nonce list` shows the wallet's") from None
    return found


async def _list() -> list[Found]:
    config = settings().executor
    owner = Pubkey.from_string(config.own_wallet) if config.own_wallet else load_signer(config.key_file).pubkey
    async with _node(config) as (node, _):
        return await find(node, owner, config.nonce_accounts)


@asynccontextmanager
async def _node(config: ExecutorSettings) -> AsyncIterator[tuple[ChainRpc, RpcRoute]]:
    """The first node to ask, all of them to send by."""
    urls = urls_from(config.rpc_url_files)
    if not urls:
        raise ConfigError("nonce accounts are asked for at an RPC node: name a file with its URL in rpc_url_files")
    route = RpcRoute(urls)
    async with RpcClient(urls[0]) as client:
        await route.start()
        try:
            yield ChainRpc(client), route
        finally:
            await route.close()
