"""Filling the holes of the stream block by block, each slot landed as the worker lands it."""

from __future__ import annotations

import time
from contextlib import aclosing
from itertools import pairwise

from copytrader_core.errors import DataError
from copytrader_core.solana.rpc import MAX_SLOT_RANGE, RpcGoneError, RpcSkippedError
from copytrader_core.store import backfill, days, ingest
from copytrader_core.store.backfill import Gap
from copytrader_core.store.ingest import Batch
from ingest_worker.backfill_desk import Desk
from ingest_worker.backfill_fetch import StopRequestedError
from ingest_worker.backfill_landing import Block, land_block
from ingest_worker.clock import SlotClock

__all__ = ["fill_gaps"]

_COMMIT_SLOTS = 50
_COMMIT_ROWS = 2000
# What a node writes when it does not have the parent any more.
_NO_BLOCKHASH = "1" * 32


async def fill_gaps(desk: Desk) -> None:
    """Fills every open gap as far as the node has its blocks; the others stay open and stand in the summary.

    Raises DataError where the node's chain is not the one that was ingested.
    """
    gaps = await desk.ask(backfill.open_gaps)
    try:
        for gap in gaps:
            await _Filling(desk, gap).run()
    finally:
        # A gap may have become contiguous by other means as well, and a part of the work may be all that was missing.
        filled = await desk.ask(ingest.fill_gaps)
    left = await desk.ask(backfill.open_gaps)
    desk.summary.gaps_filled = len(set(gaps) - set(left))
    for gap in left:
        desk.summary.open_gaps.append(_complaint(desk, gap))
    if filled or desk.summary.gaps_filled:
        for sealed in await desk.ask(days.seal_covered):
            desk.observer.say(f"{sealed.day} is complete now and sealed: {sealed.n_events} events")


def _complaint(desk: Desk, gap: Gap) -> str:
    what = f"slots {gap.from_slot} to {gap.to_slot} ({gap.reason}) are still missing: "
    if gap.from_slot < desk.first_available:
        what += f"{desk.rpc.label} keeps blocks from {desk.first_available} on only; "
    else:
        what += f"{desk.rpc.label} has not all of their blocks; "
    return what + "run `copytrader backfill --all` again with --rpc of a node that keeps the whole history"


class _Filling:
    """One gap."""

    def __init__(self, desk: Desk, gap: Gap) -> None:
        self._desk = desk
        self._gap = gap
        self._clock = SlotClock()
        self._hashes: dict[int, str | None] = {}
        self._batch = Batch(gap_reason=gap.reason)

    async def run(self) -> None:
        """Lands what the node has of the gap and is not landed yet, oldest first."""
        start = await self._desk.ask(backfill.last_known_before, self._gap.from_slot)
        if start is not None:
            self._clock = SlotClock(start.slot, start.block_time)
            self._hashes[start.slot] = start.blockhash
        bounds = [*range(self._gap.from_slot, self._gap.to_slot + 1, MAX_SLOT_RANGE), self._gap.to_slot + 1]
        for first, after in pairwise(bounds):
            await self._fill(first, after - 1)

    async def _fill(self, first: int, last: int) -> None:
        known = await self._desk.ask(backfill.known_slots, first, last)
        slots = await self._desk.fetcher.one(self._desk.rpc.blocks(first, last))
        missing = [slot for slot in slots if slot not in known and first <= slot <= last]
        self._desk.observer.begin(f"slots {first} to {last}", len(missing))
        try:
            async with aclosing(self._desk.fetcher.each(missing, self._fetch)) as blocks:
                async for _, block in blocks:
                    if block is not None:
                        self._land(block)
                    self._desk.observer.advance(1)
                    if len(self._batch.slots) >= _COMMIT_SLOTS or len(self._batch.rows) >= _COMMIT_ROWS:
                        await self._commit()
        except StopRequestedError:
            await self._commit()
            raise
        await self._commit()

    async def _fetch(self, slot: int) -> Block | None:
        """The block, None where the node lists it and does not have it."""
        try:
            block = await self._desk.rpc.block(slot)
        except (RpcSkippedError, RpcGoneError):
            return None
        return None if block is None else Block.read(slot, block, time.time_ns())

    def _land(self, block: Block) -> None:
        self._check_parent(block)
        land_block(block, self._clock, self._desk.wallets, self._batch)
        self._desk.summary.transactions += len(block.transactions)
        self._hashes = {block.slot: block.blockhash}

    def _check_parent(self, block: Block) -> None:
        expected, found = self._hashes.get(block.parent_slot), block.parent_blockhash
        if expected and found and not found.startswith(_NO_BLOCKHASH) and expected != found:
            raise DataError(
                f"{self._desk.rpc.label} serves another chain: its block {block.slot} follows the blockhash {found}, "
                f"ours for slot {block.parent_slot} is {expected}; use --rpc of the network that was ingested"
            )

    async def _commit(self) -> None:
        if self._batch:
            await self._desk.land(self._batch)
            self._batch = Batch(gap_reason=self._gap.reason)
