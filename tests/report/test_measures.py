"""The numbers behind the plots."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytrader_cli.report.measures import bins, duration, logarithmic, percent, signed, sol, steps, survival


def test_without_censoring_the_curve_falls_by_one_nth_at_every_exit() -> None:
    assert survival([40, 10, 20, 20], [True] * 4) == [(10, 0.75), (20, 0.25), (40, 0.0)]


def test_what_is_still_held_counts_until_its_age_and_never_as_an_exit() -> None:
    # Worked by hand: at 10 one of four leaves; the one held to 15 is no longer at risk at 20, where one of two leaves.
    assert survival([10, 15, 20, 30], [True, False, True, False]) == [(10, 0.75), (20, 0.375)]


def test_a_censored_and_an_ended_hold_of_the_same_age_are_both_at_risk_at_it() -> None:
    assert survival([10, 10], [True, False]) == [(10, 0.5)]


@given(st.lists(st.tuples(st.integers(1, 1000), st.booleans())))
def test_a_survival_curve_only_falls_and_stays_between_one_and_zero(holds: list[tuple[int, bool]]) -> None:
    curve = survival([age for age, _ in holds], [ended for _, ended in holds])
    shares = [1.0, *(share for _, share in curve)]
    assert all(0 <= b < a <= 1 for a, b in pairwise(shares))


@given(st.lists(st.floats(0, 1e6)), st.floats(0.001, 1e6))
def test_every_value_lands_in_one_bin(values: list[float], high: float) -> None:
    edges = steps(high, 12)
    assert edges[0] == 0
    assert edges[-1] >= high * (1 - 1e-9)
    assert sum(bins(values, edges)) == len(values)


def test_bins_close_at_the_left_and_gather_what_lies_outside() -> None:
    assert bins([-5, 0, 0.99, 1, 2, 99], [0, 1, 2]) == [3, 3]
    assert logarithmic(0.25, 4, 4) == pytest.approx([0.25, 0.5, 1, 2, 4])


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (835, "835 ms"),
        (1_000, "1 s"),
        (1_240, "1.2 s"),
        (59_990, "1 min"),
        (150_000, "2.5 min"),
        (7_200_000, "2 h"),
        (172_800_000, "2 d"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(ms: int | None, text: str) -> None:
    assert duration(ms) == text


def test_amounts_keep_their_sign_and_do_not_vanish() -> None:
    assert (signed(1.5), signed(-1.5), signed(0.0), signed(None)) == ("+1.50", "−1.50", "0.00", "–")
    assert (sol(0.0004), sol(-0.0004), sol(1234.5)) == ("0.0004", "−0.0004", "1,234.50")
    assert (percent(0.123), percent(-0.5), percent(None)) == ("12 %", "−50 %", "–")
