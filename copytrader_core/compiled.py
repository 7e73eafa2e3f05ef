"""`@kernel`: functions on arrays that Numba compiles to machine code, kept on disk from one process to the next.

Numba looks at the file of a function to tell whether its machine code is still good, but not at the files of what it
calls. So the cache folder is named after the text of every file that holds kernels: after any change all are compiled
anew, and never is half of an old version run. No kernel stands here, and nothing imports this module that does without.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import config
from numba.np import linalg

__all__ = ["inner", "is_kept", "kernel", "uncounted"]

_MARK: Final = b"from copytrader_core.compiled import"
_PACKAGES: Final = ("copytrader_core", "copytrader_assets", "ingest_worker")
_FOLDER: Final = "copytrader-kernels-"

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compiles `function` at its first call with new types, in nopython mode and without holding the GIL.

    Bounds are not checked: a kernel must look itself. Integer sums wrap around at 64 bits, and an integer divided by
    zero gives no error.
    """
    return _compiled(function)


def inner(function: Function) -> Function:
    """The same for what only other kernels call: without a way in from Python, which takes long to compile."""
    return _compiled(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def uncounted(function: Function) -> Function:
    """The same for what makes no array: references to those that it is given are not counted.

    Numba counts at every use of an array that comes out of a tuple, by an atomic operation; that took two thirds of the
    ledger's time.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Function, **options: Any) -> Function:
    compiled: Any = numba.njit(cache=True, nogil=True, boundscheck=False, error_model="numpy", **options)(function)
    return cast(Function, compiled)


def is_kept(function: str) -> bool:
    """Whether a kernel of that name ("module.function") was compiled before, so that using it takes no minute."""
    return any(Path(str(getattr(config, "CACHE_DIR"))).rglob(f"{function}-*.nbi"))  # noqa: B009


def _digest(root: Path) -> str:
    """A short hash of all files with kernels, and of the compiler."""
    found = hashlib.sha256(numba.__version__.encode())
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            text = path.read_bytes()
            if _MARK in text:
                found.update(text)
    return found.hexdigest()[:16]


def _cache_folder() -> str:
    """A folder of this version's kernels that can be written: in the installation, else in the user's cache."""
    root = Path(__file__).resolve().parents[1]
    name = _FOLDER + _digest(root)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for base in (Path(__file__).parent / "__pycache__", user):
        if _is_ours(base, name):
            for old in base.glob(f"{_FOLDER}*"):
                if old.name != name:
                    shutil.rmtree(old, ignore_errors=True)
            return str(base / name)
    return tempfile.mkdtemp(prefix=_FOLDER)


def _is_ours(base: Path, name: str) -> bool:
    folder = base / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _no_blas() -> None:
    raise ImportError("kernels do no linear algebra")


# At the first kernel of a process Numba loads all of scipy.linalg (16 MB) to see whether products of matrices are to be
# had, which no kernel of ours asks for.
linalg.ensure_blas = _no_blas
# Numba reads this when a function is decorated; a user's own NUMBA_CACHE_DIR stands.
if not getattr(config, "CACHE_DIR"):  # noqa: B009 - set by Numba at run time
    setattr(config, "CACHE_DIR", _cache_folder())  # noqa: B010
