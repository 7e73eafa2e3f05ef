"""How `executor status` looks: tables of rich. What is shown comes from `executor.status`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from copytrader_cli.amounts import sol
from executor.status import Row, Status, exits_of

__all__ = ["status_tables"]

_COLOURS = {"ACTIVE": "green", "REDUCING": "yellow", "HALTED": "red"}


def status_tables(now: Status) -> RenderableType:
    """Everything of one look."""
    parts: list[RenderableType] = [_overview(now)]
    parts += [_locks(now)] if now.locks else []
    parts += [_positions(now)] if now.positions else []
    parts += [_orders(now)] if now.orders else []
    parts += [_decisions(now)] if now.decisions else []
    return Group(*parts)


def _overview(now: Status) -> Table:
    table = Table(show_header=False, title=f"executor, {now.mode}")
    why = f" ({escape(now.reason)})" if now.reason else ""
    table.add_row("state", f"[{_COLOURS[now.state]}]{now.state}[/]{', flatten' if now.flatten else ''}{why}")
    if now.file is not None:
        table.add_row("", f"file {now.file.state}, row {now.row.state if now.row else 'not known'}")
    process = f"running (process {now.pid})" if now.pid else "running" if now.running else "[red]not running[/]"
    table.add_row("process", process)
    if now.database:
        table.add_row("database", f"[red]away[/]: {escape(now.database)}")
    table.add_row("release", _release(now))
    table.add_row("newest slot", str(now.slot) if now.slot is not None else "none")
    table.add_row("open positions", _held(now))
    table.add_row("today", f"{now.closed_today} closed, {now.won_today} won, {sol(now.pnl_today_lamports)}")
    return table


def _release(now: Status) -> str:
    if now.release_id is None:
        return "none yet"
    as_of = f", patterns as of {now.release_as_of}" if now.release_as_of else ""
    age = f", {_ago(now.release_age_seconds)} old" if now.release_age_seconds is not None else ""
    return f"{now.release_id}{as_of}{age}"


def _held(now: Status) -> str:
    marks = [row.get("mark_lamports") for row in now.positions]
    cost = sum(row["cost_lamports"] for row in now.positions)
    text = f"{len(now.positions)}" + (f", cost {sol(-cost)}" if now.positions else "")
    known = [mark for mark in marks if mark is not None]
    return text + (f", {sol(sum(known) - cost)} if sold now" if known and len(known) == len(marks) else "")


def _positions(now: Status) -> Table:
    table = Table("leader", "coin", "state", "cost", "now", "held", "exits", title="open positions")
    for row in now.positions:
        mark = row.get("mark_lamports")
        gain = "" if mark is None else f"{mark / row['cost_lamports']:.3f}x"
        held = _ago((now.now_ns - row["opened_ts_ns"]) / 1e9)
        table.add_row(
            _short(row["leader"]), row["mint"], row["state"], sol(-row["cost_lamports"]), gain, held, _exits(now, row)
        )
    return table


def _exits(now: Status, row: Row) -> Text:
    kept, found = row["payload"], Text()
    for name, seconds in exits_of(row, now.now_ns):
        found.append(", " if found else "")
        if seconds is None:
            found.append(name)
        else:
            found.append(f"{name} {'in ' + _ago(seconds) if seconds >= 0 else _ago(-seconds) + ' overdue'}")
    if kept.get("due"):
        found.append(f" due: {kept['due']} {kept.get('waiting') or ''}".rstrip(), style="yellow")
    return found


def _orders(now: Status) -> Table:
    table = Table("side", "leader", "coin", "state", "slots", "amount", "attempt", "intent", title="orders under way")
    for row in now.orders:
        kept = row["payload"]
        age = "" if now.slot is None else str(max(0, now.slot - kept["decided_slot"]))
        amount = sol(-kept["amount_in"]) if row["side"] == "BUY" else f"{kept['amount_in']} coins (raw)"
        attempt = str(kept.get("attempt") or "")
        table.add_row(
            row["side"], _short(row["leader"]), row["mint"], row["state"], age, amount, attempt, row["intent_id"][:12]
        )
    return table


def _locks(now: Status) -> Table:
    names = sorted({name for lock in now.locks for name in lock})
    table = Table(*names, title="locks")
    for lock in now.locks:
        table.add_row(*("" if lock.get(name) is None else str(lock[name]) for name in names))
    return table


def _decisions(now: Status) -> Table:
    table = Table("slot", "leader", "coin", "decision", "spend", title="last decisions")
    for row in now.decisions:
        spend = sol(-int(row["spend_lamports"])) if row["spend_lamports"] else ""
        table.add_row(str(row["slot"]), _short(row["leader"]), row["mint"], row["code"], spend)
    return table


def _short(name: str | None) -> str:
    """Names whole, addresses by their ends."""
    if not name:
        return ""
    return name if len(name) <= 20 else f"{name[:6]}..{name[-4:]}"


def _ago(seconds: float) -> str:
    for limit, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * limit:
            return f"{seconds / limit:.0f} {unit}"
    return f"{seconds:.1f} s"
