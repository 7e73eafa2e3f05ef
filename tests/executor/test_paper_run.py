"""A paper run over a planted market: what is bought, at what it fills, when it is sold, what it costs."""

from __future__ import annotations

import pytest
from planted_market import FIRST_SLOT, LEADER, OTHER, World, address, publish, settings
from running import forget, rows, trade

from copytrader_core.policy.market import after_buy, quote_buy, quote_sell
from copytrader_core.settings import Settings

COSTS = 5_000 + 100_000 + 1_000_000


def one_buy() -> World:
    """The leader buys in slot 1001; others trade on, before and after the fills."""
    world = World()
    world.buy(OTHER, "coin", 2.0)
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next()
    world.buy(OTHER, "coin", 0.3)
    world.next()
    world.buy(OTHER, "coin", 0.2)
    world.next()
    world.next(3)
    world.buy(OTHER, "coin", 1.5)
    world.next(30)
    return world


async def test_the_leaders_buy_is_bought_two_slots_later_on_the_reserves_of_that_slot(pg_url: str) -> None:
    publish(pg_url)
    world = one_buy()
    tally = await trade(pg_url, world.updates(), settings())
    assert (tally.bought, tally.sold) == (1, 1)
    fill = rows(pg_url, "SELECT * FROM exec_fills WHERE side = 'BUY'")[0]
    exact = quote_buy(world.market_at("coin", FIRST_SLOT + 3), 750_000_000)
    assert (fill["slot"], fill["mint"], fill["leader"]) == (FIRST_SLOT + 3, address("coin"), address(LEADER))
    assert (fill["base_raw"], fill["quote_lamports"]) == (exact.tokens_raw, exact.paid_lamports)
    assert fill["swap_fee_lamports"] == exact.fee_lamports
    assert (fill["tx_fee_lamports"], fill["tip_lamports"]) == (105_000, 1_000_000)


async def test_the_timer_sells_at_the_exact_quote_of_its_landing_slot(pg_url: str) -> None:
    publish(pg_url)
    world = one_buy()
    await trade(pg_url, world.updates(), settings())
    buy = rows(pg_url, "SELECT * FROM exec_fills WHERE side = 'BUY'")[0]
    sale = rows(pg_url, "SELECT * FROM exec_fills WHERE side = 'SELL'")[0]
    # 0.6 x 10 s after slot 1003 is slot 1018; the sell lands two slots later.
    assert sale["slot"] == FIRST_SLOT + 3 + 15 + 2
    # Our buy is in the market, and what somebody bought for 1.5 SOL after it came from there.
    moved = after_buy(after_buy(world.market_at("coin", FIRST_SLOT + 3), 750_000_000), 1_500_000_000)
    exact = quote_sell(moved, int(buy["base_raw"]))
    assert (sale["quote_lamports"], sale["swap_fee_lamports"]) == (exact.proceeds_lamports, exact.fee_lamports)
    position = rows(pg_url, "SELECT * FROM exec_positions")[0]
    assert (position["state"], position["exit_reason"]) == ("CLOSED", "timer")
    assert position["cost_lamports"] == 750_000_000 + COSTS
    assert position["proceeds_lamports"] == exact.proceeds_lamports - COSTS


async def test_gaps_without_blocks_do_not_move_landings_or_timers(pg_url: str) -> None:
    publish(pg_url)
    world = World()
    world.buy(OTHER, "coin", 2.0)
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next()
    world.skip(60)
    world.sell(OTHER, "coin", 10**12)
    world.next()
    await trade(pg_url, world.updates(), settings())
    assert [(r["side"], r["slot"]) for r in rows(pg_url, "SELECT side, slot FROM exec_fills ORDER BY slot")] == [
        ("BUY", FIRST_SLOT + 3),
        ("SELL", FIRST_SLOT + 3 + 15 + 2),
    ]


async def test_a_target_leader_is_left_as_soon_as_the_multiple_is_there(pg_url: str) -> None:
    publish(pg_url, style="target_x")
    world = World()
    world.buy(LEADER, "other coin", 0.1)
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(4)
    world.buy(OTHER, "coin", 1.0)
    world.next(2)
    world.buy(OTHER, "coin", 8.0)
    world.next(5)
    await trade(pg_url, world.updates(), settings())
    sale = rows(
        pg_url, "SELECT exit_reason, payload, proceeds_lamports::FLOAT / cost_lamports AS x FROM exec_positions"
    )[0]
    assert sale["exit_reason"] == "target"
    assert sale["x"] >= 1.2


async def test_every_decision_is_in_the_journal_before_its_order(pg_url: str) -> None:
    publish(pg_url)
    await trade(pg_url, one_buy().updates(), settings())
    kinds = [row["kind"] for row in rows(pg_url, "SELECT kind FROM exec_journal ORDER BY seq")]
    assert kinds == ["RUN", "RECOVERED", "DECISION", "SEND", "FILL", "EXIT", "SEND", "FILL", "END"]
    states = rows(pg_url, "SELECT side, state FROM exec_intents ORDER BY side")
    assert [(row["side"], row["state"]) for row in states] == [("BUY", "LANDED_OK"), ("SELL", "LANDED_OK")]


