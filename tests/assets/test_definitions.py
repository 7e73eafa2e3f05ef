"""The code location as a user sees it: its shape in a file to compare with, and what each thing says of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from copytrader_assets.catalog import STAGES
from copytrader_assets.definitions import build_defs
from copytrader_assets.instance import set_storage_url
from copytrader_assets.lineage import column_lineage
from copytrader_assets.schemas import EVENTS, TABLES
from copytrader_core.settings import settings
from tests.assets.conftest import Platform

GRAPH = build_defs().resolve_asset_graph()
EXPECTED = Path(__file__).with_name("code_location.json")
# Constants, numbers of the row itself, and names from the wallets table: no column of another asset is in them.
MADE_HERE = {"as_of", "window_name", "slots", "decile", "hold_over_ms", "alias", "leader_alias", "follower_alias"}
# What the executor's journal says, which is no asset.
JOURNALLED = {"landings": {"side", "slots_late", "n_orders"}}


def asset(key: dg.AssetKey) -> dict[str, Any]:
    node = GRAPH.get(key)
    return {
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "parents": sorted(parent.to_user_string() for parent in node.parent_keys),
        "checks": sorted(check.name for check in node.check_keys),
        "executable": node.is_executable,
    }


def code_location() -> dict[str, Any]:
    """Everything that somebody's bookmark, alarm or script may name."""
    repository = build_defs().get_repository_def()
    return {
        "assets": {key.to_user_string(): asset(key) for key in sorted(GRAPH.get_all_asset_keys())},
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": {
            one.name: {"cron": one.cron_schedule, "job": one.job_name, "status": one.default_status.value}
            for one in sorted(repository.schedule_defs, key=lambda one: one.name)
        },
        "sensors": {
            one.name: {"seconds": one.minimum_interval_seconds, "status": one.default_status.value}
            for one in sorted(repository.sensor_defs, key=lambda one: one.name)
        },
    }


def test_the_code_location_is_the_one_in_the_file() -> None:
    """Where the change is meant: `python -m tests.assets.test_definitions` writes the file anew."""
    assert code_location() == json.loads(EXPECTED.read_text())


def test_every_asset_stands_in_a_stage() -> None:
    assert {key.to_user_string() for key in GRAPH.get_all_asset_keys()} == {
        name for names in STAGES.values() for name in names
    }


def test_every_computed_asset_takes_a_range_in_one_run() -> None:
    nodes = [GRAPH.get(key) for key in GRAPH.executable_asset_keys]
    assert {node.backfill_policy for node in nodes} == {dg.BackfillPolicy.single_run()}


def test_every_asset_says_what_a_row_is_whose_it_is_and_when_it_must_be_fresh() -> None:
    for key in GRAPH.get_all_asset_keys():
        node = GRAPH.get(key)
        about, _, row = node.description.partition("\n\nA row is ")
        assert about and row.endswith("."), key
        assert node.owners == ["team:copytrader"] and node.kinds
        assert node.freshness_policy is not None


def test_the_owner_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYTRADER_DAGSTER__OWNER", "team:desk")
    settings.cache_clear()
    try:
        graph = build_defs().resolve_asset_graph()
    finally:
        settings.cache_clear()
    assert {tuple(graph.get(key).owners) for key in graph.get_all_asset_keys()} == {("team:desk",)}


def test_yesterdays_positions_are_the_parent_of_todays() -> None:
    key = dg.AssetKey("open_positions")
    mapping = GRAPH.get_partition_mapping(key, parent_asset_key=key)
    assert (mapping.start_offset, mapping.end_offset) == (-1, -1)


@pytest.mark.parametrize("name", ["raw_events", *TABLES])
def test_every_column_is_described_in_the_ui(name: str) -> None:
    schema = GRAPH.get(dg.AssetKey(name)).metadata["dagster/column_schema"]
    assert schema.columns and all(column.description for column in schema.columns)


@pytest.mark.parametrize("name", TABLES)
def test_every_column_names_columns_that_it_is_made_of(name: str) -> None:
    lineage = column_lineage(name)["dagster/column_lineage"].deps_by_column
    unfilled = {"leader_wallet"} if name == EVENTS.name else set()
    made = MADE_HERE | JOURNALLED.get(name, set())
    assert {*TABLES[name].names} - made - unfilled == {*lineage} - made
    sources = [source for found in lineage.values() for source in found]
    known = TABLES | {"raw_events": EVENTS}
    assert all(one.column_name in known[one.asset_key.to_user_string()].names for one in sources)


def test_a_change_of_columns_changes_the_code_version() -> None:
    versions = [GRAPH.get(dg.AssetKey(name)).code_version for name in TABLES]
    assert all(versions) and len({*versions}) == len(versions)


def test_the_definitions_need_no_database_to_be_imported() -> None:
    code = "import copytrader_assets.definitions"
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "COPYTRADER_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_dagsters_own_tables_are_reached_over_the_one_driver_that_works(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("DAGSTER_PG_URL", f"{scheme}://me@host/db")
    assert set_storage_url() == os.environ["DAGSTER_PG_URL"] == "postgresql+psycopg2://me@host/db"


def test_a_run_without_a_day_says_so(platform: Platform) -> None:
    job = build_defs().resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("events")], raise_on_error=False
        )
    data = result.get_step_failure_events()[0].step_failure_data
    assert data.user_failure_data is not None
    assert "the run names no day" in str(data.user_failure_data.description)


if __name__ == "__main__":
    EXPECTED.write_text(json.dumps(code_location(), indent=1) + "\n")
