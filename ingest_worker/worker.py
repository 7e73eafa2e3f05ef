"""The worker: one stream in, rows out, the slot as the unit. The only module here that knows all the others.

Reader -> backlog (bounded, blocks) -> slots -> rows -> commits. Nothing is acknowledged but by the checkpoint, which is
in the same transaction as the rows; whatever happens to the process, the next one resumes there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field

from copytrader_core.errors import StoreError, StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Endpoint, Received
from copytrader_core.store.ingest import MISSING_PARENT, Batch, Committed
from ingest_worker.assembly import ReadySlot, SlotAssembler
from ingest_worker.backlog import Backlog
from ingest_worker.clock import SlotClock
from ingest_worker.landing import Decoder, Lander, decoder, unreadable
from ingest_worker.stream import Item, Resume, Stream, Subscribed
from ingest_worker.subscription import Shape
from ingest_worker.writer import Start, StoppedError, Writer

_log = logging.getLogger("copytrader.ingest")

_BACKLOG_BYTES = 64 * 2**20
_TICK_SECONDS = 0.05
_REFRESH_SECONDS = 30.0
_REPORT_SECONDS = 10.0
# SIGTERM promises an end within 5 s: so long for what was read already, and for the last commit.
_DRAIN_SECONDS = 1.0
_LAST_COMMIT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker runs; see `copytrader ingest --help`. `until_idle` in seconds, None for ever.

    `hold_seconds`: how long a block waits for its parent before the hole is written down.
    """

    endpoint: Endpoint
    database_url: str = field(repr=False)
    shape: Shape = Shape.BLOCKS
    tracked_only: bool = False
    from_slot: int | None = None
    until_idle: float | None = None
    complete_start: bool = False
    commit_rows: int = 2000
    commit_every_ms: int = 150
    stall_seconds: float = 30.0
    hold_seconds: float = 1.0


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


