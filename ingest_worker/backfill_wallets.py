"""Hydrating one wallet's history, newest first: whatever ends a run leaves a stretch that is known to be whole."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from copytrader_core.errors import DataError
from copytrader_core.solana.rpc import RpcGoneError, RpcSkippedError
from copytrader_core.store import backfill
from copytrader_core.store.backfill import Progress
from copytrader_core.store.ingest import Batch
from ingest_worker.backfill_desk import Desk
from ingest_worker.backfill_fetch import StopRequestedError
from ingest_worker.backfill_landing import Fetched, land_fetched, read
from ingest_worker.clock import SlotClock

__all__ = ["BlockOrders", "Period", "hydrate"]

_COMMIT_SIGNATURES = 100
# The signatures of a mainnet block take about half a megabyte as a dict.
_REMEMBERED_BLOCKS = 64
Info = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Period:
    """Which part of the history is wanted, in unix seconds; `before` is the first second that is not."""

    since: int
    before: int | None = None


class BlockOrders:
    """In which order a block's transactions stand, asked once per block."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._orders: OrderedDict[int, asyncio.Task[dict[str, int]]] = OrderedDict()

    async def place(self, slot: int, signature: str) -> int | None:
        """The transaction's index in its block, None where the node cannot tell."""
        task = self._orders.get(slot)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._orders[slot] = asyncio.create_task(self._order(slot))
        self._orders.move_to_end(slot)
        while len(self._orders) > _REMEMBERED_BLOCKS:
            self._orders.popitem(last=False)
        return (await asyncio.shield(task)).get(signature)

    async def close(self) -> None:
        """Ends what is still under way."""
        for task in self._orders.values():
            task.cancel()
        await asyncio.gather(*self._orders.values(), return_exceptions=True)

    async def _order(self, slot: int) -> dict[str, int]:
        try:
            block = await self._desk.rpc.block(slot, "signatures")
        except (RpcSkippedError, RpcGoneError):
            block = None
        return {signature: index for index, signature in enumerate((block or {}).get("signatures") or ())}


async def hydrate(desk: Desk, orders: BlockOrders, wallet: str, period: Period) -> None:
    """Lands every transaction of `wallet` in `period` that is not landed yet, all rows of each."""
    await _Hydration(desk, orders, wallet, period).run()


