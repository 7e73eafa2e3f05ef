"""One look at everything: executor, ingest, leaders, guards. With Postgres or without it, never held up by it.

Two readers look: one with the tables, in a thread that may hang with them, and one by the journal's files alone, which
is asked only while the first one has nothing fresh to tell. How it is shown is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from copytrader_cli.watch.aside import aside
from copytrader_cli.watch.guards import CodesOfTables, CodesToday
from copytrader_cli.watch.ingest import Ingest, read_ingest
from copytrader_cli.watch.leaders import Leader, read_leaders
from copytrader_core.errors import CopytraderError, DataError
from copytrader_core.settings import settings
from copytrader_core.store.postgres import embedded, plain_url
from executor.status import Status, StatusReader

__all__ = ["Facts", "Looker", "known_url", "reading"]

_DAY_NS: Final = 86_400_000_000_000
# How long a look waits for the tables, and how old what they told may be before they count as away.
_WAIT_SECONDS: Final = 2.0
_FRESH_SECONDS: Final = 6.0
_LEADERS_EVERY_SECONDS: Final = 5.0
_LEADERS_SHARE: Final = 20.0
_RETRY_SECONDS: Final = 3.0
_DAMAGED_SECONDS: Final = 30.0
_FOR_EVER_SECONDS: Final = 1e9
_OURS_SECONDS: Final = 60.0
_OPTIONS: Final = "-c timezone=UTC -c default_transaction_read_only=on -c statement_timeout=4000"
# A peer that is gone without a word is noticed within 15 s, not after two hours.
_LINE: Final[Mapping[str, Any]] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 5,
    "tcp_user_timeout": 10_000,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """One moment. `ingest` and `leaders` are None where Postgres, which alone has them, is away; `status` says why.

    `journal_problem`: why the journal's files cannot be read; `status` has no book then but that of the tables.
    `codes` counts today's decisions, None where nobody knows; `codes_since_ns` as in `CodesToday`.
    """

    mode: str
    status: Status
    journal_problem: str | None
    away: str | None
    ingest: Ingest | None
    leaders: Sequence[Leader] | None
    codes: Mapping[str, int] | None
    codes_since_ns: int | None
    at: float

    @property
    def has_book(self) -> bool:
        """Whether anything has been journalled that numbers of today could come from."""
        return self.status.newest_ns is not None

    @property
    def is_blind(self) -> bool:
        """No journal is here and Postgres is away: there may be an executor elsewhere, or none."""
        return self.status.source == "none" and self.away is not None

    @property
    def is_live(self) -> bool:
        """Whether the journal's time is ours, so that its clocks tick, with nobody there to sell too.

        Those of a market that was replayed stand still.
        """
        return abs(self.at - self.status.now_ns / 1e9) < _OURS_SECONDS


@dataclass(frozen=True, slots=True)
class _Told:
    """What the tables told, and when by the monotonic clock."""

    at: float
    status: Status | None = None
    journal_problem: str | None = None
    ingest: Ingest | None = None
    leaders: Sequence[Leader] | None = None
    codes: Mapping[str, int] | None = None
    problem: str | None = None


def known_url() -> str | None:
    """Where the database is: DATABASE_URL, or the embedded one if it ever ran. Nothing is started or migrated."""
    given = settings().database_url
    return plain_url(given) if given else embedded().last_url()


def reading(url: str) -> psycopg.Connection[Any]:
    """A connection that can only read, and whose statements end after 4 s."""
    return psycopg.connect(url, autocommit=True, options=_OPTIONS, application_name="copytrader watch", **_LINE)


class Looker:
    """Looks again and again. One at a time: `look` is called by one task only."""

    def __init__(self, mode: str, home: Path, n_decisions: int = 8) -> None:
        """`home` is the folder with the control file and the journals, as for `StatusReader`."""
        self._mode = mode
        self._folder = home / mode
        self._tables = _Tables(mode, home, n_decisions)
        self._files = _Reader(mode, home, n_decisions)
        self._codes = CodesToday(self._folder)
        self._told: _Told | None = None
        self._asking: asyncio.Task[_Told] | None = None
        self._asked_at = 0.0

    async def look(self) -> Facts:
        """What is known now. Raises nothing for what is away or damaged: it says so."""
        told = await self._ask()
        fresh = told is not None and told.problem is None
        if told is not None and told.status is not None:
            status, problem = told.status, told.journal_problem
        else:
            status, problem = await asyncio.to_thread(self._files.read, None, self._away(told))
        codes, since = await self._counted(status, told)
        return Facts(
            mode=self._mode,
            status=status,
            journal_problem=problem,
            away=None if fresh else self._away(told),
            ingest=told.ingest if told else None,
            leaders=told.leaders if told else None,
            codes=codes,
            codes_since_ns=since,
            at=time.time(),
        )

    def close(self) -> None:
        """Hangs up on Postgres, in the middle of a look too."""
        self._tables.close()

    async def _ask(self) -> _Told | None:
        """What the tables told last, if that is fresh."""
        if self._asking is None or self._asking.done():
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(aside(self._tables.look, _FOR_EVER_SECONDS))
        await asyncio.wait({self._asking}, timeout=_WAIT_SECONDS)
        if self._asking.done():
            self._told = self._asking.result()
        fresh = self._told is not None and time.monotonic() - self._told.at < _FRESH_SECONDS
        return self._told if fresh else None

    def _away(self, told: _Told | None) -> str:
        if told is not None and told.problem is not None:
            return told.problem
        return f"Postgres has not answered for {time.monotonic() - self._asked_at:.0f} s"

    async def _counted(self, status: Status, told: _Told | None) -> tuple[Mapping[str, int] | None, int | None]:
        if status.newest_ns is None:
            return None, None
        if status.source != "journal":
            return (told.codes if told else None), None
        try:
            await asyncio.to_thread(self._codes.refresh, status.now_ns // _DAY_NS)
        except (DataError, OSError):
            return None, None
        return Counter(self._codes.counts), self._codes.since_ns


class _Reader:
    """A status reader that tells of a damaged journal instead of raising, and does not read it again every second."""

    def __init__(self, mode: str, home: Path, n_decisions: int) -> None:
        self._given = (mode, home, n_decisions)
        self._whole = StatusReader(*self._given)
        self._blind = StatusReader(*self._given, journal=False)
        self._problem: str | None = None
        self._again_at = 0.0

    def read(self, connection: psycopg.Connection[Any] | None, away: str | None = None) -> tuple[Status, str | None]:
        """The status, without the journal where that is damaged, and why."""
        if self._problem is None or time.monotonic() >= self._again_at:
            try:
                status = self._whole.read(connection, away)
            except (DataError, OSError) as error:
                self._problem = " ".join(str(error).split())
                self._again_at = time.monotonic() + _DAMAGED_SECONDS
                self._whole = StatusReader(*self._given)
            else:
                self._problem = None
                return status, None
        return self._blind.read(connection, away), self._problem


class _Tables:
    """One connection that is kept, and looked through from one thread at a time."""

    def __init__(self, mode: str, home: Path, n_decisions: int) -> None:
        self._reader = _Reader(mode, home, n_decisions)
        self._connection: psycopg.Connection[Any] | None = None
        self._problem = ""
        self._not_before = 0.0
        self._codes = CodesOfTables(mode)
        self._leaders: Sequence[Leader] | None = None
        self._leaders_again_at = float("-inf")

    def look(self) -> _Told:
        """Everything that the tables tell, or why they do not."""
        if self._connection is None and time.monotonic() < self._not_before:
            return _Told(time.monotonic(), problem=self._problem)
        try:
            return self._looked(self._connected())
        except (psycopg.Error, CopytraderError, OSError) as error:
            self._lost(error)
            return _Told(time.monotonic(), problem=self._problem)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            url = known_url()
            if url is None:
                raise DataError("there is no database yet: `copytrader db url` makes one")
            self._connection = reading(url)
        return self._connection

    def _looked(self, connection: psycopg.Connection[Any]) -> _Told:
        status, damage = self._reader.read(connection)
        codes = None
        if status.source == "tables" and status.newest_ns is not None:
            self._codes.refresh(connection, status.now_ns // _DAY_NS)
            codes = Counter(self._codes.counts)
        ingest = read_ingest(connection)
        return _Told(time.monotonic(), status, damage, ingest, self._known_leaders(connection), codes)

    def _known_leaders(self, connection: psycopg.Connection[Any]) -> Sequence[Leader] | None:
        """As they were read last: seldom, and the more so the longer it takes. None where it takes too long."""
        began = time.monotonic()
        if began >= self._leaders_again_at:
            try:
                self._leaders = read_leaders(connection)
            except psycopg.errors.QueryCanceled:
                self._leaders = None
            took = time.monotonic() - began
            self._leaders_again_at = began + max(_LEADERS_EVERY_SECONDS, _LEADERS_SHARE * took)
        return self._leaders

    def close(self) -> None:
        """Hangs up; the next look begins anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _lost(self, error: Exception) -> None:
        self.close()
        self._problem = " ".join(str(error).split())
        self._not_before = time.monotonic() + _RETRY_SECONDS
