"""Copies of leaders' buys on a day's tape: what each would have brought, by latency and size, and by exit rule.

Signals are the executor's: one for each leader and coin of a transaction. Here they are bought without any guard, each
alone on its coin; the simulation is `copytrader_core.replay.copies`. Nothing after the tape's end is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_core.policy.decide import is_usable
from copytrader_core.policy.entry import lamports, seed_slippage_bps
from copytrader_core.policy.exits import seed_exit
from copytrader_core.policy.landing import likely_slots
from copytrader_core.policy.rules import DEFAULT, FAMILY, SEED, ExitRule, plan
from copytrader_core.policy.values import ExitPlan
from copytrader_core.records import Pattern
from copytrader_core.replay.clock import SlotClock
from copytrader_core.replay.copies import NEVER, OUTCOMES, REASONS, Copies, Exits, Jobs, simulate
from copytrader_core.replay.day import TapeDay
from copytrader_core.replay.execution import NO_VENUE, POOL
from copytrader_core.replay.tape import Tape
from copytrader_core.settings import Settings

Ints: TypeAlias = NDArray[np.int64]

_TOO_LATE: Final = OUTCOMES.index("TOO_LATE")
_LANDED: Final = OUTCOMES.index("LANDED")
_PATIENT: Final = 10_000
"""Bound of a copy's buy in bps above its quote where nothing else is known: the price may double."""


@dataclass(frozen=True, slots=True)
class Signals:
    """Leaders' buys in chain order. `row` is the transaction's last row in the coin; `base` and `quote` are its sums;
    `leader_sale` is the place of the leader's next sale of the coin, -1 for none on this tape."""

    row: Ints
    leader: Sequence[str]
    base: Ints
    quote: Ints
    leader_sale: Ints

    def __len__(self) -> int:
        return len(self.row)


def signals_of(tape: Tape, leaders: Mapping[str, Any]) -> Signals:
    """Every leader's buy that shows a market."""
    is_leader = np.array([wallet in leaders for wallet in tape.wallets], np.bool_)
    mine = np.flatnonzero(is_leader[tape.wallet] & (tape.venue != NO_VENUE)) if len(tape) else np.zeros(0, np.int64)
    bought = mine[tape.is_buy[mine]]
    key = tape.tx[bought].astype(np.int64) * (tape.n_pairs + 1) + tape.pair[bought]
    order = np.argsort(key, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(key[order]) != 0, True)) if len(order) else np.zeros(0, np.int64)
    starts = np.append(0, ends[:-1] + 1) if len(ends) else ends
    row = bought[order][ends]
    sums = [
        np.add.reduceat(values[bought][order], starts) if len(starts) else row for values in (tape.base, tape.quote)
    ]
    by_row = np.argsort(row, kind="stable")
    row = row[by_row]
    sold = mine[~tape.is_buy[mine]]
    return Signals(
        row,
        [tape.wallets[code] for code in tape.wallet[row]],
        sums[0][by_row],
        sums[1][by_row],
        _next_of(tape, sold, row),
    )


def copies_of(
    day: TapeDay, leaders: Mapping[str, Pattern | None], rules: Mapping[str, ExitRule], settings: Settings
) -> pa.Table:
    """The day's `copies`: every latency and size of the settings, under each leader's rule of `rules`, or DEFAULT."""
    signals, grid = signals_of(day.tape, leaders), _grid(settings)
    repeated = np.repeat(np.arange(len(signals)), len(grid))
    late = np.tile(np.array([cell[0] for cell in grid], np.int64), len(signals))
    spend = np.tile(np.array([cell[1] for cell in grid], np.int64), len(signals))
    chosen = [rules.get(leader, DEFAULT) for leader in signals.leader]
    plans = [[plan(rule, _named(leader), settings)] for rule, leader in zip(chosen, signals.leader, strict=True)]
    jobs = _jobs(signals, leaders, repeated, spend, late, settings)
    found, clock = _run(day, jobs, plans, repeated, settings)
    told = _told(day, signals, repeated, found, clock, jobs)
    tape, at = day.tape, signals.row[repeated]
    premium = _premium(signals, repeated, spend, found)
    columns = told | {
        "tx_index": pa.array(tape.tx_index[at], mask=tape.tx_index[at] < 0),
        "ts_ns": pa.array(day.ts_ns[at]),
        "venue": _named_by(["curve", "amm"], tape.venue[at] == POOL),
        "real_quote_lamports": pa.array(np.maximum(tape.real_quote[at], 0)),
        "leader_size_lamports": pa.array(signals.quote[repeated]),
        "latency_slots": pa.array(late.astype(np.int16)),
        "size_lamports": pa.array(spend),
        "rule": _named_by([str(rule) for rule in chosen], repeated),
        "outcome": _named_by(OUTCOMES, found.outcome),
        "entry_premium_bps": pa.array(premium, mask=~np.isfinite(premium)),
    }
    return pa.table(columns).filter(pa.array(found.outcome != _TOO_LATE))


