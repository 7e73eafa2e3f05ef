"""The copy network on a market of other mechanisms than the first: one small case of what docs/methods.md reports."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from second_market import AS_OF, SLOT_MS, Market

from copytrader_assets.analysis.day_buys import reduced
from copytrader_assets.analysis.first_buys import Held
from copytrader_assets.analysis.network import Network, copy_network
from copytrader_assets.analysis.payers import day_links
from copytrader_assets.analysis.split_half import Persistence
from copytrader_core.settings import NetworkSettings


def network_of(market: Market) -> Network:
    swaps = market.table()
    return copy_network(
        [Held(reduced(swaps))],
        day_links(swaps),
        leaders=dict.fromkeys(market.tracked),
        as_of=AS_OF,
        settings=NetworkSettings(),
        slot_ms=SLOT_MS,
    )


def pairs(edges: pa.Table) -> set[tuple[str, str]]:
    return set(zip(edges["leader"].to_pylist(), edges["follower"].to_pylist(), strict=True))


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(seed=204)


@pytest.fixture(scope="module")
def network(market: Market) -> Network:
    return network_of(market)


def test_followers_are_found_and_nearly_nobody_else(market, network):
    found, truth = pairs(network.edges), market.truth

    assert len(truth) == 90 and len(market.tracked) == 170
    assert len(found & truth) / len(found) >= 0.97
    assert len(found & truth) / len(truth) >= 0.95


def test_lags_and_probabilities_are_those_of_the_market(market, network):
    planted = {(link.leader, link.follower): link.prob for link in market.links}
    lag_error, prob_error = [], []
    for row in network.edges.to_pylist():
        pair = (row["leader"], row["follower"])
        led, answered = market.book[pair[0]], market.book[pair[1]]
        lags = np.array([answered[coin].at - buy.at for coin, buy in led.items() if coin in answered]) * 1000
        lag_error.append(abs(row["lag_ms_p50"] / np.median(lags[(lags > 0) & (lags <= 30_000)]) - 1))
        prob_error.append(abs(row["follow_prob_30s"] - planted.get(pair, 0.0)))

    assert np.mean(np.array(lag_error) <= 0.1) >= 0.9
    assert np.mean(prob_error) < 0.06


def test_intervals_hold_their_excess_and_most_true_probabilities(market, network):
    planted = {(link.leader, link.follower): link.prob for link in market.links}
    rows = [row for row in network.edges.to_pylist() if (row["leader"], row["follower"]) in planted]
    covered = [row["excess_lo"] - 0.03 <= planted[row["leader"], row["follower"]] <= row["excess_hi"] + 0.03
               for row in rows]  # fmt: skip

    assert all(0 < row["excess_lo"] <= row["excess"] <= row["excess_hi"] for row in rows)
    assert all(row["p_value"] <= row["q_value"] <= 0.05 for row in rows)
    assert np.mean(covered) >= 0.85


def test_no_edge_joins_two_wallets_of_one_entity(network):
    entity = dict(zip(network.entities["wallet"].to_pylist(), network.entities["entity"].to_pylist(), strict=True))

    assert not [pair for pair in pairs(network.edges) if entity.get(pair[0], 0) == entity.get(pair[1], 1)]


def test_edges_of_the_first_half_persist_and_predict_the_second(network):
    kept = Persistence.of(network.validation)

    assert kept.edges >= 70
    assert kept.persistence >= 0.95
    assert kept.correlation >= 0.7
    assert 0.9 <= kept.slope <= 1.1


def test_the_inflow_that_was_forecast_is_the_one_that_came(network):
    rows = [row for row in network.calibration.to_pylist() if row["slots"] == 2]
    predicted, realised = (np.array([row[f"{name}_behind_sol"] for row in rows]) for name in ("predicted", "realised"))

    assert len(rows) == 10
    assert 0.8 <= predicted @ realised / (predicted @ predicted) <= 1.2
    assert np.corrcoef(predicted, realised)[0, 1] >= 0.95


def test_where_nobody_follows_anybody_there_is_at_most_one_edge():
    market = Market(seed=205, follows=False)

    assert network_of(market).edges.num_rows <= 1
