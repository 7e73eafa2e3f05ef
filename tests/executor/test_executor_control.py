"""The red button, releases that change under way, restarts, and the lock: what is outside the stream."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from planted_market import FIRST_SLOT, LEADER, OTHER, World, address, publish, settings
from running import Hand, rows, trade, until

from copytrader_core.errors import StoreError, StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.policy.record import canonical, decision_document, replay
from copytrader_core.policy.values import TradingState
from copytrader_core.pump.addresses import PUMP_PROGRAM
from copytrader_core.records import WSOL
from executor.control import Control, set_state, write_control
from executor.status import read_status
from executor.wal import Wal


def set_to(url: str, state: TradingState, *, flatten: bool = False) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        set_state(connection, Control(state, flatten, "test"))


def held_coin(quiet_slots: int = 4) -> tuple[World, list[pb.SubscribeUpdate]]:
    """A market in which one position has just been opened."""
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(quiet_slots)
    return world, world.updates()


async def opened(url: str) -> tuple[World, Hand]:
    """A running executor that holds one position."""
    world, updates = held_coin()
    hand = Hand(url, settings(), clock="chain")
    hand.give(updates)
    await until(url, "SELECT 1 FROM exec_positions")
    return world, hand


def later(world: World) -> list[pb.SubscribeUpdate]:
    """The blocks since the last call."""
    world.blocks, fresh = [], World(blocks=world.blocks)
    return fresh.updates()


@pytest.mark.parametrize(("state", "exits"), [("REDUCING", True), ("HALTED", False)])
async def test_reducing_only_exits_and_halted_does_nothing(pg_url: str, state: TradingState, exits: bool) -> None:
    publish(pg_url)
    world, hand = await opened(pg_url)
    later(world)
    set_to(pg_url, state)
    await until(pg_url, "SELECT 1 FROM exec_journal WHERE kind = 'STATE'")
    world.buy(LEADER, "another coin", 1.0)
    world.next(40)
    hand.give(later(world))
    tally = await hand.end()
    assert tally.decisions == {"ACCEPTED": 1, "TRADING_STATE": 1}
    assert (tally.bought, tally.sold) == (1, int(exits))
    position = rows(pg_url, "SELECT * FROM exec_positions")[0]
    assert position["state"] == ("CLOSED" if exits else "OPEN")
    assert exits or position["payload"]["waiting"] == "HALTED"


async def test_after_resume_the_exit_that_waited_is_sent(pg_url: str) -> None:
    publish(pg_url)
    _, updates = held_coin()
    await trade(pg_url, updates, settings())
    set_to(pg_url, "HALTED")
    world, more = held_coin(40)
    assert (await trade(pg_url, more, settings())).sold == 0
    set_to(pg_url, "ACTIVE")
    world.buy(OTHER, "coin", 0.1)
    world.next(3)
    assert (await trade(pg_url, world.updates(), settings())).sold == 1


async def test_a_state_that_changes_after_the_decision_still_stops_the_order(
    pg_url: str, executor_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(pg_url)
    append = Wal.append

    def halting(wal: Wal, document: dict[str, Any]) -> int:
        if document["kind"] == "DECISION":
            write_control(executor_home / "executor", Control("HALTED", False, "test"))
        return append(wal, document)

    monkeypatch.setattr(Wal, "append", halting)
    _, updates = held_coin(10)
    tally = await trade(pg_url, updates, settings())
    assert (tally.bought, tally.expired) == (0, 1)
    assert rows(pg_url, "SELECT state FROM exec_intents") == [{"state": "EXPIRED"}]


async def test_a_missing_state_row_reads_as_halted(pg_url: str) -> None:
    publish(pg_url)
    with psycopg.connect(pg_url) as connection:
        connection.execute("DELETE FROM exec_state")
    _, updates = held_coin(10)
    assert (await trade(pg_url, updates, settings())).decisions == {"TRADING_STATE": 1}


async def test_flatten_sells_everything_and_takes_its_request_back(pg_url: str) -> None:
    publish(pg_url)
    world, hand = await opened(pg_url)
    later(world)
    set_to(pg_url, "REDUCING", flatten=True)
    await until(pg_url, "SELECT 1 FROM exec_positions WHERE state = 'CLOSING'")
    world.next(5)
    hand.give(later(world))
    await hand.end()
    assert rows(pg_url, "SELECT exit_reason FROM exec_positions") == [{"exit_reason": "flatten"}]
    assert rows(pg_url, "SELECT state, flatten FROM exec_state") == [{"state": "REDUCING", "flatten": False}]


async def test_flatten_with_the_executor_dead_is_the_next_runs_first_work(pg_url: str) -> None:
    publish(pg_url)
    world, updates = held_coin()
    await trade(pg_url, updates, settings())
    later(world)
    set_to(pg_url, "REDUCING", flatten=True)
    world.buy(OTHER, "coin", 0.1)
    world.next()
    world.buy(LEADER, "another coin", 1.0)
    world.next(4)
    tally = await trade(pg_url, later(world), settings())
    assert (tally.bought, tally.sold) == (0, 1)
    assert rows(pg_url, "SELECT exit_reason FROM exec_positions") == [{"exit_reason": "flatten"}]


async def test_another_release_is_taken_up_without_a_pause(pg_url: str) -> None:
    publish(pg_url)
    world = World()
    world.next()
    world.buy("newcomer", "coin", 1.0)
    world.next(3)
    hand = Hand(pg_url, settings(), clock="chain")
    hand.give(later(world))
    await until(pg_url, "SELECT 1 FROM exec_journal WHERE kind = 'RECOVERED'")
    publish(pg_url, "r2", ("newcomer",))
    await until(pg_url, "SELECT 1 FROM exec_journal WHERE kind = 'RELEASE' AND release_id = 'r2'")
    world.buy("newcomer", "coin", 1.0)
    world.buy(LEADER, "other coin", 1.0)
    world.next(4)
    hand.give(later(world))
    tally = await hand.end()
    assert (tally.bought, tally.decisions) == (1, {"ACCEPTED": 1})
    decision = rows(pg_url, "SELECT leader, release_id FROM exec_journal WHERE kind = 'DECISION'")
    assert decision == [{"leader": address("newcomer"), "release_id": "r2"}]


async def test_without_a_release_it_waits_for_one(pg_url: str, caplog: pytest.LogCaptureFixture) -> None:
    _world, updates = held_coin()
    assert (await trade(pg_url, updates, settings())).decisions == {}
    assert "nothing has been released yet" in caplog.text


async def test_overdue_exits_of_a_restart_go_before_new_signals(pg_url: str) -> None:
    publish(pg_url)
    world, updates = held_coin()
    await trade(pg_url, updates, settings())
    later(world)
    world.skip(200)
    world.next()
    world.buy(OTHER, "coin", 0.1)
    world.next()
    world.buy(LEADER, "another coin", 1.0)
    world.next(5)
    tally = await trade(pg_url, later(world), settings())
    assert (tally.bought, tally.sold) == (1, 1)
    order = rows(pg_url, "SELECT side FROM exec_fills ORDER BY ts_ns")
    assert [row["side"] for row in order] == ["BUY", "SELL", "BUY"]
    assert rows(pg_url, "SELECT exit_reason FROM exec_positions WHERE state = 'CLOSED'") == [{"exit_reason": "kill"}]


async def test_a_restart_knows_the_reserves_that_were_landed_meanwhile(pg_url: str) -> None:
    publish(pg_url)
    world, updates = held_coin()
    await trade(pg_url, updates, settings())
    later(world)
    state = world.state("coin")
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "INSERT INTO raw_events (ts_ns, slot, tx_index, sig, outer_ix, inner_ix, event_seq, wallet, program,"
            " action, mint, quote_mint, reserve_base_raw, reserve_quote_raw)"
            " VALUES (0, %s, 0, 's', 0, -1, 0, 'w', %s, 'BUY', %s, %s, %s, %s)",
            (FIRST_SLOT + 2, str(PUMP_PROGRAM), address("coin"), WSOL, state.virtual_base, state.virtual_quote),
        )
    world.skip(100)
    world.next(4)
    tally = await trade(pg_url, later(world), settings())
    assert tally.sold == 1


async def test_the_balance_outlives_the_process(pg_url: str) -> None:
    publish(pg_url)
    _world, updates = held_coin(40)
    await trade(pg_url, updates, settings())
    pnl = rows(pg_url, "SELECT proceeds_lamports - cost_lamports AS pnl FROM exec_positions")[0]["pnl"]
    await trade(pg_url, [], settings())
    balances = rows(
        pg_url, "SELECT payload ->> 'balance_lamports' AS b FROM exec_journal WHERE kind = 'RUN' ORDER BY seq"
    )
    assert [int(row["b"]) for row in balances] == [100_000_000_000, 100_000_000_000 + pnl]


async def test_two_executors_of_one_mode_do_not_run_on_one_database(pg_url: str) -> None:
    publish(pg_url)
    hand = Hand(pg_url, settings(), clock="chain")
    await until(pg_url, "SELECT 1 FROM exec_journal WHERE kind = 'RUN'")
    with pytest.raises(StoreError, match="another executor runs"):
        await trade(pg_url, [], settings())
    with psycopg.connect(pg_url) as connection:
        assert read_status(connection, "paper").running
        assert not read_status(connection, "live").running
        connection.execute("SELECT pg_advisory_lock(hashtext('copytrader executor live'))")
        assert read_status(connection, "live").running
    await hand.end()
    # The locks go with their connections, which Postgres notices in its own time.
    ours = "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    await until(pg_url, f"SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_locks WHERE {ours})")
    with psycopg.connect(pg_url) as connection:
        assert not read_status(connection, "paper").running


async def test_a_stream_that_shows_nothing_at_all_is_an_error(pg_url: str) -> None:
    with pytest.raises(StreamError, match="check the endpoint"):
        await Hand(pg_url, settings(), until_idle=0.1).task


async def test_with_the_database_lost_exits_go_on_and_the_tables_catch_up(pg_url: str) -> None:
    publish(pg_url)
    world, hand = await opened(pg_url)
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'copytrader executor'"
        )
    later(world)
    world.buy(OTHER, "coin", 0.1)
    world.next(40)
    hand.give(later(world))
    await until(pg_url, "SELECT 1 FROM exec_positions WHERE state = 'CLOSED'")
    assert (await hand.end()).sold == 1
    lines = rows(pg_url, "SELECT array_agg(journal_seq ORDER BY journal_seq) AS seqs FROM exec_journal")[0]["seqs"]
    assert lines == list(range(1, len(lines) + 1))


async def test_with_no_database_nothing_is_bought_and_what_is_held_is_sold(pg_url: str) -> None:
    publish(pg_url)
    world, updates = held_coin()
    await trade(pg_url, updates, settings())
    later(world)
    world.buy(LEADER, "another coin", 1.0)
    world.buy(OTHER, "coin", 0.1)
    world.next(40)
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    away = await trade(nowhere, later(world), settings())
    assert (away.bought, away.sold) == (0, 1)
    await trade(pg_url, [], settings())
    assert rows(pg_url, "SELECT state FROM exec_positions") == [{"state": "CLOSED"}]


async def test_a_lost_folder_is_restored_from_the_tables(pg_url: str, executor_home: Path) -> None:
    publish(pg_url)
    world, updates = held_coin()
    await trade(pg_url, updates, settings())
    shutil.rmtree(executor_home)
    later(world)
    world.buy(OTHER, "coin", 0.1)
    world.next(40)
    assert (await trade(pg_url, later(world), settings())).sold == 1
    assert rows(pg_url, "SELECT state FROM exec_positions") == [{"state": "CLOSED"}]


async def test_a_journal_and_a_database_of_different_runs_are_not_mixed(pg_url: str, executor_home: Path) -> None:
    publish(pg_url)
    _, updates = held_coin()
    await trade(pg_url, updates, settings())
    shutil.rmtree(executor_home)
    wal = Wal(executor_home / "executor" / "paper")
    wal.append({"kind": "RUN", "changes": []})
    wal.close()
    with pytest.raises(StoreError, match="belong together"):
        await trade(pg_url, updates, settings())


async def test_an_idle_stream_ends_the_run(pg_url: str) -> None:
    publish(pg_url)
    hand = Hand(pg_url, settings(), clock="wall", until_idle=0.2)
    _world, updates = held_coin()
    hand.give(updates)
    assert (await hand.task).bought == 1


async def test_on_the_wall_clock_a_timer_needs_no_news_from_the_stream(pg_url: str) -> None:
    publish(pg_url, p50_hold_ms=100)
    hand = Hand(pg_url, settings(), clock="wall")
    world, updates = held_coin()
    hand.give(updates)
    await until(pg_url, "SELECT 1 FROM exec_positions WHERE state = 'CLOSING'")
    later(world)
    world.next(3)
    hand.give(later(world))
    assert (await hand.end()).sold == 1


async def test_an_error_of_the_stream_ends_the_run_with_that_error(pg_url: str) -> None:
    async def broken() -> AsyncIterator[object]:
        yield None
        raise StoreError("the stream broke")

    from executor.service import RunOptions, run

    with pytest.raises(StoreError, match="the stream broke"):
        await run(pg_url, settings(), broken(), RunOptions(clock="chain"))


async def test_a_journalled_decision_replays_byte_for_byte(pg_url: str) -> None:
    publish(pg_url)
    _, updates = held_coin()
    await trade(pg_url, updates, settings())
    kept = rows(pg_url, "SELECT payload FROM exec_journal WHERE kind = 'DECISION'")[0]["payload"]
    run_line = rows(pg_url, "SELECT payload FROM exec_journal WHERE kind = 'RUN'")[0]["payload"]
    again = replay(kept["inputs"], run_line["settings"])
    assert canonical(decision_document(again)) == canonical(kept["decision"])