def copy_exits_of(day: TapeDay, leaders: Mapping[str, Pattern | None], settings: Settings) -> pa.Table:
    """The day's `copy_exits`: the reference latency and size under every rule of FAMILY, and under the seed's exit."""
    signals = signals_of(day.tape, leaders)
    each = np.arange(len(signals))
    reference = settings.copies
    spend = np.full(len(signals), lamports(reference.reference_size_sol), np.int64)
    late = np.full(len(signals), reference.reference_latency, np.int64)
    jobs = _jobs(signals, leaders, each, spend, late, settings)
    family = [plan(rule, _named(""), settings) for rule in FAMILY]
    plans = [[*family, _seed(leaders[leader], settings) or family[0]] for leader in signals.leader]
    found, clock = _run(day, jobs, plans, each, settings)
    names = np.array([*(str(rule) for rule in FAMILY), SEED])
    n = len(names)
    repeated = np.repeat(each, n)
    kept = np.repeat(found.outcome == _LANDED, n)
    has_seed = np.array([_seed(leaders[leader], settings) is not None for leader in signals.leader], np.bool_)
    kept &= np.tile(names != SEED, len(signals)) | np.repeat(has_seed, n)
    told = _told(day, signals, repeated, found, clock, jobs, n)
    rule = _named_by(names.tolist(), np.tile(np.arange(n), len(signals)))
    return pa.table(told | {"rule": rule}).filter(pa.array(kept))


def _grid(settings: Settings) -> list[tuple[int, int]]:
    return list(product(settings.copies.latencies, (lamports(size) for size in settings.copies.sizes_sol)))


def _named(leader: str) -> Pattern:
    """A pattern that says no more than whose it is."""
    return Pattern(leader, None, 0, 0, 0.0, 0.0, 0, 0, 0.0, 0.0, "mixed", 0.0, 0.0, 0.0)


def _seed(pattern: Pattern | None, settings: Settings) -> ExitPlan | None:
    return seed_exit(pattern, settings.policy) if pattern is not None and is_usable(pattern) else None


def _jobs(
    signals: Signals,
    leaders: Mapping[str, Pattern | None],
    of: Ints,
    spend: Ints,
    late: Ints,
    settings: Settings,
) -> Jobs:
    bounds = {name: _bound(pattern, settings) for name, pattern in leaders.items()}
    slippage = np.array([bounds[leader] for leader in signals.leader], np.int64)
    return Jobs(signals.row[of], spend, late, slippage[of] if len(of) else of, signals.leader_sale[of])


def _bound(pattern: Pattern | None, settings: Settings) -> int:
    """The live bound where the leader's fingerprint gives one."""
    if pattern is None or not is_usable(pattern):
        return _PATIENT
    return seed_slippage_bps(pattern, settings.policy)


def _run(
    day: TapeDay, jobs: Jobs, plans: Sequence[Sequence[ExitPlan]], of: Ints, settings: Settings
) -> tuple[Copies, SlotClock]:
    clock = SlotClock.of(day.slots, day.seconds) if len(day.slots) else SlotClock(0, np.zeros(1, np.int64))
    entry = day.tape.slot[jobs.row] + jobs.late if len(jobs.row) else jobs.row
    exits = exits_of(plans, of, entry, clock)
    return simulate(day.tape, jobs, exits, settings, likely_slots(settings.executor, "SELL")), clock


