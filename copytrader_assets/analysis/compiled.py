"""Compiling loops that NumPy would unroll into memory. Not here: the loops, which stand with what they count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba  # type: ignore[import-untyped,unused-ignore]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """`function` as machine code, compiled on its first call and kept beside its module for the next process."""
    return cast(_Function, numba.njit(cache=True, nogil=True)(function))
