"""A release's rows as the records that decisions are made with, wherever the rows came from. Not here: any database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from copytrader_core.errors import StoreError
from copytrader_core.records import CopyValue, Edge, Inflow, LandingCount, Pattern, Release

_DECIDED_BY: Final = ("win_rate", "avg_entry_sol", "p50_hold_ms", "p90_hold_ms", "p50_target_x", "p90_target_x")


def release_from(row: tuple[Any, ...] | None) -> Release:
    """The release of a row of CURRENT, its documents parsed. Raises StoreError where there is no row."""
    if row is None:
        raise StoreError("nothing has been released yet: run `copytrader materialize --from DAY --to DAY`")
    release_id, as_of, patterns, edges, inflow, values, landings = row
    by_wallet = patterns_from(patterns)
    worth = {v["leader"]: _copy_value(v) for v in values}
    ours = tuple(LandingCount(row["side"], row["slots_late"], row["n_orders"]) for row in landings)
    return Release(release_id, as_of, by_wallet, tuple(_edge(e) for e in edges), _inflows(inflow), worth, ours)


def patterns_from(rows: Iterable[Mapping[str, Any]]) -> dict[str, Pattern]:
    """Rows of `wallet_patterns` by wallet; one without a full fingerprint (no closed trip yet) is left out."""
    known = (row for row in rows if all(row[name] is not None for name in _DECIDED_BY))
    return {row["wallet"]: _pattern(row) for row in known}


def _pattern(row: Mapping[str, Any]) -> Pattern:
    return Pattern(
        wallet=row["wallet"],
        alias=row["alias"],
        sample_days=row["sample_days"],
        sample_trades=row["sample_trades"],
        win_rate=row["win_rate"],
        avg_entry_sol=row["avg_entry_sol"],
        p50_hold_ms=row["p50_hold_ms"],
        p90_hold_ms=row["p90_hold_ms"],
        p50_target_x=row["p50_target_x"],
        p90_target_x=row["p90_target_x"],
        typical_exit_style=row["typical_exit_style"] or "mixed",
        slippage_pctl_95=row["slippage_pctl_95"] or 0.0,
        followership_score=row["followership_score"] or 0.0,
        leader_score=row["leader_score"] or 0.0,
    )


def _edge(row: Mapping[str, Any]) -> Edge:
    return Edge(
        leader=row["leader"],
        follower=row["follower"],
        follow_prob=row["follow_prob"] or 0.0,
        lag_ms_p50=row["lag_ms_p50"] or 0,
        lag_ms_p90=row["lag_ms_p90"] or 0,
        avg_follower_size_sol=row["avg_follower_size_sol"] or 0.0,
    )


def _inflows(rows: Iterable[Mapping[str, Any]]) -> dict[str, Inflow]:
    """One forecast for each leader from its rows, which come in order of slots."""
    points: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        points.setdefault(row["leader"], []).append(row)
    return {leader: _inflow(leader, curve) for leader, curve in points.items()}


def _inflow(leader: str, curve: Sequence[Mapping[str, Any]]) -> Inflow:
    slots, ahead, behind = (tuple(row[name] for row in curve) for name in ("slots", "ahead_sol", "behind_sol"))
    followers = tuple(row["followers_ahead"] for row in curve)
    return Inflow(leader, curve[0]["n_followers"], slots, ahead, behind, followers)


def _copy_value(row: Mapping[str, Any]) -> CopyValue:
    """A leader's grid. Latencies that lack one of the sizes are left out: between cells that are not there nothing can
    be read off.
    """
    by_latency: dict[int, dict[int, Sequence[float]]] = {}
    for latency, size, *cell in row["cells"]:
        by_latency.setdefault(latency, {})[size] = cell
    sizes = sorted({size for cells in by_latency.values() for size in cells})
    grid = {latency: [cells[s] for s in sizes] for latency, cells in by_latency.items() if len(cells) == len(sizes)}
    mean, lower, landing = (tuple(tuple(cell[n] for cell in cells) for cells in grid.values()) for n in range(3))
    return CopyValue(
        leader=row["leader"],
        verdict=row["verdict"],
        tier=row["tier"],
        alpha=row["alpha"],
        beta=row["beta"],
        rule=row["rule"],
        capacity_sol=row["capacity_sol"],
        latencies=tuple(grid),
        sizes_lamports=tuple(sizes),
        mean_x=mean,
        lower_x=lower,
        landing=landing,
        state_x=tuple(row["state_x"]),
        state_half_x=tuple(row["state_half_x"]),
    )
