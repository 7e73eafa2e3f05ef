"""multi_hop_swap: one row for the route, none for its hops."""

from dataclasses import replace
from pathlib import Path

import pytest

from copytrader_core.pump.attribution import TransactionFacts
from copytrader_core.pump.decode import decode
from copytrader_core.pump.emissions import AMM
from copytrader_core.records import WSOL
from tests.pump.planted import WSOL_KEY, amm_call, key, landed, pool_event, pump_call, text, tokens, trade_event
from tests.pump.recorded import from_pb

MIDDLE, COIN, XSTOCK, TRADER = key("middle"), key("coin"), key("xstock"), key("trader")
FIXED = [TRADER, *[key(f"fixed {n}") for n in range(15)]]


def hop(base, quote, venue):
    """The five accounts that a route names for one hop."""
    return [base, quote, venue, key("base vault"), key("quote vault")]


def first_buy(money=WSOL_KEY, **values):
    """1,012 of money for 500 middle coins from the middle coin's pool; the protocol's fee is charged here."""
    return pool_event(
        "BuyEvent", base_amount_out=500, quote_amount_in=1_012, user_quote_amount_in=1_000, protocol_fee=12,
        ix_name="multi_hop_swap", **values,
    )  # fmt: skip


def then_buy(**values):
    """500 middle coins for 7,000 coins from the coin's curve; the creator's fee is charged here, in middle coins."""
    return trade_event(
        quote_mint=MIDDLE,
        sol_amount=0,
        quote_amount=494,
        creator_fee=6,
        token_amount=7_000,
        ix_name="multi_hop_swap",
        **values,
    )


def route(*, pool=None, curve=None, money=WSOL_KEY, sells=False):
    hops = [hop(MIDDLE, money, key("pool")), hop(COIN, MIDDLE, key("curve"))]
    accounts = FIXED + [account for one in (reversed(hops) if sells else hops) for account in one]
    calls = [pump_call("multi_hop_curve_swap", [COIN, MIDDLE], [curve])] if curve else []
    return landed(
        amm_call("multi_hop_swap", accounts, [pool] if pool else [], calls),
        after=[tokens(key("a"), COIN, TRADER, 7_000), tokens(key("m"), money, TRADER, 1, 9)],
    )


def in_execution_order(tx):
    """The pool hop of a buy runs before the curve hop: its event call goes first."""
    group = tx.inner[0]
    return replace(tx, inner={0: (group[-1], *group[:-1])})


def test_a_route_from_sol_to_a_coin_is_one_buy_paid_in_sol():
    (row,) = decode(in_execution_order(route(pool=first_buy(), curve=then_buy()))).events
    assert (row.action, row.mint, row.quote_mint) == ("BUY", text(COIN), WSOL)
    assert (row.base_raw, row.quote_raw, row.swap_fee_raw) == (7_000, 1_012, 12)
    assert (row.program, row.outer_ix, row.inner_ix, row.event_seq) == (AMM.text, 0, -1, 0)
    assert row.meta["other_fees"] == {text(MIDDLE): 6}
    assert (row.reserve_base_raw, row.reserve_quote_raw) == (None, None)
    assert row.wallet == text(TRADER)


def test_a_route_from_a_coin_to_sol_is_one_sale_for_sol():
    sold = trade_event(
        quote_mint=MIDDLE, sol_amount=0, quote_amount=506, creator_fee=6, token_amount=7_000, is_buy=False,
        ix_name="multi_hop_swap",
    )  # fmt: skip
    paid = pool_event(
        "SellEvent", base_amount_in=500, quote_amount_out=1_000, user_quote_amount_out=990, protocol_fee=10
    )
    (row,) = decode(route(pool=paid, curve=sold, sells=True)).events
    assert (row.action, row.mint, row.quote_mint) == ("SELL", text(COIN), WSOL)
    assert (row.base_raw, row.quote_raw, row.swap_fee_raw) == (7_000, 990, 10)


def test_a_route_between_coins_is_a_swap_paid_in_what_was_given():
    (row,) = decode(in_execution_order(route(pool=first_buy(), curve=then_buy(), money=XSTOCK))).events
    assert (row.action, row.base_mint, row.quote_mint) == ("SWAP", text(COIN), text(XSTOCK))
    assert (row.base_raw, row.quote_raw, row.swap_fee_raw) == (7_000, 1_012, 12)
    assert (row.amount_in, row.amount_out) == (1_012 / 1e9, 7_000 / 1e6)


def test_a_route_of_one_hop_keeps_its_pools_reserves():
    accounts = FIXED + hop(COIN, WSOL_KEY, key("pool"))
    (row,) = decode(landed(amm_call("multi_hop_swap", accounts, [first_buy()]))).events
    assert (row.action, row.base_raw, row.quote_raw) == ("BUY", 500, 1_012)
    assert row.reserve_base_raw == 10**12 - 500


@pytest.mark.parametrize("spoil", ["cut", "apart"])
def test_a_route_with_a_broken_hop_gives_no_row(spoil):
    curve = then_buy()[:300] if spoil == "cut" else then_buy(user=TRADER).replace(MIDDLE, XSTOCK)
    tx = in_execution_order(route(pool=first_buy(), curve=curve))
    found = decode(tx)
    assert found.events == ()
    assert found.problems


# Run on the deployed programs in the local chain: SOL to a coin that is quoted in a pump coin, and half of it back, the
# middle coin once on its curve and once in its pool.
EXECUTED = sorted((Path(__file__).parent / "routes").glob("*.pb"))


@pytest.mark.parametrize("file", EXECUTED, ids=lambda file: file.stem)
def test_an_executed_route_is_what_the_wallets_balances_moved(file):
    tx = from_pb(file)
    (row,) = decode(tx).events
    facts = TransactionFacts(tx)
    lamports = tx.post_balances[0] - tx.pre_balances[0] + tx.fee
    quote = lamports + facts.token_deltas.get((row.wallet, WSOL), 0)
    accumulator_rent = 1_844_400 if row.action == "BUY" and file.stem.endswith("curve") else 0
    assert facts.token_deltas[row.wallet, row.mint] == (row.base_raw if row.action == "BUY" else -row.base_raw)
    assert quote == (-row.quote_raw - accumulator_rent if row.action == "BUY" else row.quote_raw)
    assert (row.quote_mint, row.meta["hops"], row.event_seq) == (WSOL, 2, 0)


@pytest.mark.parametrize("file", EXECUTED, ids=lambda file: file.stem)
def test_an_executed_route_is_the_same_row_from_its_logs(file):
    tx = from_pb(file)
    (row,) = decode(tx).events
    (logged,) = decode(replace(tx, inner={})).events
    assert replace(logged, meta=row.meta) == row
    assert logged.meta["source"] == "log"
