"""Waits before a reconnect: they grow, they are bounded, they begin anew, and no two workers come back at once."""

from __future__ import annotations

import random
from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from ingest_worker.left_out import LeftOut
from ingest_worker.waits import Backoff, Waits

SECONDS = st.floats(0.01, 1000.0)


@given(SECONDS, SECONDS, st.integers(0, 40), st.integers(0, 9), st.booleans())
def test_every_wait_is_half_to_all_of_its_doubling_and_never_longer_than_the_longest(
    first: float, most: float, failures: int, seed: int, exhausted: bool
) -> None:
    backoff = Backoff(Waits(first, most, exhausted_seconds=2 * first), random.Random(seed))
    waits = [backoff.next_seconds(exhausted=exhausted) for _ in range(failures + 1)]
    for n, seconds in enumerate(waits):
        doubled = min(first * (2 if exhausted else 1) * 2.0 ** min(n, 16), most)
        assert doubled / 2 <= seconds <= doubled


def test_it_begins_anew_when_something_new_has_come() -> None:
    backoff = Backoff(Waits(), random.Random(1))
    grown = [backoff.next_seconds() for _ in range(8)][-1]
    backoff.reset()
    assert backoff.next_seconds() <= Waits().first_seconds < grown


def test_two_workers_do_not_come_back_at_once() -> None:
    first, second = ([Backoff(Waits()).next_seconds() for _ in range(4)] for _ in range(2))
    assert first != second


@given(SECONDS)
def test_a_worker_that_ends_when_idle_waits_no_longer_than_it_is_told(longest: float) -> None:
    bounded = Waits().bounded(longest)
    assert max(bounded.most_seconds, bounded.exhausted_seconds, bounded.refused_seconds) <= longest
    assert all(mine <= usual for mine, usual in zip(astuple(bounded), astuple(Waits()), strict=True))


def told(*messages: tuple[str, int], patience_seconds: float = 1.0) -> LeftOut:
    """What a subscription said, a tenth of a second between any two messages."""
    left_out = LeftOut(patience_seconds)
    for n, (kind, slot) in enumerate(messages):
        if kind == "block":
            left_out.block(slot)
        else:
            left_out.block_meta(slot, n / 10)
    return left_out


def test_a_block_meta_before_or_after_its_block_is_nothing_to_say() -> None:
    left_out = told(("block", 5), ("meta", 5), ("meta", 6), ("block", 6), ("block", 7))
    assert left_out.slot(100.0) is None


def test_a_block_that_does_not_come_is_noticed_after_a_while_and_only_when_the_stream_has_gone_on() -> None:
    alone = told(("block", 5), ("meta", 5), ("meta", 6))
    assert alone.slot(100.0) is None
    left_out = told(("block", 5), ("meta", 5), ("meta", 6), ("block", 7))
    assert (left_out.slot(1.1), left_out.slot(1.3)) == (None, 6)


def test_a_subscription_that_begins_between_a_block_and_its_meta_proves_nothing() -> None:
    left_out = told(("meta", 5), ("block", 6), ("meta", 6))
    assert left_out.slot(100.0) is None


def test_another_subscription_forgets_what_the_last_one_left_out() -> None:
    left_out = told(("block", 5), ("meta", 6), ("block", 7))
    left_out.restart()
    left_out.block(8)
    assert left_out.slot(100.0) is None
