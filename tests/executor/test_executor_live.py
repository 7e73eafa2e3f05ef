"""The live executor on a chain that runs the deployed programs: it trades, and dies at any moment, without loss."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from live_nonces import another_sale, check_nonces, with_nonces
from live_world import SEED, ledger_of, lines_of, release, settings, trade, until, world

from copytrader_core.settings import Settings
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, associated_token_address
from executor.cold import flatten_cold
from executor.control import Control, write_control
from executor.glance import Glance
from executor.understudy import Understudy
from simnet.faults import Faults
from simnet.live import Live, LiveOptions, live_chain

pytestmark = pytest.mark.usefixtures("snapshot")

ALL_FAULTS = {
    "drop": 0.2,
    "late": 0.2,
    "duplicate": 0.2,
    "front_run": 0.2,
    "leader_skip": 0.1,
    "rollback": 0.05,
    "reland": 0.5,
    "rpc_429": 0.1,
    "rpc_timeout": 0.05,
    "rpc_timeout_ms": 500,
    "stale_slots": 2,
    "status_null_slots": 4,
    "stream_cut": 0.005,
    "complete": 0.01,
    "creator_change": 0.02,
    "migration_delay_slots": 20,
}


def options(**faults: Any) -> LiveOptions:
    return LiveOptions(slot_ms=50.0, bundle_requests_per_s=0.0, faults=Faults(**faults))


def held_by(live: Live, owner: Signer) -> dict[str, int]:
    """Coins of the wallet on the chain, by mint."""
    found: dict[str, int] = {}
    for coin in live.chain.market.coins:
        amount = live.bank.token_amount(associated_token_address(owner.pubkey, coin.mint, TOKEN_2022_PROGRAM))
        if amount:
            found[str(coin.mint)] = amount
    return found


def check(live: Live, config: Settings) -> Counter[str]:
    """What must hold once nothing is under way any more: the journal is what the chain says."""
    owner, ledger, lines = Signer(SEED), ledger_of(config), lines_of(config)
    assert ledger.cash_lamports == live.bank.lamports(owner.pubkey), "the journal's cash is not the chain's"
    held = Counter[str]()
    for row in ledger.positions.values():
        held[row["mint"]] += row["base_raw"]
    for row in ledger.quarantined.values():
        held[row["mint"]] += row["amount_raw"]
    assert dict(held) == held_by(live, owner), "the journal's coins are not the chain's"
    buys = Counter[tuple[str, str]]()
    for line in lines:
        if line["kind"] == "FILL" and line["payload"]["side"] == "BUY":
            buys[line["leader_sig"], line["mint"]] += 1
        if line["kind"] == "ROLLED_BACK" and line["changes"][0][0] == "undo_fill":
            undone = line["changes"][0][1]
            if undone["side"] == "BUY":
                buys[line["leader_sig"], line["mint"]] -= 1
    assert max(buys.values(), default=0) <= 1, "bought twice after one leader's buy"
    return Counter(line["kind"] for line in lines)


async def settled(live: Live, config: Settings, seconds: float = 120.0) -> None:
    """Runs with buying forbidden and everything for sale until nothing is under way or held."""
    live.faults.set(dict.fromkeys(("drop", "late", "rollback", "stream_cut", "leader_skip", "rpc_429"), 0.0))
    write_control(config.home_path / "executor", Control("REDUCING", True, "the end of the test"))
    async with world(live, config) as found:
        for _ in range(int(seconds / 10)):
            await trade(live, config, found, release(live), 10.0)
            ledger = ledger_of(config)
            if not ledger.intents and not ledger.positions:
                return
    stuck = ledger_of(config)
    told = [
        (line["kind"], line["slot"], line["payload"])
        for line in lines_of(config)
        if line["mint"] in {row["mint"] for row in (*stuck.positions.values(), *stuck.intents.values())}
    ]
    raise AssertionError(f"still open at {live.slot}: {stuck.positions} {stuck.intents}\n{told[-40:]}")


async def test_it_follows_leaders_and_the_journal_is_the_chain(tmp_path: Path) -> None:
    async with live_chain(options()) as live:
        config = settings(tmp_path)
        async with world(live, config) as found:
            await trade(live, config, found, release(live, hold_ms=1_500), 12.0, is_watched=True)
        await settled(live, config)
        kinds = check(live, config)
        assert kinds["FILL"] >= 4
        fills = [line for line in lines_of(config) if line["kind"] == "FILL"]
        # What was under way as the run ended is found by the next one, in a block that is confirmed already.
        waited = sum(line["changes"][0][1].get("final") is False for line in fills)
        assert kinds["CONFIRMED"] == waited >= len(fills) - 2
        assert kinds["RECONCILED"] >= 1


async def test_a_rehearsal_that_fails_stops_rehearsing_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without sleep between updates, too: everything else of the loop still has its turn."""
    plays = []

    def play(understudy: Understudy, buy: Glance) -> None:
        plays.append(buy)
        raise ValueError("not today")

    monkeypatch.setattr(Understudy, "play", play)
    async with live_chain(options()) as live:
        config = settings(tmp_path, busy_poll=True, rehearse_ms=1)
        async with world(live, config) as found:
            await trade(live, config, found, release(live, hold_ms=1_500), 12.0, is_watched=True)
        await settled(live, config)
        assert check(live, config)["FILL"] >= 4
    assert len(plays) == 1
    assert caplog.text.count("the rehearsal has failed") == 1


