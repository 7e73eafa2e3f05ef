"""The lake: one Parquet file an asset and day, staged first, published in one step (lake_root.py says how).

`LAKE/<asset>/day=YYYY-MM-DD/part-0.parquet`; a companion file that must change together with it lies beside it under a
name with its own hash, which the Parquet file names. Equal rows give equal bytes. Not here: what the rows mean.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from copytrader_assets.ahead import one_ahead
from copytrader_assets.analysis.window import end_ns
from copytrader_assets.lake_root import (
    Root,
    children,
    lake_root,
    move,
    open_parquet,
    remove_tree,
    sync,
    sync_folder,
    write_durably,
)
from copytrader_core.errors import StoreError

_FILE: Final = "part-0.parquet"
_HASH: Final = "copytrader.content_hash"
_COMPANION: Final = "copytrader.companion_hash"
_ROW_GROUP: Final = 65_536
# Level 3 takes half as long again as level 1 and saves 6 % of a day of events.
_ZSTD_LEVEL: Final = 1


@dataclass(frozen=True, slots=True)
class Staged:
    """A snapshot that is written and hashed but not yet visible. `facts` stand in its Parquet metadata."""

    asset: str
    day: dt.date
    folder: Root
    rows: int
    content_hash: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a published file says about itself without reading its rows."""

    asset: str
    day: dt.date
    rows: int
    content_hash: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lake:
    """The snapshots under a folder or an fsspec URL."""

    root: Root

    @classmethod
    def at(cls, location: str | os.PathLike[str]) -> Lake:
        """The lake at a path or URL."""
        return cls(lake_root(location))

    def days(self, asset: str) -> list[dt.date]:
        """The published days of `asset`, in order."""
        folders = (self.root / asset).glob(f"day=*/{_FILE}")
        return sorted(dt.date.fromisoformat(file.parent.name.removeprefix("day=")) for file in folders)

    def has(self, asset: str, day: dt.date) -> bool:
        """Whether the day is published."""
        return self.file(asset, day).exists()

    def file(self, asset: str, day: dt.date) -> Root:
        """Where the day is, or will be."""
        return self.root / asset / f"day={day.isoformat()}" / _FILE

    def end_ns(self, day: dt.date) -> int:
        """Until when the events of `day` are known, exclusive: its end, if it is over."""
        return end_ns(day)

    def last_slot(self, day: dt.date) -> int | None:
        """The slot up to which the events of `day` are known, None if the day is over."""
        return None

    def beside(self, day: dt.date) -> Root:
        """The folder for what is computed of the day and may be lost."""
        return self.root / ".facts"

    @property
    def roots(self) -> tuple[Root, ...]:
        """Every folder that days are read from."""
        return (self.root,)

    def snapshot(self, asset: str, day: dt.date) -> Snapshot:
        """The day's own account of itself. Raises StoreError if it is not published."""
        with open_parquet(self._existing(asset, day)) as file:
            metadata = file.metadata
        facts = {k.decode(): v.decode() for k, v in (metadata.metadata or {}).items() if k != b"ARROW:schema"}
        return Snapshot(asset, day, metadata.num_rows, facts.pop(_HASH, ""), facts)

    def read(self, asset: str, day: dt.date, columns: Sequence[str] | None = None) -> pa.Table:
        """The day's rows. Raises StoreError if it is not published."""
        # ParquetFile, not read_table: that one would add the folder's `day` as a column.
        with open_parquet(self._existing(asset, day)) as file:
            return file.read(columns=list(columns) if columns is not None else None).replace_schema_metadata(None)

    def read_parts(
        self, asset: str, day: dt.date, columns: Sequence[str], dictionaries: Sequence[str] = (), row_groups: int = 2
    ) -> Iterator[pa.Table]:
        """The day's rows in their order, so many row groups at a time; texts of `dictionaries` come encoded."""
        with open_parquet(self._existing(asset, day), read_dictionary=list(dictionaries)) as file:
            for first in range(0, file.num_row_groups, row_groups):
                groups = range(first, min(first + row_groups, file.num_row_groups))
                yield file.read_row_groups(list(groups), columns=list(columns)).replace_schema_metadata(None)

    def read_columns(
        self, asset: str, day: dt.date, columns: Sequence[str], dictionaries: Sequence[str] = ()
    ) -> Iterator[tuple[str, int, pa.ChunkedArray]]:
        """One column after the other in parts, each with its name and its first row: what takes least memory.

        Arrow keeps what it has freed, more of it the more columns or threads read at once: here one of each.
        """
        with open_parquet(self._existing(asset, day), read_dictionary=list(dictionaries)) as file:
            for name in columns:
                first = 0
                for group in range(file.num_row_groups):
                    values = file.read_row_group(group, columns=[name], use_threads=False).column(0)
                    yield name, first, values
                    first += len(values)
                    del values
                pa.default_memory_pool().release_unused()

    def read_companion(self, asset: str, day: dt.date) -> pa.Table:
        """The rows of the day's companion file."""
        name = self.snapshot(asset, day).facts[_COMPANION]
        file = self._companion(asset, day, name)
        return pa.ipc.open_file(pa.memory_map(str(file)) if isinstance(file, Path) else file.read_bytes()).read_all()

    def stage(
        self, asset: str, day: dt.date, table: pa.Table, facts: Mapping[str, str], companion: pa.Table | None = None
    ) -> Staged:
        """Writes the rows where nobody reads yet."""
        return self.stage_parts(asset, day, table.schema, [table], facts, companion)

    def stage_parts(
        self,
        asset: str,
        day: dt.date,
        schema: pa.Schema,
        parts: Iterable[pa.Table],
        facts: Mapping[str, str],
        companion: pa.Table | None = None,
        *,
        repeating: Sequence[str] | None = None,
    ) -> Staged:
        """The same for rows that come in parts and are never in memory together. Gives the same bytes as `stage`.

        `repeating` names the columns for which a dictionary pays, None all of them; other texts get no statistics.
        """
        folder = self.root / ".staging" / f"{asset}-{day.isoformat()}-{int(time.time())}-{secrets.token_hex(6)}"
        folder.mkdir(parents=True, exist_ok=True)
        all_facts = dict(facts)
        if companion is not None:
            content = _ipc_bytes(companion)
            all_facts[_COMPANION] = hashlib.sha256(content).hexdigest()
            write_durably(folder / _companion_name(all_facts[_COMPANION]), content)
        try:
            rows, content_hash = _write_parquet(folder / _FILE, schema, parts, all_facts, repeating)
        except BaseException:
            remove_tree(folder)
            raise
        return Staged(asset, day, folder, rows, content_hash, all_facts)

    def publish(self, staged: Iterable[Staged]) -> None:
        """Makes the snapshots visible, each in one step, and removes what they replace."""
        for one in staged:
            target = self.file(one.asset, one.day)
            target.parent.mkdir(parents=True, exist_ok=True)
            companions = [file.name for file in children(one.folder) if file.name != _FILE]
            for name in [*companions, _FILE]:
                move(one.folder / name, target.parent / name)
            sync_folder(target.parent)
            for old in children(target.parent):
                if old.name not in {_FILE, *companions}:
                    old.unlink()
            remove_tree(one.folder)

    def sweep(self, older_than_seconds: float) -> None:
        """Removes staged snapshots that a killed run left behind. Their names say when they were begun."""
        oldest = time.time() - older_than_seconds
        for folder in children(self.root / ".staging"):
            if int(folder.name.split("-")[-2]) < oldest:
                remove_tree(folder)

    def discard(self, staged: Iterable[Staged]) -> None:
        """Removes staged snapshots that will not be published."""
        for one in staged:
            remove_tree(one.folder)

    def _existing(self, asset: str, day: dt.date) -> Root:
        file = self.file(asset, day)
        if not file.exists():
            raise StoreError(
                f"{asset} {day} is not in the lake {self.root}: run `copytrader materialize --from {day} --to {day}`"
            )
        return file

    def _companion(self, asset: str, day: dt.date, content_hash: str) -> Root:
        return self.file(asset, day).parent / _companion_name(content_hash)


