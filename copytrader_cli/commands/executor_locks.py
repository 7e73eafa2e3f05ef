"""`copytrader executor lock | unlock | locks`: forbidden buys. They work with the executor dead."""

from __future__ import annotations

import getpass
import re
import time
from typing import Any, Final

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from solders.pubkey import Pubkey

from copytrader_core.errors import ConfigError
from copytrader_core.policy.values import LockScope
from copytrader_core.store.postgres import connect
from executor.locks import LockRow, clear_lock, lock_rows, set_lock, wallets_named

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LEADER = typer.Option(None, "--leader", metavar="WALLET-OR-NAME", help="buys after this leader")
_MINT = typer.Option(None, "--mint", metavar="MINT", help="buys of this coin")
_ALL = typer.Option(False, "--all", help="all buys")


def add_to(app: typer.Typer) -> None:
    """Puts the three commands beside the executor's others."""
    app.command()(lock)
    app.command()(unlock)
    app.command()(locks)


def lock(
    leader: str | None = _LEADER,
    mint: str | None = _MINT,
    everything: bool = _ALL,
    reason: str = typer.Option(..., "--reason", help="why; it stands in every decision that the lock refuses"),
    duration: str | None = typer.Option(None, "--for", metavar="2h", help="s, m, h or d; without it until `unlock`"),
) -> None:
    """Forbid buys of one coin, after one leader, or all of them; exits go on."""
    seconds = parse_duration(duration) if duration is not None else None
    with connect(autocommit=True) as connection:
        scope, key = _what(connection, leader, mint, everything)
        set_lock(connection, scope, key, reason, getpass.getuser(), seconds)
    print(f"locked: {_named(scope, key)}, {'until `unlock`' if duration is None else f'for {duration}'}; exits go on")


def unlock(leader: str | None = _LEADER, mint: str | None = _MINT, everything: bool = _ALL) -> None:
    """Take a lock back."""
    with connect(autocommit=True) as connection:
        scope, key = _what(connection, leader, mint, everything)
        if not clear_lock(connection, scope, key):
            raise ConfigError(f"there is no lock on {_named(scope, key)}: `copytrader executor locks` lists them")
    print(f"unlocked: {_named(scope, key)}")


def locks() -> None:
    """List what is locked, why, by whom and for how long."""
    with connect() as connection:
        rows = lock_rows(connection)
    if not rows:
        print("nothing is locked")
        return
    table = Table("locked", "reason", "ends", "set by", "set at")
    for row in rows:
        set_at = row.set_at.strftime("%Y-%m-%d %H:%M:%S %Z")
        table.add_row(_named(row.lock.scope, row.lock.key), escape(row.lock.reason), _ends(row), row.set_by, set_at)
    Console().print(table)


def parse_duration(text: str) -> int:
    """Seconds of 30s, 15m, 2h or 7d. Raises ConfigError for anything else and for nothing."""
    found = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    if found is None:
        raise ConfigError(f"--for {text}: expected a number and s, m, h or d, such as 90s, 15m, 2h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def _what(
    connection: psycopg.Connection[Any], leader: str | None, mint: str | None, everything: bool
) -> tuple[LockScope, str]:
    """Scope and key. Raises BadParameter unless exactly one thing is named, ConfigError if there is no such thing."""
    if (leader is not None) + (mint is not None) + everything != 1:
        raise typer.BadParameter("name exactly one of --leader, --mint and --all")
    if leader is not None:
        return "leader", _wallet(connection, leader)
    if mint is None:
        return "all", ""
    if not _is_address(mint):
        raise ConfigError(f"--mint {mint}: not an address; a lock on it would forbid nothing")
    return "mint", mint


def _wallet(connection: psycopg.Connection[Any], name: str) -> str:
    """A wallet by its address or its name in the wallets table: what names nobody would forbid nothing."""
    if _is_address(name):
        return name
    found = wallets_named(connection, name)
    if len(found) != 1:
        raise ConfigError(f"--leader {name}: not an address, and {len(found)} wallets have this name; give the address")
    return found[0]


def _is_address(text: str) -> bool:
    try:
        Pubkey.from_string(text)
    except ValueError:
        return False
    return True


def _named(scope: LockScope, key: str) -> str:
    return "all buys" if scope == "all" else f"{'leader' if scope == 'leader' else 'coin'} {key}"


def _ends(row: LockRow) -> str:
    if row.lock.until_ns is None:
        return "by `unlock`"
    left = max(0, row.lock.until_ns // 1_000_000_000 - int(time.time()))
    return f"in {left // 3_600}h {left % 3_600 // 60:02d}m {left % 60:02d}s"
