"""The numbers on an edge, against a market small enough to count by hand."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from planted_network import AS_OF, END_NS, SLOT_MS, WSOL

from copytrader_assets.analysis.network import EDGE_SCHEMA, follow_edges
from copytrader_core.settings import NetworkSettings

USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
FIRST_SLOT = 400_000_000


def buy(wallet: str, coin: int, slot: int, *, tx: int | None = 10, sol: float = 1.0, **columns) -> dict:
    at_ns = END_NS - 86_400_000_000_000 + slot * 400_000_000
    place = {"outer_ix": 0, "inner_ix": -1, "event_seq": 0, "quote_mint": WSOL, "quote_raw": round(sol * 1e9)}
    row = {"slot": FIRST_SLOT + slot, "tx_index": tx, "wallet": wallet, "mint": f"coin-{coin}", "ts_ns": at_ns}
    return row | place | columns


def market(rows: list[dict]) -> pa.Table:
    """The rows among a crowd that buys other coins, so that chance is small."""
    crowd = [buy(f"crowd-{i % 97}", 1000 + i % 211, 37 * i, tx=i % 50) for i in range(4000)]
    table = pa.Table.from_pylist(rows + crowd)
    return table.set_column(1, "tx_index", table["tx_index"].cast(pa.int32()))


def edges_of(rows: list[dict], *, leaders=("lead",), method="conditional", as_of=AS_OF, **settings) -> list[dict]:
    chosen = NetworkSettings(method=method, **settings)
    names = {name: f"{name} by name" for name in leaders}
    edges, _ = follow_edges(market(rows), leaders=names, as_of=as_of, settings=chosen, slot_ms=SLOT_MS)
    assert edges.schema == EDGE_SCHEMA
    return edges.to_pylist()


def copied(lags_in_slots: list[int | None], *, follower="tail", sol=0.5, tx: int | None = 20) -> list[dict]:
    """One coin an hour bought by `lead`, and by the follower so many slots later (None: never)."""
    rows = []
    for coin, lag in enumerate(lags_in_slots):
        rows.append(buy("lead", coin, 9000 * coin))
        if lag is not None:
            rows.append(buy(follower, coin, 9000 * coin + lag, sol=sol, tx=tx))
    return rows


LAGS = [4, 4, 5, 5, 5, 6, 12, 13, 25, 26, 75, 76, None, None]
"""12 slots are 4.8 s, 25 are 10 s, 75 are 30 s: the last of each bound counts, the next does not."""


def test_an_edge_counts_what_followed_within_each_time():
    (edge,) = edges_of(copied(LAGS))

    assert (edge["leader"], edge["follower"], edge["leader_alias"]) == ("lead", "tail", "lead by name")
    assert (edge["n_leader_buys"], edge["n_followed"], edge["as_of"]) == (14, 11, AS_OF)
    assert [edge[f"follow_prob_{t}s"] for t in (2, 5, 10, 30)] == [5 / 14, 7 / 14, 9 / 14, 11 / 14]
    assert edge["follow_prob"] == edge["follow_prob_5s"] - edge["baseline_prob"]
    assert 0 <= edge["baseline_prob"] < 0.001
    assert edge["avg_follower_size_sol"] == 0.5
    assert edge["q_value"] < 1e-6


def test_lags_are_slots_times_the_slot_duration():
    (edge,) = edges_of(copied([5] * 9 + [8]))

    assert edge["lag_ms_p50"] == pytest.approx(5 * SLOT_MS, abs=SLOT_MS / 4)
    assert edge["lag_ms_p90"] == pytest.approx(np.quantile([5] * 9 + [8], 0.9) * SLOT_MS)


def test_coins_that_the_follower_had_bought_before_are_no_opportunities():
    early = [buy("tail", coin, 9000 * coin - 100) for coin in (0, 1, 2)]
    (edge,) = edges_of(copied(LAGS) + early)

    assert (edge["n_leader_buys"], edge["n_followed"]) == (11, 8)


def test_only_the_first_buy_of_a_coin_counts():
    again = [buy("lead", 0, 500), buy("tail", 0, 501), buy("tail", 1, 9100)]

    assert edges_of(copied(LAGS) + again) == edges_of(copied(LAGS))


def test_the_order_of_the_rows_does_not_matter():
    rows = copied(LAGS)

    assert edges_of(rows[::-1]) == edges_of(rows)


def test_what_happened_after_the_day_changes_nothing():
    later = [buy("tail", coin, 216_000 + 9000 * coin) for coin in (12, 13)] + [buy("lead", 77, 300_000)]

    assert edges_of(copied(LAGS) + later) == edges_of(copied(LAGS))
    assert edges_of(copied(LAGS), as_of=AS_OF - timedelta(days=1)) == []


def test_what_is_older_than_the_window_is_forgotten():
    assert edges_of(copied(LAGS), as_of=AS_OF + timedelta(days=2), window_days=2) == []
    assert edges_of(copied(LAGS), as_of=AS_OF + timedelta(days=2), window_days=3)


def test_a_follower_in_the_same_slot_stands_behind_its_leader():
    rows = copied([0] * 8 + [3] * 6)
    (edge,) = edges_of(rows)
    ahead = copied([0] * 2 + [3] * 12, tx=5)

    assert edge["n_followed"] == 14
    assert 0 < edge["lag_ms_p50"] < SLOT_MS
    assert edges_of(ahead)[0]["n_leader_buys"] == 12


def test_buys_of_one_slot_have_no_order_where_their_places_are_unknown():
    rows = [row | {"tx_index": None} for row in copied([0] * 8 + [3] * 8)]
    (edge,) = edges_of(rows)

    assert (edge["n_leader_buys"], edge["n_followed"]) == (8, 8)


def test_wallets_that_always_buy_in_one_slot_are_one_actor_and_no_edge():
    assert edges_of(copied([0] * 14)) == []


def test_too_few_follows_are_no_edge():
    assert edges_of(copied([3] * 4)) == []
    assert edges_of(copied([3] * 5)) != []
    assert edges_of(copied([3] * 5), min_followed=6) == []


def test_a_circle_that_buys_in_any_order_follows_nobody():
    rng = np.random.default_rng(7)
    circle = [f"member-{i}" for i in range(6)]
    rows = [buy(who, coin, 9000 * coin + int(rng.integers(0, 20)), tx=int(rng.integers(60)))
            for coin in range(20) for who in circle]  # fmt: skip

    assert edges_of(rows, leaders=circle) == []


@pytest.mark.parametrize("n_followers", [3, 12])
def test_followers_stand_out_even_where_they_are_most_of_the_early_buyers(n_followers):
    rows = [row for i in range(n_followers) for row in copied([3 + i % 4] * 15, follower=f"tail-{i}")]

    assert len(edges_of(rows)) == n_followers


def test_a_size_is_the_whole_of_the_transaction_and_only_in_sol():
    rows = copied([3] * 10, sol=1.0)
    split = [row | {"inner_ix": 4, "quote_raw": 500_000_000} for row in rows if row["wallet"] == "tail"]
    dollars = [row | {"quote_mint": USDC} if row["wallet"] == "tail" else row for row in rows]

    assert edges_of(rows + split)[0]["avg_follower_size_sol"] == 1.5
    assert edges_of(dollars)[0]["avg_follower_size_sol"] is None


def test_the_seed_rule_asks_for_three_in_ten_within_five_seconds():
    enough, few = [4] * 8 + [60] * 12, [4] * 6 + [60] * 14

    (edge,) = edges_of(copied(enough), method="seed")
    rate = 20 * 5_000 / (edge_span_slots(copied(enough)) * SLOT_MS)
    assert edge["follow_prob_5s"] == 0.4
    assert edge["baseline_prob"] == pytest.approx(-np.expm1(-rate))
    assert edges_of(copied(few), method="seed", min_follow_prob=0.31) == []


def edge_span_slots(rows: list[dict]) -> int:
    slots = market(rows)["slot"].to_numpy()
    return int(slots.max() - slots.min() + 1)


def test_near_and_likely_followers_make_a_high_followership():
    def score(lags: list[int | None]) -> float:
        _, scores = follow_edges(
            market(copied(lags)), leaders={"lead": None, "crowd-1": None}, as_of=AS_OF,
            settings=NetworkSettings(), slot_ms=SLOT_MS,
        )  # fmt: skip
        rows = {row["wallet"]: row for row in scores.to_pylist()}
        assert rows["crowd-1"] == {"wallet": "crowd-1", "followership_score": 0.0, "leader_score": 0.0}
        assert rows["lead"]["leader_score"] == 1.0
        return rows["lead"]["followership_score"]

    near, far, rare = score([3] * 12), score([60] * 12), score([3] * 6 + [None] * 6)
    assert 0 < far < near < 1
    assert 0 < rare < near
    assert near == pytest.approx(np.exp(-3 * SLOT_MS / 10_000), rel=0.02)
