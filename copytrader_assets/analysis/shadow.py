"""The shadow book: what every refused signal would have brought, followed with the exits that it would have had.

Each is bought alone, as late as a buy of ours is drawn to be, and moves its own coin. What cannot be followed (no
fingerprint, no market) is counted as such. Per guard: the sum, and an interval by resampling coins, whose refusals are
not independent of each other; and the same of the signals that nothing else would have refused, which is what lifting
that guard alone would change (of the first order: what is held would be different, too).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any, Final, Protocol

import numpy as np

from copytrader_assets.analysis.copies import exits_of, signals_of
from copytrader_core.policy.landing import draws, lateness, likely_slots, slots_late
from copytrader_core.policy.record import refusers
from copytrader_core.policy.unguarded import unguarded
from copytrader_core.replay.clock import SlotClock
from copytrader_core.replay.copies import OUTCOMES, REASONS, Jobs, simulate
from copytrader_core.replay.day import TapeDay
from copytrader_core.settings import Settings

_RESAMPLES: Final = 2_000
_AT_ONCE: Final = 100
_LEVEL: Final = (2.5, 97.5)
FOLLOWED: Final = ("LANDED", "REVERTED", "LOST")
"""Outcomes of what could be followed; what is lost never landed and costs nothing."""


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
    """One refused signal followed. `outcome` is one of FOLLOWED, NO_MARKET, TOO_LATE, NO_PLAN, NOT_ON_TAPE.

    `also`: the codes of the other guards that would have refused it.
    """

    leader: str
    mint: str
    leader_sig: str
    code: str
    outcome: str
    pnl_lamports: int
    spend_lamports: int
    reason: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GuardAudit:
    """One guard's refusals. A negative sum was avoided, a positive one missed; `low` and `high` are a 95 % interval.

    `alone_*`: the same of those that it alone refused.
    """

    code: str
    refused: int
    followed: int
    pnl_lamports: int
    low_lamports: int
    high_lamports: int
    alone: int = 0
    alone_followed: int = 0
    alone_lamports: int = 0
    alone_low_lamports: int = 0
    alone_high_lamports: int = 0


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many signals two guards would both have refused; of a guard with itself, how many it would have at all."""

    code: str
    other: str
    n: int


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
        elif _is_lost(one, settings):
            found.append(_unfollowed(one, "LOST"))
        else:
            found.append(None)
            plans.append([plan.exit])
            of.append(place)
            spend.append(plan.entry.spend_lamports)
            bound.append(plan.entry.slippage_bps)
    followed = [one for one, known in zip(refused, found, strict=True) if known is None]
    simulated = _simulated(day, signals, of, spend, bound, plans, _lateness(followed, settings), settings)
    told = [one if one is not None else next(simulated)(refused[i]) for i, one in enumerate(found)]
    return [replace(one, also=_others(refused[i], settings)) for i, one in enumerate(told)]


def _others(one: Refused, settings: Settings) -> tuple[str, ...]:
    return tuple(code for code in refusers(one.inputs, settings) if code != one.code)


def _drawn(one: Refused) -> tuple[float, float]:
    return draws(f"shadow|{one.leader_sig}|{one.mint}")


def _is_lost(one: Refused, settings: Settings) -> bool:
    return _drawn(one)[1] < lateness(settings.executor, "BUY").lost_share


def _lateness(refused: Sequence[Refused], settings: Settings) -> list[int]:
    model = lateness(settings.executor, "BUY")
    return [slots_late(model, _drawn(one)[0]) for one in refused]


def audit(shadows: Sequence[Shadow], seed: int = 0) -> list[GuardAudit]:
    """By guard, the one that avoided most first."""
    found = []
    for code in sorted({one.code for one in shadows}):
        mine = [one for one in shadows if one.code == code]
        alone = [one for one in mine if not one.also]
        found.append(GuardAudit(code, *_summed(mine, seed), *_summed(alone, seed)))
    return sorted(found, key=lambda one: one.pnl_lamports)


def overlaps(shadows: Sequence[Shadow]) -> list[Overlap]:
    """Every pair of guards that would have refused a signal together, in order of the codes."""
    pairs = Counter(pair for one in shadows for pair in combinations_with_replacement(sorted({one.code, *one.also}), 2))
    return [Overlap(code, other, n) for (code, other), n in sorted(pairs.items())]


def _summed(shadows: Sequence[Shadow], seed: int) -> tuple[int, int, int, int, int]:
    """How many, how many followed, what they would have brought, and its interval."""
    followed = [one for one in shadows if one.outcome in FOLLOWED]
    return len(shadows), len(followed), sum(one.pnl_lamports for one in followed), *_interval(followed, seed)


def _simulated(
    day: TapeDay,
    signals: Any,
    of: list[int],
    spend: list[int],
    bound: list[int],
    plans: list[Any],
    slots: list[int],
    settings: Settings,
) -> Any:
    """One maker of a shadow for each signal of `of`, in order."""
    at = np.array(of, np.int64)
    late = np.array(slots, np.int64)
    rows = signals.row[at] if len(of) else at
    jobs = Jobs(
        rows, np.array(spend, np.int64), late, np.array(bound, np.int64), signals.leader_sale[at] if len(of) else at
    )
    if not len(of):
        return iter(())
    clock = SlotClock.of(day.slots, day.seconds)
    exits = exits_of(plans, np.arange(len(of)), day.tape.slot[rows] + late, clock)
    copies = simulate(day.tape, jobs, exits, settings, likely_slots(settings.executor, "SELL"))

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
    rng = np.random.default_rng(seed)
    # A hundred at a time: all of them at once are 16 kB a coin.
    drawn = np.concatenate([rng.choice(sums, (_AT_ONCE, len(sums))).sum(axis=1) for _ in range(_RESAMPLES // _AT_ONCE)])
    low, high = np.percentile(drawn, _LEVEL)
    return int(low), int(high)