def start(live: Live, config: Settings, folder: Path) -> subprocess.Popen[bytes]:
    plan = {
        "home": str(config.home_path),
        "block_engine": live.block_engine_url,
        "seed": SEED.hex(),
        "rpc": [live.rpc_url, live.rpc_url],
        "geyser": live.geyser,
        "nonces": config.executor.nonce_accounts,
        "patterns": [asdict(one) for one in release(live, hold_ms=1_500).patterns.values()],
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    child = Path(__file__).with_name("live_child.py")
    return subprocess.Popen([sys.executable, str(child), str(path)], start_new_session=True)


def runs_of(config: Settings) -> int:
    """How often an executor has begun, by the journal's files."""
    files = (config.home_path / "executor" / "live").glob("*.wal")
    return sum(path.read_bytes().count(b'"kind":"RUN"') for path in files)


async def started(child: subprocess.Popen[bytes], config: Settings, n_runs: int) -> None:
    """Returns when the child has written its first line."""
    for _ in range(600):
        if runs_of(config) > n_runs or child.poll() is not None:
            return
        await asyncio.sleep(0.05)


async def kills(folder: Path, rounds: int, seed: int, n_nonces: int = 0) -> Counter[str]:
    rng = random.Random(seed)
    async with live_chain(options(seed=seed)) as live:
        names = await with_nonces(live, n_nonces)
        live.faults.set(ALL_FAULTS)
        config = settings(folder / "home", nonce_accounts=names)
        for _ in range(rounds):
            n_runs = runs_of(config)
            child = start(live, config, folder)
            if n_nonces:
                await another_sale(config.home_path)
            else:
                await started(child, config, n_runs)
            await asyncio.sleep(rng.expovariate(1 / 3.0))
            os.kill(child.pid, signal.SIGKILL)
            await asyncio.to_thread(child.wait)
        await settled(live, config)
        kinds = check(live, config)
        under = check_nonces(config)
        print(dict(kinds), dict(under), live.slot)
        assert bool(under) == (n_nonces > 0)
        return kinds


async def test_killed_a_few_times_with_every_fault_on(tmp_path: Path) -> None:
    kinds = await kills(tmp_path, 6, seed=1)
    assert kinds["RUN"] >= 6


@pytest.mark.drill
async def test_killed_200_times_with_every_fault_on(tmp_path: Path) -> None:
    kinds = await kills(tmp_path, 200, seed=2)
    assert kinds["RUN"] >= 200
    assert kinds["FILL"] >= 100


async def test_halt_reaches_the_signer_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[float] = []
    sign = Signer.sign

    def noted(self: Signer, message: bytes) -> bytes:
        signed.append(time.monotonic())
        return sign(self, message)

    monkeypatch.setattr(Signer, "sign", noted)
    async with live_chain(options()) as live:
        config = settings(tmp_path)
        async with world(live, config) as found:
            running = asyncio.create_task(trade(live, config, found, release(live, hold_ms=1_000), 60.0))
            await until(lambda: len(signed) >= 4, running)
            write_control(tmp_path / "executor", Control("HALTED", False, "red button"))
            at = time.monotonic()
            await live.slots(100)
            assert [moment - at for moment in signed if moment > at + 0.1] == []
            # A restart keeps the state.
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            n_signed = len(signed)
            await trade(live, config, found, release(live, hold_ms=1_000), 3.0)
            assert len(signed) == n_signed
            write_control(tmp_path / "executor", Control("ACTIVE"))
            await trade(live, config, found, release(live, hold_ms=1_000), 8.0)
            assert len(signed) > n_signed
        await settled(live, config)
        check(live, config)


@pytest.mark.parametrize("journal", ["kept", "lost", "damaged"])
async def test_everything_is_sold_with_the_executor_dead(tmp_path: Path, journal: str) -> None:
    async with live_chain(options()) as live:
        config = settings(tmp_path)
        async with world(live, config) as found:
            task = asyncio.create_task(trade(live, config, found, release(live, hold_ms=600_000), 60.0))
            await until(lambda: len(held_by(live, Signer(SEED))) >= 2, task)
            await live.slots(5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            (path,) = (tmp_path / "executor" / "live").glob("*.wal")
            if journal == "lost":
                path.unlink()
            elif journal == "damaged":
                raw = bytearray(path.read_bytes())
                raw[len(raw) // 2] ^= 1
                path.write_bytes(raw)
            tally = await asyncio.wait_for(flatten_cold(config, found), 60)
        assert held_by(live, Signer(SEED)) == {}
        assert tally.sold >= 2
        if journal == "kept":
            check(live, config)


async def test_programs_that_change_stop_the_buying(tmp_path: Path) -> None:
    async with live_chain(options()) as live:
        config = settings(tmp_path, canary_seconds=0.3)
        async with world(live, config) as found:
            task = asyncio.create_task(trade(live, config, found, release(live, hold_ms=1_000), 60.0))
            await until(lambda: len(held_by(live, Signer(SEED))) >= 1, task)
            live.faults.set({"program_upgrade": True})
            await asyncio.sleep(6.0)
            live.faults.set({"program_upgrade": False})
            await asyncio.sleep(6.0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        drifts = [line["payload"]["reason"] for line in lines_of(config) if line["kind"] == "DRIFT"]
        assert "4100" in drifts[0]
        assert drifts[-1] is None
        await settled(live, config)
        check(live, config)
