"""How long a leader's buy takes from the stream's bytes to our signed transaction, with no and with many positions.

The updates are those of the committed tape: every shape of a buy that it holds, on the curve and in pools, with and
without lookup tables. Nothing leaves the process; the journal is a real file.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from solders.hash import Hash

from benchmarks.measure import Measured
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update, unread
from copytrader_core.policy.values import ExitPlan
from copytrader_core.pump.decode import decode
from copytrader_core.records import WSOL, Event, Pattern, Release
from copytrader_core.settings import Settings
from copytrader_core.solana.keys import Signer
from executor import boot
from executor.clock import WallClock
from executor.coins import CoinBook
from executor.control import ACTIVE, Switch
from executor.desk import Desk, Early
from executor.engine import Engine
from executor.hearing import Hearing
from executor.journal import Journal
from executor.live import LiveBroker
from executor.orders import Position
from executor.quiet import Quiet
from executor.wal import Wal
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

_BUYS: Final = 1_200
_POSITIONS: Final = 200
_WARM: Final = 100
_STAGES: Final = ("read", "lay out", "sign", "decide, journal, send")
POLICY: Final = {"min_sample_trades": 0, "min_win_rate": 0.0, "require_positive_ev": False}
"""Settings by which every leader's buy is copied."""
NO_LIMITS: Final = {
    "max_open_positions": 10**6,
    "max_positions_per_mint": 10**6,
    "max_positions_per_leader": 10**6,
    "max_exposure_sol": 1e9,
    "max_exposure_per_mint_sol": 1e9,
    "max_exposure_per_leader_sol": 1e9,
    "min_leader_size_sol": 0.0,
    "mint_cool_down_ms": 0,
    "max_price_impact_bps": 10_000,
}


class _TimedSigner(Signer):
    """Notes when it began and when it was done."""

    began = ended = n = 0

    def sign(self, message: bytes) -> bytes:
        self.began = time.perf_counter_ns()
        signature = super().sign(message)
        self.ended = time.perf_counter_ns()
        self.n += 1
        return signature


class _TimedDesk(Desk):
    """Notes when it was asked."""

    asked = 0

    def presign(self, *what: Any) -> Early | None:
        self.asked = time.perf_counter_ns()
        return super().presign(*what)


@dataclass(slots=True)
class _Times:
    """Microseconds of one run: by shape from bytes to signed, and by stage over all."""

    shapes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def run() -> list[Measured]:
    """Prints percentiles by shape and by stage; gives signed buys a second without positions and with them."""
    updates = list(_updates())
    runs = {0: _Times(), _POSITIONS: _Times()}
    speeds: dict[int, list[float]] = {held: [] for held in runs}
    for _ in range(3):
        for held, times in runs.items():
            began = time.perf_counter()
            _replay(updates, held, times)
            speeds[held].append(len(updates) / (time.perf_counter() - began))
    for held, times in runs.items():
        show(f"bytes to signed, {held} positions, load {os.getloadavg()[0]:.1f}", times.shapes)
        show(f"the same by stage, {held} positions", times.stages)
    return [Measured(f"{held} positions", "buys", tuple(found)) for held, found in speeds.items()]


def _updates() -> Iterator[tuple[str, bytes, Event]]:
    """Shape, bytes and event of the tape's buys that are one trade and nothing else."""
    found = 0
    for block in read_tape(TAPE).blocks:
        for info in block.transactions:
            events = decode(transaction_from_update(info, block.slot)).events
            if len(events) != 1 or events[0].action != "BUY" or events[0].quote_mint != WSOL:
                continue
            update = pb.SubscribeUpdate(transaction=pb.SubscribeUpdateTransaction(slot=block.slot, transaction=info))
            venue = "pool" if events[0].meta["venue"] == "amm" else "curve"
            table = ", table" if info.meta.loaded_writable_addresses else ""
            yield f"{venue} {events[0].meta['ix']}{table}", update.SerializeToString(), events[0]
            found += 1
            if found == _BUYS:
                return


def _replay(updates: list[tuple[str, bytes, Event]], held: int, times: _Times) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine, broker, signer, desk = _executor(Path(folder), updates, held)
        hearing = Hearing(engine, None, is_quick=True)
        hearing.wait()
        quiet = Quiet()
        quiet.begin()
        try:
            for number, (shape, raw, _) in enumerate(updates):
                began = time.perf_counter_ns()
                update = unread(raw)
                assert update is not None
                hearing.transaction(raw, time.time_ns())
                done = time.perf_counter_ns()
                orders = broker.orders
                for order in orders:
                    desk.expire(order, "measured")
                if number >= _WARM and orders:
                    assert signer.n == number + 1, "what was signed early was not taken"
                    marks = (began, desk.asked, signer.began, signer.ended, done)
                    times.shapes["all"].append((signer.ended - began) / 1000)
                    times.shapes[shape].append((signer.ended - began) / 1000)
                    for stage, start, end in zip(_STAGES, marks, marks[1:], strict=False):
                        times.stages[stage].append((end - start) / 1000)
                if number % 50 == 0:
                    quiet.pause(is_idle=True)
        finally:
            quiet.end()


def _executor(
    folder: Path, updates: list[tuple[str, bytes, Event]], held: int
) -> tuple[Engine, LiveBroker, _TimedSigner, _TimedDesk]:
    """An engine in mode live whose broker has no route."""
    settings = Settings(home=folder)
    settings = settings.model_copy(
        update={
            "policy": settings.policy.model_copy(update=POLICY),
            "risk": settings.risk.model_copy(update=NO_LIMITS),
        }
    )
    switch = Switch(folder / "executor")
    switch.heard(ACTIVE)
    journal = Journal(Wal(folder / "wal"), "live", "bench", lambda: switch.state)
    signer, coins = _TimedSigner(bytes(range(32))), CoinBook()
    broker = LiveBroker(
        *(signer, (), coins, lambda: switch.state, lambda: journal.ledger.signatures, time.monotonic),
        last_seen=lambda: switch.seen,
    )
    broker.head.take(Hash(bytes([7]) * 32), 1_000)
    release = Release("r", "2026-10-11", {event.wallet: pattern(event.wallet) for _, _, event in updates}, ())
    boot_engine = boot.start(journal, settings, WallClock(), release, switch, broker)
    desk = _TimedDesk(journal, broker, WallClock(), settings, switch, 10**15)
    desk.coins = coins
    for number in range(held):
        position = _position(number)
        desk.holdings.hold(position)
    del boot_engine
    return Engine(desk, release), broker, signer, desk


def pattern(wallet: str) -> Pattern:
    """An ordinary leader."""
    return Pattern(wallet, None, 30, 100, 0.6, 1.0, 30_000, 90_000, 1.4, 2.0, "mixed", 0.05, 0.5, 0.5)


def _position(number: int) -> Position:
    text = str(Hash(number.to_bytes(32, "big")))
    return Position(
        text, f"leader {number % 20}", "sig", text, 1, time.time_ns(), 10**12, 10**9, 10**9,
        ExitPlan(10**8, 5.0, 10**9, False),
    )  # fmt: skip


def show(title: str, groups: dict[str, list[float]]) -> None:
    """Percentiles of microseconds."""
    table = Table("what", "n", "p50 us", "p90", "p99", "max", title=title)
    for name, found in groups.items():
        found.sort()
        places = [found[min(len(found) - 1, int(len(found) * share))] for share in (0.5, 0.9, 0.99)]
        table.add_row(name, str(len(found)), *(f"{value:.0f}" for value in (*places, found[-1])))
    Console().print(table)
