"""The page's parts as HTML, from one look. Escaped by the templates; what they need of numbers and words is made here.

A part's text changes only when its facts do: what counts up or down by itself carries its moment and is the page's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from copytrader_cli.cockpit.words import ago, hour, short, sol
from copytrader_cli.watch.leaders import Leader
from copytrader_cli.watch.look import Facts
from copytrader_core.records import LAMPORTS_PER_SOL
from copytrader_core.settings import settings
from executor.status import Row, exits_of

__all__ = ["PANELS", "STATIC", "document", "fingerprint", "panels", "pnl_line"]

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
PANELS: Final = ("state", "notes", "tiles", "positions", "leaders", "guards", "decisions")
_ACCEPTED: Final = "ACCEPTED"
_SILENT_SECONDS: Final = 30.0
_LATE_SECONDS: Final = 15.0
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Clock:
    """A moment that the page counts to. `at_ms` is None where time stands still; `text` is right when it is written."""

    name: str
    text: str
    at_ms: int | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of the headline. `tone`: good, bad, warn or nothing; `since_ms` makes it count up."""

    name: str
    value: str
    note: str
    tone: str = ""
    since_ms: int | None = None


def panels(facts: Facts) -> dict[str, str]:
    """Every part of the page by its name."""
    views: Mapping[str, Callable[[Facts], Mapping[str, Any]]] = {
        "state": _state,
        "notes": lambda facts: {"notes": list(_notes(facts))},
        "tiles": lambda facts: {"tiles": list(_tiles(facts))},
        "positions": _positions,
        "leaders": _leaders,
        "guards": _guards,
        "decisions": _decisions,
    }
    return {name: _render(f"{name}.html", **views[name](facts)) for name in PANELS}


def document(facts: Facts, word: str, actions: bool) -> str:
    """The whole page."""
    parts = {name: Markup(text) for name, text in panels(facts).items()}  # noqa: S704 -- rendered and escaped above
    line = orjson.dumps(pnl_line(facts)).decode()
    return _render("page.html", parts=parts, word=word, actions=actions, mode=facts.mode, line=line, v=fingerprint())


