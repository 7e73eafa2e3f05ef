"""A backtest is the executor: walked along a tape it does what it does when it hears every update."""

from __future__ import annotations

import pytest
from backtest_world import fed, random_world, release_of, walked
from planted_market import LEADER

from copytrader_core.settings import Settings

STYLES = ("time_stop", "target_x", "mixed")


def settings(**policy: object) -> Settings:
    risk = {"mint_cool_down_ms": 1_000, "max_open_positions": 6}
    return Settings(policy={"require_positive_ev": False, **policy}, risk=risk, executor={"paper_jitter_slots": 3})


@pytest.mark.parametrize("seed", range(12))
def test_the_walk_decides_fills_and_exits_like_the_engine_that_hears_everything(seed: int) -> None:
    world = random_world(seed, leaders=(LEADER, "second"))
    release = release_of(LEADER, "second", typical_exit_style=STYLES[seed % 3])
    policy = {"trailing_fraction": 0.1, "trailing_from_x": 1.05, "stop_x": 0.8} if seed % 2 else {}
    heard, heard_hash = fed(world, settings(**policy), release)
    walk, walk_hash = walked(world, settings(**policy), release)
    assert [line["kind"] for line in heard].count("FILL") > 4
    assert walk == heard
    assert walk_hash == heard_hash
