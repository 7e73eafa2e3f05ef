"""What gap filling and wallet backfill share: the node, the database in its own thread, the fetcher and the counts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import psycopg
from psycopg import errors

from copytrader_core.errors import StoreError
from copytrader_core.solana.rpc import RpcClient
from copytrader_core.store import backfill, days, ingest
from copytrader_core.store.backfill import Progress
from copytrader_core.store.ingest import Batch
from copytrader_core.store.wallets import Wallet
from ingest_worker.backfill_fetch import Fetcher

__all__ = ["Desk", "Observer", "Summary"]

_MAX_CONFLICTS = 20
Result = TypeVar("Result")
Params = ParamSpec("Params")


class Observer(Protocol):
    """Who watches a run."""

    def say(self, line: str) -> None:
        """Something that a user wants to read."""

    def begin(self, what: str, total: int | None) -> None:
        """A part of the work begins, of so many steps if that is known."""

    def advance(self, steps: int) -> None:
        """So many steps of it are done."""


@dataclass(slots=True)
class Summary:
    """What a run has done. `events` are new rows, `duplicates` rows that were there already."""

    slots: int = 0
    transactions: int = 0
    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    unplaced: int = 0
    gaps_filled: int = 0
    wallets: int = 0
    requests: int = 0
    retries: int = 0
    open_gaps: list[str] = field(default_factory=list)
    stopped_by: signal.Signals | None = None

    def __str__(self) -> str:
        """One line, key=value."""
        return (
            f"wallets={self.wallets} gaps_filled={self.gaps_filled} gaps_open={len(self.open_gaps)} slots={self.slots} "
            f"transactions={self.transactions} events={self.events} duplicates={self.duplicates} "
            f"dead_letters={self.dead_letters} unplaced={self.unplaced} requests={self.requests} retries={self.retries}"
        )


@dataclass(slots=True)
class Desk:
    """The tools of one run. `history_from`: unix time of the node's oldest block, None where it does not tell."""

    rpc: RpcClient
    connection: psycopg.Connection
    fetcher: Fetcher
    observer: Observer
    wallets: Mapping[str, Wallet]
    summary: Summary = field(default_factory=Summary)
    first_available: int = 0
    history_from: int | None = None
    late_for: set[date] = field(default_factory=set)

    async def ask(
        self,
        work: Callable[Concatenate[psycopg.Connection, Params], Result],
        *args: Params.args,
        **kwargs: Params.kwargs,
    ) -> Result:
        """Runs `work` on the connection in a thread, to its end also when the run is being stopped.

        A conflict with the worker's own transaction is tried again. Raises StoreError when the database is away.
        """
        for _ in range(_MAX_CONFLICTS):
            try:
                return await asyncio.shield(asyncio.to_thread(work, self.connection, *args, **kwargs))
            except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable):
                await asyncio.sleep(0.05)
            except psycopg.OperationalError as error:
                raise StoreError(
                    f"the database went away: {str(error).strip()}; what was committed stays, run the command again"
                ) from error
        raise StoreError("the database refused a batch again and again: another program locks it; try again later")

    async def land(self, batch: Batch, wallet: str | None = None, reached: Progress | None = None) -> None:
        """Commits `batch` and how far `wallet` has come, and counts what it changed."""
        try:
            landed = await self.ask(backfill.land, batch, wallet, reached)
        except ingest.UNSTORABLE:
            await self.ask(ingest.set_aside_bad_rows, batch)
            landed = await self.ask(backfill.land, batch, wallet, reached)
        self.summary.slots += len(batch.slots)
        self.summary.events += landed.committed.inserted
        self.summary.duplicates += landed.committed.duplicates
        self.summary.dead_letters += landed.committed.dead_letters
        self.late_for.update(landed.late_for)

    async def recount(self) -> None:
        """Counts the sealed days again that rows came too late for, and says so."""
        late_for, self.late_for = self.late_for, set()
        for sealed in await self.ask(days.recount_sealed, late_for) if late_for else ():
            self.observer.say(
                f"{sealed.day} was dropped after its snapshot: {sealed.late_events} late events are in raw_events only"
                if sealed.late_events
                else f"{sealed.day} was sealed already: counted again, {sealed.n_events} events now"
            )
