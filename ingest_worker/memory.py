"""The cyclic garbage collector, tuned for a process that keeps thousands of rows and makes no cycles of its own."""

from __future__ import annotations

import gc

_YOUNG = 50_000
_MIDDLE = 20
_OLD = 50


def calm_collector() -> None:
    """Call once, when everything is imported.

    Protobuf messages and rows are freed by their reference counts; looking through them for cycles every 700 new
    objects, as is the default, finds nothing and takes part of every core.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
