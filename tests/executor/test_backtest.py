"""A backtest is the executor: walked along a tape it does what it does when it hears every update."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from backtest_world import Recorded, day_of, events_of, fed, random_world, release_of, told, walked
from planted_market import FIRST_SLOT, LEADER, World, address

from copytrader_assets.analysis.copies import exits_of, signals_of
from copytrader_assets.analysis.tape_rows import tape_rows
from copytrader_core.policy.entry import seed_size, seed_slippage_bps
from copytrader_core.policy.exits import seed_exit
from copytrader_core.policy.market import after_buy, quote_buy, quote_sell
from copytrader_core.records import Release
from copytrader_core.replay.clock import SlotClock
from copytrader_core.replay.copies import REASONS, Jobs, simulate
from copytrader_core.replay.day import TapeDay
from copytrader_core.replay.execution import CURVE, NO_VENUE, POOL, RAW
from copytrader_core.replay.tape import Tape
from copytrader_core.settings import Settings
from executor.backtest.memory import Line, decision_text
from executor.backtest.walk import Walker
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

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


@pytest.mark.parametrize("seed", range(8))
def test_a_simulated_copy_is_what_the_engine_earns_on_that_signal_alone(seed: int) -> None:
    style = STYLES[seed % 3]
    world, release = one_signal(seed), release_of(LEADER, typical_exit_style=style)
    config = alone(trailing_fraction=0.15, trailing_from_x=1.02) if seed % 2 else alone()
    lines, _ = walked(world, config, release)
    fills = [line["payload"] for line in lines if line["kind"] == "FILL" and line["payload"]["side"] == "SELL"]
    reverts = [line["payload"] for line in lines if line["kind"] == "REVERTED"]
    earned = sum(fill["pnl_lamports"] for fill in fills) - sum(one["cost_lamports"] for one in reverts)
    day = day_of(world)
    signals = signals_of(day.tape, release.patterns)
    assert len(signals) == 1
    pattern = release.patterns[address(LEADER)]
    spend = seed_size(pattern, config.policy, config.risk)
    late = np.array([config.executor.paper_latency_slots], np.int64)
    bound = np.array([seed_slippage_bps(pattern, config.policy)], np.int64)
    jobs = Jobs(signals.row, np.array([spend], np.int64), late, bound, signals.leader_sale)
    plans, clock = [[seed_exit(pattern, config.policy)]], SlotClock.of(day.slots, day.seconds)
    exits = exits_of(plans, np.zeros(1, np.int64), day.tape.slot[signals.row] + late, clock)
    found = simulate(day.tape, jobs, exits, config, config.executor.paper_latency_slots)
    assert found.pnl[0, 0] == earned
    if fills:
        assert REASONS[found.reason[0, 0]] == fills[0]["reason"]


def one_signal(seed: int) -> World:
    """A leader's one buy among strangers, and perhaps its sale."""
    rng = random.Random(seed)
    world = World()
    world.next()
    held: dict[str, int] = {}
    for slot in range(120):
        if slot == 10:
            held[LEADER] = world.buy(LEADER, "coin", 1.0).base_raw
        if slot == 10 + 2 * (seed + 3) and seed % 4 == 0:
            world.sell(LEADER, "coin", held.pop(LEADER))
        for _ in range(rng.choice((0, 1, 2, 3))):
            who = f"stranger{rng.randrange(6)}"
            if who in held and rng.random() < 0.45:
                world.sell(who, "coin", held.pop(who))
            else:
                held[who] = held.get(who, 0) + world.buy(who, "coin", rng.choice((0.1, 0.5, 2.0))).base_raw
        world.next()
    return world


def alone(**policy: object) -> Settings:
    return Settings(policy={"require_positive_ev": False, "exit_on_leader_sell": True, **policy})


def test_on_the_deployed_bytecodes_market_the_walk_is_the_paper_run_to_the_lamport() -> None:
    """Curves and pools, completions and migrations, of three recorded days."""
    world = Recorded(list(read_tape(TAPE).blocks))
    events = events_of(world)
    buys = events.filter(pc.equal(events["action"], "BUY"))["wallet"].to_pylist()
    leaders = [wallet for wallet, _ in Counter(buys).most_common(12)]
    release = release_of(*leaders, p50_hold_ms=20_000, p90_hold_ms=240_000, p90_target_x=4.0)
    config = Settings(
        policy={"require_positive_ev": False, "trailing_fraction": 0.2, "exit_on_leader_sell": True},
        risk={"mint_cool_down_ms": 0, "max_positions_per_mint": 2, "max_price_impact_bps": 5_000},
        executor={"paper_jitter_slots": 2, "paper_lost_share": 0.05},
    )
    heard, heard_hash = fed(world, config, release)
    walk, walk_hash = walked(world, config, release)
    assert sum(line["kind"] == "FILL" for line in heard) > 200
    assert walk == heard
    assert walk_hash == heard_hash


