"""The release of a day as the lake has it: what the executor would have traded by on the day after."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from copytrader_assets.lake import Lake
from copytrader_assets.proof_schemas import LANDINGS
from copytrader_assets.schemas import FOLLOW_EDGES, LEADER_INFLOW, WALLET_PATTERNS
from copytrader_assets.value_schemas import COPY_VALUE
from copytrader_core.policy.landing import with_our_latency
from copytrader_core.records import LandingCount, Release
from copytrader_core.settings import Settings
from copytrader_core.store.release_rows import release_from

_OF_A_CELL: Final = ("latency_slots", "size_lamports", "mean_x", "lo_x", "landing")


def release_as_of(lake: Lake, day: dt.date) -> Release | None:
    """What stands in the lake as of `day`; None where it has no fingerprints of that day."""
    if not lake.has(WALLET_PATTERNS.name, day):
        return None
    tables = (WALLET_PATTERNS, FOLLOW_EDGES, LEADER_INFLOW, COPY_VALUE, LANDINGS)
    rows = [lake.read(t.name, day).to_pylist() if lake.has(t.name, day) else [] for t in tables]
    inflow = sorted(rows[2], key=lambda row: (row["leader"], row["slots"]))
    named = (f"{day.isoformat()}-lake", day.isoformat())
    ours = sorted(rows[4], key=lambda row: (row["side"], row["slots_late"]))
    return release_from((*named, rows[0], rows[1], inflow, _leaders(rows[3]), ours))


def settings_as_of(lake: Lake, day: dt.date, settings: Settings) -> Settings:
    """`settings` with our own latency as the lake knows it at the end of `day`."""
    rows = lake.read(LANDINGS.name, day).to_pylist() if lake.has(LANDINGS.name, day) else []
    counts = [LandingCount(row["side"], row["slots_late"], row["n_orders"]) for row in rows]
    return with_our_latency(settings, counts, day.isoformat())


def _leaders(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cells of each leader together, as `releases.CURRENT` reads them from Postgres."""
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["leader"], row["latency_slots"], row["size_lamports"])):
        leader = found.setdefault(row["leader"], {**row, "capacity_sol": row["capacity_sol"] or 0, "cells": []})
        leader["cells"].append([row[name] for name in _OF_A_CELL])
    return list(found.values())
