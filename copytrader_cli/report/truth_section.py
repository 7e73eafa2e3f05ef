"""Learned against planted, as plots and tables with their errors."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from copytrader_cli.report import charts
from copytrader_cli.report.measures import duration, percent, sol
from copytrader_cli.report.parts import cell, chip, lead, table
from copytrader_cli.report.truth import Comparison, EdgeResult, LeaderResult

__all__ = ["truth_section"]

_LEADER_HEADS = (
    ("leader", False), ("trades", True), ("style planted", False), ("style learned", False),
    ("hold <small>planted → learned</small>", True),
    ("target <small>planted → learned</small>", True), ("size SOL <small>planted → learned</small>", True),
)  # fmt: skip
_EDGE_HEADS = (
    ("leader → follower", False), ("found", False), ("probability <small>planted → learned</small>", True),
    ("median lag <small>planted → learned</small>", True),
)  # fmt: skip


def truth_section(comparison: Comparison) -> str:
    """The section."""
    right = sum(leader.style_is_right for leader in comparison.leaders)
    tiles = (
        _tile("edge precision", comparison.hits, comparison.n_found, "found"),
        _tile("edge recall", comparison.hits, comparison.n_planted, "planted"),
        _tile("exit styles right", right, len(comparison.leaders), "leaders"),
    )
    return (
        lead(
            "This market was planted, so the truth is known. Rings are planted, dots learned from the chain alone; a "
            "planted hold is what a time stop waits, else an upper bound; a learned target is the median won multiple.",
            "Tables wallet_patterns and follow_edges against the truth file.",
        )
        + f'<div class="tiles" style="margin-bottom:14px">{"".join(tiles)}</div>'
        f'<div class="halves" style="margin-bottom:14px">{_plots(comparison)}</div>'
        f"{table(_LEADER_HEADS, [_leader(leader) for leader in comparison.leaders])}"
        f'<div style="margin-top:14px">{table(_EDGE_HEADS, [_edge(edge) for edge in comparison.edges])}</div>'
    )


def _tile(name: str, part: int, whole: int, of: str) -> str:
    share = percent(part / whole if whole else None)
    return f'<div class="tile"><span>{name}</span><b>{share}</b><small>{part} of {whole} {of}</small></div>'


def _plots(comparison: Comparison) -> str:
    leaders = [(leader, leader.learned.weight if leader.learned else 0.35) for leader in comparison.leaders]
    stops = [(x.name, *x.hold_ms, weight) for x, weight in leaders if x.planted["style"] == "time_stop"]
    sizes = [(x.name, *x.size_sol, weight) for x, weight in leaders]
    edges = [(f"{e.leader_name} → {e.follower_name}", e.planted, e.found) for e in comparison.edges if e.planted]
    lags = [(name, p["lag_ms_p50"], found.lag_p50_ms if found else None, 1.0) for name, p, found in edges]
    shares = [(name, p["probability"], found.probability_30s if found else None, 1.0) for name, p, found in edges]
    plots: list[tuple[str, str]] = [
        ("Hold of time stops", charts.dumbbells(stops, write=duration, label="planted and learned holds")),
        ("Entry size, SOL", charts.dumbbells(sizes, write=lambda v: f"{v:g}", label="planted and learned sizes")),
        ("Follower lag, median", charts.dumbbells(lags, write=duration, label="planted and learned lags")),
        ("Share of buys followed", charts.dumbbells(shares, write=percent, label="planted and learned shares")),
    ]
    return "".join(f'<div class="card"><h3>{title}</h3>{plot}</div>' for title, plot in plots)


def _leader(result: LeaderResult) -> str:
    learned = result.learned
    style = learned.pattern["typical_exit_style"] if learned else None
    mark = (
        ""
        if learned is None
        else ' <span class="up">✓</span>'
        if result.style_is_right
        else ' <span class="down">✗</span>'
    )
    planted_style = result.planted["style"]
    return (
        f'<tr style="opacity:{learned.weight if learned else 0.5:.2f}">'
        + cell("leader", f"<b>{escape(result.name)}</b>")
        + cell("trades", str(learned.pattern["sample_trades"]) if learned else "none", number=True)
        + cell("style planted", chip(planted_style))
        + cell("style learned", chip(style) + mark)
        + cell("hold", _pair(*result.hold_ms, duration, judged=planted_style == "time_stop"), number=True)
        + cell("target", _pair(*result.target_x, _times, judged=planted_style == "target_x"), number=True)
        + cell("size SOL", _pair(*result.size_sol, sol, judged=True), number=True)
        + "</tr>"
    )


def _edge(edge: EdgeResult) -> str:
    planted, found = edge.planted, edge.found
    mark = (
        '<span class="up">found</span>'
        if planted and found
        else '<span class="down">missed</span>'
        if planted
        else '<span class="down">not planted</span>'
    )
    probability = (planted["probability"] if planted else None, found.probability_30s if found else None)
    lag = (planted["lag_ms_p50"] if planted else None, found.lag_p50_ms if found else None)
    return (
        "<tr>"
        + cell("edge", f"<b>{escape(edge.leader_name)} → {escape(edge.follower_name)}</b>")
        + cell("", mark)
        + cell("probability", _points(*probability), number=True)
        + cell("median lag", _pair(*lag, duration, judged=True), number=True)
        + "</tr>"
    )


def _pair(planted: float | None, learned: float | None, write: Callable[[float | None], str], *, judged: bool) -> str:
    """Both values, and the relative error where the planted one is meant to be met."""
    text = f"{write(planted)} → {write(learned)}"
    if not judged or planted is None or learned is None or not planted:
        return f"<small>{text}</small>"
    error = learned / planted - 1
    return f"{text} <small>{_error(error * 100, '%')}</small>"


def _points(planted: float | None, learned: float | None) -> str:
    text = f"{percent(planted)} → {percent(learned)}"
    if planted is None or learned is None:
        return text
    error = (learned - planted) * 100
    return f"{text} <small>{_error(error, 'points')}</small>"


def _error(value: float, unit: str) -> str:
    rounded = round(value)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else '±'}{abs(rounded)} {unit}"


def _times(multiple: float | None) -> str:
    return "–" if multiple is None else f"{multiple:.2f}×"
