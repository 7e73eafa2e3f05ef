"""Running sums, drawdowns and shared clocks of lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from copytrader_cli.report.lines import drawdown, running_line, thinned, together

results = st.lists(st.tuples(st.integers(0, 10**6), st.integers(-(10**9), 10**9)), max_size=200)


def test_sums_are_in_the_order_of_time() -> None:
    assert running_line([(30, 5), (10, 1), (20, -2)]) == [(10, 1), (20, -1), (30, 4)]


def test_a_drawdown_is_measured_from_the_highest_value_before() -> None:
    assert drawdown([(0, 0), (1, 5), (2, 3), (3, 6), (4, -1)]) == [(0, 0), (1, 0), (2, -2), (3, 0), (4, -7)]


@given(results, st.integers(4, 60))
def test_a_thinned_line_keeps_its_ends_and_extremes_and_order(found: list[tuple[int, int]], most: int) -> None:
    line = running_line(found)
    short = thinned(line, most)
    assert len(short) <= max(most, 0) or len(short) == len(line)
    assert short[:1] == line[:1]
    assert short[-1:] == line[-1:]
    assert [at for at, _ in short] == sorted(at for at, _ in short)
    values = [v for _, v in line]
    if values:
        assert (min(v for _, v in short), max(v for _, v in short)) == (min(values), max(values))


def test_on_one_clock_a_line_is_unknown_before_it_begins_and_holds_its_value_after() -> None:
    both = together({"a": [(1, 10), (3, 30)], "b": [(2, -1)]}, 100)
    assert both.times_ns == [1, 2, 3]
    assert both.values == {"a": [10, 10, 30], "b": [None, -1, -1]}
