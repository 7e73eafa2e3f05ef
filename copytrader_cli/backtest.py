"""A range of days walked forward: each by the release as of the day before, beside the seed's policy and no policy.

Not here: the walking (executor.backtest), the command's words (commands/backtest.py).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from copytrader_assets.analysis.shadow import Shadow, audit, overlaps, shadows_of
from copytrader_assets.lake import Lake
from copytrader_assets.lake_release import release_as_of
from copytrader_assets.schemas import TAPE
from copytrader_assets.tape_reader import read_tape
from copytrader_core.errors import StoreError
from copytrader_core.policy.landing import SIDES, lateness, model_name
from copytrader_core.policy.record import canonical, settings_document
from copytrader_core.policy.resolved import resolved
from copytrader_core.records import Lateness, Release
from copytrader_core.replay.day import TapeDay
from copytrader_core.settings import ExecutorSettings, Settings
from executor.backtest.account import Account
from executor.backtest.walk import Walker

KEPT: Final = "backtest.json"
"""Where in HOME the report finds the last one."""
OWN: Final = "policy"
SEED: Final = "seed"
EVERYBODY: Final = "everybody"


@dataclass(frozen=True, slots=True)
class DayResult:
    """One day of the policy's own walk. `release` is None where there was none as of the day before."""

    day: dt.date
    release: str | None
    events: int
    signals: int
    decisions: Mapping[str, int]
    bought: int
    sold: int
    pnl_lamports: int
    landing: str = "settings"
    """The model that its orders were drawn from."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One model that orders were drawn from, beside what the settings alone expect."""

    name: str
    as_of: str | None
    days: list[str]
    measured: Mapping[str, Lateness]
    expected: Mapping[str, Lateness]


@dataclass(slots=True)
class Backtest:
    """A whole walk: the policy's account and its shadow book, and the accounts of the baselines."""

    settings: Settings
    days: list[DayResult] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    shadows: list[Shadow] = field(default_factory=list)
    aliases: dict[str, str | None] = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict)
    """By name, in order of their days."""

    @property
    def own(self) -> Account:
        """The account of the policy as it is set."""
        return self.accounts[OWN]

    def document(self) -> dict[str, Any]:
        """Everything as JSON values; amounts are lamports."""
        own, config = self.own, settings_document(self.settings)
        return {
            "from": self.days[0].day.isoformat(),
            "to": self.days[-1].day.isoformat(),
            "decision_hash": self.hashes[OWN],
            "settings_hash": hashlib.sha256(canonical(config).encode()).hexdigest(),
            "settings": config,
            "days": [asdict(day) | {"day": day.day.isoformat()} for day in self.days],
            "signals": sum(own.decisions.values()),
            "decisions": dict(own.decisions),
            "orders_lost": dict(own.lost),
            "round_trips": [asdict(trip) | {"alias": self.aliases.get(trip.leader)} for trip in own.trips],
            "pnl_lamports": own.pnl_lamports,
            "max_drawdown_lamports": own.max_drawdown_lamports,
            "equity": own.equity,
            "shadow": [asdict(one) for one in self.shadows],
            "guards": [asdict(one) for one in audit(self.shadows)],
            "guard_overlaps": [asdict(one) for one in overlaps(self.shadows)],
            "landing": [asdict(one) for one in self.drawn.values()],
            "baselines": {
                name: {
                    "pnl_lamports": account.pnl_lamports,
                    "max_drawdown_lamports": account.max_drawdown_lamports,
                    "bought": len(account.trips),
                    "decisions": dict(account.decisions),
                    "equity": account.equity,
                    "decision_hash": self.hashes[name],
                }
                for name, account in self.accounts.items()
                if name != OWN
            },
        }

    def text(self) -> str:
        """The document as JSON."""
        return json.dumps(self.document(), indent=1, default=str)


