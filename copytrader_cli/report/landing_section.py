"""How late orders of ours land: what the settings expect beside what was measured, and was drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from copytrader_cli.report.charts import Plot, linear
from copytrader_cli.report.measures import percent
from copytrader_cli.report.parts import legend

__all__ = ["landing"]

_LAST: Final = 16
"""Whatever lands later stands in one place."""


def landing(models: Sequence[Mapping[str, Any]]) -> str:
    """A card: the newest measured model of a backtest's `landing`, or that there is none."""
    if not models:
        return ""
    measured = [one for one in models if one["measured"]["BUY"]["n_orders"]]
    if not measured:
        late = models[-1]["measured"]["BUY"]
        return (
            '<div class="card"><h3>Slots late</h3><p class="more">Orders were drawn as the settings say: '
            f"{late['mean_slots']:.1f} slots late, {percent(late['lost_share'])} lost. Our own live orders replace "
            "this once there are enough of them.</p></div>"
        )
    model = measured[-1]
    ours, expected = model["measured"]["BUY"], model["expected"]["BUY"]
    days = sum(len(one["days"]) for one in measured)
    words = (
        f"Buys of {days} {'day' if days == 1 else 'days'} were drawn from "
        f"{ours['n_orders']:,} live buys of ours up to {model['as_of']}, drawn "
        f"towards the settings: {ours['mean_slots']:.1f} slots late on average, {percent(ours['lost_share'])} lost; "
        f"sales {model['measured']['SELL']['mean_slots']:.1f}."
    )
    return (
        '<div class="card"><h3>Slots late, share of our buys</h3>'
        + legend(("wallet", "expected by the settings"), ("copy", "measured"))
        + _plot(_shares(expected), _shares(ours))
        + f'<p class="more">{words}</p></div>'
    )


def _shares(late: Mapping[str, Any]) -> dict[int, float]:
    """Of all orders, by slots late; those lost after the last."""
    found = {_LAST + 1: float(late["lost_share"])}
    for slots, share in zip(late["slots"], late["shares"], strict=True):
        at = min(int(slots), _LAST)
        found[at] = found.get(at, 0.0) + share * (1 - late["lost_share"])
    return found


def _plot(expected: Mapping[int, float], measured: Mapping[int, float]) -> str:
    last = max(at for one in (expected, measured) for at, share in one.items() if share and at <= _LAST)
    places = [*range(last + 1), _LAST + 1]
    plot = Plot(380, 150, left=44)
    top = max([*expected.values(), *measured.values()])
    x, y = linear(0, len(places), plot.x0, plot.x1), linear(0, top, plot.y0, plot.y1 + 6)
    plot.y_ticks((y(share), percent(share)) for share in (0.0, top))
    wide = (x(1) - x(0)) * 0.4
    for place, at in enumerate(places):
        for left, css, one in ((x(place) + wide * 0.2, "wallet", expected), (x(place) + wide * 1.25, "copy", measured)):
            share = one.get(at, 0.0)
            plot.rect(left, y(share), wide, plot.y0 - y(share), css, f"{_name(at)}: {percent(share)}")
    plot.x_ticks((x(place + 0.5), _name(at)) for place, at in enumerate(places))
    return plot.svg("slots late of our buys, expected and measured")


def _name(at: int) -> str:
    return "lost" if at > _LAST else f"{at}+" if at == _LAST else str(at)
