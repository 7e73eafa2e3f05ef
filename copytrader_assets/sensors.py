"""What the code location watches. The ingest worker knows no Dagster: its sealed days are read from Postgres."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from copytrader_assets.assets.events import raw_events
from copytrader_assets.partitions import FIRST_DAY
from copytrader_assets.resources import Warehouse


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Shows the days that the ingest worker has sealed as materialized partitions of raw_events.",
)
def sealed_days(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """Reports newly sealed days as materializations of `raw_events`. The cursor is the last seal that was seen."""
    since = dt.datetime.fromisoformat(context.cursor) if context.cursor else None
    seals = warehouse.seals_since(since)
    if not seals:
        return dg.SkipReason("no day was sealed since the last look")
    reports = [
        dg.AssetMaterialization(
            raw_events.key,
            partition=seal.day.isoformat(),
            metadata={"dagster/partition_row_count": seal.n_events, "sealed_by": seal.sealed_by},
        )
        # Dagster accepts unknown partitions silently.
        for seal in seals
        if seal.day >= FIRST_DAY
    ]
    return dg.SensorResult(asset_events=reports, cursor=max(seal.sealed_at for seal in seals).isoformat())
