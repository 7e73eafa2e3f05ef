"""The facts of single days, computed once and kept beside the lake, so that a window of thirty days reads one of them.

A kept day is named by a hash of everything that it was computed from: the snapshots, the wallets, the settings and the
version of the facts. A changed input is another name, so nothing can be stale, and whoever deletes the folder loses
only time. Not here: what the facts are (analysis/day_facts), and what is made of them (assets/fingerprints).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from copytrader_assets.analysis.columns import ints
from copytrader_assets.analysis.day_facts import DayFacts
from copytrader_assets.analysis.stretches import stretches
from copytrader_assets.analysis.window import NS_PER_DAY, day_number, end_ns
from copytrader_assets.day_reader import DayReader
from copytrader_assets.lake import Lake
from copytrader_assets.lake_root import Root, children, move
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES, Table

# To be raised with every change of what day_facts computes.
_VERSION: Final = 1
_BUCKET_ROWS: Final = 2_000_000
_KEPT_BYTES: Final = 512 * 1024 * 1024


@dataclass(slots=True)
class Partials:
    """The facts of any day for a fixed set of wallets. Use `open`."""

    lake: Lake
    _wallets: pa.Array
    _scope: str
    _path_days: int
    _reader: DayReader = field(repr=False)
    _memory: OrderedDict[dt.date, DayFacts] = field(default_factory=OrderedDict, repr=False)
    _hashes: dict[tuple[str, dt.date], str] = field(default_factory=dict, repr=False)

    @classmethod
    @contextmanager
    def open(cls, lake: Lake, wallets: Mapping[str, str | None], path_days: int) -> Iterator[Partials]:
        """`path_days`: how many days before the one on which a trip ended its price path is followed back."""
        names = sorted(wallets)
        scope = hashlib.sha256("\n".join([str(_VERSION), str(path_days), *names]).encode()).hexdigest()
        with DayReader.open(lake, wallets) as reader:
            yield cls(lake, pa.array(names, pa.string()), scope, path_days, reader)

    def of(self, day: dt.date) -> DayFacts:
        """The facts of a published day, from memory, from the folder, or computed and put there."""
        if day not in self._memory:
            file = self.lake.beside(day) / f"{day.isoformat()}-{self._name(day)}.arrow"
            facts = _read(file)
            if facts is None:
                facts = self._computed(day)
                _keep(file, facts)
            self._memory[day] = facts
            self._forget_what_is_too_much()
        self._memory.move_to_end(day)
        return self._memory[day]

    def over(self, days: Sequence[dt.date], wallets: pa.Array | None = None) -> DayFacts:
        """The facts of several days, one after the other, of all wallets or some."""
        parts = (self.of(day) for day in days)
        if wallets is None or len(wallets) == len(self._wallets):
            return DayFacts.joined(parts)
        return DayFacts.joined(part.of_wallets(wallets) for part in parts)

    def content_hash(self, days: Sequence[dt.date]) -> str:
        """One hash over everything that the facts of `days` are computed from."""
        return hashlib.sha256("\n".join(self._name(day) for day in days).encode()).hexdigest()

    def buckets(self, days: Sequence[dt.date]) -> list[pa.Array]:
        """The wallets in buckets whose facts of `days` fit into memory together, a few hundred MB each."""
        rows = sum(self.of(day).trips.num_rows + self.of(day).marks.num_rows for day in days)
        n = max(1, min(len(self._wallets), -(-rows // _BUCKET_ROWS)))
        return [self._wallets.take(pa.array(part)) for part in np.array_split(np.arange(len(self._wallets)), n)]

    def _computed(self, day: dt.date) -> DayFacts:
        trips = self._reader.trips(day)
        needed = stretches(trips, self._reader.own(day))
        events = [
            self._reader.events(earlier, needed if earlier == day else _of_trips(needed, trips, earlier))
            for earlier in self._path(day, trips)
        ]
        return DayFacts.of(
            trips,
            pa.concat_tables(events),
            self._reader.held(day),
            self._wallets,
            end_ns(day),
            self._reader.slot_ms(day),
        )

    def _path(self, day: dt.date, trips: pa.Table) -> list[dt.date]:
        """The days of events that the trips which ended on `day` reach back to, but the last `path_days` at most."""
        opened = ints(trips, "open_ts_ns") // NS_PER_DAY
        reach = min(day_number(day) - int(opened.min(initial=day_number(day))), self._path_days)
        days = [day - dt.timedelta(days=back) for back in range(reach, -1, -1)]
        return [earlier for earlier in days if self.lake.has(EVENTS.name, earlier)]

    def _name(self, day: dt.date) -> str:
        """A hash of everything that the facts of `day` are computed from."""
        earlier = [day - dt.timedelta(days=back) for back in range(self._path_days, 0, -1)]
        snapshots = [(EVENTS, d) for d in earlier if self.lake.has(EVENTS.name, d)]
        snapshots += [(table, day) for table in (EVENTS, TRADES, OPEN_POSITIONS)]
        lines = [f"{table.name} {d} {self._hash(table, d)}" for table, d in snapshots]
        return hashlib.sha256("\n".join([self._scope, *lines]).encode()).hexdigest()[:32]

    def _hash(self, table: Table, day: dt.date) -> str:
        key = (table.name, day)
        if key not in self._hashes:
            self._hashes[key] = self.lake.snapshot(table.name, day).content_hash
        return self._hashes[key]

    def _forget_what_is_too_much(self) -> None:
        sizes = {day: sum(getattr(facts, f.name).nbytes for f in fields(facts)) for day, facts in self._memory.items()}
        while len(self._memory) > 1 and sum(sizes[day] for day in self._memory) > _KEPT_BYTES:
            self._memory.popitem(last=False)


def _of_trips(needed: pa.Table, trips: pa.Table, day: dt.date) -> pa.Table:
    """Those of the stretches `needed` whose coins have events of `day` to show: trips in them were open then."""
    open_then = trips.filter(pa.array(np.asarray(ints(trips, "open_ts_ns") < end_ns(day))))["mint"]
    return needed.filter(pc.is_in(needed["mint"], pc.unique(open_then)))


def _keep(file: Root, facts: DayFacts) -> None:
    """Puts the facts there in one rename, in place of what the same day had been before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{secrets.token_hex(6)}")
    with draft.open("wb") as sink:
        for one in fields(facts):
            table = getattr(facts, one.name).combine_chunks()
            content = pa.BufferOutputStream()
            with pa.ipc.new_stream(content, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
                writer.write_table(table)
            buffer = content.getvalue()
            sink.write(len(buffer).to_bytes(8, "little"))
            sink.write(buffer)
    move(draft, file)
    for other in children(file.parent, f"{file.name[:10]}-*.arrow"):
        if other != file:
            other.unlink(missing_ok=True)


def _read(file: Root) -> DayFacts | None:
    try:
        content, at, tables = file.read_bytes(), 0, {}
    except FileNotFoundError:
        return None
    for one in fields(DayFacts):
        size = int.from_bytes(content[at : at + 8], "little")
        tables[one.name] = pa.ipc.open_stream(content[at + 8 : at + 8 + size]).read_all()
        at += 8 + size
    return DayFacts(**tables)
