"""The slot clock's estimates, and the queue that holds the reader back."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ingest_worker.backlog import Backlog
from ingest_worker.clock import SlotClock

S = 10**9


def test_a_block_time_is_taken_as_it_is() -> None:
    assert SlotClock().ts_ns(10, 1_760_000_000, 5) == 1_760_000_000 * S


def test_without_one_the_slots_since_the_last_known_time_are_counted() -> None:
    clock = SlotClock(100, 1000)
    assert [clock.ts_ns(slot, None, 0) // S for slot in (101, 103, 110)] == [1000, 1001, 1004]


def test_without_any_anchor_it_is_the_local_time() -> None:
    assert SlotClock().ts_ns(10, None, 77 * S + 5) == 77 * S


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_estimates_never_run_backwards(known: list[bool]) -> None:
    clock, estimates = SlotClock(0, 1000), []
    for slot, is_known in enumerate(known, start=1):
        ts_ns = clock.ts_ns(slot, 1000 + slot * 2 // 5 if is_known else None, 0)
        if not is_known:
            estimates.append(ts_ns)
    assert estimates == sorted(estimates)


async def test_a_full_backlog_holds_the_producer_back_and_keeps_the_order() -> None:
    backlog: Backlog[int] = Backlog(max_bytes=10)
    producer = asyncio.create_task(produce(backlog))
    await asyncio.sleep(0.01)
    assert len(backlog) == 2
    taken = []
    while len(taken) < 6:
        await backlog.wait(1.0)
        item = backlog.pop()
        assert item is not None and len(backlog) <= 2
        taken.append(item)
        await asyncio.sleep(0)
    await producer
    assert taken == [1, 2, 3, 4, 5, 6]


async def produce(backlog: Backlog[int]) -> None:
    for item in range(1, 7):
        await backlog.put(item, 5)


async def test_an_item_larger_than_the_backlog_is_taken_alone() -> None:
    backlog: Backlog[str] = Backlog(max_bytes=10)
    await backlog.put("huge", 1000)
    assert backlog.pop() == "huge"
    await backlog.put("small", 1)
    assert backlog.pop() == "small"
    assert backlog.pop() is None


async def test_waiting_ends_by_time_or_by_a_wake() -> None:
    backlog: Backlog[int] = Backlog(max_bytes=10)
    await backlog.wait(0.01)
    asyncio.get_running_loop().call_later(0.01, backlog.wake)
    await asyncio.wait_for(backlog.wait(30.0), 1.0)
