"""The shadow book: what every refused signal would have brought, followed with the exits that it would have had.

Each is bought alone and moves its own coin. What cannot be followed (no fingerprint, no market) is counted as such.
Per guard: the sum, and an interval by resampling coins, whose refusals are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from copytrader_assets.analysis.copies import exits_of, signals_of
from copytrader_core.policy.unguarded import unguarded
from copytrader_core.replay.clock import SlotClock
from copytrader_core.replay.copies import OUTCOMES, REASONS, Jobs, simulate
from copytrader_core.replay.day import TapeDay
from copytrader_core.settings import Settings

_RESAMPLES: Final = 2_000
_LEVEL: Final = (2.5, 97.5)
_FOLLOWED: Final = ("LANDED", "REVERTED")


class Refused(Protocol):
    """A refused signal and the inputs of its decision."""

    @property
    def leader(self) -> str: ...  # noqa: D102
    @property
    def mint(self) -> str: ...  # noqa: D102
    @property
    def leader_sig(self) -> str: ...  # noqa: D102
    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def inputs(self) -> Mapping[str, Any]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Shadow:
    """One refused signal followed. `outcome` is one of LANDED, REVERTED, NO_MARKET, TOO_LATE, NO_PLAN, NOT_ON_TAPE."""

    leader: str
    mint: str
    leader_sig: str
    code: str
    outcome: str
    pnl_lamports: int
    spend_lamports: int
    reason: str


@dataclass(frozen=True, slots=True)
class GuardAudit:
    """One guard's refusals. A negative sum was avoided, a positive one missed; `low` and `high` are a 95 % interval."""

    code: str
    refused: int
    followed: int
    pnl_lamports: int
    low_lamports: int
    high_lamports: int


def shadows_of(day: TapeDay, refused: Sequence[Refused], settings: Settings) -> list[Shadow]:
    """Every refused signal of the day, in the same order."""
    signals = signals_of(day.tape, {one.leader: None for one in refused})
    places = {
        (day.text(int(row))[0], day.tape.mints[day.tape.coin[row]]): place for place, row in enumerate(signals.row)
    }
    found: list[Shadow | None] = []
    plans, of, spend, bound = [], [], [], []
    for one in refused:
        plan, place = unguarded(one.inputs, settings), places.get((one.leader_sig, one.mint))
        if plan is None or place is None:
            found.append(_unfollowed(one, "NO_PLAN" if plan is None else "NOT_ON_TAPE"))
            continue
        found.append(None)
        plans.append([plan.exit])
        of.append(place)
        spend.append(plan.entry.spend_lamports)
        bound.append(plan.entry.slippage_bps)
    simulated = _simulated(day, signals, of, spend, bound, plans, settings)
    return [one if one is not None else next(simulated)(refused[i]) for i, one in enumerate(found)]


def audit(shadows: Sequence[Shadow], seed: int = 0) -> list[GuardAudit]:
    """By guard, the one that avoided most first."""
    found = []
    for code in sorted({one.code for one in shadows}):
        mine = [one for one in shadows if one.code == code]
        followed = [one for one in mine if one.outcome in _FOLLOWED]
        low, high = _interval(followed, seed)
        total = sum(one.pnl_lamports for one in followed)
        found.append(GuardAudit(code, len(mine), len(followed), total, low, high))
    return sorted(found, key=lambda one: one.pnl_lamports)


def _simulated(
    day: TapeDay,
    signals: Any,
    of: list[int],
    spend: list[int],
    bound: list[int],
    plans: list[Any],
    settings: Settings,
) -> Any:
    """One maker of a shadow for each signal of `of`, in order."""
    at = np.array(of, np.int64)
    late = np.full(len(of), settings.executor.paper_latency_slots, np.int64)
    rows = signals.row[at] if len(of) else at
    jobs = Jobs(
        rows, np.array(spend, np.int64), late, np.array(bound, np.int64), signals.leader_sale[at] if len(of) else at
    )
    if not len(of):
        return iter(())
    clock = SlotClock.of(day.slots, day.seconds)
    exits = exits_of(plans, np.arange(len(of)), day.tape.slot[rows] + late, clock)
    copies = simulate(day.tape, jobs, exits, settings, settings.executor.paper_latency_slots)

    def maker(i: int) -> Any:
        outcome = OUTCOMES[copies.outcome[i]]
        values = (outcome, int(copies.pnl[i, 0]), int(copies.spent[i, 0]), REASONS[copies.reason[i, 0]])
        return lambda one: Shadow(one.leader, one.mint, one.leader_sig, one.code, *values)

    return iter([maker(i) for i in range(len(of))])


def _unfollowed(one: Refused, outcome: str) -> Shadow:
    return Shadow(one.leader, one.mint, one.leader_sig, one.code, outcome, 0, 0, "")


def _interval(followed: Sequence[Shadow], seed: int) -> tuple[int, int]:
    """Of the sum, by drawing whole coins again; the sum itself where there are fewer than two."""
    by_coin: dict[str, int] = {}
    for one in followed:
        by_coin[one.mint] = by_coin.get(one.mint, 0) + one.pnl_lamports
    sums = np.array(list(by_coin.values()), np.float64)
    if len(sums) < 2:
        total = int(sums.sum())
        return total, total
    drawn = np.random.default_rng(seed).choice(sums, (_RESAMPLES, len(sums))).sum(axis=1)
    low, high = np.percentile(drawn, _LEVEL)
    return int(low), int(high)