async def run(options: Options, decode: Decoder | None = None) -> Summary:
    """Runs a worker until it is idle long enough, or SIGTERM or SIGINT ends it; everything that it took is committed.

    Raises StreamError if the provider refuses at the first connect, StoreError if a last commit was not possible.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stopping.set)
    writer = Writer(options.database_url, stopping)
    worker = None
    try:
        await writer.open()
        worker = _Worker(options, decode or decoder(), writer, await writer.start(options.from_slot), stopping)
        return await worker.run()
    except StoppedError:
        if worker is not None:
            raise
        return Summary()
    finally:
        await writer.close()
        for number in signals:
            loop.remove_signal_handler(number)


class _Worker:
    """One run, after the lock is ours."""

    def __init__(
        self, options: Options, decode: Decoder, writer: Writer, start: Start, stopping: asyncio.Event
    ) -> None:
        checkpoint = start.checkpoint
        begin = options.from_slot
        if begin is None and checkpoint is not None:
            begin = checkpoint.slot
        self._options = options
        self._writer = writer
        self._stopping = stopping
        self._summary = Summary()
        self._resume = Resume(begin)
        self._backlog: Backlog[Item] = Backlog(_BACKLOG_BYTES)
        self._stream = Stream(
            options.endpoint, options.shape, self._resume, self._backlog, stall_seconds=options.stall_seconds
        )
        self._slots = SlotAssembler(start.known, hold_seconds=options.hold_seconds)
        clock = SlotClock(checkpoint.slot, checkpoint.block_time) if checkpoint else SlotClock()
        self._lander = Lander(decode, clock, tracked_only=options.tracked_only)
        self._shape = options.shape
        self._gap_reason = MISSING_PARENT
        self._batch = self._new_batch()
        self._batch_since = 0.0
        self._committing: asyncio.Task[None] | None = None
        self._refreshed_at = self._reported_at = time.monotonic()

    async def run(self) -> Summary:
        """Lands the stream until something ends it."""
        self._lander.wallets = await self._writer.wallets()
        await self._writer.seal_covered()
        reader = asyncio.create_task(self._stream.run())
        reader.add_done_callback(lambda _: self._backlog.wake())
        stop = asyncio.create_task(self._stopping.wait())
        stop.add_done_callback(lambda _: self._backlog.wake())
        try:
            while not self._is_over() and not reader.done():
                await self._step()
        finally:
            failed = reader.done() and not reader.cancelled() and reader.exception()
            for task in (reader, stop):
                task.cancel()
                with suppress(asyncio.CancelledError, StreamError):
                    await task
        await self._finish()
        if failed:
            raise failed
        if not self._stream.heard and not self._stopping.is_set():
            raise StreamError(
                f"{self._options.endpoint.address}: nothing at all came for {self._options.until_idle:g} s: "
                "check the endpoint, and that its stream is running"
            )
        _log.info("ended %s", self._summary)
        return self._summary

    def _is_over(self) -> bool:
        if self._stopping.is_set():
            return True
        idle = self._options.until_idle
        if idle is None or self._backlog or self._slots.waiting:
            return False
        return time.monotonic() - self._stream.data_at >= idle

    async def _step(self) -> None:
        """One message, or one tick without any; whatever has become ready by it."""
        item = self._backlog.pop()
        if item is None:
            await self._backlog.wait(_TICK_SECONDS if self._batch or self._slots.waiting else self._patience())
        else:
            self._take(item)
            # The reader shares this loop: it gets its turn between any two messages.
            await asyncio.sleep(0)
        self._land(self._slots.take(time.monotonic()))
        if self._batch and self._is_due():
            await self._commit()
        await self._look_around()

    def _patience(self) -> float:
        idle = self._options.until_idle
        return 1.0 if idle is None else min(1.0, max(0.01, self._stream.data_at + idle - time.monotonic()))

    def _take(self, item: Item) -> None:
        """Hands one item to the slots that it belongs to."""
        if isinstance(item, Subscribed):
            self._slots.restart()
            self._shape = item.shape
            if item.refused is not None:
                self._gap_reason = self._batch.gap_reason = item.refused
        elif item.update is None:
            self._add_unreadable(item)
        else:
            self._take_update(item, item.update, time.monotonic())

    def _take_update(self, item: Received, update: pb.SubscribeUpdate, now: float) -> None:
        kind = update.WhichOneof("update_oneof")
        if kind == "block":
            self._slots.add_block(update.block, item.recv_ts_ns, now)
        elif kind == "transaction":
            self._slots.add_transaction(update.transaction, item.recv_ts_ns)
        elif kind == "block_meta" and self._shape is Shape.TRANSACTIONS:
            self._slots.add_meta(update.block_meta, now)
        elif kind == "slot" and update.slot.status == pb.SLOT_CONFIRMED:
            self._slots.see(update.slot.slot)

    def _add_unreadable(self, item: Received) -> None:
        self._begin_batch()
        self._batch.dead_letters.append(unreadable(item.raw))

    def _land(self, ready: list[ReadySlot]) -> None:
        for slot in ready:
            self._begin_batch()
            self._lander.land(slot, self._batch)
            self._summary.transactions += len(slot.transactions)
            if slot.closes:
                self._resume.slot = slot.slot
                # A replay that was refused explains the hole before the first slot that comes, not later ones.
                self._gap_reason = MISSING_PARENT

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
        waited_ms = (time.monotonic() - self._batch_since) * 1000
        return len(self._batch.rows) >= self._options.commit_rows or waited_ms >= self._options.commit_every_ms

    async def _commit(self) -> None:
        """Starts the commit once the one before it is done: Postgres works while the next slots are decoded."""
        await self._committed()
        batch = self._batch
        self._batch = self._new_batch()
        self._committing = asyncio.create_task(self._land_batch(batch))

    async def _committed(self) -> None:
        if self._committing is not None:
            await self._committing
            self._committing = None

    async def _land_batch(self, batch: Batch) -> None:
        done = await self._writer.commit(batch)
        self._summary.add(batch, done)
        for start, end in done.gaps:
            _log.warning("gap_opened from_slot=%d to_slot=%d reason=%r", start, end, batch.gap_reason)
        for start, end in done.filled:
            _log.info("gap_filled from_slot=%d to_slot=%d", start, end)

    async def _look_around(self) -> None:
        """Now and then: names that changed, days that became complete, a line of progress, a commit that failed."""
        now = time.monotonic()
        if self._committing is not None and self._committing.done():
            await self._committed()
        if now - self._refreshed_at >= _REFRESH_SECONDS:
            self._refreshed_at = now
            await self._committed()
            self._lander.wallets = await self._writer.wallets()
            await self._writer.seal_covered()
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
        try:
            async with asyncio.timeout(_LAST_COMMIT_SECONDS):
                await self._commit_rest()
        except TimeoutError:
            self._writer.abort()
            raise StoreError(
                f"the database did not take the last slots within {_LAST_COMMIT_SECONDS:g} s: "
                "they are not lost, the next run asks for them again"
            ) from None

    async def _commit_rest(self) -> None:
        await self._committed()
        if self._batch:
            await self._commit()
        await self._committed()
