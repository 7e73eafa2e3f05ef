"""Our own trades, paper or live: realised beside expected and the wallets, exits by reason, the trades."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from copytrader_cli.report import charts
from copytrader_cli.report.collect import ReportFacts, short
from copytrader_cli.report.intervals import Pair, pairs
from copytrader_cli.report.lines import running_line
from copytrader_cli.report.measures import duration, signed, sol
from copytrader_cli.report.own_facts import OwnTrade
from copytrader_cli.report.parts import amount, cell, empty, lead, legend, moment, table, timeline
from copytrader_cli.report.timelines import as_values
from copytrader_cli.report.words import clean

__all__ = ["MAX_TRADES", "own", "own_lines"]

MAX_TRADES = 60
_MOST_LEADERS = 20
_ACCEPTED = "ACCEPTED"
_HEADS = (
    ("leader", False), ("coin", False), ("entry", False), ("size SOL", True), ("held", True), ("left because", False),
    ("multiple", True), ("wallet", True), ("expected SOL", True), ("PnL SOL", True),
)  # fmt: skip


def own_lines(facts: ReportFacts) -> dict[str, Any]:
    """The lines of the section by name."""
    values = as_values(
        [
            ("if I had followed (realised)", "copy", _summed(facts.own, lambda trade: trade.pnl_lamports)),
            ("expected by the decisions", "expected", _summed(facts.own, lambda trade: trade.expected_lamports)),
            ("wallets, same buys and stakes", "wallet", _summed(facts.own, lambda trade: trade.wallet_lamports)),
        ]
    )
    return {"own": values} if values else {}


def _summed(trades: Iterable[OwnTrade], value: Callable[[OwnTrade], int | None]) -> list[tuple[int, int]]:
    found = ((trade.closed_ns, value(trade)) for trade in trades if trade.pnl_lamports is not None)
    return running_line((at, lamports) for at, lamports in found if at is not None and lamports is not None)


def own(facts: ReportFacts) -> str:
    """The section."""
    if not facts.own and not facts.decisions.total:
        return empty("The executor has decided nothing yet.", "copytrader executor run --mode paper")
    closed = [trade for trade in facts.own if trade.pnl_lamports is not None]
    return (
        lead(
            _summary(facts),
            f"Journal and exec_positions ({facts.mode}); wallets from trades, where not derived yet from raw_events.",
        )
        + f'<div class="two">{_line(facts, closed)}<div class="card">{_reasons(closed)}{_by_leader(facts, closed)}'
        f"</div></div>{_parity(facts)}{_trades(facts)}"
    )


def _summary(facts: ReportFacts) -> str:
    accepted = facts.decisions.counts.get(_ACCEPTED, 0)
    cost = sol(facts.reverted_lamports / 1e9, 4)
    reverted = f" Reverted transactions cost {cost} SOL more." if facts.reverted_lamports else ""
    return (
        f"Mode {facts.mode}: {facts.decisions.total:,} leader buys were judged, {accepted:,} accepted. Fees, tips and "
        f"price impact are paid.{reverted}"
    )


def _line(facts: ReportFacts, closed: Sequence[OwnTrade]) -> str:
    if not closed:
        return f'<div class="card">{empty("No trade is closed yet.")}</div>'
    unknown = [
        words
        for words, n in (
            ("what was expected", sum(trade.expected_lamports is None for trade in closed)),
            ("the wallet's own result", sum(trade.wallet_x is None for trade in closed)),
        )
        if n
        for words in [f"{words} of {n} of {len(closed)}"]
    ]
    note = (
        f'<p class="more">Not known: {" and ".join(unknown)} trades; those lines leave them out.</p>' if unknown else ""
    )
    return (
        '<div class="card"><h3>Result in SOL, trade by trade</h3>'
        + timeline("own", "realised, expected and the wallets' results in SOL")
        + f"{note}</div>"
    )


_CAUSES = {
    "none": "as replayed", "latency": "landed at another slot", "price": "other price", "landing": "landed or not",
    "decision": "decided otherwise", "unknown": "not comparable",
}  # fmt: skip


def _parity(facts: ReportFacts) -> str:
    """Record against replay, where days have been compared."""
    causes, total = facts.proof.causes, sum(facts.proof.causes.values())
    if not total:
        return ""
    parts = ", ".join(f"{n:,} {_CAUSES.get(cause, cause)}" for cause, n in causes.items())
    return f'<p class="more">Record against replay (table parity): of {total:,} decisions {parts}.</p>'


def _reasons(closed: Sequence[OwnTrade]) -> str:
    if not closed:
        return ""
    results: defaultdict[str, list[int]] = defaultdict(list)
    for trade in closed:
        results[clean(trade.exit_reason or "unknown").replace("_", " ").lower()].append(trade.pnl_lamports or 0)
    rows = [
        (f"{reason} ({len(found)})", sum(found) / 1e9, signed(sum(found) / 1e9), "win" if sum(found) > 0 else "loss")
        for reason, found in sorted(results.items(), key=lambda item: -sum(item[1]))
    ]
    return f"<h3>Exits by reason, SOL</h3>{charts.bars(rows, width=380, label='result by exit reason')}"


def _by_leader(facts: ReportFacts, closed: Sequence[OwnTrade]) -> str:
    results: defaultdict[str, list[OwnTrade]] = defaultdict(list)
    for trade in closed:
        results[trade.leader].append(trade)
    ordered = sorted(results.items(), key=lambda item: -sum(trade.pnl_lamports or 0 for trade in item[1]))
    if not ordered:
        return ""
    rows = [_pair(facts.name(leader) if leader else "no leader", trades) for leader, trades in ordered[:_MOST_LEADERS]]
    return (
        '<h3 class="later">By leader, SOL</h3>'
        + legend(("wallet", "wallet, same buys and stakes"), ("copy", "if I had followed"))
        + pairs(rows, write=signed, label="own result by leader", width=380)
    )


def _pair(name: str, trades: Sequence[OwnTrade]) -> Pair:
    known = [trade.wallet_lamports for trade in trades if trade.wallet_lamports is not None]
    return Pair(
        name,
        sum(known) / 1e9 if known else None,
        sum(trade.pnl_lamports or 0 for trade in trades) / 1e9,
        min(1.0, 0.35 + len(trades) / 15),
    )


def _trades(facts: ReportFacts) -> str:
    listed = facts.own[::-1]
    if not listed:
        return ""
    rest = len(listed) - MAX_TRADES
    more = f'<p class="more">{rest} older trades are in exec_positions.</p>' if rest > 0 else ""
    rows = [_row(facts, trade) for trade in listed[:MAX_TRADES]]
    title = f"The newest {MAX_TRADES} trades" if rest > 0 else f"All {len(listed)} trades"
    return f'<details class="fold"><summary>{title}</summary>{table(_HEADS, rows)}{more}</details>'


def _row(facts: ReportFacts, trade: OwnTrade) -> str:
    pnl = None if trade.pnl_lamports is None else trade.pnl_lamports / 1e9
    held = None if trade.closed_ns is None else (trade.closed_ns - trade.opened_ns) / 1e6
    multiple = None if trade.proceeds_lamports is None else trade.proceeds_lamports / trade.cost_lamports
    wallet = None if trade.wallet_x is None else 1 + trade.wallet_x
    expected = None if trade.expected_lamports is None else trade.expected_lamports / 1e9
    mint = clean(trade.mint, 60)
    return (
        "<tr>"
        + cell("leader", f"<b>{escape(facts.name(trade.leader) if trade.leader else '–')}</b>")
        + cell("coin", f'<span title="{escape(mint)}">{escape(short(mint))}</span>')
        + cell("entry", moment(trade.opened_ns))
        + cell("size SOL", sol(trade.cost_lamports / 1e9, 3), number=True)
        + cell("held", duration(held), number=True)
        + cell("left because", escape(clean(trade.exit_reason or "still open").replace("_", " ")))
        + cell("multiple", _times(multiple), number=True)
        + cell("wallet", _times(wallet), number=True)
        + cell("expected SOL", signed(expected, 3), number=True)
        + cell("PnL SOL", amount(signed(pnl, 3), pnl), number=True)
        + "</tr>"
    )


def _times(multiple: float | None) -> str:
    return "–" if multiple is None else f"{multiple:.2f}×"
