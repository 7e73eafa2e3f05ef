"""The executor dies at every point where it writes, and by kill -9: nothing is bought twice, nothing held is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from planted_market import LEADER, OTHER, World, publish, settings
from running import check, forget, received, rows, trade

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Received
from executor import service
from executor.service import RunOptions, run
from executor.wal import Wal


class Crash(Exception):
    """The process is gone."""


class Crasher:
    """Ends the run at the n-th line of the journal, before it is written or right after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.after_write, self.count = 0, False, 0
        monkeypatch.setattr(Wal, "append", self._wrapped(Wal.append))

    def arm(self, at: int, after_write: bool) -> None:
        self.at, self.after_write, self.count = at, after_write, 0

    def _wrapped(self, write: Callable[..., int]) -> Callable[..., int]:
        def call(wal: Wal, document: dict[str, Any]) -> int:
            self.count += 1
            now = self.count == self.at
            if now and not self.after_write:
                raise Crash
            result = write(wal, document)
            if now:
                raise Crash
            return result

        return call


def busy_market() -> list[pb.SubscribeUpdate]:
    """Four leader buys: one held to its timer, one reverting, one reverting on its way out, one late."""
    world = World()
    world.buy(OTHER, "dumped", 20.0)
    world.next()
    world.buy(LEADER, "held", 1.0)
    world.buy(LEADER, "dumped", 1.0)
    world.next()
    world.buy(LEADER, "running", 1.0)
    world.next()
    world.buy(OTHER, "running", 6.0)
    world.next(15)
    world.sell(OTHER, "dumped", 200 * 10**12)
    world.next(8)
    world.buy(LEADER, "late", 1.0)
    world.next(6)
    return world.updates()


class Tape:
    """A stream that remembers how far it was read."""

    def __init__(self, updates: list[pb.SubscribeUpdate], start: int = 0) -> None:
        self.updates, self.position = updates, start

    async def stream(self) -> AsyncIterator[Received]:
        while self.position < len(self.updates):
            self.position += 1
            yield received(self.updates[self.position - 1])


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crashed run had read but not dealt with is lost: keep it short, as it is in real time."""
    monkeypatch.setattr(service, "_QUEUE_SIZE", 1)


@pytest.mark.parametrize("after_write", [False, True])
@pytest.mark.parametrize("replays", [False, True])
@pytest.mark.usefixtures("small_queue")
async def test_a_crash_at_any_write_loses_and_doubles_nothing(
    pg_url: str, monkeypatch: pytest.MonkeyPatch, after_write: bool, replays: bool
) -> None:
    publish(pg_url)
    crasher, updates = Crasher(monkeypatch), busy_market()
    # A replay reaches more code than going on does; every second point of the latter is enough.
    for at in range(1, 100, 1 if replays else 2):
        forget(pg_url)
        crasher.arm(at, after_write)
        tape = Tape(updates)
        try:
            await run(pg_url, settings(), tape.stream(), RunOptions(clock="chain", flatten_at_end=True))
        except Crash:
            crasher.arm(0, False)
            again = Tape(updates, 0 if replays else tape.position - 2)
            await run(pg_url, settings(), again.stream(), RunOptions(clock="chain", flatten_at_end=True))
            check(pg_url)
        else:
            check(pg_url)
            assert at > 20, "the market is too quiet to prove anything"
            return
    raise AssertionError("the run never came to its end")


async def test_a_run_that_is_repeated_from_the_start_buys_nothing_again(pg_url: str) -> None:
    publish(pg_url)
    updates = busy_market()
    first = await trade(pg_url, updates, settings(), flatten=True)
    again = await trade(pg_url, updates, settings(), flatten=True)
    assert first.bought == 3
    assert (again.bought, again.sold, again.decisions) == (0, 0, {})


async def test_an_order_whose_slot_no_run_saw_expires_and_is_not_sent_again(pg_url: str) -> None:
    publish(pg_url)
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next()
    assert (await trade(pg_url, world.updates(), settings())).bought == 0
    assert rows(pg_url, "SELECT state FROM exec_intents") == [{"state": "SENT"}]
    world.skip(10)
    later = World(slot=world.slot, curves=world.curves)
    later.buy(OTHER, "coin", 0.1)
    later.next(3)
    tally = await trade(pg_url, later.updates(), settings())
    assert (tally.expired, tally.reverted, tally.pnl_lamports) == (1, 0, 0)
    assert rows(pg_url, "SELECT state FROM exec_intents") == [{"state": "EXPIRED"}]
