"""The same planted market twice: fed to the engine update by update, and walked along its tape."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from planted_market import LEADER, World, address

from copytrader_assets.analysis.tape_rows import EVENT_COLUMNS, tape_rows
from copytrader_assets.tape_reader import TapeColumns
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event, Pattern, Release
from copytrader_core.replay.day import TapeDay
from copytrader_core.settings import Settings
from executor.backtest.memory import Line, Memory, Unattended
from executor.backtest.walk import Walker
from executor.clock import ChainClock
from executor.desk import Desk
from executor.engine import Engine
from executor.hearing import Hearing
from executor.journal import Journal
from executor.paper import PaperBroker
from executor.what_if import WhatIfBook

TOLD = ("DECISION", "FILL", "REVERTED", "EXPIRED", "EXIT", "WAIT")


@dataclass
class Recorded:
    """Blocks of a recorded market, as `World` has them."""

    blocks: list[pb.SubscribeUpdateBlock]
    updates = World.updates


def release_of(*leaders: str, **changes: Any) -> Release:
    """A release with the same fingerprint for each leader, by name or address."""
    values = {
        "alias": None, "sample_days": 30, "sample_trades": 200, "win_rate": 0.7, "avg_entry_sol": 1.0,
        "p50_hold_ms": 6_000, "p90_hold_ms": 20_000, "p50_target_x": 1.4, "p90_target_x": 3.0,
        "typical_exit_style": "mixed", "slippage_pctl_95": 0.1, "followership_score": 0.0, "leader_score": 0.5,
    } | changes  # fmt: skip
    wallets = [name if len(name) > 40 else address(name) for name in leaders]
    patterns = {wallet: Pattern(wallet=wallet, **values) for wallet in wallets}
    return Release("planted", "2026-10-11", patterns, ())


def random_world(seed: int, slots: int = 400, coins: int = 4, leaders: tuple[str, ...] = (LEADER,)) -> World:
    """Strangers and leaders trading a few curves up and down."""
    rng = random.Random(seed)
    world = World()
    world.next()
    held: dict[tuple[str, str], int] = {}
    for _ in range(slots):
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            coin = f"coin{rng.randrange(coins)}"
            who = rng.choice(leaders) if rng.random() < 0.12 else f"stranger{rng.randrange(9)}"
            has = held.get((who, coin), 0)
            if has and rng.random() < 0.5:
                sold = has if rng.random() < 0.6 else has // 3
                world.sell(who, coin, sold)
                held[who, coin] = has - sold
            elif world.state(coin).real_base > 3 * 10**14:
                bought = world.buy(who, coin, rng.choice((0.06, 0.4, 1.0, 3.0)))
                held[who, coin] = has + bought.base_raw
        world.next(rng.choice((1, 1, 1, 2, 5)))
    return world


def events_of(world: World | Recorded) -> pa.Table:
    """The market's events as the lake has them, as far as a tape needs it."""
    found: list[dict[str, Any]] = []
    for block in world.blocks:
        for info in block.transactions:
            for event in decode(transaction_from_update(info, block.slot)).events:
                found.append(_row(event, block.block_time.timestamp))
    kinds = {"slot": pa.int64(), "ts_ns": pa.int64(), "tx_index": pa.int32()}
    names = ("outer_ix", "inner_ix", "event_seq")
    amounts = ("base_raw", "quote_raw", "swap_fee_raw", "reserve_base_raw", "reserve_quote_raw")
    kinds |= dict.fromkeys(names, pa.int32()) | dict.fromkeys(amounts, pa.uint64())
    return pa.Table.from_pylist(found, pa.schema([(name, kinds.get(name, pa.string())) for name in EVENT_COLUMNS]))


def _row(event: Event, seconds: int) -> dict[str, Any]:
    row = {name: getattr(event, name, None) for name in EVENT_COLUMNS}
    return row | {"ts_ns": seconds * 10**9, "meta_json": json.dumps(dict(event.meta))}


def day_of(world: World | Recorded) -> TapeDay:
    """The market as a backtest takes it."""
    rows = tape_rows(events_of(world))
    slots = np.array([block.slot for block in world.blocks], np.int64)
    seconds = np.array([block.block_time.timestamp for block in world.blocks], np.int64)
    texts = dict(enumerate(zip(rows["sig"].to_pylist(), rows["quote_mint"].to_pylist(), strict=True)))
    columns = TapeColumns(rows.num_rows)
    columns.take((name, 0, rows[name]) for name in columns.arrays)
    tape, ts_ns = columns.tape()
    return TapeDay(tape, slots, seconds, ts_ns, texts)


def fed(world: World | Recorded, settings: Settings, release: Release) -> tuple[list[Line], str]:
    """What the engine does when it hears every update."""
    lines: list[Line] = []
    memory, switch = Memory(lines.append), Unattended()
    journal = Journal(memory.as_wal(), "paper", "fed", lambda: switch.state)
    broker = PaperBroker(settings.executor)
    desk = Desk(journal, broker, ChainClock(), settings, switch, 100 * 10**9, WhatIfBook())
    engine = Engine(desk, release)
    hearing = Hearing(engine, None, is_quick=False)
    journal.written = hearing.interests.changed
    for update in world.updates():
        if update.WhichOneof("update_oneof") == "transaction":
            hearing.transaction(b"", 0, update.transaction)
        else:
            engine.on_block(update.block_meta.slot, update.block_meta.block_time.timestamp)
    engine.finish(flatten=True)
    return told(lines), memory.decision_hash


def walked(world: World | Recorded, settings: Settings, release: Release) -> tuple[list[Line], str]:
    """What it does along the tape."""
    lines: list[Line] = []
    walker = Walker(settings, lines.append)
    walker.walk(day_of(world), release)
    walker.finish()
    return told(lines), walker.memory.decision_hash


def told(lines: list[Line]) -> list[Line]:
    """What matters of a journal: everything but how long it took, and which run it was."""
    return [_told(line) for line in lines if line["kind"] in TOLD]


def _told(line: Line) -> Line:
    payload = {key: value for key, value in line["payload"].items() if key not in ("latency_us", "routes")}
    kept = ("kind", "at_ns", "slot", "leader_sig", "leader", "mint", "intent_id")
    return {name: line[name] for name in kept} | {"payload": payload}
