"""`copytrader executor nonce create | list`: accounts under which each sale lands exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
from executor.nonce_accounts import Found, create, find
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
