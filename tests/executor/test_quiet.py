"""The collector is silent while the executor trades, and does its work where nothing waits."""

from __future__ import annotations

import gc
import weakref

from executor.quiet import Quiet


class Knot:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.own = self


def test_cycles_wait_for_an_idle_moment_and_the_collector_is_left_as_it_was():
    now = [0.0]
    quiet = Quiet(lambda: now[0])
    quiet.begin()
    try:
        knot = weakref.ref(Knot())
        now[0] = 2.0
        quiet.pause(is_idle=False)
        assert knot() is not None and not gc.isenabled()
        quiet.pause(is_idle=True)
        assert knot() is None
        # What stood when everything was looked through is freed once it is let go of, too.
        kept = Knot()
        standing = weakref.ref(kept)
        now[0] = 400.0
        quiet.pause(is_idle=True)
        del kept
        now[0] = 800.0
        quiet.pause(is_idle=True)
        assert standing() is None
    finally:
        quiet.end()
    assert gc.isenabled() and gc.get_freeze_count() == 0