def _companion_name(content_hash: str) -> str:
    return f"carry-{content_hash[:16]}.arrow"


def _ipc_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue()


class _Hashing(io.RawIOBase):
    """A file that also hashes what is written, so that one pass gives bytes and hash."""

    def __init__(self, path: Root) -> None:
        self._file = path.open("wb")
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self.hash.update(content)
        return self._file.write(content)

    def close(self) -> None:
        if not self._file.closed:
            sync(self._file)
            self._file.close()
        super().close()


def _write_parquet(
    path: Root,
    schema: pa.Schema,
    parts: Iterable[pa.Table],
    facts: Mapping[str, str],
    repeating: Sequence[str] | None,
) -> tuple[int, str]:
    """Fixed settings, no clock: equal rows give equal bytes. The hash covers rows, schema, companion; not the facts."""
    sink = _Hashing(path)
    rows = 0
    try:
        with pq.ParquetWriter(sink, schema, **_encoding(schema, repeating)) as writer:
            for group in one_ahead(_row_groups(schema, parts)):
                writer.write_table(group, row_group_size=_ROW_GROUP)
                rows += group.num_rows
            sink.hash.update(f"{schema}|{rows}|{facts.get(_COMPANION, '')}".encode())
            content_hash = sink.hash.hexdigest()
            writer.add_key_value_metadata({**facts, _HASH: content_hash})
    finally:
        sink.close()
    return rows, content_hash


def _encoding(schema: pa.Schema, repeating: Sequence[str] | None) -> dict[str, Any]:
    """Looking for repetitions in unique texts, and their least and greatest, takes longer than writing them."""
    dictionary = list(schema.names if repeating is None else repeating)
    counted = [f.name for f in schema if f.name in dictionary or not pa.types.is_string(f.type)]
    return {
        "version": "2.6",
        "compression": "zstd",
        "compression_level": _ZSTD_LEVEL,
        "use_dictionary": dictionary,
        "write_statistics": counted,
    }


def _row_groups(schema: pa.Schema, parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in tables of the size of a row group, whatever sizes they come in; one empty table for none."""
    waiting = schema.empty_table()
    none_yet = True
    for part in parts:
        waiting = pa.concat_tables([waiting, part])
        while waiting.num_rows > _ROW_GROUP:
            yield waiting.slice(0, _ROW_GROUP).combine_chunks()
            waiting = waiting.slice(_ROW_GROUP)
            none_yet = False
    if none_yet or waiting.num_rows:
        yield waiting.combine_chunks()
