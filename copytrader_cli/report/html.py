"""The page: headline, leaders, network, paper trading, truth, one section a leader, ingest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from copytrader_cli.report import charts, leaders, network, paper
from copytrader_cli.report.collect import ReportFacts
from copytrader_cli.report.measures import signed
from copytrader_cli.report.parts import empty, section
from copytrader_cli.report.truth import Comparison
from copytrader_cli.report.truth_section import truth_section

__all__ = ["page"]

_STYLE = Path(__file__).with_name("style.css")
_TOGGLE = (
    "var r=document.documentElement,d=r.dataset;"
    "d.theme=(d.theme||(matchMedia('(prefers-color-scheme:dark)').matches?'dark':'light'))=='dark'?'light':'dark'"
)


def page(facts: ReportFacts, written_at: dt.datetime, comparison: Comparison | None = None) -> str:
    """The whole document. `comparison` adds what was learned against what was planted."""
    sections: list[tuple[str, str, Callable[[ReportFacts], str]]] = [
        ("leaders", "Leaders", leaders.overview),
        ("network", "Who follows whom", network.network),
        ("paper", "Paper trading", paper.paper),
        ("each", "Each leader", leaders.each),
        ("ingest", "Ingest", _ingest),
    ]
    if comparison is not None:
        sections.insert(3, ("truth", "Learned against planted", lambda _: truth_section(comparison)))
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>copytrader report</title><style>{_STYLE.read_text()}</style></head><body>",
            _header(facts, written_at),
            _navigation([(name, title) for name, title, _ in sections]),
            f"<main>{_tiles(facts)}",
            *(section(name, title, build(facts)) for name, title, build in sections),
            "</main><footer>Times are UTC. Faint means few observations. Multiples are proceeds over cost, all fees in."
            "</footer></body></html>",
        )
    )


def _header(facts: ReportFacts, written_at: dt.datetime) -> str:
    known = f"Fingerprints as of the end of {facts.as_of}" if facts.as_of else "No fingerprints yet"
    return (
        f"<header><h1>copytrader</h1><p>{known} · written {written_at:%Y-%m-%d %H:%M} UTC</p>"
        f'<button onclick="{_TOGGLE}">light / dark</button></header>'
    )


def _navigation(names: Sequence[tuple[str, str]]) -> str:
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in names)
    return f"<nav><div>{links}</div></nav>"


def _tiles(facts: ReportFacts) -> str:
    release = facts.platform.release
    open_paper = sum(trade.closed_ns is None for trade in facts.paper)
    open_gaps = sum(gap["filled_at"] is None for gap in facts.platform.gaps)
    days = facts.days
    pnl = facts.paper_pnl_lamports / 1e9
    tiles = [
        ("events", f"{facts.n_events:,}", f"{facts.n_wallets:,} wallets, {facts.n_coins:,} coins"),
        ("wallets tracked", f"{facts.platform.tracked:,}", f"{len(facts.leaders):,} with a fingerprint"),
        ("days", f"{len(days):,}", f"{days[0].day:%d %b} to {days[-1].day:%d %b %Y}" if days else "none in the lake"),
        ("release", f"{release['as_of']:%d %b}" if release else "none", _release_note(facts)),
        (
            "paper PnL, SOL",
            f'<span class="{_colour(pnl)}">{signed(pnl)}</span>',
            _paper_note(facts),
        ),
        ("open positions", str(open_paper), f"trading is {facts.platform.trading_state}"),
        (
            "ingest gaps",
            str(open_gaps),
            f"{len(facts.platform.gaps) - open_gaps} filled, {facts.platform.dead_letters} not decoded",
        ),
    ]
    cells = "".join(
        f'<div class="tile"><span>{name}</span><b>{value}</b><small>{note}</small></div>' for name, value, note in tiles
    )
    return f'<section class="tiles" aria-label="headline numbers">{cells}</section>'


def _release_note(facts: ReportFacts) -> str:
    release = facts.platform.release
    if release is None:
        return "nothing released yet"
    return f"{release['n_patterns']} patterns, {release['n_edges']} edges"


def _paper_note(facts: ReportFacts) -> str:
    closed = [trade.pnl_lamports for trade in facts.paper if trade.pnl_lamports is not None]
    won = sum(pnl > 0 for pnl in closed)
    return f"{len(closed)} closed, {won} won" if closed else "no closed trade"


def _colour(value: float) -> str:
    return "up" if value > 0 else "down" if value < 0 else ""


def _ingest(facts: ReportFacts) -> str:
    if not facts.days:
        return empty(
            "The lake holds no day yet.",
            "copytrader ingest --endpoint HOST:PORT",
            "copytrader materialize --from DAY --to DAY",
        )
    shown = facts.days[-31:]
    rows = [(f"{day.day:%a %d %b}", float(day.events), f"{day.events:,}", "bar") for day in shown]
    trips = [(f"{day.day:%a %d %b}", float(day.trips), f"{day.trips:,}", "bar") for day in shown]
    return (
        '<div class="halves">'
        f'<div class="card"><h3>Events a day</h3>{charts.bars(rows, label="events a day")}</div>'
        '<div class="card"><h3>Round trips closed a day, all wallets</h3>'
        f"{charts.bars(trips, label='round trips a day')}</div>"
        f"</div>{_gaps(facts)}"
    )


def _gaps(facts: ReportFacts) -> str:
    gaps = [gap for gap in facts.platform.gaps if gap["filled_at"] is None][:20]
    if not gaps:
        return '<p class="more">No slot range is missing.</p>'
    rows = "".join(
        f"<tr><td>{gap['from_slot']} – {gap['to_slot']}</td><td class=n>{gap['to_slot'] - gap['from_slot'] + 1:,}</td>"
        f"<td>{escape(gap['reason'])}</td></tr>"
        for gap in gaps
    )
    return (
        '<div class="card flush scroll" style="margin-top:14px"><table><thead>'
        "<tr><th>missing slots</th><th class=n>how many</th>"
        f"<th>why</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
