"""The virtual loop: time that jumps, steps that are counted, processes that are gone when they are killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.ends import Outside
from tests.simulation.faults import Faults
from tests.simulation.story import Death, Report, Story, Subject
from tests.simulation.truth import Book
from tests.simulation.virtual import START_NS, Timeline, VirtualLoop
from tests.simulation.world import World


def played(work: Coroutine[Any, Any, None], timeline: Timeline | None = None) -> VirtualLoop:
    loop = VirtualLoop(timeline or Timeline())
    task = loop.create_task(work)
    task.add_done_callback(lambda _: loop.stop())
    loop.run_forever()
    loop.bury()
    task.result()
    return loop


def test_an_hour_of_waiting_passes_at_once_and_timers_keep_their_order() -> None:
    timeline, seen = Timeline(), []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, round((timeline.now_ns - START_NS) / 1e9, 3)))

    async def main() -> None:
        await asyncio.gather(wait("late", 3_600), wait("early", 0.5), wait("middle", 7.25))

    played(main(), timeline)
    assert seen == [("early", 0.5), ("middle", 7.25), ("late", 3_600.0)]


def test_the_world_and_the_process_happen_in_the_order_of_their_times() -> None:
    timeline, seen = Timeline(), []
    for at in (1, 2, 3):
        timeline.after(at * 10**9, lambda at=at: seen.append(f"world {at}"))

    async def main() -> None:
        await asyncio.sleep(1.5)
        seen.append("process 1.5")
        await asyncio.sleep(1)
        seen.append("process 2.5")

    played(main(), timeline)
    assert seen == ["world 1", "process 1.5", "world 2", "process 2.5"]


def test_the_work_of_threads_is_a_step_like_any_other() -> None:
    async def main() -> None:
        assert await asyncio.to_thread(lambda: 6 * 7) == 42
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    assert played(main()).steps > 2


class Diarist:
    """A process that writes a line a second, and one in its very end that nobody may ever read."""

    def __init__(self) -> None:
        self.found: list[bytes] = []

    async def trade(self, home: Path, outside: Outside) -> None:
        path = home / "diary.wal"
        self.found.append(path.read_bytes() if path.exists() else b"")
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            listening = asyncio.create_task(self._listen(outside))
            while not listening.done():
                os.write(file, b"a whole line\n")
                await asyncio.sleep(1)
        finally:
            os.write(file, b"unwound\n")
            os.close(file)

    async def _listen(self, outside: Outside) -> None:
        async for _ in outside.stream:
            pass

    def lived(self, folder: Path, plan: Iterator[Death]) -> Report:
        subject = Subject(self.trade, lambda _: Book(), lambda *_: None, lambda home: home)
        return World(0, folder, Story(deaths=4, slots=100), faults=Faults()).run(subject, plan)


@pytest.mark.parametrize("how", ["between", "before_write", "torn_write", "after_write"])
def test_a_killed_process_leaves_what_it_had_written_and_nothing_more(tmp_path: Path, how: str) -> None:
    diarist = Diarist()
    report = diarist.lived(tmp_path, iter([Death(20, how, 10**9)] * 4))  # type: ignore[arg-type]
    assert not report.violations
    assert report.deaths == 4
    assert len(diarist.found) == 5
    for before, after in zip(diarist.found, diarist.found[1:], strict=False):
        assert after.startswith(before)
        assert b"unwound" not in after
        assert len(after) > len(before) or how == "before_write"
        assert after.endswith(b"\n") != (how == "torn_write")


def test_a_process_that_ends_by_itself_is_a_finding(tmp_path: Path) -> None:
    async def quits(home: Path, outside: Outside) -> None:
        await asyncio.sleep(1)
        raise ValueError("no")

    subject = Subject(quits, lambda _: Book(), lambda *_: None, lambda home: home)
    report = World(0, tmp_path, Story(slots=20)).run(subject, iter([]))
    assert any("ValueError('no')" in violation for violation in report.violations)
