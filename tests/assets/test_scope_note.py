"""Edges say under which scope the events of their window were kept."""

from __future__ import annotations

import pytest

from tests.assets.conftest import Platform
from tests.assets.planted import Market, day, track


def metadata(platform: Platform) -> dict[str, object]:
    result = platform.succeed(day(0), day(1))
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        if materialization.asset_key.path == ["follow_edges"] and materialization.partition == str(day(1)):
            return {name: value.value for name, value in materialization.metadata.items()}
    raise AssertionError("follow_edges was not materialized")


@pytest.mark.parametrize(
    ("scope", "said"),
    [("all", None), ("touched", "chance is measured on those"), ("tracked", "--scope touched or all")],
)
def test_follow_edges_say_what_their_days_did_not_keep(platform: Platform, scope: str, said: str | None) -> None:
    track(platform.url, wallet_1="one")
    platform.plant(Market(1, 2, events_per_day=60).rows, day(0), day(1))
    platform.execute(f"UPDATE ingest_days SET scope = '{scope}' WHERE day = '{day(0)}'")
    found = metadata(platform)
    assert found["scope"] == scope
    assert ("note" in found) is (said is not None)
    assert (said or "") in str(found.get("note", ""))
