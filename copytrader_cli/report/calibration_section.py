"""Calibration: what our copies were expected to bring and what they brought; drift, kill lines and tiers by leader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from copytrader_cli.report import charts
from copytrader_cli.report.collect import ReportFacts
from copytrader_cli.report.intervals import Estimate, estimates, in_both, reliability
from copytrader_cli.report.measures import percent
from copytrader_cli.report.parts import empty, lead

__all__ = ["calibration"]

_MOST: Final = 24
_ALARM: Final = 9.0
"""Of `cusum`: see the column of the table `calibration`."""
_CERTAINTY: Final = 1.645
_PLOTS: Final = (
    ("return", "Return of a copy", ("expected return", "came")),
    ("landing", "Share that lands", ("expected to land", "landed")),
    ("place", "Place among the replayed copies", ("expected share", "share of our copies")),
)


def calibration(facts: ReportFacts) -> str:
    """The section."""
    words = "Points on the dashed line came as expected; lines are 90 % intervals, faint points rest on few copies."
    comes_from = (
        f"Own copies up to {facts.value.as_of}; tables calibration and calibration_bins." if facts.value.as_of else ""
    )
    if facts.value.as_of is None:
        return lead(words, comes_from) + empty(
            "Nothing has been replayed yet, so there is nothing to hold own copies against.",
            "copytrader materialize --from DAY --to DAY",
        )
    cards = _reliability(facts.value.bins) + _leaders(facts)
    if cards:
        parts = f'<div class="halves">{cards}</div>{_more(facts)}'
    else:
        parts = empty(
            f"No copy of ours had come to an end by {facts.value.as_of}: all leaders stand where their replayed copies "
            "put them. Trade on paper, then derive the days that were traded.",
            "copytrader executor run --mode paper",
            "copytrader materialize --from DAY --to DAY",
        )
    return lead(words, comes_from) + _tiers(facts) + parts


def _tiers(facts: ReportFacts) -> str:
    """Of all leaders with a value, not only of those that we have copied."""
    counts = Counter(value.row["tier"] for value in facts.value.values.values())
    words = {
        "ACTIVE": "proven, full size",
        "PROBATION": "proven by replay, small until our own copies agree",
        "BENCH": "not bought: unproven, uncopyable or demoted",
    }
    tiles = "".join(
        f'<div class="tile"><span>{tier.lower()}</span><b>{counts[tier]:,}</b><small>{note}</small></div>'
        for tier, note in words.items()
    )
    return f'<div class="tiles gap">{tiles}</div>'


def _reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    cards = []
    for kind, title, words in _PLOTS:
        points = [
            (row["expected"], row["realised"], row["realised_lo"], row["realised_hi"], row["n_copies"])
            for row in bins
            if row["kind"] == kind and row["n_copies"] and _known(row)
        ]
        if points and kind == "place":
            cards.append(f'<div class="card"><h3>{title}</h3>{_places(bins)}</div>')
        elif points:
            label = f"{title}: expected and realised by tenth"
            cards.append(f'<div class="card"><h3>{title}</h3>{reliability(points, label=label, words=words)}</div>')
    return "".join(cards)


def _known(row: Mapping[str, Any]) -> bool:
    return all(row[name] is not None for name in ("expected", "realised", "realised_lo", "realised_hi"))


def _places(bins: Sequence[Mapping[str, Any]]) -> str:
    """Even tenths would mean that our copies are like the replayed ones."""
    rows = [
        Estimate(
            f"tenth {row['bin']}",
            row["realised"],
            row["realised_lo"],
            row["realised_hi"],
            f"{row['n_copies']} of our copies",
            weight=min(1.0, 0.35 + row["n_copies"] / 20),
        )
        for row in bins
        if row["kind"] == "place" and row["realised"] is not None
    ]
    return estimates(rows, write=percent, label="where our returns lie among the replayed ones", width=340, left=62)


def _leaders(facts: ReportFacts) -> str:
    rows = [row for row in facts.value.calibration if row["n_decided"]][:_MOST]
    if not rows:
        return ""
    plots = (
        ("Landed, expected (ring) and realised (dot)", _landing(facts, rows)),
        ("Slots late, expected (ring) and realised (dot)", _late(facts, rows)),
        ("Entry premium over the quote, basis points", _premium(facts, rows)),
        (f"Drift (CUSUM): an alarm above {_ALARM:g}", _drift(facts, rows)),
    )
    return "".join(f'<div class="card"><h3>{title}</h3>{plot}</div>' for title, plot in plots if plot)


def _more(facts: ReportFacts) -> str:
    left_out = sum(1 for row in facts.value.calibration if row["n_decided"]) - _MOST
    return f'<p class="more">{left_out} more leaders are in the table calibration.</p>' if left_out > 0 else ""


def _weight(row: Mapping[str, Any], counted: str = "n_decided") -> float:
    return min(1.0, 0.35 + int(row[counted]) / 30)


def _both(
    facts: ReportFacts,
    rows: Sequence[Mapping[str, Any]],
    values: Callable[[Mapping[str, Any]], tuple[float | None, float | None]],
    write: Callable[[float], str],
    label: str,
) -> str:
    shown = []
    for row in rows:
        expected, realised = values(row)
        if expected is not None:
            shown.append((facts.name(row["leader"]), expected, realised, _weight(row)))
    return (
        charts.dumbbells(shown, write=write, label=label, words=("expected", "realised"), from_zero=True)
        if shown
        else ""
    )


def _landing(facts: ReportFacts, rows: Sequence[Mapping[str, Any]]) -> str:
    return _both(
        facts, rows, lambda row: (row["expected_landing"], row["n_landed"] / row["n_decided"]), percent, "share landed"
    )


def _late(facts: ReportFacts, rows: Sequence[Mapping[str, Any]]) -> str:
    return _both(
        facts, rows, lambda row: (row["expected_slots"], row["slots_late"]), lambda v: f"{v:.1f}", "slots late"
    )


def _premium(facts: ReportFacts, rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        Estimate(
            facts.name(row["leader"]),
            (middle := row["entry_premium_bps"]),
            None if (error := row["entry_premium_se_bps"]) is None else middle - _CERTAINTY * error,
            None if error is None else middle + _CERTAINTY * error,
            f"{middle:+.0f} bps".replace("-", "−"),
            weight=_weight(row, "n_landed"),
        )
        for row in rows
        if row["entry_premium_bps"] is not None
    ]
    return (
        in_both(shown, write=lambda v: f"{v:.0f}".replace("-", "−"), label="entry premium by leader") if shown else ""
    )


def _drift(facts: ReportFacts, rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        (
            facts.name(row["leader"]),
            float(row["cusum"]),
            f"{row['cusum']:.1f}" + (" killed" if row["killed"] else " alarm" if row["drifted"] else ""),
            "loss" if row["drifted"] or row["killed"] else "copy",
        )
        for row in rows
        if row["n_finished"]
    ]
    return charts.bars(shown, label="drift by leader", mark=_ALARM) if shown else ""
