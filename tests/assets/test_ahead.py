"""Parts that are made one ahead: the same parts, the same errors, and no more than one too many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from copytrader_assets.ahead import one_ahead


def test_the_parts_come_in_their_order_even_those_that_are_nothing() -> None:
    parts = [0, None, "", 3]
    assert list(one_ahead(parts)) == parts
    assert list(one_ahead([])) == []


def test_an_error_comes_where_its_part_would_have_come() -> None:
    def parts() -> Iterator[int]:
        yield 1
        raise ValueError("the second part")

    found = one_ahead(parts())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second part"):
        next(found)


def test_whoever_stops_early_has_one_part_too_many_made_and_no_more() -> None:
    made: list[int] = []

    def parts() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            yield number

    found = one_ahead(parts())
    assert next(found) == 0
    found.close()
    assert made == [0, 1]
