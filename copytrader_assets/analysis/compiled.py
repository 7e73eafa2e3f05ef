"""How this package compiles: Numba in nopython mode, without the interpreter's lock, kept on disk between processes.

The files on disk belong to a function's own module: after a change in a module that others call into, delete the
`*.nbi` and `*.nbc` files of `__pycache__`. Not here: what is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from numba import njit

_P = ParamSpec("_P")
_R = TypeVar("_R")
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_UNCOUNTED: dict[str, Any] = {**_OPTIONS, "_nrt": False}


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compiles a function that may make arrays. Integer division by zero gives no error: do not divide by it."""
    return cast(Callable[_P, _R], njit(**_OPTIONS)(function))


def kernel(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compiles a function that makes no array, without counting references to those that it is given.

    Numba counts at every use of an array that comes out of a tuple, by an atomic operation; that took two thirds of the
    ledger's time.
    """
    return cast(Callable[_P, _R], njit(**_UNCOUNTED)(function))
