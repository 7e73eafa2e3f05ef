"""The executor as the one who lives in a world: how it is started, stopped by hand, and how its journal is read.

The only file here that knows the executor's own records beyond the form of the journal's files.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final
from unittest import mock

from copytrader_core.records import Pattern, Release
from copytrader_core.settings import Settings
from executor import wal
from executor.control import Control, write_control
from executor.ledger import Ledger
from tests.simulation.ends import Outside
from tests.simulation.market import LEADERS
from tests.simulation.story import Subject, TradingState
from tests.simulation.truth import Book, Signed, lines_of

_SEGMENT_BYTES: Final = 64 * 2**10


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


def _settings(home: Path) -> Settings:
    """The defaults, but for limits that a long bad day of this market would reach."""
    risk = {"max_loss_per_hour_sol": 1_000.0, "max_loss_per_day_sol": 1_000.0}
    return Settings(home=home, risk=risk)


async def _trade(home: Path, outside: Outside) -> None:
    from executor import service

    # Segments of a few hundred lines: a start reads one of them, and processes die around their ends too.
    with mock.patch.object(wal, "_SEGMENT_BYTES", _SEGMENT_BYTES):
        await service.trade(journal(home), _settings(home), outside=outside, release=RELEASE)  # type: ignore[attr-defined]


def journal(home: Path) -> Path:
    """Where the executor keeps its journal of live trading."""
    return home / "executor" / "live"


def _control(home: Path, state: TradingState) -> None:
    write_control(home / "executor", Control(state))


def _book(home: Path) -> Book:
    ledger, plans, signed = Ledger(), {}, {}
    cash = rent = 0
    for line in lines_of(journal(home)):
        ledger.apply(line)
        for name, values in line.get("changes", ()):
            if name == "plan_intent":
                plans[values["intent_id"]] = values
            if name == "fill":
                cash += _cash_of(values)
                rent += values.get("rent_lamports", 0)
            elif name == "move_intent" and values["to"] == "LANDED_ERR":
                cash -= values["payload"]["cost_lamports"]
            if signature := _signature_in(values):
                plan = plans[values["intent_id"]]
                origin = plan["leader_sig"] if plan["side"] == "BUY" else ""
                signed[signature] = Signed(values["intent_id"], plan["side"], plan["mint"], origin)
    positions: Counter[str] = Counter()
    for row in ledger.positions.values():
        positions[row["mint"]] += row["base_raw"]
    return Book(signed, dict(positions), {}, tuple(ledger.intents), cash, rent)


def _cash_of(fill: dict[str, Any]) -> int:
    quote = fill["quote_lamports"] * (1 if fill["side"] == "SELL" else -1)
    return int(quote - fill["tx_fee_lamports"] - fill["tip_lamports"])


def _signature_in(values: dict[str, Any]) -> str | None:
    """A signed transaction's signature, wherever a change keeps it."""
    found: str | None = values.get("signature") or values.get("payload", {}).get("signature")
    return found


EXECUTOR: Final = Subject(_trade, _book, _control, journal)