def walk_forward(
    lake: Lake,
    days: Sequence[dt.date],
    settings: Settings,
    *,
    baselines: bool = True,
    shadow: bool = True,
    seen: Callable[[DayResult], None] = lambda day: None,
) -> Backtest:
    """Trades the days in order, from an empty book and the paper balance of the settings.

    Raises StoreError that names the first day without a tape.
    """
    missing = [day for day in days if not lake.has(TAPE.name, day)]
    if missing:
        raise StoreError(
            f"tape {missing[0]} is not in the lake: run `copytrader materialize --from {missing[0]} --to {days[-1]}`"
        )
    found = Backtest(settings)
    chosen = {OWN: settings, **(_baselines(settings) if baselines else {})}
    walkers: dict[str, Walker] = {}
    for name, config in chosen.items():
        account = found.accounts[name] = Account(keep_refusals=shadow and name == OWN)
        walkers[name] = Walker(config, account.hear)
    for day in days:
        release = release_as_of(lake, day - dt.timedelta(days=1))
        if release is None:
            release = Release(f"none-{day}", "", {}, ())
        found.aliases |= {wallet: pattern.alias for wallet, pattern in release.patterns.items()}
        tape = read_tape(lake, day, release.patterns)
        before = _state(found.own)
        for walker in walkers.values():
            walker.walk(tape, release)
        if day == days[-1]:
            for walker in walkers.values():
                walker.finish()
        today = resolved(settings, release)
        _note_model(found, day, today.executor)
        if shadow:
            found.shadows += _shadow(found.own, tape, today)
        result = _day(found.own, before, day, release, tape, model_name(today.executor))
        found.days.append(result)
        seen(result)
    found.hashes = {name: walker.memory.decision_hash for name, walker in walkers.items()}
    return found


def _baselines(settings: Settings) -> dict[str, Settings]:
    """The seed's rule as it was written down, and every leader that has a fingerprint at all; equal limits for all."""
    seed: dict[str, Any] = {"gate": "seed", "exit": "seed", "expected_value": "seed"}
    everybody = seed | {"min_sample_trades": 0, "min_win_rate": 0.0, "require_positive_ev": False}
    changes: dict[str, dict[str, Any]] = {SEED: seed, EVERYBODY: everybody}
    return {
        name: settings.model_copy(update={"policy": settings.policy.model_copy(update=change)})
        for name, change in changes.items()
    }


def _shadow(account: Account, tape: TapeDay, settings: Settings) -> list[Shadow]:
    refused, account.refusals = account.refusals, []
    return shadows_of(tape, refused, settings)


def _note_model(found: Backtest, day: dt.date, executor: ExecutorSettings) -> None:
    """Which model the day's orders are drawn from."""
    name, model = model_name(executor), executor.measured
    if name not in found.drawn:
        plain = executor.model_copy(update={"measured": None})
        as_of = None if model is None else model.as_of
        found.drawn[name] = Drawn(name, as_of, [], _both_sides(executor), _both_sides(plain))
    found.drawn[name].days.append(day.isoformat())


def _both_sides(executor: ExecutorSettings) -> dict[str, Lateness]:
    return {side: lateness(executor, side) for side in SIDES}


def _state(account: Account) -> tuple[Mapping[str, int], int, int, int]:
    sold = sum(trip.pnl_lamports is not None for trip in account.trips)
    return dict(account.decisions), len(account.trips), sold, account.pnl_lamports


def _day(
    account: Account,
    before: tuple[Mapping[str, int], int, int, int],
    day: dt.date,
    release: Release,
    tape: TapeDay,
    landing: str,
) -> DayResult:
    decisions, bought, sold, pnl = _state(account)
    new = {code: n - before[0].get(code, 0) for code, n in decisions.items() if n != before[0].get(code, 0)}
    return DayResult(
        day=day,
        release=release.release_id if release.patterns else None,
        events=len(tape.tape),
        signals=sum(new.values()),
        decisions=new,
        bought=bought - before[1],
        sold=sold - before[2],
        pnl_lamports=pnl - before[3],
        landing=landing,
    )


__all__ = ["EVERYBODY", "KEPT", "OWN", "SEED", "Backtest", "DayResult", "walk_forward"]