class _Hydration:
    """One wallet. Three scans at most: the end of an interrupted one, what is newer, what is older."""

    def __init__(self, desk: Desk, orders: BlockOrders, wallet: str, period: Period) -> None:
        self._desk = desk
        self._orders = orders
        self._wallet = wallet
        self._period = period
        self._progress = Progress()
        self._clock = SlotClock()
        self._batch = Batch()

    async def run(self) -> None:
        """Extends the stretch that is complete, upwards to now and downwards to the period's beginning."""
        self._progress = await self._desk.ask(backfill.progress, self._wallet)
        self._desk.observer.begin(f"wallet {self._wallet}", None)
        try:
            if self._progress.cursor_sig is not None:
                await self._scan_newer(resume=True)
            await self._scan_newer(resume=False)
            since = self._progress.complete_since
            if since is not None and self._covered_since() < since:
                await self._scan_older()
        except StopRequestedError:
            await self._commit()
            raise
        self._desk.summary.wallets += 1

    async def _scan_newer(self, *, resume: bool) -> None:
        """From the newest signature, or from where the last run was stopped, down to the stretch that is complete."""
        before = self._progress.cursor_sig if resume else None
        # Below the newest part everything is known; a first scan has no such floor but the wanted time.
        is_first = self._progress.newest_sig is None
        floor = self._period.since if is_first else None
        async for infos in self._pages(before, self._progress.newest_sig, floor):
            for part in _parts(infos if resume else self._wanted(infos)):
                await self._land(part)
                head = self._progress if self._progress.head_sig else _headed(self._progress, part[0])
                await self._reach(replace(head, cursor_sig=part[-1]["signature"]))
        if self._progress.cursor_sig is not None:
            await self._reach(self._joined())

    async def _scan_older(self) -> None:
        """From the oldest signature of the complete stretch down to the wanted time."""
        async for infos in self._pages(self._progress.oldest_sig, None, self._period.since):
            for part in _parts(infos):
                await self._land(part)
                await self._reach(replace(self._progress, oldest_sig=part[-1]["signature"]))
        await self._reach(replace(self._progress, complete_since=self._covered_since()))

    def _joined(self) -> Progress:
        """The progress after a scan of the newer part has met the complete stretch, or has become it."""
        scanned = self._progress
        joined = replace(
            scanned,
            newest_sig=scanned.head_sig,
            newest_slot=scanned.head_slot,
            head_sig=None,
            head_slot=None,
            cursor_sig=None,
        )
        if scanned.newest_sig is not None:
            return joined
        return replace(joined, oldest_sig=scanned.cursor_sig, complete_since=self._covered_since())

    def _covered_since(self) -> int:
        """From when on nothing is missing: an older time than the node's own history cannot be vouched for."""
        return max(self._period.since, self._desk.history_from or 0)

    def _wanted(self, infos: Sequence[Info]) -> Sequence[Info]:
        limit = self._period.before
        if limit is None:
            return infos
        return [info for info in infos if info.get("blockTime") is None or info["blockTime"] < limit]

    async def _pages(self, before: str | None, until: str | None, floor: int | None) -> AsyncIterator[Sequence[Info]]:
        """Lists of signatures, newest first, from below `before` to above `until` and not older than `floor`."""
        resumed, context = before, None
        while True:
            page = await self._desk.fetcher.one(
                self._desk.rpc.signatures(self._wallet, before=before, until=until, min_context_slot=context)
            )
            if not page:
                if resumed is not None and resumed == before:
                    await self._check_known(resumed)
                return
            context = context or page[0]["slot"]
            kept = [info for info in page if not self._is_below(info, until, floor)]
            if kept:
                yield kept
            if len(kept) < len(page):
                return
            before = page[-1]["signature"]

    def _is_below(self, info: Info, until: str | None, floor: int | None) -> bool:
        # A node that does not know `until` lists on to the beginning of time; the slot tells that we have passed it.
        if until is not None and info["slot"] < (self._progress.newest_slot or 0):
            return True
        return floor is not None and info.get("blockTime") is not None and info["blockTime"] < floor

    async def _check_known(self, signature: str) -> None:
        """An empty list means the end of the history only if the node knows the signature to list from."""
        if await self._desk.fetcher.one(self._desk.rpc.transaction(signature)) is None:
            raise DataError(
                f"{self._desk.rpc.label} does not know transaction {signature}, where the history of {self._wallet} "
                "goes on: use --rpc of the network and of a node that keeps as much history as the one before"
            )

    async def _land(self, infos: Sequence[Info]) -> None:
        """Fetches what is not landed of these signatures and fills the batch with its rows."""
        signatures = [info["signature"] for info in infos if info.get("err") is None]
        known = await self._desk.ask(backfill.known_signatures, signatures) if signatures else set()
        missing = [info for info in infos if info.get("err") is None and info["signature"] not in known]
        self._desk.observer.advance(len(infos) - len(missing))
        async with aclosing(self._desk.fetcher.each(missing, self._fetch)) as found:
            async for _, fetched in found:
                land_fetched(fetched, self._clock, self._desk.wallets, self._batch)
                self._desk.summary.transactions += 1
                self._desk.observer.advance(1)

    async def _fetch(self, info: Info) -> Fetched:
        signature = info["signature"]
        document = await self._desk.rpc.transaction(signature)
        if document is None:
            raise DataError(
                f"{self._desk.rpc.label} lists transaction {signature} of {self._wallet} and does not have it: "
                "use --rpc of a node that keeps the whole history"
            )
        document = {**document, "slot": info["slot"]}
        if document.get("blockTime") is None:
            document["blockTime"] = info.get("blockTime")
        fetched = read(document, signature, time.time_ns())
        if not fetched.is_ours or document.get("transactionIndex") is not None:
            return fetched
        place = await self._orders.place(info["slot"], signature)
        self._desk.summary.unplaced += place is None
        return fetched.placed(place)

    async def _reach(self, progress: Progress) -> None:
        """Commits the batch together with how far we are."""
        await self._desk.land(self._batch, self._wallet, progress)
        self._progress = progress
        self._batch = Batch()

    async def _commit(self) -> None:
        """Keeps the rows that have come before a stop; the cursor stays, so that the rest of their part comes again."""
        if self._batch:
            await self._desk.land(self._batch)
            self._batch = Batch()


def _parts(infos: Sequence[Info]) -> list[Sequence[Info]]:
    return [infos[at : at + _COMMIT_SIGNATURES] for at in range(0, len(infos), _COMMIT_SIGNATURES)]


def _headed(progress: Progress, newest: Info) -> Progress:
    return replace(progress, head_sig=newest["signature"], head_slot=newest["slot"])
