"""The copy network: the follow graph, and reaction times edge by edge."""

from __future__ import annotations

from copytrader_cli.report import charts
from copytrader_cli.report.collect import ReportFacts
from copytrader_cli.report.graph import MAX_EDGES, follow_graph
from copytrader_cli.report.measures import percent
from copytrader_cli.report.parts import empty

__all__ = ["network"]

_MAX_LAGS = 24


def network(facts: ReportFacts) -> str:
    """Graph and reaction times."""
    if not facts.edges:
        return empty(
            "No follower edge has passed the tests yet: edges need leaders whose buys are followed often enough."
        )
    rows = [
        (
            f"{e.follower_name}",
            float(e.lag_p50_ms),
            float(e.lag_p90_ms),
            percent(e.probability_30s),
            min(1.0, 0.35 + e.n_followed / 20),
        )
        for e in sorted(facts.edges[:_MAX_LAGS], key=lambda e: e.lag_p50_ms)
    ]
    return (
        '<p class="lead">Only edges that pass the significance test. An arrow points from the one who buys first; its '
        "thickness is the share of buys that are followed within 30 s, its label the median lag and that share; faint "
        "arrows rest on few observations.</p>"
        f'<div class="two"><div class="card"><div class="wide">{follow_graph(facts.edges, 640)}</div>'
        f'<div class="narrow">{follow_graph(facts.edges, 340)}</div>{_rest(len(facts.edges))}</div>'
        f'<div class="card"><h3>Reaction time, median to 90th percentile</h3>{charts.lags(rows)}</div></div>'
    )


def _rest(count: int) -> str:
    return f'<p class="more">The {MAX_EDGES} strongest of {count} edges.</p>' if count > MAX_EDGES else ""
