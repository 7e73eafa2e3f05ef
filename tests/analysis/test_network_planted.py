"""The copy network against markets in which it is known who follows whom."""

from __future__ import annotations

import numpy as np
import pytest
from planted_network import AS_OF, SLOT_MS, World, nobody_follows

from copytrader_assets.analysis.network import follow_edges
from copytrader_core.settings import NetworkSettings

HARD = {"sessions": True, "tastes": 4, "mood": 0.3, "untracked_leaders": 6}


def found(world: World, method: str = "conditional") -> set[tuple[str, str]]:
    edges, _ = follow_edges(
        world.table(),
        leaders=dict.fromkeys(world.tracked),
        as_of=AS_OF,
        settings=NetworkSettings(method=method),
        slot_ms=SLOT_MS,
    )
    return set(zip(edges["leader"].to_pylist(), edges["follower"].to_pylist(), strict=True))


def precision_and_recall(worlds: list[World], method: str = "conditional") -> tuple[float, float]:
    """Over all worlds together."""
    pairs = [(found(world, method), world.truth) for world in worlds]
    right = sum(len(edges & truth) for edges, truth in pairs)
    return right / sum(len(edges) for edges, _ in pairs), right / sum(len(truth) for _, truth in pairs)


@pytest.mark.parametrize("kind", [{"untracked_leaders": 6}, HARD], ids=["plain", "sessions, tastes and moods"])
def test_three_days_show_nearly_every_follower_and_hardly_a_false_one(kind):
    precision, recall = precision_and_recall([World(seed=seed, **kind) for seed in (101, 102, 103)])

    assert precision >= 0.97
    assert recall >= 0.95


def test_one_day_misses_some_followers_but_invents_none():
    precision, recall = precision_and_recall(
        [World(seed=seed, days=1, untracked_leaders=6) for seed in (111, 112, 113)]
    )

    assert precision >= 0.95
    assert recall >= 0.85


@pytest.mark.parametrize("kind", [{}, {"sessions": True, "tastes": 4, "burst_share": 0.5}], ids=["plain", "hard"])
def test_where_nobody_follows_anybody_there_is_at_most_one_edge(kind):
    for seed in (121, 122, 123):
        world = World(seed=seed, n_copiers=0, n_two_leaders=0, n_chained=0, n_idle_tracked=80, **kind)

        assert not world.truth
        assert len(found(world)) <= 1


def test_the_seed_rule_finds_the_fast_followers_among_many_false_ones():
    worlds = [World(seed=seed, untracked_leaders=6) for seed in (131, 132)]
    precision, recall = precision_and_recall(worlds, "seed")

    assert 0.25 <= precision < precision_and_recall(worlds)[0]
    assert 0.4 <= recall < precision_and_recall(worlds)[1]


def test_a_chain_keeps_its_links_and_siblings_do_not_follow_each_other():
    world = World(seed=141, days=5)
    edges = found(world)
    second = {e.follower: e.leader for e in world.edges if e.follower.startswith("second-")}
    head = {e.follower: e.leader for e in world.edges if e.follower.startswith("copier-")}

    assert {(copier, tail) for tail, copier in second.items()} <= edges
    assert not {(head[copier], tail) for tail, copier in second.items()} & edges
    assert not {(a, b) for a in head for b in head} & edges


def test_a_wallet_that_copies_two_leaders_has_both():
    world = World(seed=142, days=5)
    both = {(e.leader, e.follower) for e in world.edges if e.follower in {f"copier-{i}" for i in range(8)}}

    assert len(both) >= 12
    assert both <= found(world)


def test_copiers_of_a_leader_that_is_not_tracked_do_not_follow_each_other():
    world = World(seed=143, untracked_leaders=10)

    assert not {pair for pair in found(world) if pair[0].startswith("orphan")}


def test_lags_and_probabilities_are_those_that_were_planted():
    world = World(seed=144)
    table, _ = follow_edges(
        world.table(), leaders=dict.fromkeys(world.tracked), as_of=AS_OF, settings=NetworkSettings(), slot_ms=SLOT_MS
    )
    planted = {(e.leader, e.follower): e for e in world.edges}
    lag_error, prob_error = [], []
    for row in table.to_pylist():
        if (edge := planted.get((row["leader"], row["follower"]))) is None:
            continue
        answers = world.first[edge.follower]
        lags = np.array([answers[coin] - at for coin, at in world.first[edge.leader].items() if coin in answers])
        lag_error.append(abs(row["lag_ms_p50"] / np.median(lags[(lags > 0) & (lags <= 30_000)]) - 1))
        prob_error.append(abs(row["follow_prob_30s"] - edge.prob))

    assert np.mean(np.array(lag_error) <= 0.1) >= 0.9
    assert np.mean(prob_error) < 0.06


def test_a_market_without_anything_to_find_gives_empty_tables():
    world = nobody_follows(seed=150, days=1)
    edges, scores = follow_edges(
        world.table().slice(0, 0), leaders={"leader-0": None}, as_of=AS_OF, settings=NetworkSettings(), slot_ms=SLOT_MS
    )

    assert (edges.num_rows, scores.num_rows) == (0, 0)
