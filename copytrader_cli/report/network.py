"""The copy network: all of it at a glance, one leader at a time, and reaction times edge by edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from copytrader_assets.analysis.star_layout import Arrow
from copytrader_assets.network_picture import MAX_ARROWS, in_widths
from copytrader_cli.report import charts
from copytrader_cli.report.collect import Edge, ReportFacts
from copytrader_cli.report.graph import follow_graph
from copytrader_cli.report.measures import percent
from copytrader_cli.report.parts import empty, lead

__all__ = ["network"]

_MAX_LAGS = 24
# A follow graph with every name is easy to read up to here; a larger network is drawn as stars.
_MOST_NAMED = 24
# Edges that are drawn once more by name, over all leaders' views together, and in one of them.
_MAX_NAMED_EDGES, _MAX_EGO_EDGES = 30, 16
_WIDE, _NARROW = 1200, 340
_FROM = "Table follow_edges: only edges that pass the significance test."


def network(facts: ReportFacts) -> str:
    """Graph and reaction times."""
    if not facts.edges:
        return empty(
            "No follower edge has passed the tests yet: edges need leaders whose buys are followed often enough."
        )
    if len(facts.edges) > _MOST_NAMED:
        return _stars(facts.edges) + _egos(facts.edges)
    return (
        lead(
            "Arrows lead from who buys first; thick: followed within 30 s more often; words: median lag, that share; "
            "faint: few observations.",
            _FROM,
        )
        + f'<div class="two"><div class="card"><div class="wide">{follow_graph(facts.edges, 640)}</div>'
        f'<div class="narrow">{follow_graph(facts.edges, 340)}</div></div>'
        f'<div class="card"><h3>Reaction time, median to 90th percentile</h3>{_lags(facts.edges)}</div></div>'
    )


def _stars(edges: Sequence[Edge]) -> str:
    """The whole network; the stars stand in the page once, for wide and narrow screens alike."""
    arrows = [
        Arrow(e.leader, e.follower, e.leader_name, e.follower_name, e.probability_30s, e.lag_p50_ms) for e in edges
    ]
    symbols, (wide, narrow) = in_widths(arrows, (_WIDE, _NARROW))
    return (
        lead(
            "In the middle of each star stands who buys first, around it who buys after: farther out the later (rings: "
            "1 s and 5 s), thicker the more often within 30 s. A filled dot is followed itself; a red ring follows "
            "somebody else even more. Point at a dot for its name.",
            _FROM,
        )
        + f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{symbols}</defs></svg>'
        f'<div class="card"><div class="wide">{wide}</div><div class="narrow">{narrow}</div>{_rest(len(edges))}</div>'
    )


def _egos(edges: Sequence[Edge]) -> str:
    """For each leader, most followed first: whom it follows, who follows it, by name."""
    followers = Counter(e.leader for e in edges)
    names = {e.leader: e.leader_name for e in edges}
    cards: list[str] = []
    left = _MAX_NAMED_EDGES
    for leader, count in followers.most_common():
        own = [e for e in edges if leader in (e.leader, e.follower)][:_MAX_EGO_EDGES]
        left -= len(own)
        if left < 0:
            break
        title = f"{escape(names[leader])}, {count} follower{'s' if count > 1 else ''}"
        cards.append(f'<div class="card"><h3>{title}</h3>{follow_graph(own, _NARROW)}</div>')
    return (
        f'<details class="egos"><summary>One leader at a time: {len(cards)} of {len(followers)}</summary>'
        f'<div class="grid">{"".join(cards)}</div>{_more(len(followers) - len(cards))}</details>'
    )


def _more(rest: int) -> str:
    query = "SELECT * FROM follow_edges WHERE leader = '...'"
    return f'<p class="more">{rest} more leaders: <code>copytrader sql "{query}"</code></p>' if rest else ""


def _lags(edges: Sequence[Edge]) -> str:
    rows = [
        (
            f"{e.follower_name}",
            float(e.lag_p50_ms),
            float(e.lag_p90_ms),
            percent(e.probability_30s),
            min(1.0, 0.35 + e.n_followed / 20),
        )
        for e in sorted(edges[:_MAX_LAGS], key=lambda e: e.lag_p50_ms)
    ]
    return charts.lags(rows)


def _rest(count: int) -> str:
    return f'<p class="more">The {MAX_ARROWS} strongest of {count} edges.</p>' if count > MAX_ARROWS else ""
