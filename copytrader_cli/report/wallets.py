"""The leaders as compact values for the page's own drawing: ranking and fingerprints. Pure; not here: the drawing.

Keys are short because there may be hundreds of wallets; static/wallets.js, which reads them, says what each one is.
Shares are per mille, money of the lines is micro-SOL.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from copytrader_cli.report.collect import Edge, Leader, ReportFacts
from copytrader_cli.report.lines import Line, running_line, thinned
from copytrader_cli.report.measures import bins, logarithmic, steps
from copytrader_cli.report.value_facts import LeaderValue, ValueFacts
from copytrader_cli.report.words import as_script_json, clean

__all__ = ["MULTIPLE_EDGES", "people"]

MULTIPLE_EDGES: Final = tuple(logarithmic(0.1, 10, 24))
_SIZES: Final = 16
_SEED: Final = "seed"


@dataclass(frozen=True, slots=True)
class Detail:
    """How finely each wallet is drawn."""

    points: int
    curve: int
    rules: int
    followers: int


_DETAILS: Final = (
    Detail(80, 40, 6, 10), Detail(40, 24, 5, 8), Detail(20, 14, 3, 5), Detail(10, 8, 2, 3), Detail(4, 5, 2, 1),
)  # fmt: skip


def people(facts: ReportFacts, most_bytes: int) -> tuple[list[dict[str, Any]], int]:
    """The leaders, best copy value first, as fine as `most_bytes` of JSON allow, and how many had to be left out."""
    ranked = sorted(facts.leaders, key=lambda leader: _rank(leader, facts.value))
    edges = _Edges.of(facts.edges)
    for detail in _DETAILS:
        found = [_person(leader, facts, edges, detail) for leader in ranked]
        if len(as_script_json(found).encode()) <= most_bytes:
            return found, 0
    room, kept = most_bytes, 0
    while kept < len(found) and (room := room - len(as_script_json(found[kept]).encode()) - 1) > 0:
        kept += 1
    return found[:kept], len(found) - kept


def _rank(leader: Leader, value: ValueFacts) -> tuple[float, float, str]:
    found = value.values.get(leader.wallet)
    worth = math.inf if found is None or found.row["value_x"] is None else -found.row["value_x"]
    return worth, -(leader.pattern["leader_score"] or 0.0), leader.wallet


@dataclass(frozen=True, slots=True)
class _Edges:
    after: Mapping[str, Sequence[Edge]]
    before: Mapping[str, Sequence[Edge]]

    @classmethod
    def of(cls, edges: Sequence[Edge]) -> _Edges:
        after: defaultdict[str, list[Edge]] = defaultdict(list)
        before: defaultdict[str, list[Edge]] = defaultdict(list)
        for edge in edges:
            after[edge.leader].append(edge)
            before[edge.follower].append(edge)
        return cls(after, before)


def _person(leader: Leader, facts: ReportFacts, edges: _Edges, detail: Detail) -> dict[str, Any]:
    p, value = leader.pattern, facts.value.values.get(leader.wallet)
    who = leader.wallet
    person = {
        "a": who,
        "n": leader.name,
        "k": round(_weight(leader, value), 2),
        "p": [p["sample_trades"], p["sample_days"], _mille(p["win_rate"]), p["p50_entry_sol"], p["p50_hold_ms"]],
        "st": p["typical_exit_style"],
        "sc": _mille(p["exit_style_confidence"]),
        "pnl": p["pnl_sol"],
        "sl": [_mille(p["leader_score"]), _mille(p["followership_score"])],
        "hs": _holds(leader, facts.value, detail.curve),
        "ms": _curve(facts.value.curves.get((who, "multiple"), ()), detail.curve),
        "mu": _multiples(leader),
        "sz": _sizes(leader),
        "hr": _hours(leader),
        "f": [_follows(e, e.follower_name) for e in edges.after.get(who, ())[: detail.followers]],
        "fn": len(edges.after.get(who, ())),
        "b": [_follows(e, e.leader_name) for e in edges.before.get(who, ())[: detail.followers]],
        "w": _points(_at_stake(leader, facts.value.reference[1]), detail.points),
        "y": _points(facts.value.copies[who].line, detail.points) if who in facts.value.copies else None,
        "e": _exits(facts.value.exits.get(who, ()), detail.rules),
    }
    person |= {"v": _value(value, facts.value)} if value else {}
    return {key: one for key, one in person.items() if one is not None and one != []}


def _weight(leader: Leader, value: LeaderValue | None) -> float:
    """0.35 to 1 by the number of copies that the value rests on, of trips where nothing has been replayed."""
    return min(1.0, 0.35 + value.row["n_landed"] / 60) if value else leader.weight


def _mille(share: float | None) -> int | None:
    return None if share is None or math.isnan(share) else round(share * 1000)


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None or math.isnan(value) else round(value, digits)


def _value(found: LeaderValue, facts: ValueFacts) -> dict[str, Any]:
    row, size = found.row, facts.reference[1]
    delays = [found.grid.get((slots, size), (None, None, None)) for slots in facts.latencies]
    return {
        "x": [_mille(row[name]) for name in ("value_x", "value_lo_x", "value_hi_x")],
        "v": row["verdict"],
        "r": clean(row["reason"], 160),
        "t": row["tier"],
        "n": [row["n_signals"], row["n_landed"], row["n_coin_days"]],
        "l": _mille(row["landed_share"]),
        "raw": [_mille(row["raw_mean_x"]), _mille(row["median_x"])],
        "q": _rounded(row["q_value"]),
        "pp": _mille(row["p_positive"]),
        "c": [_rounded(row[name], 2) for name in ("capacity_sol", "capacity_lo_sol", "capacity_hi_sol")],
        "b": _rounded(row["break_even_slots"], 1),
        "u": row["rule"],
        "d": [[_mille(cell[part]) for cell in delays] for part in range(3)],
        "g": [_mille(found.grid.get((s, z), (None,))[0]) for s in facts.latencies for z in facts.sizes],
    }


def _holds(leader: Leader, facts: ValueFacts, most: int) -> list[int]:
    """[age ms, per mille still held, ...]: of the lake's curve, of the trips themselves where it has none."""
    rows = facts.curves.get((leader.wallet, "hold_ms"))
    curve = [(row["at"], row["survival"]) for row in rows] if rows else list(leader.holds)
    return _flat(curve, most)


