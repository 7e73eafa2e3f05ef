"""Clocks that are right, wrong, late or contradicted, against stamps of a planted provider and chain."""

from __future__ import annotations

import random

from ingest_worker.skew import ClockSkew, Witness

SECOND = 10**9
START = 1_770_000_000 * SECOND


def hear(
    skew: ClockSkew,
    n_slots: int,
    *,
    local: float = 0.0,
    provider: float = 0.0,
    chain: float = 0.0,
    late: float = 0.0,
    speed: float = 1.0,
    stamped: bool = True,
    start: int = START,
    first: int = 0,
) -> int:
    """`n_slots` of 400 ms; the clocks are off by so many seconds, the stream is late and catches up by `speed`."""
    rng, recv_ns = random.Random(7), start
    for n in range(n_slots):
        true_ns = start + int(n * 0.4 * SECOND)
        confirmed_ns = true_ns + int(rng.uniform(0.1, 1.0) * SECOND)
        recv_ns = start + int((late + n * 0.4 / speed) * SECOND) + (confirmed_ns - true_ns) + int(local * SECOND)
        if stamped:
            skew.add_created_at(first + n, true_ns + int(provider * SECOND), recv_ns)
        skew.add_block_time(int((true_ns / SECOND) - 1.3 + chain), recv_ns)
    return recv_ns


def test_right_clocks_raise_no_alarm_and_measure_about_nothing() -> None:
    skew = ClockSkew()
    now = hear(skew, 200)
    assert skew.complaint(now) is None
    assert all(abs(skew.offset_seconds(witness) or 9) < 0.3 for witness in Witness)


def test_a_local_clock_that_is_off_is_measured_and_blamed() -> None:
    for off, word in ((5.0, "5.0 s ahead"), (-5.0, "5.0 s behind")):
        skew = ClockSkew()
        now = hear(skew, 200, local=off)
        assert all(abs((skew.offset_seconds(witness) or 0) - off) < 0.3 for witness in Witness)
        assert word[4:] in (skew.complaint(now) or "")


def test_the_limit_is_the_users() -> None:
    strict, lax = ClockSkew(1.0), ClockSkew(10.0)
    for skew in (strict, lax):
        now = hear(skew, 200, local=-4.0)
    assert strict.complaint(now) is not None and lax.complaint(now) is None


def test_one_witness_alone_is_enough_where_there_is_no_other() -> None:
    skew = ClockSkew()
    now = hear(skew, 200, local=-5.0, stamped=False)
    assert skew.offset_seconds(Witness.CREATED_AT) is None
    assert "behind" in (skew.complaint(now) or "")


def test_a_provider_with_a_wrong_clock_or_an_old_chain_is_not_our_clocks_fault() -> None:
    wrong_provider, old_chain = ClockSkew(), ClockSkew()
    now = hear(wrong_provider, 200, provider=30.0)
    assert wrong_provider.complaint(now) is None
    now = hear(old_chain, 200, chain=-86_400.0)
    assert old_chain.complaint(now) is None


def test_a_stream_that_catches_up_is_late_not_skewed() -> None:
    skew = ClockSkew()
    now = hear(skew, 200, late=55.0, speed=3.0)
    assert skew.complaint(now) is None


def test_a_burst_of_one_replayed_moment_is_no_evidence() -> None:
    skew = ClockSkew()
    for n in range(5000):
        skew.add_created_at(n, START, START + 40 * SECOND + n * 10**6 // 5)
    assert skew.offset_seconds(Witness.CREATED_AT) is None


def test_a_few_seconds_are_not_judged() -> None:
    skew = ClockSkew()
    assert skew.complaint(hear(skew, 15, local=60.0)) is None


def test_a_stamp_that_runs_backwards_is_alarmed_for_a_while() -> None:
    skew = ClockSkew()
    now = hear(skew, 50)
    skew.add_created_at(50, START - 5 * SECOND, now)
    assert skew.backwards == 1
    assert "backwards" in (skew.complaint(now) or "")
    assert skew.complaint(now + 61 * SECOND) is None


def test_a_little_disorder_and_a_new_subscription_are_not_backwards() -> None:
    skew = ClockSkew()
    now = hear(skew, 50)
    skew.restart()
    hear(skew, 5)
    skew.add_created_at(5, START + int(0.9 * SECOND), now)
    assert skew.backwards == 0


def test_slots_that_come_twice_where_replay_and_live_stream_meet_are_not_backwards() -> None:
    skew = ClockSkew()
    hear(skew, 50)
    now = hear(skew, 20)
    assert skew.backwards == 0
    assert skew.complaint(now) is None


def test_a_clock_that_is_set_right_is_forgiven() -> None:
    skew = ClockSkew()
    now = hear(skew, 200, local=-5.0)
    assert skew.complaint(now) is not None
    now = hear(skew, 200, start=START + 200 * SECOND, first=200)
    assert skew.complaint(now) is None
