"""Event-log retention: what steps said goes, what was materialized, checked and run stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import pytest

from copytrader_assets.definitions import build_defs
from copytrader_assets.event_log import FORGOTTEN, forget_steps
from copytrader_assets.jobs import materialize
from copytrader_core.errors import StoreError
from tests.assets.conftest import Platform
from tests.assets.planted import day, event

KEY = dg.AssetKey("trades")
LATER = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(days=1)


@pytest.fixture
def instance(platform: Platform, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance in Postgres that has materialized two days, and failed on a third."""
    monkeypatch.delenv("DAGSTER_PG_URL", raising=False)
    (tmp_path / "dagster.yaml").write_text(
        "storage: {custom: {module: copytrader_assets.storage, class: ProjectStorage, config: {}}}\n"
        "telemetry: {enabled: false}\n"
    )
    platform.plant([event(1, "BUY", 10, 10)], day(0), day(1))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        assert not materialize(build_defs(), day(0), day(1), made).failures
        assert materialize(build_defs(), day(2), day(2), made).failures
        yield made
    monkeypatch.delenv("DAGSTER_PG_URL", raising=False)


def kept(platform: Platform) -> dict[str, int]:
    return dict(platform.sql("SELECT coalesce(dagster_event_type, 'LOG'), count(*) FROM dagster.event_logs GROUP BY 1"))


def test_steps_go_and_materializations_checks_and_runs_stay(platform: Platform, instance: dg.DagsterInstance) -> None:
    before = kept(platform)
    state = instance.get_materialized_partitions(KEY), len(instance.get_runs())
    gone = forget_steps(instance, LATER)
    after = kept(platform)
    assert gone == sum(before.values()) - sum(after.values()) > 0
    assert not {"LOG", *FORGOTTEN} & after.keys()
    assert after == {kind: n for kind, n in before.items() if kind not in {"LOG", *FORGOTTEN}}
    assert {"ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "PIPELINE_FAILURE", "STEP_FAILURE"} <= after.keys()
    assert (
        (instance.get_materialized_partitions(KEY), len(instance.get_runs()))
        == state
        == ({str(day(0)), str(day(1))}, 2)
    )
    assert forget_steps(instance, LATER) == 0


def test_young_events_and_those_of_runs_that_go_on_stay(platform: Platform, instance: dg.DagsterInstance) -> None:
    before = kept(platform)
    assert forget_steps(instance, LATER - dt.timedelta(days=3)) == 0
    platform.execute("UPDATE dagster.runs SET status = 'STARTED'")
    assert forget_steps(instance, LATER) == 0
    assert kept(platform) == before


def test_the_job_runs(platform: Platform, instance: dg.DagsterInstance) -> None:
    job = build_defs().resolve_job_def("event_log_retention")
    assert job.execute_in_process(instance=instance).success


def test_an_event_log_that_is_not_in_postgres_is_refused() -> None:
    with dg.DagsterInstance.ephemeral() as other, pytest.raises(StoreError, match="expected Postgres"):
        forget_steps(other, LATER)
