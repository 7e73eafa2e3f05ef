"""The executor as the one who lives in a world: how it is started, stopped by hand, and how its journal is read.

The only file here that knows the executor's own records beyond the form of the journal's files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from unittest import mock

from copytrader_core.geyser.client import Received
from copytrader_core.geyser.wire import unread
from copytrader_core.records import Pattern, Release
from copytrader_core.settings import Settings
from executor import scanner, wal
from executor.control import ACTIVE, Control, read_control, write_control
from executor.ledger import Ledger
from executor.outside import Outside as ExecutorOutside
from executor.service import RunOptions, run
from tests.simulation.ends import Outside
from tests.simulation.market import LEADERS
from tests.simulation.story import Subject, TradingState
from tests.simulation.truth import Book, Signed, lines_of

_SEGMENT_BYTES: Final = 128 * 2**10


def _pattern(wallet: str) -> Pattern:
    """A leader who is out after some seconds: 0.75 SOL entries, timer at 6 s, killed at 20 s."""
    return Pattern(
        wallet=wallet,
        alias=None,
        sample_days=20,
        sample_trades=80,
        win_rate=0.7,
        avg_entry_sol=1.0,
        p50_hold_ms=10_000,
        p90_hold_ms=20_000,
        p50_target_x=1.5,
        p90_target_x=3.0,
        typical_exit_style="time_stop",
        slippage_pctl_95=0.05,
        followership_score=0.5,
        leader_score=0.5,
    )


RELEASE: Final = Release("simulation", "2026-10-12", {str(one): _pattern(str(one)) for one in LEADERS}, ())


# Loaded before any world begins: it would be at another step each time.
scanner.Scanner()(b"")


@lru_cache(maxsize=1)
def _settings(home: Path) -> Settings:
    """The defaults, but for limits that a long bad day of this market would reach."""
    risk = {"max_loss_per_hour_sol": 1_000.0, "max_loss_per_day_sol": 1_000.0}
    return Settings(home=home, risk=risk, executor={"rehearse_ms": 50})


async def _trade(home: Path, outside: Outside) -> None:
    # The executor may press its own button; whoever starts it again has looked and lets it buy.
    if read_control(home / "executor").state == "REDUCING":
        write_control(home / "executor", ACTIVE)
    world = ExecutorOutside(outside.signer, outside.nodes, outside.routes, now_ns=outside.now_ns)
    # Segments of a few hundred lines: a start reads one of them, and processes die around their ends too.
    with mock.patch.object(wal, "_SEGMENT_BYTES", _SEGMENT_BYTES):
        await run(
            None,
            _settings(home),
            _as_fed(outside.stream),
            RunOptions(mode="live", is_watched=False, is_quick=True),
            outside=world,
            release=RELEASE,
        )


async def _as_fed(stream: AsyncIterator[Received]) -> AsyncIterator[Received]:
    """As the executor's feed gives it: what a transaction says is left to whom it concerns."""
    async for received in stream:
        yield Received(received.raw, received.recv_ts_ns, unread(received.raw) or received.update)


def journal(home: Path) -> Path:
    """Where the executor keeps its journal of live trading."""
    return home / "executor" / "live"


def _control(home: Path, state: TradingState) -> None:
    write_control(home / "executor", Control(state))


def _book(home: Path) -> Book:
    ledger, lines = Ledger(), lines_of(journal(home))
    for line in lines:
        ledger.apply(line)
    changes = [change for line in lines for change in line.get("changes", ())]
    held: Counter[str] = Counter()
    for row in ledger.positions.values():
        held[row["mint"]] += row["base_raw"]
    sums = _Sums()
    for name, values in changes:
        sums.take(name, values)
    aside = {mint: values["amount_raw"] for mint, values in ledger.quarantined.items()}
    return Book(
        sums.signed, dict(held), aside, tuple(ledger.intents), sums.cash, sums.rent, sums.deposited, tuple(sums.shared)
    )


class _Sums:
    """What the journal's changes say of money and signatures, added up without the ledger's own arithmetic."""

    def __init__(self) -> None:
        self.signed: dict[str, Signed] = {}
        self.shared: list[str] = []
        self.cash = self.rent = self.deposited = 0
        self._plans: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, int] = {}

    def take(self, name: str, values: dict[str, Any]) -> None:
        if name == "plan_intent":
            self._plans[values["intent_id"]] = values
        elif name in ("fill", "undo_fill"):
            sign = 1 if name == "fill" else -1
            quote = values["quote_lamports"] * (1 if values["side"] == "SELL" else -1)
            self.cash += sign * (quote - values["tx_fee_lamports"] - values["tip_lamports"])
            self.rent += sign * values["rent_lamports"]
        elif name == "cash":
            self.deposited += values["lamports"]
        elif name == "move_intent":
            self._move(values)
        if signature := _signature_in(values):
            plan = self._plans[values["intent_id"]]
            origin = plan["leader_sig"] if plan["side"] == "BUY" else ""
            if signature in self.signed and self.signed[signature].intent_id != values["intent_id"]:
                self.shared.append(signature)
            self.signed[signature] = Signed(values["intent_id"], plan["side"], plan["mint"], origin)

    def _move(self, values: dict[str, Any]) -> None:
        """A failed transaction's costs, which a fork that is left gives back."""
        if values["from"] == "LANDED_ERR":
            self.cash += self._failed.pop(values["intent_id"])
        if values["to"] == "LANDED_ERR":
            self._failed[values["intent_id"]] = values["payload"]["cost_lamports"]
            self.cash -= self._failed[values["intent_id"]]


def _signature_in(values: dict[str, Any]) -> str | None:
    """A signed transaction's signature, wherever a change keeps it."""
    found: str | None = values.get("signature") or values.get("payload", {}).get("signature")
    return found


EXECUTOR: Final = Subject(_trade, _book, _control, journal)
