"""Wallets of one actor are merged before anything is counted; followers, siblings and customers are not."""

from __future__ import annotations

import pyarrow as pa
import pytest
from handmade_buys import buy, table
from planted_network import SLOT_MS, World
from second_market import Market

from copytrader_assets.analysis.day_buys import reduced
from copytrader_assets.analysis.entities import HUB_DEGREE, find_entities, owners
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.payers import day_links, joined_links
from copytrader_core.pump.addresses import NEVER_TRADERS

HORIZON = 75


def merged(swaps: pa.Table) -> dict[str, str]:
    """Each merged wallet's entity."""
    buys = FirstBuys.of(swaps)
    links = day_links(swaps) if "fee_payer" in swaps.column_names else joined_links([])
    return owners(buys, find_entities(buys, links, HORIZON, SLOT_MS, 0))[1]


def pairs(entity_of: dict[str, str]) -> set[tuple[str, str]]:
    return {(a, b) for a in entity_of for b in entity_of if a < b and entity_of[a] == entity_of[b]}


@pytest.mark.parametrize("with_payers", [True, False], ids=["payers known", "slots alone"])
def test_planted_bundles_are_merged_and_nobody_else(with_payers):
    right = found = planted = 0
    for seed in (60, 61):
        market = Market(seed=seed)
        swaps = market.table() if with_payers else market.table().drop_columns("fee_payer")
        got = {pair for pair in pairs(merged(swaps)) if not any(name.startswith("payer") for name in pair)}
        truth = {(a, b) for team in market.bundles for a in team for b in team if a < b}
        right, found, planted = right + len(got & truth), found + len(got), planted + len(truth)

    assert right / found >= 0.99
    assert right / planted >= 0.95


def test_copiers_snipers_and_crowd_stay_apart():
    assert {name.split("-")[0] for name in merged(World(seed=62).table())} == {"bundle"}


def test_a_follower_in_the_same_slot_is_not_its_leader():
    rows = [buy("lead", coin, 2000 * coin) for coin in range(40)]
    rows += [buy("tail", coin, 2000 * coin + (coin % 4 == 0), 9) for coin in range(40)]

    assert merged(table(rows)) == {}


def test_two_copiers_of_one_leader_with_the_same_latency_are_two():
    rows = [buy(who, coin, 2000 * coin + lag, tx) for coin in range(60)
            for who, lag, tx in (("lead", 0, 1), ("one", 3, 2), ("two", 3, 3))]  # fmt: skip

    assert merged(table(rows)) == {}


def test_two_who_always_land_in_one_slot_and_follow_nobody_are_one():
    rows = [buy(who, coin, 2000 * coin, tx) for coin in range(12) for who, tx in (("one", 2), ("two", 3))]

    assert merged(table(rows)) == {"one": "two", "two": "two"}


@pytest.mark.parametrize(("customers", "are_merged"), [(HUB_DEGREE, True), (HUB_DEGREE + 1, False)])
def test_a_payer_owns_a_few_wallets_and_serves_many(customers, are_merged):
    rows = [buy(f"w{i:02d}", 10 * i + j, 5000 * j + 131 * i, payer="payer") for i in range(customers) for j in range(4)]

    assert len(merged(table(rows))) == (customers + 1 if are_merged else 0)


def test_a_payer_of_less_than_half_of_what_a_wallet_does_proves_nothing():
    rows = [buy("one", j, 5000 * j, payer="payer" if j < 4 else None) for j in range(10)]

    assert merged(table(rows)) == {}


def test_wallets_that_sign_one_transaction_together_are_one():
    rows = [
        buy(who, j, 5000 * j, payer="far") | {"outer_ix": at, "sig": f"both-{j}"}
        for j in range(3)
        for at, who in enumerate("ab")
    ]
    rows += [buy(f"served-{i}", 50 + j, 9000 * j + i, payer="far") for i in range(40) for j in range(3)]

    assert merged(table(rows)) == {"a": "b", "b": "b"}


def test_one_place_in_a_slot_is_no_transaction_where_the_signatures_differ():
    rows = [buy(who, j, 5000 * j, payer="far") for j in range(5) for who in ("a", f"b{j}", "c")]
    rows += [buy(f"served-{i}", 50 + j, 9000 * j + i, payer="far") for i in range(40) for j in range(3)]

    assert not [row for row in day_links(table(rows)).to_pylist() if row["kind"] == "one_transaction"]


def test_no_address_of_the_protocol_is_ever_a_wallet():
    listed = sorted(NEVER_TRADERS)
    rows = [buy(address, coin, 900 * coin, place % 90) for place, address in enumerate(listed) for coin in range(6)]
    rows += [buy(f"paid-{place}", 90 + coin, 900 * coin, payer=address)
             for place, address in enumerate(listed) for coin in range(4)]  # fmt: skip
    swaps = table(rows)

    assert not NEVER_TRADERS & set(reduced(swaps).wallets.to_pylist())
    assert not NEVER_TRADERS & {
        name for column in ("wallet", "partner") for name in day_links(swaps)[column].to_pylist()
    }
    assert merged(swaps) == {}
