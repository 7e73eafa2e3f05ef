"""Paper trading: the result line, decisions by code, the result by leader, and the trades."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape

from copytrader_cli.report import charts
from copytrader_cli.report.collect import PaperTrade, ReportFacts, short
from copytrader_cli.report.measures import duration, running, signed, sol
from copytrader_cli.report.parts import amount, cell, empty, moment, table

__all__ = ["MAX_TRADES", "paper"]

MAX_TRADES = 80
_ACCEPTED = "ACCEPTED"
_HEADS = (
    ("leader", False), ("coin", False), ("entry", False), ("size SOL", True), ("held", True), ("left because", False),
    ("multiple", True), ("PnL SOL", True),
)  # fmt: skip


def paper(facts: ReportFacts) -> str:
    """The section."""
    if not facts.paper and not facts.decisions.total:
        return empty("The paper executor has decided nothing yet.", "copytrader executor run --mode paper")
    closed = [trade for trade in facts.paper if trade.closed_ns is not None]
    return (
        f'<p class="lead">{_summary(facts)}</p><div class="two">{_line(closed)}<div class="card">'
        f"{_decisions(facts)}{_by_leader(closed)}</div></div>{_trades(facts.paper)}"
    )


def _summary(facts: ReportFacts) -> str:
    accepted = facts.decisions.counts.get(_ACCEPTED, 0)
    reverted = (
        f" Reverted transactions cost {sol(facts.reverted_lamports / 1e9, 4)} SOL." if facts.reverted_lamports else ""
    )
    return (
        f"{facts.decisions.total:,} leader buys were judged, {accepted:,} accepted. Fees, tips and price impact are "
        f"paid as they would have been.{reverted}"
    )


def _line(closed: list[PaperTrade]) -> str:
    if not closed:
        return f'<div class="card">{empty("No paper trade is closed yet.")}</div>'
    times = [trade.closed_ns or 0 for trade in closed]
    sums = running(trade.pnl_lamports or 0 for trade in closed)
    wide, narrow = (charts.cumulative(times, sums, width=w, height=h, dots=True) for w, h in ((660, 240), (340, 200)))
    return (
        '<div class="card"><h3>Cumulative result in SOL, trade by trade</h3>'
        f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div></div>'
    )


def _decisions(facts: ReportFacts) -> str:
    counts = sorted(facts.decisions.counts.items(), key=lambda item: (item[0] != _ACCEPTED, -item[1]))
    rows = [(code, float(n), f"{n:,}", "bar" if code == _ACCEPTED else "quiet") for code, n in counts]
    return f"<h3>Decisions by code</h3>{charts.bars(rows, width=400, label='decisions by code')}"


def _by_leader(closed: list[PaperTrade]) -> str:
    results: defaultdict[str, int] = defaultdict(int)
    for trade in closed:
        results[trade.name] += trade.pnl_lamports or 0
    if len(results) < 2:
        return ""
    ordered = sorted(results.items(), key=lambda item: -item[1])[:20]
    rows = [
        (name, lamports / 1e9, signed(lamports / 1e9), "win" if lamports > 0 else "loss") for name, lamports in ordered
    ]
    plot = charts.bars(rows, width=400, label="paper result by leader")
    return f'<h3 style="margin-top:18px">Result by leader, SOL</h3>{plot}'


def _trades(trades: Sequence[PaperTrade]) -> str:
    listed = trades[::-1]
    if not listed:
        return ""
    rest = len(listed) - MAX_TRADES
    more = (
        f'<p class="more">The newest {MAX_TRADES}; {rest} older trades are in exec_positions.</p>' if rest > 0 else ""
    )
    return f'<div style="margin-top:14px">{table(_HEADS, [_row(trade) for trade in listed[:MAX_TRADES]])}{more}</div>'


def _row(trade: PaperTrade) -> str:
    pnl = None if trade.pnl_lamports is None else trade.pnl_lamports / 1e9
    held = None if trade.closed_ns is None else (trade.closed_ns - trade.opened_ns) / 1e6
    multiple = "–" if not trade.proceeds_lamports else f"{trade.proceeds_lamports / trade.cost_lamports:.2f}×"
    return (
        "<tr>"
        + cell("leader", f"<b>{escape(trade.name)}</b>")
        + cell("coin", f'<span title="{escape(trade.mint)}">{escape(short(trade.mint))}</span>')
        + cell("entry", moment(trade.opened_ns))
        + cell("size SOL", sol(trade.cost_lamports / 1e9, 3), number=True)
        + cell("held", duration(held), number=True)
        + cell("left because", escape((trade.exit_reason or "still open").replace("_", " ")))
        + cell("multiple", multiple, number=True)
        + cell("PnL SOL", amount(signed(pnl, 3), pnl), number=True)
        + "</tr>"
    )
