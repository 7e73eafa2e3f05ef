"""The executor on a live chain: a wallet with money, leaders to follow, and what the chain says afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from copytrader_core.geyser.client import Endpoint
from copytrader_core.records import LAMPORTS_PER_SOL, Pattern, Release
from copytrader_core.settings import Settings
from copytrader_core.solana.keys import Signer
from executor import feed
from executor.desk import Tally
from executor.ledger import Ledger, ledger_from
from executor.outside import Outside, outside
from executor.service import RunOptions, run
from executor.wal import Wal
from simnet.live import Live

SEED = bytes(range(32))
MONEY = 50 * LAMPORTS_PER_SOL


def settings(home: Path, **executor: Any) -> Settings:
    base = Settings(home=home)
    changed = {"exit_retry_ms": 1_000, "rebroadcast_ms": 100, "migrate_after_seconds": 2.0, "reconcile_seconds": 2.0}
    policy = {
        "min_sample_trades": 0,
        "min_win_rate": 0.0,
        "require_positive_ev": False,
        "max_size_sol": 0.3,
        "max_slippage_bps": 5_000,
        "base_slippage_bps": 2_000,
    }
    return base.model_copy(
        update={
            "executor": base.executor.model_copy(update=changed | executor),
            "policy": base.policy.model_copy(update=policy),
            "risk": base.risk.model_copy(update={"max_quote_age_slots": 60}),
        }
    )


def release(live: Live, hold_ms: int = 2_000) -> Release:
    """Everybody who was planted is a leader, with a short time stop."""
    patterns = {
        str(one.wallet): Pattern(
            wallet=str(one.wallet),
            alias=one.name,
            sample_days=30,
            sample_trades=100,
            win_rate=0.6,
            avg_entry_sol=0.3,
            p50_hold_ms=hold_ms,
            p90_hold_ms=3 * hold_ms,
            p50_target_x=1.3,
            p90_target_x=2.0,
            typical_exit_style="time_stop",
            slippage_pctl_95=0.05,
            followership_score=0.5,
            leader_score=0.5,
        )
        for one in live.chain.market.truth.planted
    }
    return Release("r1", "2026-10-11", patterns, ())


@asynccontextmanager
async def world(live: Live, config: Settings, seed: bytes = SEED) -> AsyncIterator[Outside]:
    """A wallet with money, and all doors of the chain."""
    signer = Signer(seed)
    if live.bank.lamports(signer.pubkey) == 0:
        live.airdrop(signer.pubkey, MONEY)
    executor = config.executor.model_copy(update={"block_engine_urls": (live.block_engine_url,)})
    async with outside(signer, executor, [live.rpc_url, live.rpc_url]) as found:
        yield found


async def trade(
    live: Live, config: Settings, found: Outside, whom: Release, seconds: float, *, is_watched: bool = False
) -> Tally:
    """One run, ended from outside after a while."""
    stream = feed.updates(Endpoint(live.geyser), None, 30.0, found.signer.address)
    task = asyncio.create_task(run(None, config, stream, RunOptions(mode="live", is_watched=is_watched), found, whom))
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
        done = await asyncio.gather(task, return_exceptions=True)
    if isinstance(done[0], asyncio.CancelledError):
        return Tally()
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]


def ledger_of(config: Settings) -> Ledger:
    """What the journal's files add up to."""
    wal = Wal(config.home_path / "executor" / "live")
    try:
        ledger = ledger_from(wal.snapshot)
        for line in wal.replay():
            ledger.apply(line)
        return ledger
    finally:
        wal.close()


def lines_of(config: Settings) -> Sequence[dict[str, Any]]:
    """Every line of the newest segment."""
    wal = Wal(config.home_path / "executor" / "live")
    try:
        return [dict(line) for line in wal.replay()]
    finally:
        wal.close()


async def until(condition: Callable[[], bool], run: asyncio.Task[Tally], seconds: float = 40.0) -> None:
    """Returns when the condition holds; a run that ends before that, or too much time, is a failure."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if run.done():
            await run
        assert asyncio.get_running_loop().time() < deadline, "it never came"
        await asyncio.sleep(0.02)
