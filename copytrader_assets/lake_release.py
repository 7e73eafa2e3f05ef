"""The release of a day as the lake has it: what the executor would have traded by on the day after."""

from __future__ import annotations

import datetime as dt

from copytrader_assets.lake import Lake
from copytrader_assets.schemas import FOLLOW_EDGES, LEADER_INFLOW, WALLET_PATTERNS
from copytrader_assets.value_schemas import COPY_VALUE
from copytrader_core.records import Release
from copytrader_core.store.releases import release_from


def release_as_of(lake: Lake, day: dt.date) -> Release | None:
    """Fingerprints, edges, forecasts and copy values as of `day`; None where the lake has no fingerprints of that day."""
    if not lake.has(WALLET_PATTERNS.name, day):
        return None
    rows = [
        lake.read(name, day).to_pylist() if lake.has(name, day) else []
        for name in (WALLET_PATTERNS.name, FOLLOW_EDGES.name, LEADER_INFLOW.name, COPY_VALUE.name)
    ]
    inflow = sorted(rows[2], key=lambda row: (row["leader"], row["slots"]))
    return release_from((f"{day.isoformat()}-lake", day.isoformat(), rows[0], rows[1], inflow, rows[3]))
