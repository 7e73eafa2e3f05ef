"""The official clients against our endpoint: the wire is right when they receive exactly what is on the tape."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.official import CLIENTS, MissingError, command, install
from simnet.yellowstone import serve
from tests.simnet.chain import address, block, signature, transaction, write_tape

PUMP, AMM, ALICE, BOB = 1, 2, 50, 51
CONFIRMED = 1
FIRST, LAST = 100, 139
PROGRAMS = [address(PUMP), address(AMM)]
BLOCKS = {
    "b": {"accountInclude": PROGRAMS, "includeTransactions": True, "includeAccounts": False, "includeEntries": False}
}
TRANSACTIONS = {
    "t": {"accountInclude": PROGRAMS, "accountExclude": [], "accountRequired": [], "vote": False, "failed": False}
}


@pytest.fixture(scope="module", autouse=True)
def clients() -> Path:
    try:
        return install()
    except MissingError as error:
        pytest.skip(f"the official clients are not checked here: {error}")


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty slots of seven transactions: three of the programs, one by a lookup table, votes, failures, strangers."""
    return write_tape(
        tmp_path_factory.mktemp("official") / "wire.tape", [_block(slot) for slot in range(FIRST, LAST + 1)]
    )


def _block(slot: int):
    return block(
        slot,
        [
            transaction(slot, 0, [ALICE, PUMP], padding=5_000),
            transaction(slot, 1, [9], vote=True),
            transaction(slot, 2, [BOB, AMM]),
            transaction(slot, 3, [ALICE, AMM], failed=True),
            transaction(slot, 4, [BOB], loaded=([ALICE], [PUMP])),
            transaction(slot, 5, [BOB, ALICE]),
            transaction(slot, 6, [ALICE, PUMP, AMM]),
        ],
    )


def expected(indices: tuple[int, ...], first: int = FIRST) -> list[list[Any]]:
    return [[slot, signature(slot, index).hex(), index] for slot in range(first, LAST + 1) for index in indices]


async def received(
    client: str, tape: Path, *, ping: int | None = None, pace: dict[str, Any] | None = None, **request: Any
) -> dict[str, Any]:
    """What the client says it received up to the last slot; with `fromSlot` all slots are there to be replayed."""
    wanted = {"request": {"commitment": CONFIRMED, "blocksMeta": {"m": {}}, **request}, "last": LAST, "list": True}
    if ping is not None:
        wanted["ping"] = ping
    async with serve(tape, **pace or {}) as server:
        if "fromSlot" in request:
            for level in (0, 1, 2):
                server.broadcast.report(level, LAST - FIRST + 1)
        line, environment = command(client, server.address, wanted)
        process = await asyncio.create_subprocess_exec(
            *line, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, problems = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
    assert out, problems.decode()
    found = json.loads(out)
    assert found["error"] is None
    return found


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_transactions_filter_gives_the_exact_set_in_order(client: str, tape: Path):
    found = await received(client, tape, transactions=TRANSACTIONS)
    assert found["listed"] == expected((0, 2, 4, 6))
    assert found["slots"] == list(range(FIRST, LAST + 1))


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_blocks_filter_gives_every_block_with_what_touches_the_accounts(client: str, tape: Path):
    found = await received(client, tape, blocks=BLOCKS)
    assert found["listed"] == expected((0, 2, 3, 4, 6))
    assert found["blocks"] == LAST - FIRST + 1


@pytest.mark.parametrize("client", CLIENTS)
async def test_from_slot_replays_that_slot_and_all_after_it(client: str, tape: Path):
    found = await received(client, tape, transactions=TRANSACTIONS, fromSlot=117)
    assert found["listed"] == expected((0, 2, 4, 6), first=117)


# LaserStream answers and keeps pings itself: its user never sees a pong.
@pytest.mark.parametrize("client", CLIENTS[:2])
async def test_a_ping_is_answered_with_its_own_number(client: str, tape: Path):
    found = await received(client, tape, blocks=BLOCKS, ping=77)
    assert found["pongs"][-1] == 77
    assert found["blocks"] == LAST - FIRST + 1


@pytest.mark.parametrize("client", CLIENTS)
async def test_pings_between_the_messages_take_nothing_away(client: str, tape: Path):
    pace = {"speed": 16.0, "ping_seconds": 0.02}
    found = await received(client, tape, pace=pace, transactions=TRANSACTIONS)
    assert found["listed"] == expected((0, 2, 4, 6))