def exits_of(plans: Sequence[Sequence[ExitPlan]], of: Ints, entry_slot: Ints, clock: SlotClock) -> Exits:
    """The exit plans of each signal as the simulation takes them; `of` says which signal each job has."""
    n_rules = len(plans[0]) if plans else 1
    shape = (len(of), n_rules)
    # Most signals share their plans: each is read once, not once a signal.
    distinct = {id(one): one for row in plans for one in row}
    codes = {identity: code for code, identity in enumerate(distinct)}
    coded = np.array([[codes[id(one)] for one in row] for row in plans], np.int64).reshape(-1, n_rules)

    def told(value: Any, dtype: Any) -> NDArray[Any]:
        values = np.array([value(one) for one in distinct.values()], dtype)
        return values[coded[of]] if len(of) else np.zeros(shape, dtype)

    timer = told(lambda p: -1 if p.timer_ms is None else p.timer_ms, np.int64)
    kill = told(lambda p: p.kill_ms, np.int64)
    entries = np.repeat(entry_slot, n_rules).reshape(shape)
    return Exits(
        timer_slot=np.where(timer < 0, NEVER, clock.after(entries, np.maximum(timer, 0))),
        kill_slot=clock.after(entries, kill),
        target_x=told(lambda p: np.inf if p.target_x is None else p.target_x, np.float64),
        stop_x=told(lambda p: -np.inf if p.stop_x is None else p.stop_x, np.float64),
        trailing=told(lambda p: p.trailing_fraction or 0.0, np.float64),
        trailing_from_x=told(lambda p: p.trailing_from_x or 0.0, np.float64),
        mirror=told(lambda p: p.on_leader_sell, np.bool_),
    )


def _told(
    day: TapeDay, signals: Signals, of: Ints, found: Copies, clock: SlotClock, jobs: Jobs, n_rules: int = 1
) -> dict[str, pa.Array]:
    """What both tables say of a copy; `of` is the signal of each row."""
    tape, at = day.tape, signals.row[of]
    sigs = [day.text(int(row))[0] for row in signals.row]
    landed = np.repeat(found.outcome == _LANDED, n_rules)
    entry = np.repeat(tape.slot[jobs.row] + jobs.late, n_rules) if len(of) else of
    reason = found.reason.reshape(-1)
    hold = (clock.at(found.exit_slot.reshape(-1)) - clock.at(entry)) // 1_000_000
    return {
        "leader": _named_by(signals.leader, of),
        "mint": _named_by(tape.mints, tape.coin[at]),
        "sig": _named_by(sigs, of),
        "slot": pa.array(tape.slot[at]),
        "spend_lamports": pa.array(found.spent.reshape(-1)),
        "pnl_lamports": pa.array(found.pnl.reshape(-1)),
        "hold_ms": pa.array(np.maximum(hold, 0), mask=~landed),
        "exit_reason": _named_by(REASONS, reason, ~landed),
        "censored": pa.array(landed & (reason == 0)),
    }


def _named_by(names: Sequence[str], places: NDArray[Any], unknown: NDArray[np.bool_] | None = None) -> pa.Array:
    """The name at each of `places`, NULL where `unknown`."""
    return pa.array(names, pa.string()).take(pa.array(places.astype(np.int64), mask=unknown))


def _premium(signals: Signals, of: Ints, spend: Ints, found: Copies) -> NDArray[np.float64]:
    """Our average price over the leader's, in bps; NaN for what did not land."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ours = spend / np.where(found.bought > 0, found.bought, np.nan)
        theirs = signals.quote[of] / np.maximum(signals.base[of], 1)
        return np.asarray((ours / theirs - 1) * 10_000, np.float64)


def _next_of(tape: Tape, rows: Ints, after: Ints) -> Ints:
    """The first of `rows` that is behind each of `after` and of the same wallet and coin, -1 for none."""
    space = np.int64(len(tape) + 1)
    keys = np.sort(tape.pair[rows].astype(np.int64) * space + rows)
    wanted = tape.pair[after].astype(np.int64) * space + after
    at = np.searchsorted(keys, wanted, side="right")
    found = keys[np.minimum(at, len(keys) - 1)] if len(keys) else np.full(len(wanted), -1, np.int64)
    is_same = (at < len(keys)) & (found // space == tape.pair[after])
    return np.where(is_same, found % space, -1)
