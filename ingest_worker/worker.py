"""The worker: one stream in, rows out, the slot as the unit. The only module here that knows all the others.

Reader -> backlog (bounded, blocks) -> slots -> rows -> commits. Nothing is acknowledged but by the checkpoint, which is
in the same transaction as the rows; whatever happens to the process, the next one resumes there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from copytrader_core.errors import StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Endpoint
from copytrader_core.geyser.wire import created_at_ns
from copytrader_core.store.ingest import MISSING_PARENT, Batch, Committed
from ingest_worker.assembly import ReadySlot, SlotAssembler
from ingest_worker.backlog import Backlog
from ingest_worker.clock import SlotClock
from ingest_worker.drift_watch import DriftWatch
from ingest_worker.kernel.lane import Lane, compiled_lane
from ingest_worker.landing import Decoder, Lander, unreadable
from ingest_worker.messages import Block, Transaction, Update
from ingest_worker.observer import SILENT, Observer
from ingest_worker.resume import Resume
from ingest_worker.scope import KEEP_ALL, Keeper, Scope, ScopeRules
from ingest_worker.stream import Arrived, Item, Stream, StreamRules, Subscribed
from ingest_worker.subscription import PROGRAMS, Filter, Shape, chunks
from ingest_worker.waits import Waits
from ingest_worker.writer import Start, StoppedError, Writer

_log = logging.getLogger("copytrader.ingest")

_BACKLOG_BYTES = 64 * 2**20
_TICK_SECONDS = 0.02
# How long single transactions may come after their block_meta. Later ones are landed too, and a resume begins some
# slots earlier, so that nothing hangs on it but how soon a slot is committed.
_GRACE_SECONDS = 0.1
_REFRESH_SECONDS = 30.0
_REPORT_SECONDS = 10.0
_HEARTBEAT_SECONDS = 1.0
_TOUCH_SECONDS = 2.5
# SIGTERM promises an end within 5 s: so long for what was read already, and until whatever the database still does for
# us is broken off.
_DRAIN_SECONDS = 1.0
_ABORT_SECONDS = 3.5


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker runs; see `copytrader ingest --help`. `until_idle` in seconds, None for ever.

    `fallbacks`: endpoints to move on to while `endpoint` fails. `chunk`: wallets per subscription with the wallets
    filter. `hold_seconds`: how long a block waits for its parent before the hole is written down. `waits`: how long the
    streams wait before they ask again.
    """

    endpoint: Endpoint
    database_url: str = field(repr=False)
    shape: Shape = Shape.BLOCKS
    scope: ScopeRules = KEEP_ALL
    from_slot: int | None = None
    until_idle: float | None = None
    complete_start: bool = False
    commit_rows: int = 2000
    commit_every_ms: int = 150
    stall_seconds: float = 30.0
    hold_seconds: float = 1.0
    fallbacks: tuple[Endpoint, ...] = ()
    return_after_seconds: float = 600.0
    filter: Filter = Filter.PROGRAMS
    chunk: int = 50
    waits: Waits = field(default_factory=Waits)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints in the order of preference."""
        return (self.endpoint, *self.fallbacks)


@dataclass(slots=True)
class Summary:
    """What a run has landed. `events` are new rows, `duplicates` rows that were there already."""

    slots: int = 0
    transactions: int = 0
    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    gaps: int = 0

    def add(self, batch: Batch, done: Committed) -> None:
        """Counts a batch that has been committed."""
        self.slots += len(batch.slots)
        self.events += done.inserted
        self.duplicates += done.duplicates
        self.dead_letters += done.dead_letters
        self.gaps += len(done.gaps)

    def __str__(self) -> str:
        """One line, key=value."""
        return (
            f"slots={self.slots} transactions={self.transactions} events={self.events} "
            f"duplicates={self.duplicates} dead_letters={self.dead_letters} gaps={self.gaps}"
        )


async def run(
    options: Options,
    decode: Decoder | None = None,
    observer: Observer = SILENT,
    stopping: asyncio.Event | None = None,
) -> Summary:
    """Runs a worker until it is idle long enough, or SIGTERM or SIGINT ends it; everything that it took is committed.

    Whoever sets `stopping` ends it as the signals do.

    Raises StreamError if the provider refuses at the first connect, StoreError if a last commit was not possible.
    """
    stopping = stopping or asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    writer = Writer(options.database_url, stopping, observer)

    def stop() -> None:
        stopping.set()
        loop.call_later(_ABORT_SECONDS, writer.abort)

    for number in signals:
        loop.add_signal_handler(number, stop)
    observer.starting(tuple(endpoint.address for endpoint in options.endpoints))
    heart = asyncio.create_task(_beat(observer))
    worker = None
    try:
        lane = await _until(stopping, compiled_lane()) if decode is None else None
        await writer.open()
        start = await writer.start(options.from_slot)
        observer.ready()
        worker = _Worker(options, decode, lane, writer, start, stopping, observer)
        return await worker.run()
    except StoppedError:
        if worker is not None:
            raise
        return Summary()
    finally:
        heart.cancel()
        await writer.close()
        for number in signals:
            loop.remove_signal_handler(number)


async def _until(stopping: asyncio.Event, work: Coroutine[Any, Any, Lane]) -> Lane:
    """The result of `work`. Raises StoppedError if the worker is stopped before it is there."""
    task, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not task.done():
        task.cancel()
        raise StoppedError("stopped before the kernels were there")
    return task.result()


async def _beat(observer: Observer) -> None:
    """Says that the loop goes round, whatever the worker waits for."""
    while True:
        observer.alive()
        await asyncio.sleep(_HEARTBEAT_SECONDS)


class _Worker:
    """One run, after the lock is ours."""

    def __init__(
        self,
        options: Options,
        decode: Decoder | None,
        lane: Lane | None,
        writer: Writer,
        start: Start,
        stopping: asyncio.Event,
        observer: Observer,
    ) -> None:
        checkpoint = start.checkpoint
        begin = options.from_slot
        if begin is None and checkpoint is not None:
            begin = checkpoint.slot
        self._options = options
        self._writer = writer
        self._stopping = stopping
        self._observer = observer
        self._summary = Summary()
        self._resume = Resume(begin, start.gaps)
        self._known = start.known
        clock = SlotClock(checkpoint.slot, checkpoint.block_time) if checkpoint else SlotClock()
        whole_feed = options.filter is Filter.PROGRAMS
        self._keeper = Keeper(options.scope, whole_feed=whole_feed)
        self._lander = Lander(decode, clock, self._keeper, DriftWatch(observer.drift, whole_feed=whole_feed), lane)
        self._gap_reason = MISSING_PARENT
        self._batch = self._new_batch()
        self._batch_since = 0.0
        self._committing: asyncio.Task[None] | None = None
        self._rest_until = 0.0
        self._refreshed_at = self._reported_at = self._touched_at = time.monotonic()
        self._subscribe_to([PROGRAMS])
        observer.gaps_open(len(start.gaps))
        if checkpoint is not None:
            observer.checkpoint(checkpoint.slot)

    def _subscribe_to(self, lanes: Sequence[Sequence[str]]) -> None:
        """Everything between the providers and the batch, anew: one lane for each group of accounts."""
        options = self._options
        waits = options.waits if options.until_idle is None else options.waits.bounded(options.until_idle / 4)
        rules = StreamRules(options.stall_seconds, options.return_after_seconds, waits)
        self._backlog: Backlog[Item] = Backlog(_BACKLOG_BYTES, len(lanes))
        self._shapes = [options.shape] * len(lanes)
        self._slots = SlotAssembler(
            self._known, grace_seconds=_GRACE_SECONDS, hold_seconds=options.hold_seconds, lanes=len(lanes)
        )
        self._streams = [
            Stream(
                options.endpoints,
                options.shape,
                self._resume,
                self._backlog,
                rules,
                lane=lane,
                accounts=accounts,
                observer=self._observer,
            )
            for lane, accounts in enumerate(lanes)
        ]
        self._asked_for = lanes

    async def run(self) -> Summary:
        """Lands the stream until something ends it."""
        self._lander.names_version, self._lander.wallets = await self._writer.wallets()
        if self._options.scope.scope is Scope.TOUCHED:
            self._keeper.touch(await self._writer.touched_mints())
        await self._writer.seal_covered()
        stop = asyncio.create_task(self._stopping.wait())
        stop.add_done_callback(lambda _: self._backlog.wake())
        try:
            has_begun = False
            while not has_begun or not self._is_over():
                has_begun = True
                await self._read_until_filter_changes()
        finally:
            stop.cancel()
            self._observer.stopping()
        await self._finish()
        if not any(stream.heard for stream in self._streams) and not self._stopping.is_set():
            raise StreamError(
                f"{', '.join(endpoint.address for endpoint in self._options.endpoints)}: nothing at all came for "
                f"{self._options.until_idle:g} s: check the endpoint, and that its stream is running"
            )
        _log.info("ended %s", self._summary)
        return self._summary

    async def _read_until_filter_changes(self) -> None:
        """Reads with the filter that is wanted now. Raises what a reader raised, after landing what came before it."""
        lanes = await self._wanted_lanes()
        if lanes != self._asked_for:
            self._land(self._slots.drain())
            self._subscribe_to(lanes)
        readers = [asyncio.create_task(stream.run()) for stream in self._streams]
        # Each takes its first step, and starts its clock of idleness.
        await asyncio.sleep(0)
        for reader in readers:
            reader.add_done_callback(lambda _: self._backlog.wake())
        try:
            while not self._is_over() and not any(reader.done() for reader in readers):
                await self._step()
                if self._filter_is_stale():
                    break
        finally:
            failed = [task.exception() for task in readers if task.done() and not task.cancelled()]
            for task in readers:
                task.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
        for failure in filter(None, failed):
            await self._finish()
            raise failure

    async def _wanted_lanes(self) -> Sequence[Sequence[str]]:
        """The accounts of each subscription. Raises StreamError if there are none to ask for."""
        if self._options.filter is Filter.PROGRAMS:
            return [PROGRAMS]
        lanes = chunks(self._tracked(), self._options.chunk)
        if not lanes:
            raise StreamError("no wallet is tracked: import some with `copytrader wallets import`, or use no filter")
        return lanes

    def _tracked(self) -> list[str]:
        return [address for address, wallet in self._lander.wallets.items() if wallet.is_tracked]

    def _filter_is_stale(self) -> bool:
        """Whether other wallets are tracked than those that are asked for; what waits is landed first."""
        if self._options.filter is Filter.PROGRAMS or self._backlog:
            return False
        return sorted(self._tracked()) != sorted(address for lane in self._asked_for for address in lane)

    def _is_over(self) -> bool:
        if self._stopping.is_set():
            return True
        idle = self._options.until_idle
        if idle is None or self._backlog or self._slots.waiting:
            return False
        return time.monotonic() - self._data_at >= idle

    @property
    def _data_at(self) -> float:
        return max(stream.data_at for stream in self._streams)

    async def _step(self) -> None:
        """One message, or one tick without any; whatever has become ready by it."""
        held = self._slots.ahead()
        item = self._backlog.pop(held)
        if item is None:
            await self._backlog.wait(_TICK_SECONDS if self._batch or self._slots.waiting else self._patience(), held)
        else:
            self._take(item)
            # The readers share this loop: they get their turn between any two messages.
            await asyncio.sleep(0)
        self._land(self._slots.take(time.monotonic()))
        if self._batch and self._is_due():
            await self._commit()
        await self._look_around()

    def _patience(self) -> float:
        idle = self._options.until_idle
        return 1.0 if idle is None else min(1.0, max(0.01, self._data_at + idle - time.monotonic()))

    def _take(self, item: Item) -> None:
        """Hands one item to the slots that it belongs to."""
        if isinstance(item, Subscribed):
            self._slots.restart(item.lane)
            self._shapes[item.lane] = item.shape
            if item.refused is not None:
                self._gap_reason = self._batch.gap_reason = item.refused
        elif item.update is None:
            self._add_unreadable(item)
        else:
            self._take_update(item, item.update, time.monotonic())

    def _take_update(self, item: Arrived, update: Update, now: float) -> None:
        lane = item.lane
        if isinstance(update, Block):
            self._slots.add_block(update, item.recv_ts_ns, now, lane=lane, n_bytes=item.n_bytes)
            return
        if isinstance(update, Transaction):
            self._slots.add_transaction(update, item.recv_ts_ns, lane=lane, n_bytes=item.n_bytes)
            return
        kind = update.WhichOneof("update_oneof")
        if kind == "block_meta" and self._shapes[lane] is Shape.TRANSACTIONS:
            stamp = created_at_ns(update)
            self._slots.add_meta(update.block_meta, now, item.recv_ts_ns, stamp, lane=lane)
        elif kind == "slot" and update.slot.status == pb.SLOT_CONFIRMED:
            self._slots.see(update.slot.slot, lane)

    def _add_unreadable(self, item: Arrived) -> None:
        self._begin_batch()
        self._batch.dead_letters.append(unreadable(item.raw))

    def _land(self, ready: list[ReadySlot]) -> None:
        for slot in ready:
            self._begin_batch()
            self._lander.land(slot, self._batch)
            self._summary.transactions += len(slot.transactions)
            self._observer.transactions(len(slot.transactions))
            if slot.closes and slot.block is not None:
                self._resume.advance(slot.slot)
                self._observer.slot_closed(slot.slot, slot.block.block_time, slot.block.recv_ts_ns or 0)
                # A replay that was refused explains the hole before the first slot that comes, not later ones.
                self._gap_reason = MISSING_PARENT
            if slot.other_blockhash is not None:
                self._observer.other_blockhash(slot.slot)
                _log.error("other_blockhash slot=%d landed=%s now=%s", slot.slot, slot.other_blockhash, slot.block)

    def _new_batch(self) -> Batch:
        return Batch(
            gap_reason=self._gap_reason,
            expected_from=self._options.from_slot,
            complete_start=self._options.complete_start,
        )

    def _begin_batch(self) -> None:
        if not self._batch:
            self._batch_since = time.monotonic()

    def _is_due(self) -> bool:
        """A batch goes at once while the stream is slower than we are; otherwise more is collected first.

        Between two commits lies the time that one takes, so that small ones do not keep Postgres busy all the time.
        """
        now = time.monotonic()
        is_free = self._committing is None or self._committing.done()
        if is_free and not self._backlog and now >= self._rest_until:
            return True
        waited_ms = (now - self._batch_since) * 1000
        return self._batch.n_rows >= self._options.commit_rows or waited_ms >= self._options.commit_every_ms

    async def _commit(self) -> None:
        """Starts the commit once the one before it is done: Postgres works while the next slots are decoded."""
        await self._committed()
        batch = self._batch
        self._batch = self._new_batch()
        self._committing = asyncio.create_task(self._land_batch(batch))
        self._committing.add_done_callback(lambda _: self._backlog.wake())

    async def _committed(self) -> None:
        if self._committing is not None:
            await self._committing
            self._committing = None

    async def _land_batch(self, batch: Batch) -> None:
        since = time.monotonic()
        done = await self._writer.commit(batch)
        now = time.monotonic()
        self._rest_until = now + (now - since)
        self._summary.add(batch, done)
        self._tell(batch, done, now - since)
        for start, end in done.gaps:
            self._resume.opened((start, end))
            _log.warning("gap_opened from_slot=%d to_slot=%d reason=%r", start, end, batch.gap_reason)
        for start, end in done.filled:
            self._resume.filled((start, end))
            _log.info("gap_filled from_slot=%d to_slot=%d", start, end)

    def _tell(self, batch: Batch, done: Committed, seconds: float) -> None:
        """The observer's share of a commit."""
        observer = self._observer
        observer.committed(len(batch.slots), done.inserted, done.duplicates, seconds)
        observer.landed({slot.slot: slot.recv_ts_ns for slot in batch.slots if slot.recv_ts_ns is not None})
        if batch.slots:
            observer.checkpoint(max(slot.slot for slot in batch.slots))
        if done.dead_letters:
            observer.dead_letter(done.dead_letters)
        for letter in batch.dead_letters:
            observer.undecodable(letter.reason)
        for start, end in done.gaps:
            observer.gap_opened(start, end, batch.gap_reason)
        for start, end in done.filled:
            observer.gap_filled(start, end)

    async def _look_around(self) -> None:
        """Now and then: names that changed, days that became complete, a line of progress, a commit that failed."""
        now = time.monotonic()
        if self._committing is not None and self._committing.done():
            await self._committed()
        if now - self._refreshed_at >= _REFRESH_SECONDS:
            self._refreshed_at = now
            await self._committed()
            self._lander.names_version, self._lander.wallets = await self._writer.wallets()
            await self._writer.seal_covered()
            self._observer.gaps_open(await self._writer.open_gaps())
        if now - self._touched_at >= _TOUCH_SECONDS:
            self._touched_at = now
            self._observer.backlog(len(self._backlog), self._backlog.n_bytes)
            await self._writer.touch()
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            _log.info("progress slot=%s backlog=%d %s", self._resume.slot, len(self._backlog), self._summary)

    async def _finish(self) -> None:
        """Lands what was read and commits it, within the time that a stop allows."""
        if not self._stopping.is_set():
            self._land(self._slots.drain())
            await self._commit_rest()
            return
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline and (item := self._backlog.pop()) is not None:
            self._take(item)
            self._land(self._slots.take(time.monotonic()))
        await self._commit_rest()

    async def _commit_rest(self) -> None:
        await self._committed()
        if self._batch:
            await self._commit()
        await self._committed()
