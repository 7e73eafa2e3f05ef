"""What the executor is doing: from its journal's files and from Postgres, either of them alone, running or dead.

The files are the truth and come first; where they are not on this machine the tables are read. How it looks is the
command line's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import dict_row

from executor.control import Control, control_from, read_control, stricter
from executor.journal_view import JournalView, writer_of
from executor.ledger import Result
from executor.statements import statement

__all__ = ["Status", "StatusReader", "exits_of", "read_status"]

_NS_PER_DAY: Final = 86_400_000_000_000
# A journal whose newest line is older than this runs in the market's own time: its clock is that line's.
_REPLAYED_NS: Final = _NS_PER_DAY
# Prices are a courtesy: a database that is busy must not hold the table up.
_PRICES_MS: Final = 2_000
_AWAY: Final = Control("REDUCING", False, "the database cannot be reached from here, its state is not known")

Row = dict[str, Any]
Source = Literal["journal", "tables", "none"]


@dataclass(frozen=True, slots=True)
class Status:
    """One look. Today is the UTC day of the journal's newest line, so that a replayed market has its own day.

    `state` is the stricter of `file` and `row`; `row` is None where `database` says why it could not be read. Rows of
    positions have the `mark_lamports` that selling now would bring, None where no price is known. `source` tells where
    the book comes from; with `none`, or without a `newest_ns` (the newest line's time), its zeros mean nothing.
    `results_today` are (time in ns, lamports, leader's address or None), oldest first.
    """

    mode: str
    running: bool
    pid: int | None
    state: str
    flatten: bool
    reason: str | None
    file: Control | None
    row: Control | None
    database: str | None
    release_id: str | None
    release_as_of: str | None
    release_age_seconds: float | None
    slot: int | None
    now_ns: int
    positions: list[Row]
    orders: list[Row]
    closed_today: int
    won_today: int
    pnl_today_lamports: int
    decisions: list[Row]
    locks: list[Row] = field(default_factory=list)
    source: Source = "none"
    newest_ns: int | None = None
    results_today: list[tuple[int, int, str | None]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON values; times to the exits are in seconds, negative when overdue."""
        found = asdict(self)
        for row in found["positions"]:
            row["exits"] = {name: seconds for name, seconds in exits_of(row, self.now_ns) if seconds is not None}
        return found


def exits_of(position: Row, now_ns: int) -> list[tuple[str, float | None]]:
    """The exits of a position and the seconds until each; None for those that wait for a price, not for the clock."""
    plan = position["payload"]["plan"]
    held = (now_ns - position["opened_ts_ns"]) / 1e9
    timed = [(name, plan.get(f"{name}_ms")) for name in ("timer", "kill")]
    found: list[tuple[str, float | None]] = [(name, ms / 1e3 - held) for name, ms in timed if ms is not None]
    priced = (("target", "target_x"), ("trailing", "trailing_fraction"), ("stop", "stop_x"))
    found += [(f"{name} {plan[key]:g}", None) for name, key in priced if plan.get(key) is not None]
    return found


def read_status(connection: psycopg.Connection[Any], mode: str, n_decisions: int = 10) -> Status:
    """The present state of one mode by the tables alone."""
    return StatusReader(mode, None, n_decisions).read(connection)


class StatusReader:
    """Looks again and again; of the journal it reads each time only what is new."""

    def __init__(self, mode: str, home: Path | None, n_decisions: int = 10, *, journal: bool = True) -> None:
        """`home` is the folder with the control file and a journal for each mode, None to go by the tables alone.

        Without `journal` of `home` only the control file is read: for journals that are damaged.
        """
        self._mode = mode
        self._home = home
        self._n_decisions = n_decisions
        self._view = JournalView(home / mode) if home is not None and journal else None

    def read(self, connection: psycopg.Connection[Any] | None, away: str | None = None) -> Status:
        """One look, with the tables if there is a connection; `away` tells why there is none."""
        tables = _Tables(connection, self._mode) if connection is not None else None
        view = self._view if self._view is not None and self._view.exists else None
        if view is not None:
            view.refresh()
        file = read_control(self._home) if self._home is not None else None
        row = control_from(tables.rows("state")) if tables is not None else None
        control = stricter(file or Control("ACTIVE"), row or _AWAY)
        pid = writer_of(view.folder) if view is not None else None
        book = _from_journal(view, self._n_decisions) if view else _from_tables(tables, self._n_decisions)
        now_ns = time.time_ns()
        if book.at_ns and now_ns - book.at_ns > _REPLAYED_NS:
            now_ns = book.at_ns
        release = tables.release(book.release_id) if tables is not None else {}
        if tables is not None:
            tables.dress(book)
        return Status(
            mode=self._mode,
            running=pid is not None or (tables is not None and bool(tables.rows("running")[0]["n"])),
            pid=pid,
            state=control.state,
            flatten=control.flatten,
            reason=control.reason,
            file=file,
            row=row,
            database=away,
            release_id=book.release_id,
            release_as_of=release.get("as_of"),
            release_age_seconds=release.get("age_seconds"),
            slot=book.slot,
            now_ns=now_ns,
            positions=book.positions,
            orders=book.orders,
            closed_today=book.closed,
            won_today=book.won,
            pnl_today_lamports=book.pnl_lamports,
            decisions=book.decisions,
            locks=tables.rows("locks") if tables is not None else [],
            source="journal" if view else "tables" if tables is not None else "none",
            newest_ns=book.at_ns or None,
            results_today=book.results,
        )


@dataclass(slots=True)
class _Book:
    """What both sources give."""

    at_ns: int = 0
    slot: int | None = None
    release_id: str | None = None
    positions: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    closed: int = 0
    won: int = 0
    pnl_lamports: int = 0
    results: list[tuple[int, int, str | None]] = field(default_factory=list)


def _from_journal(view: JournalView, n_decisions: int) -> _Book:
    ledger = view.ledger
    today = view.today if view.today.day == view.at_ns // _NS_PER_DAY else None
    held = sorted(ledger.positions.values(), key=lambda row: row["ts_ns"])
    return _Book(
        at_ns=view.at_ns,
        slot=view.slot,
        release_id=view.release_id,
        positions=[row | {"wallet": row["leader"], "opened_ts_ns": row["ts_ns"]} for row in held],
        orders=[dict(row) for row in ledger.intents.values()],
        decisions=[_decision(line) for line in list(view.decisions)[: -n_decisions - 1 : -1]],
        closed=today.closed if today else 0,
        won=today.won if today else 0,
        pnl_lamports=view.pnl_today_lamports(),
        results=[
            (at_ns, lamports, leader) for at_ns, lamports, _, leader in sorted(view.results_today(), key=_time_of)
        ],
    )


def _time_of(result: Result) -> int:
    return result[0]


def _decision(line: Any) -> Row:
    decision = line["payload"]["decision"]
    entry = decision["entry"] or {}
    facts = {name: line[name] for name in ("at_ns", "slot", "leader", "mint", "leader_sig")}
    return facts | {"code": decision["code"], "spend_lamports": entry.get("spend_lamports")}


def _from_tables(tables: _Tables | None, n_decisions: int) -> _Book:
    if tables is None:
        return _Book()
    newest = tables.rows("status_now")[0]
    at_ns = int(newest["at_ns"])
    since = (at_ns or time.time_ns()) // _NS_PER_DAY * _NS_PER_DAY
    today = tables.rows("status_today", since_ns=since)[0]
    release = tables.rows("release_id")
    return _Book(
        at_ns=at_ns,
        slot=newest["slot"],
        release_id=release[0]["release_id"] if release else None,
        positions=tables.rows("status_positions"),
        orders=tables.rows("status_orders"),
        decisions=tables.rows("status_decisions", limit=n_decisions),
        closed=today["closed"],
        won=today["won"],
        pnl_lamports=int(today["pnl_lamports"]),
        results=[
            (row["closed_ts_ns"], row["pnl_lamports"], row["leader"])
            for row in tables.rows("status_results", since_ns=since)
        ],
    )


class _Tables:
    """What Postgres adds to the book."""

    def __init__(self, connection: psycopg.Connection[Any], mode: str) -> None:
        self._connection = connection
        self._mode = mode

    def rows(self, name: str, **values: Any) -> list[Row]:
        """The rows of a statement for this mode."""
        cursor = self._connection.cursor(row_factory=dict_row)
        return cursor.execute(statement(name), {"mode": self._mode} | values).fetchall()

    def release(self, release_id: str | None) -> Row:
        """How old a release is; empty for one that is not there."""
        found = self.rows("release_age", release_id=release_id)
        return found[0] if found else {}

    def dress(self, book: _Book) -> None:
        """Names of leaders, and what positions would bring now."""
        every: Sequence[Row] = [*book.positions, *book.orders, *book.decisions]
        wallets = sorted({row["leader"] for row in every if row["leader"]})
        names = {row["wallet"]: row["alias"] for row in self.rows("aliases", wallets=wallets)} if wallets else {}
        prices = self._quietly(lambda: self._prices(book.positions)) if book.positions else {}
        for row in every:
            row["leader"] = names.get(row["leader"], row["leader"])
        for row in book.positions:
            row["mark_lamports"] = prices.get(row["position_id"])

    def _prices(self, positions: Sequence[Row]) -> dict[str, int]:
        # Only where something is held: quotes weigh 10 MB, and the pages that show nothing held are many.
        from executor.marks import marks

        mints = sorted({row["mint"] for row in positions})
        return marks(self.rows("last_markets", mints=mints), positions)

    def _quietly(self, ask: Callable[[], dict[str, int]]) -> dict[str, int]:
        """What is asked, or nothing where it takes too long."""
        try:
            with self._connection.transaction():
                self._connection.execute(f"SET LOCAL statement_timeout = {_PRICES_MS}")
                return ask()
        except psycopg.errors.QueryCanceled:
            return {}