def _curve(rows: Sequence[Mapping[str, Any]], most: int) -> list[int]:
    """The same of multiples, which are per mille too."""
    return _flat([(row["at"] * 1000, row["survival"]) for row in rows], most)


def _flat(curve: Sequence[tuple[float, float | None]], most: int) -> list[int]:
    known = [(at, share) for at, share in curve if share is not None]
    step = max(1, math.ceil(len(known) / most))
    kept = [*known[:-1:step], *known[-1:]]
    return [number for at, share in kept for number in (round(at), round(share * 1000))]


def _multiples(leader: Leader) -> list[int]:
    values = [trip.multiple for trip in leader.trips if trip.multiple is not None]
    return bins(values, MULTIPLE_EDGES) if values else []


def _sizes(leader: Leader) -> list[float]:
    """[width of a bin in SOL, counts...]."""
    values = [trip.cost_lamports / 1e9 for trip in leader.trips]
    if not values:
        return []
    # One outlier must not press all others into one column: what lies beyond counts in the last one.
    edges = steps(sorted(values)[int(0.98 * (len(values) - 1))], _SIZES)
    return [edges[1], *bins(values, edges)]


def _hours(leader: Leader) -> list[int]:
    if not leader.trips:
        return []
    counts = Counter(dt.datetime.fromtimestamp(trip.opened_ns / 1e9, dt.UTC).hour for trip in leader.trips)
    return [counts[hour] for hour in range(24)]


def _follows(edge: Edge, name: str) -> list[Any]:
    return [name, _mille(edge.probability_30s), edge.lag_p50_ms, edge.lag_p90_ms, edge.n_followed]


def _at_stake(leader: Leader, stake: int) -> Line:
    """The wallet's results as if each of its trips had cost `stake` lamports; its own lamports where there is none."""
    return running_line(
        (trip.closed_ns, round(trip.pnl_lamports * stake / trip.cost_lamports) if stake else trip.pnl_lamports)
        for trip in leader.trips
        if trip.cost_lamports > 0
    )


def _points(line: Line, most: int) -> list[int]:
    """[seconds, micro-SOL, ...]; seconds are Unix time of the first point, then since the point before."""
    flat, before = [], 0
    for at, value in thinned(line, most):
        seconds = at // 1_000_000_000
        flat += [seconds - before, round(value / 1000)]
        before = seconds
    return flat


def _exits(rows: Iterable[Mapping[str, Any]], most: int) -> list[list[Any]]:
    """Chosen rule, the seed's, then the best: [rule, copies, mean, low, high, over seed, its low, its high, chosen]."""
    ranked = sorted(rows, key=lambda row: (not row["is_chosen"], row["rule"] != _SEED, -(row["mean_x"] or 0.0)))
    names = ("mean_x", "lo_x", "hi_x", "over_seed_x", "over_seed_lo_x", "over_seed_hi_x")
    return [
        [row["rule"], row["n_copies"], *(_mille(row[name]) for name in names), int(row["is_chosen"])]
        for row in ranked[:most]
        if row["n_copies"]
    ]
