"""A backfill as Dagster's daemon plans it: exactly the days that were asked for, in two runs."""

from __future__ import annotations

import datetime as dt
import logging

import dagster as dg
import pytest
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
from dagster._core.execution.asset_backfill import AssetBackfillData, execute_asset_backfill_iteration_inner
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from copytrader_assets.definitions import build_defs
from tests.assets.conftest import Platform
from tests.assets.planted import Market, day

GRAPH = build_defs().resolve_asset_graph()
EXECUTABLE = GRAPH.executable_asset_keys
BACKFILL = "backfill"
NAMED_DAYS = [str(day(1)), str(day(2))]
MODULE = LoadableTargetOrigin(module_name="copytrader_assets.definitions")


def test_no_asset_but_open_positions_hangs_on_another_day() -> None:
    offsets = {}
    for child in EXECUTABLE:
        for parent in GRAPH.get(child).parent_keys:
            mapping = GRAPH.get_partition_mapping(child, parent_asset_key=parent)
            offsets[child.to_user_string(), parent.to_user_string()] = (mapping.start_offset, mapping.end_offset)
    assert {pair for pair, offset in offsets.items() if offset != (0, 0)} == {("open_positions", "open_positions")}


def target(selection: set[dg.AssetKey], instance: dg.DagsterInstance) -> AssetBackfillData:
    """What the daemon makes of a request for NAMED_DAYS."""
    now = dt.datetime.now(dt.UTC).timestamp()
    return AssetBackfillData.from_asset_partitions(GRAPH, NAMED_DAYS, sorted(selection), instance, now, False)


@pytest.mark.parametrize(
    "names", ["events", "open_positions", "trades", "open_positions,trades,wallet_patterns,pattern_release", "*"]
)
def test_a_backfill_targets_the_named_days_and_no_other(names: str) -> None:
    selection = {dg.AssetKey(name) for name in names.split(",")} if names != "*" else EXECUTABLE
    with dg.DagsterInstance.ephemeral() as instance:
        subset = target(selection, instance).target_subset
    assert {(one.asset_key, one.partition_key) for one in subset.iterate_asset_partitions()} == {
        (key, name) for key in selection for name in NAMED_DAYS
    }


def test_a_backfill_materializes_the_named_days_in_two_runs(platform: Platform) -> None:
    platform.plant(Market(1, 4, 60).rows, *map(day, range(4)))
    platform.succeed(day(0))
    runs: list[set[str]] = []
    job = build_defs().resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.local_temp() as instance, in_process_test_workspace(instance, MODULE) as workspace:
        data = target(EXECUTABLE, instance)
        while True:
            now = TemporalContext(effective_dt=dt.datetime.now(dt.UTC), last_event_id=None)
            view = AssetGraphView(temporal_context=now, instance=instance, asset_graph=workspace.asset_graph)
            tick = execute_asset_backfill_iteration_inner(
                BACKFILL, data, view, data.backfill_start_timestamp, logging.getLogger(__name__), None
            )
            data = tick.backfill_data.with_run_requests_submitted(tick.run_requests, view)
            if not tick.run_requests:
                break
            for request in tick.run_requests:
                result = job.execute_in_process(
                    instance=instance,
                    tags={**request.tags, "dagster/backfill": BACKFILL},
                    asset_selection=request.asset_selection,
                )
                assert result.success
                runs.append({key.to_user_string() for key in request.asset_selection or []})
    assert runs == [
        {
            *("events", "first_buys", "wallet_links", "follow_edges", "leader_scores", "entities"),
            *("edge_validation", "leader_inflow", "inflow_calibration", "leader_links"),
            *("tape", "tape_slots", "landings", "shadow_book", "parity"),
        },
        {
            *("open_positions", "trades", "wallet_patterns", "wallet_windows", "pattern_release"),
            *("leader_exits", "exit_curves", "copy_value", "calibration", "calibration_bins"),
            *("copies", "copy_exits"),
        },
    ]
    assert data.materialized_subset == data.target_subset
    assert platform.lake.days("follow_edges") == platform.lake.days("trades") == [day(0), day(1), day(2)]
