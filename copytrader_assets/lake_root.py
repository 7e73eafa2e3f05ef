"""Where the lake's files lie: a folder of this machine or any fsspec URL, and how files move there. Not here: Parquet.

A folder publishes by rename. An object store has none: there the staged object is copied to its final key, which the
store itself makes visible whole or not at all (PUT and COPY of one key are atomic on S3, GCS and Azure), and the key
that readers look at comes last.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow.parquet as pq

from copytrader_core.errors import StoreError

# A folder does without fsspec, 6 MB.
if TYPE_CHECKING:
    from upath import UPath

# Both have pathlib's methods; UPath's are fsspec's underneath.
Root: TypeAlias = "Path | UPath"

_LOCAL: Final = ("", "file", "local")


def lake_root(location: str | os.PathLike[str]) -> Root:
    """The root of a lake at a path or an fsspec URL. Raises StoreError where the URL's file system is not installed."""
    text = os.fspath(location) if isinstance(location, os.PathLike) else location
    if "://" not in text:
        return Path(text)
    from upath import UPath

    try:
        root = UPath(text)
        _ = root.fs
    except (ImportError, ValueError) as error:
        raise StoreError(f"the lake {text} cannot be reached: {error}") from error
    return Path(root.path) if root.protocol in _LOCAL else root


def open_parquet(file: Root, **options: Any) -> pq.ParquetFile:
    """The Parquet file, read from where it lies; `options` are pyarrow's."""
    if isinstance(file, Path):
        return pq.ParquetFile(file, **options)
    return pq.ParquetFile(file.path, filesystem=file.fs, **options)


def write_durably(file: Root, content: bytes) -> None:
    """Writes a whole small file that outlives a crash."""
    with file.open("wb") as sink:
        sink.write(content)
        sync(sink)


def sync(sink: Any) -> None:
    """Brings what was written to the disk; an object store has taken it when the object is closed."""
    sink.flush()
    if isinstance(sink, io.BufferedWriter):
        os.fsync(sink.fileno())


def move(staged: Root, final: Root) -> None:
    """Makes `staged` visible as `final` in one step, in place of what was there."""
    if isinstance(staged, Path):
        staged.replace(str(final))
    elif not isinstance(final, Path):
        staged.fs.copy(staged.path, final.path)
        staged.unlink()


def children(folder: Root, pattern: str = "*") -> list[Root]:
    """What lies in a folder; nothing if it is not there."""
    if isinstance(folder, Path):
        return list(folder.glob(pattern))
    return list(folder.glob(pattern))


def sync_folder(folder: Root) -> None:
    """Makes renames in a folder outlive a crash."""
    if not isinstance(folder, Path):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_tree(folder: Root) -> None:
    """Removes a folder and all it holds; nothing if it is not there."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)
