"""`copytrader simnet play` as a process: its address, its end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.simnet.chain import Client, block, write_tape


@contextmanager
def playing(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "copytrader_cli.main", "simnet", "play", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_tape(tmp_path / "a.tape", [block(slot, []) for slot in range(100, 110)])


async def _slots(address: str, n: int) -> list[int]:
    async with grpc.aio.insecure_channel(address) as channel:
        updates = await Client(channel, None).send(blocks_meta={"m": {}}, commitment=1).take(n)
    return [update.block_meta.slot for update in updates]


def test_a_tape_is_played_to_its_end_and_the_command_ends_with_it(tape: Path) -> None:
    with playing(str(tape), "--speed", "0", "--until-slot", "105", "--exit-at-end") as (process, address):
        assert asyncio.run(_slots(address, 6)) == list(range(100, 106))
        output, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert output == "the tape has been played, the last slot is 105\n"


def test_after_the_end_it_stays_until_a_signal_ends_it_cleanly(tape: Path) -> None:
    with playing(str(tape), "--speed", "0", "--from-slot", "108") as (process, address):
        assert asyncio.run(_slots(address, 2)) == [108, 109]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


def test_a_tape_that_is_missing_gives_one_message_and_exit_status_1(tmp_path: Path) -> None:
    with playing(str(tmp_path / "none.tape")) as (process, line):
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, line) == (1, "")
    assert errors.startswith("copytrader: the tape")