async def test_a_price_that_ran_away_reverts_and_costs_the_network_fee(pg_url: str) -> None:
    publish(pg_url, slippage_pctl_95=0.0)
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next()
    world.buy(OTHER, "coin", 3.0)
    world.next(3)
    tally = await trade(pg_url, world.updates(), settings())
    assert (tally.bought, tally.reverted, tally.pnl_lamports) == (0, 1, -105_000)
    intent = rows(pg_url, "SELECT state, payload FROM exec_intents")[0]
    assert intent["state"] == "LANDED_ERR"
    assert intent["payload"]["error"].startswith("SLIPPAGE")
    assert not rows(pg_url, "SELECT 1 FROM exec_positions")


async def test_a_sell_that_reverts_is_tried_again_with_a_wider_bound(pg_url: str) -> None:
    publish(pg_url)
    world = World()
    world.next()
    world.buy(OTHER, "coin", 20.0)
    world.buy(LEADER, "coin", 1.0)
    world.next(18)
    # The timer of the fill in slot 1003 is due in slot 1018, its sell lands in 1020: dump in between.
    world.sell(OTHER, "coin", 200 * 10**12)
    world.next(12)
    tally = await trade(pg_url, world.updates(), settings())
    attempts = rows(pg_url, "SELECT state, payload FROM exec_intents WHERE side = 'SELL' ORDER BY updated_at")
    assert [row["state"] for row in attempts] == ["LANDED_ERR", "LANDED_OK"]
    assert [row["payload"]["attempt"] for row in attempts] == [1, 2]
    assert (tally.sold, tally.reverted) == (1, 1)


async def test_a_completed_curve_keeps_the_position_until_it_can_be_sold(pg_url: str) -> None:
    publish(pg_url)
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(5)
    world.complete(OTHER, "coin")
    world.next(60)
    await trade(pg_url, world.updates(), settings(), flatten=True)
    position = rows(pg_url, "SELECT state, payload FROM exec_positions")[0]
    assert position["state"] == "OPEN"
    assert (position["payload"]["waiting"], position["payload"]["due"]) == ("WAIT_MIGRATION", "timer")
    assert len(rows(pg_url, "SELECT 1 FROM exec_journal WHERE kind = 'WAIT'")) == 1


async def test_what_is_left_at_the_end_is_closed_at_the_last_quote(pg_url: str) -> None:
    publish(pg_url)
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(4)
    world.buy(LEADER, "late coin", 1.0)
    world.next()
    tally = await trade(pg_url, world.updates(), settings(), flatten=True)
    assert (tally.bought, tally.sold, tally.expired) == (1, 1, 1)
    fill = rows(pg_url, "SELECT base_raw FROM exec_fills WHERE side = 'BUY'")[0]
    position = rows(pg_url, "SELECT * FROM exec_positions")[0]
    assert position["exit_reason"] == "end_of_run"
    last = quote_sell(after_buy(world.market_at("coin", world.slot), 750_000_000), int(fill["base_raw"]))
    assert position["proceeds_lamports"] == last.proceeds_lamports - COSTS


async def test_the_leaders_second_buy_of_a_held_coin_is_refused_with_its_code(pg_url: str) -> None:
    publish(pg_url)
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next()
    world.buy(LEADER, "coin", 0.1)
    world.next(5)
    tally = await trade(pg_url, world.updates(), settings())
    assert tally.decisions == {"ACCEPTED": 1, "PER_MINT": 1}
    assert tally.bought == 1


async def test_the_same_market_gives_the_same_decisions_and_fills(pg_url: str) -> None:
    publish(pg_url)
    updates = one_buy().updates()
    seen = []
    for _ in range(2):
        await trade(pg_url, updates, settings())
        seen.append(
            (
                rows(
                    pg_url,
                    "SELECT payload - 'latency_us' AS decided FROM exec_journal WHERE kind = 'DECISION'",
                ),
                rows(pg_url, "SELECT fill_id, slot, ts_ns, base_raw, quote_lamports FROM exec_fills ORDER BY slot"),
            )
        )
        forget(pg_url)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("style", ["panic_dump", "scale_out", "mixed"])
async def test_other_styles_have_a_timer_and_a_target(pg_url: str, style: str) -> None:
    publish(pg_url, style=style)
    await trade(pg_url, one_buy().updates(), settings())
    plan = rows(pg_url, "SELECT payload -> 'plan' AS plan FROM exec_positions")[0]["plan"]
    assert (plan["timer_ms"], plan["target_x"], plan["kill_ms"]) == (6_000, 1.2000000000000002, 20_000)


@pytest.mark.parametrize(("follow", "reason"), [(True, "leader_sold"), (False, "timer")])
async def test_the_leaders_own_sell_is_followed_where_the_user_wants_it(pg_url: str, follow: bool, reason: str) -> None:
    publish(pg_url)
    world = World()
    world.next()
    bought = world.buy(LEADER, "coin", 1.0)
    world.next(5)
    world.sell(LEADER, "coin", bought.base_raw)
    world.next(30)
    await trade(pg_url, world.updates(), Settings(policy={"exit_on_leader_sell": follow}))
    assert rows(pg_url, "SELECT exit_reason FROM exec_positions") == [{"exit_reason": reason}]