def test_the_bytecodes_trades_are_reproduced_from_the_reserves_that_they_met() -> None:
    events = events_of(Recorded(list(read_tape(TAPE).blocks)))
    liquid = set(events.filter(pc.is_in(events["action"], pa.array(["ADD", "REMOVE"])))["mint"].to_pylist())
    rows = tape_rows(events)
    traded = rows.filter(pc.less(rows["venue"], NO_VENUE))
    assert traded.num_rows > 3_000
    assert pc.unique(traded["venue"]).to_pylist() == [CURVE, POOL]
    assert pc.sum(pc.equal(traded["kind"], RAW)).as_py() == 0
    # Each row met what the coin's row before it had left.
    for mint in set(pc.unique(traded["mint"]).to_pylist()) - liquid:
        for venue in (CURVE, POOL):
            one = traded.filter(pc.and_(pc.equal(traded["mint"], mint), pc.equal(traded["venue"], venue)))
            base, moved = one["reserve_base_raw"].to_numpy(), one["base_raw"].to_numpy()
            met = base + np.where(one["is_buy"].to_numpy(), moved, -moved)
            assert (met[1:] == base[:-1]).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_decision_is_the_same_when_the_market_ends_with_its_transaction(seed: int) -> None:
    """No look-ahead: whatever comes later on the tape, and were it nothing, what was decided before stays."""
    world, release = random_world(seed, slots=250), release_of(LEADER)
    config, whole = settings(trailing_fraction=0.1), day_of(world)
    decisions = decided(whole, config, release)
    assert len(decisions) > 15
    for place, (sig, *_) in enumerate(decisions):
        row = max(at for at, (text, _) in whole.texts.items() if text == sig)
        cut = ended(whole, row + 1)
        assert decided(cut, config, release)[: place + 1] == decisions[: place + 1]


def decided(day: TapeDay, config: Settings, release: Release) -> list[tuple[str, str, bytes]]:
    """(leader's signature, coin, everything that the decision is) in order."""
    lines: list[Line] = []
    walker = Walker(config, lines.append)
    walker.walk(day, release)
    found = [line for line in lines if line["kind"] == "DECISION"]
    return [(line["leader_sig"], line["mint"], decision_text(line)) for line in found]


def ended(day: TapeDay, rows: int) -> TapeDay:
    """The day as if nothing had happened after its first `rows` rows."""
    table = pa.table({name: getattr(day.tape, name)[:rows] for name in ("slot", "tx_index", "tx", "venue", "kind")})
    tape = day.tape
    columns = {name: table[name].to_numpy() for name in table.column_names} | {
        "mint": tape.coin[:rows],
        "wallet": tape.wallet[:rows],
        "is_buy": tape.is_buy[:rows],
        "base_raw": tape.base[:rows],
        "quote_raw": tape.quote[:rows],
        "net_raw": tape.net[:rows],
        "reserve_base_raw": tape.after_base[:rows],
        "reserve_quote_raw": tape.after_quote[:rows],
        "real_base_raw": tape.real_base[:rows],
        "real_quote_raw": tape.real_quote[:rows],
    }
    columns |= {"fees": tape.fees[:rows], "next_fees": tape.next_fees[:rows]}
    last = int(np.searchsorted(day.slots, tape.slot[rows - 1], side="right"))
    cut = Tape.of(columns, tape.mints, tape.wallets)
    return TapeDay(cut, day.slots[:last], day.seconds[:last], day.ts_ns[:rows], day.texts)


def test_a_position_is_carried_into_the_next_day_with_its_market() -> None:
    """Held over midnight, sold on the second day at what the moved market gives there."""
    world, release = World(), release_of(LEADER, typical_exit_style="time_stop")
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(8)
    world.buy("stranger", "coin", 0.4)
    world.next(30)
    config = alone()
    one, _ = walked(world, config, release)
    whole, lines = day_of(world), []
    first, second = Recorded(world.blocks[:6]), Recorded(world.blocks[6:])
    walker = Walker(config, lines.append)
    walker.walk(day_of(first), release)
    assert walker.desk.holdings.open
    walker.walk(day_of(second), release)
    walker.finish()
    assert len(whole.slots) == len(world.blocks)
    assert told(lines) == one
    assert [line["kind"] for line in one] == ["DECISION", "FILL", "EXIT", "FILL"]


def test_what_we_buy_is_paid_for_by_those_who_buy_after_us() -> None:
    """Our coins are missing in the market: the stranger gets fewer for the same money, and we sell into it."""
    world, release = World(), release_of(LEADER, typical_exit_style="time_stop")
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(5)
    bought = world.buy("stranger", "coin", 2.0)
    world.next(40)
    lines, _ = walked(world, alone(), release)
    buy, sale = (line["payload"] for line in lines if line["kind"] == "FILL")
    ours = after_buy(world.market_at("coin", FIRST_SLOT + 3), buy["quote_lamports"])
    theirs = quote_buy(ours, 2_000_000_000)
    assert theirs.tokens_raw < bought.base_raw
    assert sale["quote_lamports"] == quote_sell(after_buy(ours, 2_000_000_000), buy["base_raw"]).proceeds_lamports


def test_a_wallet_that_got_fewer_coins_sells_fewer_in_the_end() -> None:
    world, release = World(), release_of(LEADER, typical_exit_style="time_stop", p50_hold_ms=30_000, p90_hold_ms=60_000)
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(5)
    bought = world.buy("stranger", "coin", 2.0)
    world.next(5)
    world.sell("stranger", "coin", bought.base_raw)
    world.next(80)
    lines, _ = walked(world, alone(), release)
    buy, sale = (line["payload"] for line in lines if line["kind"] == "FILL")
    ours = after_buy(world.market_at("coin", FIRST_SLOT + 3), buy["quote_lamports"])
    # All others are out again: what the stranger did has moved the market nowhere, but for rounding.
    alone_again = quote_sell(ours, buy["base_raw"]).proceeds_lamports
    assert abs(sale["quote_lamports"] - alone_again) <= 3
