"""The committed tape for the backfill's tests: ingested live, as a node, with a hole cut out."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import psycopg
from worker_runs import Heard, ended

from copytrader_core.geyser.client import Endpoint
from ingest_worker.backfill import Options as BackfillOptions
from ingest_worker.backfill import run as run_backfill
from ingest_worker.backfill_desk import Summary
from ingest_worker.backfill_wallets import Period
from ingest_worker.worker import Options
from simnet.demo_tape import TAPE
from simnet.json_rpc import RpcServer, serve_rpc
from simnet.tape import read_tape
from simnet.yellowstone import serve

# Everything but the clocks of our own machine.
ROWS = (
    "SELECT ts_ns, slot, tx_index, sig, outer_ix, inner_ix, event_seq, wallet, alias, fee_payer, program, action, mint,"
    " base_mint, quote_mint, base_raw, quote_raw, swap_fee_raw, tx_fee_lamports, tip_lamports, reserve_base_raw,"
    " reserve_quote_raw, amount_in, amount_out, price_est, fee_sol, ix_accounts_json, meta_json FROM raw_events"
    " {} ORDER BY slot, tx_index, outer_ix, inner_ix, event_seq"
)
SLOTS = "SELECT slot, parent_slot, blockhash, block_time, n_txs, n_events FROM ingest_slots ORDER BY slot"
LONG_AGO = Period(since=0)
FAR_AWAY = Period(since=0, before=0)


@dataclass
class Watching:
    """An observer that remembers."""

    lines: list[str] = field(default_factory=list)
    parts: list[tuple[str, int | None]] = field(default_factory=list)
    steps: int = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def begin(self, what: str, total: int | None) -> None:
        self.parts.append((what, total))

    def advance(self, steps: int) -> None:
        self.steps += steps


def query(url: str, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        cursor = connection.execute(sql, params)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def rows(url: str, where: str = "") -> list[tuple[Any, ...]]:
    return query(url, ROWS.format(where))


def open_gaps(url: str) -> list[tuple[Any, ...]]:
    return query(url, "SELECT from_slot, to_slot FROM ingest_gaps WHERE filled_at IS NULL ORDER BY 1")


@contextmanager
def database(server: str, template: str | None = None) -> Iterator[str]:
    """A fresh database, a copy of `template` (a URL) or of the migrated one."""
    base, _, migrated = server.rpartition("/")
    name, source = f"b_{secrets.token_hex(6)}", template.rpartition("/")[2] if template else migrated
    query(f"{base}/postgres", f"CREATE DATABASE {name} TEMPLATE {source}")
    try:
        yield f"{base}/{name}"
    finally:
        query(f"{base}/postgres", f"DROP DATABASE {name} WITH (FORCE)")


async def ingest_tape(url: str, **played: Any) -> None:
    """Ingests the tape with the worker, as it is played, to its end."""
    heard, last = Heard(), played.get("until_slot", tape_slots()[-1])
    async with serve(TAPE, **played) as server:
        await ended(Options(Endpoint(server.address), url), None, heard, lambda: heard.landed_slot >= last)


def busiest_wallets(url: str, n: int = 1) -> list[str]:
    found = query(url, "SELECT wallet FROM raw_events GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT %s", n)
    return [wallet for (wallet,) in found]


@cache
def tape_slots() -> list[int]:
    return [block.slot for block in read_tape(TAPE).blocks]


def cut_hole(url: str, first: int, last: int) -> None:
    """As if the stream had never brought the slots first..last."""
    query(url, "DELETE FROM raw_events WHERE slot BETWEEN %s AND %s", first, last)
    query(url, "DELETE FROM ingest_slots WHERE slot BETWEEN %s AND %s", first, last)
    query(url, "INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (%s, %s, 'cut out')", first, last)


@asynccontextmanager
async def node(**options: Any) -> AsyncIterator[RpcServer]:
    async with serve_rpc(TAPE, **options) as server:
        yield server


async def backfill(
    rpc: RpcServer, url: str, wallets: tuple[str, ...] | None = None, period: Period = LONG_AGO, **changes: Any
) -> tuple[Summary, Watching]:
    """One run; without `wallets` it is --all."""
    watching = Watching()
    options = BackfillOptions(f"http://{rpc.address}", url, period, wallets, **changes)
    rpc.calls = Counter()
    return await asyncio.wait_for(run_backfill(options, watching), 120), watching


async def command(*arguments: str, url: str, **environment: str) -> asyncio.subprocess.Process:
    """`copytrader backfill` as a process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "copytrader_cli.main",
        "backfill",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DATABASE_URL": url, **environment},
    )
