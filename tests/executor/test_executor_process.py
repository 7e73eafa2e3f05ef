"""The command itself against the local chain: end to end over gRPC, killed at random, controlled from outside."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from planted_market import FIRST_SLOT, LEADER, OTHER, World, publish
from running import check, rows, until
from solders.keypair import Keypair

from executor.journal_view import kept_lines
from simnet.tape import TapeWriter
from simnet.yellowstone import serve


def busy_world(seed: int, slots: int = 240) -> World:
    """A leader who buys a new coin every few slots and others who push it about."""
    dice, world = random.Random(seed), World()
    coins: list[str] = []
    world.next()
    for slot in range(slots):
        if slot % 12 == 0 and slot < slots - 60:
            coins.append(f"coin {slot}")
            world.buy(LEADER, coins[-1], dice.choice([0.5, 1.0, 2.0]))
        for coin in dice.sample(coins, min(2, len(coins))):
            if dice.random() < 0.6:
                world.buy(OTHER, coin, dice.uniform(0.05, 1.0))
            else:
                world.sell(OTHER, coin, int(dice.uniform(0.5, 5) * 10**12))
        world.next()
    return world


def tape_of(world: World, path: Path) -> Path:
    with TapeWriter(path, {"slot_ms": 400}, level=1) as writer:
        for block in world.blocks:
            writer.write(block)
    return path


async def command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copytrader_cli.main", "executor", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def run_to_the_end(address: str, *more: str) -> str:
    arguments = ("run", "--endpoint", address, "--clock", "chain", "--until-idle", "0.7", "--flatten-at-end", *more)
    code, out, err = await ended(await command(*arguments))
    assert code == 0, err
    return out


async def test_a_whole_market_over_grpc(pg_url: str, tmp_path: Path) -> None:
    publish(pg_url)
    async with serve(tape_of(busy_world(1), tmp_path / "t.tape")) as chain:
        out = await run_to_the_end(chain.address)
    check(pg_url)
    closed = rows(pg_url, "SELECT count(*) AS n FROM exec_positions WHERE state = 'CLOSED'")[0]["n"]
    assert closed >= 10
    assert f"{closed} sells" in out
    assert "decision latency" in out


async def test_kill_9_at_random_moments(pg_url: str, tmp_path: Path) -> None:
    publish(pg_url)
    dice = random.Random(7)
    tape = tape_of(busy_world(2), tmp_path / "t.tape")
    async with serve(tape, speed=24.0) as chain:
        for _ in range(4):
            arguments = ("run", "--endpoint", chain.address, "--clock", "chain")
            more = ("--replay-from-slot", str(FIRST_SLOT)) if dice.random() < 0.5 else ()
            process = await command(*arguments, *more)
            runs = rows(pg_url, "SELECT count(*) AS n FROM exec_journal WHERE kind = 'RUN'")[0]["n"]
            await until(pg_url, f"SELECT 1 FROM exec_journal WHERE kind = 'RUN' HAVING count(*) > {runs}")
            await asyncio.sleep(dice.uniform(0.05, 0.8))
            process.send_signal(signal.SIGKILL)
            await process.wait()
        await run_to_the_end(chain.address, "--replay-from-slot", str(FIRST_SLOT))
    check(pg_url)
    assert rows(pg_url, "SELECT 1 FROM exec_positions WHERE state = 'CLOSED'")
    assert not rows(pg_url, "SELECT 1 FROM exec_positions WHERE state <> 'CLOSED'")


async def test_sigterm_ends_in_order_and_keeps_the_positions(pg_url: str, tmp_path: Path) -> None:
    publish(pg_url)
    async with serve(tape_of(busy_world(3, 80), tmp_path / "t.tape")) as chain:
        process = await command("run", "--endpoint", chain.address, "--clock", "chain")
        await until(pg_url, "SELECT 1 FROM exec_positions")
        process.terminate()
        code, out, err = await ended(process)
    assert (code, err) == (0, "")
    assert "decisions" in out
    assert rows(pg_url, "SELECT 1 FROM exec_journal WHERE kind = 'END'")


async def test_live_without_a_key_is_refused_in_plain_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With a database that is away none is started for it, which would outlive the command.
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    code, _, err = await ended(await command("run", "--mode", "live", "--endpoint", "127.0.0.1:1"))
    assert code == 1
    assert "no wallet key" in err
    assert "Traceback" not in err


async def test_live_starts_and_ends_in_order_with_no_postgres_at_all(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, node = tmp_path / "key", tmp_path / "node"
    key.write_text(json.dumps(list(bytes(Keypair.from_seed(bytes(range(32)))))))
    key.chmod(0o600)
    node.write_text("http://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("COPYTRADER_EXECUTOR__KEY_FILE", str(key))
    monkeypatch.setenv("COPYTRADER_EXECUTOR__RPC_URL_FILES", json.dumps([str(node)]))
    process = await command("run", "--mode", "live", "--endpoint", "127.0.0.1:1")
    async with asyncio.timeout(20):
        while not [line for line in kept_lines(home / "executor" / "live") if line["kind"] == "RUN"]:
            assert process.returncode is None
            await asyncio.sleep(0.05)
    process.terminate()
    code, out, err = await ended(process)
    assert code == 0, err
    assert "decisions 0" in out
    assert "nothing is bought until it is there" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "state", "flatten"),
    [("halt", "HALTED", False), ("reduce", "REDUCING", False), ("flatten", "REDUCING", True)],
)
async def test_the_red_button_without_an_executor(pg_url: str, name: str, state: str, flatten: bool) -> None:
    code, out, _ = await ended(await command(name, "--reason", "drill"))
    assert (code, state in out) == (0, True)
    assert rows(pg_url, "SELECT state, flatten, reason FROM exec_state") == [
        {"state": state, "flatten": flatten, "reason": "drill"}
    ]


async def test_status_shows_what_is_there(pg_url: str, tmp_path: Path) -> None:
    publish(pg_url)
    async with serve(tape_of(busy_world(4, 70), tmp_path / "t.tape")) as chain:
        code, _, err = await ended(
            await command("run", "--endpoint", chain.address, "--clock", "chain", "--until-idle", "0.5")
        )
    assert code == 0, err
    code, out, err = await ended(await command("status"))
    assert (code, err) == (0, "")
    for word in ("ACTIVE", "not running", "r1", "ACCEPTED", "open positions", LEADER, "SOL"):
        assert word in out
