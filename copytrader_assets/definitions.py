"""The Dagster code location, explicit and short. Importing it needs neither a database nor the lake."""

from __future__ import annotations

from typing import Any

import dagster as dg

from copytrader_assets.alerts import failed_runs, mended_runs
from copytrader_assets.assets.events import events, raw_events
from copytrader_assets.assets.fingerprints import fingerprints
from copytrader_assets.assets.landings import landings
from copytrader_assets.assets.leader_links import leader_links
from copytrader_assets.assets.network import copy_network, first_buys
from copytrader_assets.assets.proof import proof
from copytrader_assets.assets.release import pattern_release
from copytrader_assets.assets.replay import copies, copy_exits, market_tape
from copytrader_assets.assets.trades import round_trips
from copytrader_assets.assets.value import copy_values
from copytrader_assets.catalog import shown
from copytrader_assets.event_log import event_log_retention
from copytrader_assets.housekeeping import retention
from copytrader_assets.intraday import intraday
from copytrader_assets.jobs import daily_job
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.schedules import intraday_refresh, nightly, nightly_event_log, nightly_retention
from copytrader_assets.sensors import sealed_days


def build_defs(**overrides: Any) -> dg.Definitions:
    """The definitions of production, the command line and tests; `overrides` replace resources by name."""
    return dg.Definitions(
        assets=shown(
            [
                *(raw_events, events, round_trips, first_buys, copy_network, fingerprints),
                *(market_tape, landings, copy_exits, copies, proof),
                *(copy_values, pattern_release, leader_links),
            ]
        ),
        jobs=[daily_job, intraday, retention, event_log_retention],
        schedules=[nightly, intraday_refresh, nightly_retention, nightly_event_log],
        sensors=[sealed_days, failed_runs, mended_runs],
        resources={"lake_folder": LakeFolder(), "warehouse": Warehouse()} | overrides,
        # A process a step costs 4 s each; the steps share memory and cores better in one.
        executor=dg.in_process_executor,
    )


defs = build_defs()