def pnl_line(facts: Facts) -> dict[str, Any]:
    """Today's result after each sale or failed transaction: seconds since the epoch, and SOL."""
    xs: list[float] = []
    ys: list[float] = []
    total = 0
    for at_ns, lamports, _ in facts.status.results_today if facts.has_book else ():
        total += lamports
        if xs and xs[-1] == at_ns / 1e9:
            ys[-1] = total / LAMPORTS_PER_SOL
            continue
        xs.append(at_ns / 1e9)
        ys.append(total / LAMPORTS_PER_SOL)
    return {"xs": xs, "ys": ys, "says": _line_says(facts, xs, ys)}


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """What changes with the page's scripts and styles: part of their addresses, so that no old one is kept."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _line_says(facts: Facts, xs: Sequence[float], ys: Sequence[float]) -> str:
    if not facts.has_book:
        return "Nothing has been journalled yet, so there is no result."
    if not xs:
        return "No sale yet today."
    return f"{len(xs)} results today, {ys[-1]:+.4f} SOL together, {min(ys):+.4f} at the lowest, {max(ys):+.4f} at best."


# --- the parts --------------------------------------------------------------------------------------------------------


def _state(facts: Facts) -> dict[str, Any]:
    status = facts.status
    where = f"file {status.file.state}" if status.file else "no file"
    where += f", row {status.row.state}" if status.row else ", row not known"
    meaning = {
        "ACTIVE": "Buys and exits",
        "REDUCING": "No buys; exits go on",
        "HALTED": "Nothing is sent, exits neither",
    }[status.state]
    process = "runs" if status.running else "not known" if facts.is_blind else "not running"
    return {
        "status": status,
        "process": process,
        "where": where,
        "meaning": meaning,
        "locks": [_lock(row) for row in status.locks],
    }


def _lock(row: Row) -> str:
    about = "all buys" if row["scope"] == "all" else f"{row['scope']} {short(row['key'])}"
    return f"{about}: {row['reason']}"


def _notes(facts: Facts) -> Sequence[tuple[str, str]]:
    """What is not as it should be, gravest first: (tone, text)."""
    status, found = facts.status, []
    if facts.journal_problem:
        found.append(("bad", f"The journal cannot be read: {facts.journal_problem}"))
    if facts.away:
        found.append(
            ("bad", f"Postgres is away ({facts.away}): ingest, leaders, locks and prices are not known meanwhile.")
        )
    if not status.running:
        if facts.is_blind:
            elsewhere = "whether one runs on another machine is not known"
            found.append(("warn", f"No {facts.mode} executor has a journal here; {elsewhere}."))
        elif status.newest_ns is None:
            start = f"copytrader executor run --mode {facts.mode}"
            found.append(("warn", f"No {facts.mode} executor has run here yet, its journal is empty: {start}"))
        else:
            n = len(status.positions)
            held = f"; {n} position{'s wait' if n > 1 else ' waits'} for it" if n else ""
            found.append(("bad" if held else "warn", f"The {facts.mode} executor is not running{held}."))
    stuck = [row for row in status.positions if row["payload"].get("waiting")]
    if stuck:
        reasons = ", ".join(sorted({row["payload"]["waiting"] for row in stuck}))
        found.append(("bad", f"{len(stuck)} due exit{'s wait' if len(stuck) > 1 else ' waits'}: {reasons}"))
    ingest = facts.ingest
    if ingest is not None and (ingest.silent_seconds or 0) > _SILENT_SECONDS:
        found.append(("warn", "Ingest writes nothing: it has ended, or its stream is silent."))
    return found


def _tiles(facts: Facts) -> Sequence[Tile]:
    return (_lag(facts), _gaps(facts), _release(facts), _open(facts), _pnl(facts))


def _lag(facts: Facts) -> Tile:
    ingest = facts.ingest
    if ingest is None:
        return Tile("ingest lag", "not known", "Postgres is away", "warn")
    lag = ingest.lag_seconds
    if lag is None or ingest.block_time is None:
        return Tile("ingest lag", "nothing yet", "no slot has been recorded")
    tone = "bad" if lag > _LATE_SECONDS else "good"
    since = int(ingest.block_time * 1_000) if lag < _DAY_SECONDS else None
    return Tile("ingest lag", ago(lag), f"slot {ingest.slot:,} is recorded", tone, since)


def _gaps(facts: Facts) -> Tile:
    ingest = facts.ingest
    if ingest is None:
        return Tile("open gaps", "not known", "Postgres is away", "warn")
    if not ingest.n_gaps:
        return Tile("open gaps", "0", "no slot is missing" if ingest.slot else "nothing recorded yet")
    newest = ingest.gaps[0]
    return Tile("open gaps", f"{ingest.n_gaps:,}", f"{ingest.missing_slots:,} slots; newest: {newest.reason}", "warn")


def _release(facts: Facts) -> Tile:
    status = facts.status
    if status.release_id is None:
        return Tile("release", "not known" if facts.away else "none", "no release is followed yet", "warn")
    as_of = f"patterns as of {status.release_as_of}" if status.release_as_of else status.release_id
    age = status.release_age_seconds
    if age is None:
        return Tile("release age", "not known", as_of, "warn")
    since = int((facts.at - age) * 1_000) // 60_000 * 60_000
    return Tile("release age", ago(age), as_of, "warn" if age > 2 * _DAY_SECONDS else "", since)


def _open(facts: Facts) -> Tile:
    rows = facts.status.positions
    if not facts.has_book:
        return Tile("open positions", *_no_book(facts))
    if not rows:
        return Tile("open positions", "0", "nothing is held")
    cost = sum(row["cost_lamports"] for row in rows)
    marks = [row.get("mark_lamports") for row in rows]
    known = [mark for mark in marks if mark is not None]
    worth = f", {sol(sum(known) - cost)} if sold now" if len(known) == len(marks) else ""
    return Tile("open positions", str(len(rows)), f"cost {cost / LAMPORTS_PER_SOL:.3f} SOL{worth}")


def _pnl(facts: Facts) -> Tile:
    status = facts.status
    if not facts.has_book:
        return Tile("PnL today", *_no_book(facts))
    pnl = status.pnl_today_lamports
    tone = "good" if pnl > 0 else "bad" if pnl < 0 else ""
    won = f", {status.won_today} won" if status.closed_today else ""
    return Tile("PnL today", sol(pnl), f"{status.closed_today} closed{won}", tone)


def _no_book(facts: Facts) -> tuple[str, str, str]:
    """What stands in place of a number that nobody knows: value, note, tone."""
    blind = ("not known", "no journal is here, and Postgres is away", "warn")
    return blind if facts.is_blind else ("none yet", "the journal is empty", "")


def _positions(facts: Facts) -> dict[str, Any]:
    rows = []
    for row in facts.status.positions:
        mark = row.get("mark_lamports")
        rows.append(
            {
                "leader": short(row["leader"] or "found on chain"),
                "mint": row["mint"],
                "state": row["state"].lower(),
                "cost": f"{row['cost_lamports'] / LAMPORTS_PER_SOL:.3f}",
                "multiple": "" if mark is None or not row["cost_lamports"] else f"{mark / row['cost_lamports']:.3f}",
                "up": mark is not None and mark >= row["cost_lamports"],
                "held": _held(facts, row),
                "clocks": _clocks(facts, row),
                "due": row["payload"].get("due"),
                "waiting": row["payload"].get("waiting"),
            }
        )
    orders = [
        f"{row['side'].lower()} {short(row['mint'])} ({row['state'].lower()})"
        for row in facts.status.orders
        if facts.has_book
    ]
    return {
        "rows": rows,
        "orders": orders,
        "has_book": facts.has_book,
        "live": facts.is_live,
        "running": facts.status.running,
    }


def _held(facts: Facts, row: Row) -> Clock:
    seconds = (facts.status.now_ns - row["opened_ts_ns"]) / 1e9
    return Clock("held", ago(seconds), row["opened_ts_ns"] // 1_000_000 if facts.is_live else None)


def _clocks(facts: Facts, row: Row) -> list[Clock]:
    found = []
    plan = row["payload"]["plan"]
    for name, seconds in exits_of(row, facts.status.now_ns):
        if seconds is None:
            found.append(Clock(name, ""))
            continue
        text = f"in {ago(seconds)}" if seconds >= 0 else f"{ago(-seconds)} over"
        at_ms = row["opened_ts_ns"] // 1_000_000 + int(plan[f"{name}_ms"])
        found.append(Clock(name, text, at_ms if facts.is_live else None, seconds < 0))
    return found


def _leaders(facts: Facts) -> dict[str, Any]:
    if facts.leaders is None:
        return {"rows": None}
    status = facts.status
    ours = [row["wallet"] for row in status.positions]
    results: dict[str, int] = {}
    for _, lamports, leader in status.results_today:
        if leader is not None:
            results[leader] = results.get(leader, 0) + lamports
    locked = {row["key"] for row in status.locks if row["scope"] == "leader"}
    now_ns = int((facts.ingest.block_time if facts.ingest and facts.ingest.block_time else facts.at) * 1e9)
    rows = [
        _leader(facts, one, now_ns, ours.count(one.wallet), results.get(one.wallet), locked) for one in facts.leaders
    ]
    return {"rows": rows}


def _leader(facts: Facts, one: Leader, now_ns: int, ours: int, result: int | None, locked: set[str]) -> dict[str, Any]:
    live = facts.ingest is not None and (facts.ingest.lag_seconds or 0) < _DAY_SECONDS
    last = None
    if one.last_ns is not None:
        at_ms = one.last_ns // 1_000_000 if live else None
        last = Clock((one.last_action or "").lower(), f"{ago(max(0.0, (now_ns - one.last_ns) / 1e9))}", at_ms)
    return {
        "name": one.name or short(one.wallet),
        "wallet": one.wallet,
        "state": _live_state(one, locked),
        "last": last,
        "ours": ours,
        "result": None if result is None else sol(result),
        "up": (result or 0) >= 0,
        "win": "" if one.win_rate is None else f"{one.win_rate:.0%}",
        "trips": f"{one.sample_trades:,}",
        "hold": "" if one.p50_hold_ms is None else ago(one.p50_hold_ms / 1e3),
        "followers": one.followers,
    }


def _live_state(one: Leader, locked: set[str]) -> tuple[str, str]:
    """What a leader is doing: (class, words)."""
    if one.wallet in locked:
        return "bad", "locked"
    if one.wallet in settings().risk.blocked_leaders:
        return "bad", "blocked"
    if one.holds:
        return "good", f"holds {one.holds} coin{'s' if one.holds > 1 else ''}"
    return ("", "out") if one.last_ns is not None else ("quiet", "quiet")


def _guards(facts: Facts) -> dict[str, Any]:
    if facts.codes is None:
        return {"rows": None, "taken": 0, "total": 0, "since": None}
    total = sum(facts.codes.values())
    refused = sorted(((n, code) for code, n in facts.codes.items() if code != _ACCEPTED), reverse=True)
    most = refused[0][0] if refused else 1
    rows = [{"code": code, "n": f"{n:,}", "width": max(1, round(100 * n / most))} for n, code in refused]
    since = facts.codes_since_ns
    return {
        "rows": rows,
        "taken": facts.codes.get(_ACCEPTED, 0),
        "total": total,
        "since": hour(since) if since else None,
    }


def _decisions(facts: Facts) -> dict[str, Any]:
    rows = [
        {
            "leader": short(row["leader"] or ""),
            "mint": row["mint"] or "",
            "code": row["code"],
            "taken": row["code"] == _ACCEPTED,
            "spend": f"{int(row['spend_lamports']) / LAMPORTS_PER_SOL:.3f}" if row["spend_lamports"] else "",
            "at": hour(row["at_ns"]),
        }
        for row in facts.status.decisions
    ]
    return {"rows": rows, "has_book": facts.has_book}


@lru_cache(maxsize=1)
def _templates() -> Environment:
    loader = FileSystemLoader(_HERE / "templates")
    found = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters["short"] = short
    return found


def _render(name: str, **values: Any) -> str:
    return _templates().get_template(name).render(**values)
