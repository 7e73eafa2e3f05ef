"""Reserves from events: which count, which do not, and a coin's way from its curve to its pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from planted_market import T0, address, settings

from copytrader_core.policy.market import quote_sell
from copytrader_core.policy.values import ExitPlan
from copytrader_core.pump.addresses import AMM_PROGRAM, MAYHEM_SOL_VAULT, PUMP_PROGRAM
from copytrader_core.records import WSOL, Event, Release
from executor import boot
from executor.clock import ChainClock
from executor.control import ACTIVE, Switch
from executor.journal import Entry, Journal
from executor.market_book import MarketBook, pool_of
from executor.orders import Order
from executor.wal import Wal

COIN = address("coin")
CURVE = Event(
    slot=10,
    tx_index=1,
    sig="s",
    outer_ix=0,
    inner_ix=-1,
    event_seq=0,
    wallet=address("somebody"),
    fee_payer=address("somebody"),
    program=str(PUMP_PROGRAM),
    action="BUY",
    mint=COIN,
    base_mint=COIN,
    quote_mint=WSOL,
    base_raw=1,
    quote_raw=1,
    swap_fee_raw=0,
    tx_fee_lamports=0,
    tip_lamports=0,
    reserve_base_raw=1_000 * 10**12,
    reserve_quote_raw=32_190_000_000,
    amount_in=None,
    amount_out=None,
    price_est=None,
    fee_sol=0.0,
    meta={"venue": "curve", "protocol_fee_bps": 95, "creator_fee_bps": 30},
)
POOL = replace(
    CURVE,
    slot=20,
    program=str(AMM_PROGRAM),
    reserve_base_raw=206 * 10**12,
    reserve_quote_raw=102 * 10**9,
    meta={
        "venue": "amm",
        "pool": pool_of(COIN),
        "vault_quote_raw": 85 * 10**9,
        "lp_fee_bps": 20,
        "protocol_fee_bps": 5,
        "creator_fee_bps": 95,
    },
)


def meta(event: Event, **values: Any) -> Event:
    return replace(event, meta={**event.meta, **values})


def test_real_reserves_follow_from_the_virtual_ones_where_the_event_lacks_them() -> None:
    market = MarketBook().hear(CURVE)
    assert market is not None
    assert (market.real_base_raw, market.real_quote_raw) == (720_100_000_000_000, 2_190_000_000)
    told = MarketBook().hear(meta(CURVE, real_base_raw=5, real_quote_raw=6))
    assert told is not None
    assert (told.real_base_raw, told.real_quote_raw) == (5, 6)


def test_what_is_older_than_what_is_known_changes_nothing() -> None:
    book = MarketBook()
    book.hear(CURVE)
    book.hear(replace(CURVE, tx_index=0, reserve_quote_raw=1))
    book.hear(replace(CURVE, slot=9, reserve_quote_raw=1))
    found = book.state(COIN)
    assert found is not None
    assert found.quote_raw == 32_190_000_000


def test_foreign_pools_other_currencies_and_routes_are_not_our_market() -> None:
    book = MarketBook()
    assert book.hear(meta(POOL, pool=address("another pool"))) is None
    assert book.hear(replace(CURVE, quote_mint=address("usdc"))) is None
    assert book.hear(meta(CURVE, ix="multi_hop_swap")) is None
    assert book.hear(replace(CURVE, action="CREATE")) is None
    assert book.state(COIN) is None


def test_the_agent_that_pays_no_fee_does_not_make_trading_free() -> None:
    agent = meta(replace(CURVE, wallet=str(MAYHEM_SOL_VAULT)), protocol_fee_bps=0, creator_fee_bps=0)
    market = MarketBook().hear(agent)
    assert market is not None
    assert market.fee_bps == 125


def test_a_cashback_coin_takes_the_creators_share_all_the_same() -> None:
    market = MarketBook().hear(meta(CURVE, creator_fee_bps=0, cashback_raw=77))
    assert market is not None
    assert market.fee_bps == 125


def test_coins_that_nobody_trades_are_forgotten_unless_held() -> None:
    book, other = MarketBook(), address("other")
    book.hear(CURVE)
    book.hear(replace(CURVE, mint=other))
    book.forget(11, {other})
    assert book.state(COIN) is None
    assert book.state(other) is not None


def test_a_deposit_moves_the_reserves_and_keeps_the_fees() -> None:
    book = MarketBook()
    book.hear(POOL)
    more = replace(POOL, slot=21, action="ADD", reserve_quote_raw=204 * 10**9)
    found = book.hear(replace(more, meta={"venue": "amm", "pool": pool_of(COIN)}))
    assert found is not None
    assert (found.quote_raw, found.fee_bps) == (204 * 10**9, 120)


def test_a_position_from_the_curve_is_sold_on_the_pool(tmp_path: Path) -> None:
    wal, switch = Wal(tmp_path), Switch(tmp_path)
    switch.heard(ACTIVE)
    journal = Journal(wal, "paper", "run", lambda: switch.state)
    prompt = settings().executor.model_copy(update={"paper_latency_slots": 1})
    config = settings().model_copy(update={"executor": prompt})
    engine = boot.start(journal, config, ChainClock(), Release("r", "", {}, ()), switch)
    engine.on_block(9, T0)
    engine.on_transaction(10, [CURVE], 0)
    plan = ExitPlan(1_000, None, 60_000, False)
    order = Order("i", "BUY", COIN, "leader", "sig", "i", 10**9, 1, 10, 11, exit=plan)
    assert journal.plan_buy(Entry("DECISION", 0, 10, "sig", "leader", COIN), order, None) == "PLANNED"
    assert engine.desk._send(order, None)
    engine.on_block(11, T0)
    engine.on_transaction(12, [meta(replace(CURVE, slot=12), real_base_raw=0, real_quote_raw=1)], 0)
    engine.on_block(18, T0 + 3)
    position = next(iter(engine.desk.holdings.open.values()))
    assert position.waiting == "WAIT_MIGRATION"
    engine.on_transaction(20, [POOL], 0)
    engine.on_block(30, T0 + 8)
    changes = [change for line in wal.replay() for change in line["changes"]]
    sale = next(values for name, values in changes if name == "fill" and values["side"] == "SELL")
    market = MarketBook().hear(POOL)
    assert market is not None
    assert sale["quote_lamports"] == quote_sell(market, position.qty_raw).proceeds_lamports
