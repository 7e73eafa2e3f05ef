"""Parts of a day that are made one ahead of whoever takes them. Not here: what the parts are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")


def one_ahead(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts in their order, each made in another thread while the one before it is worked on.

    Whatever making a part raises is raised where it would have been taken.
    """
    source = iter(parts)
    with ThreadPoolExecutor(1, "one-ahead") as pool:
        coming = pool.submit(_next, source)
        while found := coming.result():
            coming = pool.submit(_next, source)
            yield found[0]


def _next(source: Iterator[Part]) -> tuple[Part] | None:
    for part in source:
        return (part,)
    return None
