"""The page: headline, leaders, network, backtest, guards, calibration, own trades, truth, ingest; the wallets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from copytrader_cli.report import assets, charts, network
from copytrader_cli.report.backtest_facts import Walked
from copytrader_cli.report.backtest_section import backtest, backtest_lines, guards
from copytrader_cli.report.calibration_section import calibration
from copytrader_cli.report.collect import ReportFacts
from copytrader_cli.report.measures import signed
from copytrader_cli.report.own import own, own_lines
from copytrader_cli.report.parts import empty, lead, section
from copytrader_cli.report.ranking import ranking
from copytrader_cli.report.truth import Comparison
from copytrader_cli.report.truth_section import truth_section
from copytrader_cli.report.wallets import people
from copytrader_cli.report.words import as_script_json, clean

__all__ = ["page"]

_MOST_BYTES: Final = 490_000
_LEAST_FOR_PEOPLE: Final = 60_000


def page(
    facts: ReportFacts, written_at: dt.datetime, comparison: Comparison | None = None, walked: Walked | None = None
) -> str:
    """The whole document, below 500 kB. `comparison` adds what was learned against what was planted."""
    lines = backtest_lines(walked) | own_lines(facts)
    frame = _document(facts, written_at, _sections(facts, comparison, walked, 0), "")
    room = _MOST_BYTES - len(frame.encode()) - len(as_script_json(lines).encode())
    found, left_out = people(facts, max(room, _LEAST_FOR_PEOPLE))
    values = as_script_json(_values(facts, found, lines))
    return _document(facts, written_at, _sections(facts, comparison, walked, left_out), values)


def _values(facts: ReportFacts, found: Sequence[dict[str, Any]], lines: dict[str, Any]) -> dict[str, Any]:
    """What the page's script draws from."""
    latency, size = facts.value.reference
    return {
        "latencies": list(facts.value.latencies),
        "sizes": [lamports / 1e9 for lamports in facts.value.sizes],
        "latency": latency,
        "size": size / 1e9,
        "people": found,
        "lines": lines,
    }


def _sections(
    facts: ReportFacts, comparison: Comparison | None, walked: Walked | None, left_out: int
) -> list[tuple[str, str, str]]:
    """(name, title, body) in order."""
    sections = [
        ("leaders", "Leaders by what copying them is worth", ranking(facts, left_out)),
        ("network", "Who follows whom", network.network(facts)),
        ("backtest", "Backtest", backtest(facts, walked)),
        ("guards", "Guards", guards(facts, walked)),
        ("calibration", "Calibration", calibration(facts)),
        ("own", "Own trades", own(facts)),
        ("ingest", "Ingest", _ingest(facts)),
    ]
    if comparison is not None:
        sections.insert(6, ("truth", "Learned against planted", truth_section(comparison)))
    return sections


def _document(
    facts: ReportFacts, written_at: dt.datetime, sections: Sequence[tuple[str, str, str]], values: str
) -> str:
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{assets.policy()}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>copytrader report</title><style>{assets.style()}</style></head><body>",
            _header(facts, written_at),
            _navigation([(name, title) for name, title, _ in sections]),
            f'<main><div id="overview">{_tiles(facts)}',
            *(section(name, title, body) for name, title, body in sections),
            '</div><article id="wallet" hidden></article>',
            "<noscript><p class=empty>The lines and the wallets are drawn by the script inside this file: allow it.</p>"
            "</noscript></main><footer>Times are UTC. Faint means few observations. – means not known, never zero. "
            "Multiples are proceeds over cost, all fees in. uPlot is under the MIT licence.</footer>",
            f'<script type="application/json" id="facts">{values}</script>',
            f"<script>{assets.script()}</script></body></html>",
        )
    )


def _header(facts: ReportFacts, written_at: dt.datetime) -> str:
    known = f"Fingerprints as of the end of {facts.as_of}" if facts.as_of else "No fingerprints yet"
    return (
        f"<header><h1>copytrader</h1><p>{known} · written {written_at:%Y-%m-%d %H:%M} UTC</p>"
        '<button id="theme" type="button">light / dark</button></header>'
    )


_SHORT: Final = {"leaders": "Leaders", "network": "Network", "truth": "Planted truth"}


def _navigation(names: Sequence[tuple[str, str]]) -> str:
    links = "".join(f'<a href="#{name}">{_SHORT.get(name, title)}</a>' for name, title in names)
    return f'<nav aria-label="sections"><div>{links}</div></nav>'


def _tiles(facts: ReportFacts) -> str:
    release = facts.platform.release
    n_open = sum(trade.closed_ns is None for trade in facts.own)
    open_gaps = sum(gap["filled_at"] is None for gap in facts.platform.gaps)
    days = facts.days
    verdicts = [value.row["verdict"] for value in facts.value.values.values()]
    tiles = [
        (
            "worth copying",
            f"{verdicts.count('COPY'):,}" if verdicts else "–",
            f"{verdicts.count('UNPROVEN'):,} unproven, {verdicts.count('UNCOPYABLE'):,} uncopyable"
            if verdicts
            else "no copy has been replayed",
        ),
        (f"{facts.mode} PnL, SOL", *_own_result(facts)),
        ("open positions", str(n_open), f"trading is {facts.platform.trading_state}"),
        ("wallets tracked", f"{facts.platform.tracked:,}", f"{len(facts.leaders):,} with a fingerprint"),
        ("events", f"{facts.n_events:,}", f"{facts.n_wallets:,} wallets, {facts.n_coins:,} coins"),
        ("days", f"{len(days):,}", f"{days[0].day:%d %b} to {days[-1].day:%d %b %Y}" if days else "none in the lake"),
        ("release", f"{release['as_of']:%d %b}" if release else "none", _release_note(facts)),
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


def _own_result(facts: ReportFacts) -> tuple[str, str]:
    """Value and note; without a closed trade nor a revert there is no result, which is not a result of zero."""
    closed = [trade.pnl_lamports for trade in facts.own if trade.pnl_lamports is not None]
    if not closed and not facts.reverted_lamports:
        return "–", "no closed trade"
    pnl = facts.own_pnl_lamports / 1e9
    won = sum(one > 0 for one in closed)
    return f'<span class="{_colour(pnl)}">{signed(pnl)}</span>', f"{len(closed)} closed, {won} won"


def _release_note(facts: ReportFacts) -> str:
    release = facts.platform.release
    if release is None:
        return "nothing released yet"
    return f"{release['n_patterns']} patterns, {release['n_edges']} edges"


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
        lead("What was recorded, and what is missing of it.", "Tables events, trades and ingest_gaps.")
        + '<div class="halves">'
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
        f"<td>{escape(clean(gap['reason'] or '', 120))}</td></tr>"
        for gap in gaps
    )
    return (
        '<div class="card flush scroll" style="margin-top:14px"><table><thead>'
        "<tr><th>missing slots</th><th class=n>how many</th>"
        f"<th>why</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
