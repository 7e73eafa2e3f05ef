"""The leaders: a table of fingerprints with small plots, and a section for each of the first of them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from html import escape

from copytrader_cli.report import charts
from copytrader_cli.report.collect import Edge, Leader, ReportFacts
from copytrader_cli.report.measures import duration, percent, running, signed, sol
from copytrader_cli.report.parts import amount, cell, chip, empty, table

__all__ = ["MAX_ROWS", "MAX_SECTIONS", "MAX_SPARKS", "each", "overview"]

# What keeps the file below half a megabyte, however many wallets are tracked.
MAX_ROWS = 330
MAX_SPARKS = 40
MAX_SECTIONS = 10
_SHORT_TABLE = 30
_MAX_SECTIONS_BELOW_SHORT_TABLE = 24
_HEADS = (
    ("leader", False), ("trades", True), ("win rate <small>5–95 %</small>", False), ("entry SOL", True),
    ("held <small>p50 / p90</small>", False), ("multiple <small>p50 / p90</small>", False), ("hours UTC", False),
    ("leaves by", False), ("PnL SOL", True), ("leads / followed", True),
)  # fmt: skip


def overview(facts: ReportFacts) -> str:
    """The table of fingerprints."""
    if not facts.leaders:
        return empty(
            "No fingerprints yet.", "copytrader wallets import FILE.db", "copytrader materialize --from DAY --to DAY"
        )
    linked = _n_sections(facts)
    rows = [_row(leader, index, index < linked) for index, leader in enumerate(facts.leaders[:MAX_ROWS])]
    rest = len(facts.leaders) - MAX_ROWS
    more = f'<p class="more">{rest} more: <code>copytrader sql "FROM wallet_patterns"</code></p>' if rest > 0 else ""
    lead = (
        "How each tracked wallet trades, over the finished round trips of the last 30 days. Ordered by leader score: "
        "how surely and how often others buy after it. Rows with few trades are faint."
    )
    return f'<p class="lead">{lead}</p>{table(_HEADS, rows)}{more}'


def _n_sections(facts: ReportFacts) -> int:
    """How many leaders get a section of their own: more where the table leaves room."""
    return _MAX_SECTIONS_BELOW_SHORT_TABLE if len(facts.leaders) <= _SHORT_TABLE else MAX_SECTIONS


def _row(leader: Leader, index: int, is_linked: bool) -> str:
    p, plots = leader.pattern, index < MAX_SPARKS
    name = escape(leader.name)
    if is_linked and leader.trips:
        name = f'<a href="#l{index}">{name}</a>'
    confidence = f" <small>{percent(p['exit_style_confidence'])}</small>" if p["typical_exit_style"] else ""
    cells = (
        cell("leader", f'<b title="{escape(leader.wallet)}">{name}</b>'),
        cell("trades", str(p["sample_trades"]), number=True),
        cell("win rate", _beside(_interval(leader) if plots else "", percent(p["win_rate"]))),
        cell("entry SOL", sol(p["p50_entry_sol"]), number=True),
        cell(
            "held p50 / p90",
            _beside(
                _spark("holds", leader) if plots else "",
                f"{duration(p['p50_hold_ms'])} <small>/ {duration(p['p90_hold_ms'])}</small>",
            ),
        ),
        cell(
            "multiple p50 / p90",
            _beside(
                _spark("multiples", leader) if plots else "",
                f"{_times(p['p50_target_x'])} <small>/ {_times(p['p90_target_x'])}</small>",
            ),
        ),
        cell("hours UTC", (_spark("hours", leader) if plots else "") or "–"),
        cell("leaves by", chip(p["typical_exit_style"]) + confidence),
        cell("PnL SOL", amount(signed(p["pnl_sol"]), p["pnl_sol"]), number=True),
        cell(
            "leads / followed",
            f"{_score(p['leader_score'])} <small>/ {_score(p['followership_score'])}</small>",
            number=True,
        ),
    )
    return f'<tr style="opacity:{leader.weight:.2f}">{"".join(cells)}</tr>'


def _beside(plot: str, words: str) -> str:
    return f'<div class="pair">{plot}<span>{words}</span></div>' if plot else words


def _interval(leader: Leader) -> str:
    p = leader.pattern
    return charts.interval(p["win_rate"], p["win_rate_lo"], p["win_rate_hi"])


def _spark(kind: str, leader: Leader) -> str:
    if not leader.trips:
        return ""
    if kind == "holds":
        return charts.spark_holds(leader.holds)
    return charts.spark_columns(kind, _multiples(leader) if kind == "multiples" else _hours(leader))


def _multiples(leader: Leader) -> list[float]:
    return [trip.multiple for trip in leader.trips if trip.multiple is not None]


def _hours(leader: Leader) -> list[float]:
    counts = Counter(dt.datetime.fromtimestamp(trip.opened_ns / 1e9, dt.UTC).hour for trip in leader.trips)
    return [float(counts[hour]) for hour in range(24)]


def _times(multiple: float | None) -> str:
    return "–" if multiple is None else f"{multiple:.2f}×"


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"


def each(facts: ReportFacts) -> str:
    """A section for each of the first leaders that have a trade."""
    shown = [(i, leader) for i, leader in enumerate(facts.leaders[: _n_sections(facts)]) if leader.trips]
    if not shown:
        return empty("No tracked wallet has a finished round trip yet.")
    rest = len(facts.leaders) - len(shown)
    more = f'<p class="more">{rest} more wallets stand in the table above.</p>' if rest > 0 else ""
    return "".join(_person(f"l{i}", leader, facts) for i, leader in shown) + more


def _person(anchor: str, leader: Leader, facts: ReportFacts) -> str:
    p = leader.pattern
    plots = [
        ("Still held, by age", charts.survival_plot(leader.holds, p["km_p50_hold_ms"])),
        ("Multiples", charts.multiples(_multiples(leader))),
        ("Entry sizes", charts.histogram([trip.cost_lamports / 1e9 for trip in leader.trips], "SOL")),
        ("Hours of entry, UTC", charts.hours([int(n) for n in _hours(leader)])),
        ("Cumulative PnL, SOL", charts.cumulative(*_result(leader))),
        ("Who follows, and how fast", _followers([e for e in facts.edges if e.leader == leader.wallet])),
    ]
    cells = "".join(f"<div><h3>{title}</h3>{plot}</div>" for title, plot in plots)
    head = (
        f"{escape(leader.name)} {chip(p['typical_exit_style'])}<small>"
        f"{p['sample_trades']} trades on {p['sample_days']} days · "
        f"median entry {sol(p['p50_entry_sol'])} SOL · most active "
        f"{escape(str(p['preferred_time_window'] or '–'))}</small>"
    )
    faded = f'style="opacity:{leader.weight:.2f}"'
    return f'<div class="card person" id="{anchor}"><h3>{head}</h3><div class="grid" {faded}>{cells}</div></div>'


def _result(leader: Leader) -> tuple[list[int], list[int]]:
    return [trip.closed_ns for trip in leader.trips], running(trip.pnl_lamports for trip in leader.trips)


def _followers(edges: list[Edge]) -> str:
    if not edges:
        return '<p class="more">No validated follower.</p>'
    return charts.lags(
        [
            (
                e.follower_name,
                e.lag_p50_ms,
                e.lag_p90_ms,
                percent(e.probability_30s),
                min(1.0, 0.35 + e.n_followed / 20),
            )
            for e in edges[:8]
        ]
    ) + (f'<p class="more">and {len(edges) - 8} more</p>' if len(edges) > 8 else "")
