"""What copies of recorded buys would have earned, many at once: each alone on its coin's market, moved by it.

A copy is bought with the seed's bound some slots after its signal, at the end of that slot; later trades are executed
again on the moved reserves; each exit rule sells when the live executor would (the same order of reasons, the same
ladder of attempts), again some slots late. What is still held at the end of the tape is marked at its sell quote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from copytrader_core.compiled import kernel, uncounted
from copytrader_core.policy.entry import BASE_FEE_LAMPORTS, network_fee, transaction_cost
from copytrader_core.policy.escalation import exit_terms
from copytrader_core.replay.execution import CURVE, POOL, coins_for, fee, kept, net_of_fees, proceeds_of, step
from copytrader_core.replay.tape import Tape
from copytrader_core.settings import Settings

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

LANDED: Final = 0
REVERTED: Final = 1
NO_MARKET: Final = 2
TOO_LATE: Final = 3
"""The tape ends before the buy lands."""
OUTCOMES: Final = ("LANDED", "REVERTED", "NO_MARKET", "TOO_LATE")

REASONS: Final = ("open", "kill", "adverse", "timer", "target", "trailing", "leader_sold")
"""Why a copy was sold; `open` is held at the end of the tape."""
_OPEN, _KILL, _ADVERSE, _TIMER, _TARGET, _TRAILING, _LEADER = range(7)

NEVER: Final = np.int64(1) << 60
_BPS: Final = 10_000
_ATTEMPTS: Final = 64
_WATCHING, _UNDER_WAY, _DONE = range(3)


@dataclass(frozen=True, slots=True)
class Jobs:
    """Copies to simulate, one value a job: the signal's last row in its coin, lamports to spend, slots late, the bound
    in bps above the quote at the signal, and the place of the leader's next sale of the coin (-1: none)."""

    row: Ints
    spend: Ints
    late: Ints
    slippage_bps: Ints
    leader_sale: Ints


@dataclass(frozen=True, slots=True)
class Exits:
    """Exit rules by (job, rule): slots at which timer and kill fall due (NEVER), multiples (inf or 0 for never)."""

    timer_slot: Ints
    kill_slot: Ints
    target_x: Floats
    stop_x: Floats
    trailing: Floats
    trailing_from_x: Floats
    mirror: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Copies:
    """Results. By job: `outcome`, coins `bought`, `paid` (entry with its costs). By (job, rule): `pnl` and `spent` in
    lamports, `exit_slot`, `reason` (places of REASONS)."""

    outcome: NDArray[np.int8]
    bought: Ints
    paid: Ints
    pnl: Ints
    spent: Ints
    exit_slot: Ints
    reason: NDArray[np.int8]


def simulate(tape: Tape, jobs: Jobs, exits: Exits, settings: Settings, exit_late: int) -> Copies:
    """Runs every job; `exit_late` is how many slots after its decision a sale lands."""
    n, rules = exits.timer_slot.shape
    found = Copies(
        np.zeros(n, np.int8),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros((n, rules), np.int64),
        np.zeros((n, rules), np.int64),
        np.zeros((n, rules), np.int64),
        np.zeros((n, rules), np.int8),
    )
    executor = settings.executor
    costs = np.array(
        [
            transaction_cost(executor),
            network_fee(executor),
            BASE_FEE_LAMPORTS,
            executor.max_exit_cost_bps,
            executor.exit_urgent_steps,
            exit_late,
            int(tape.slot[-1]) if len(tape) else 0,
        ],
        np.int64,
    )
    _simulate(
        *(tape.slot, tape.tx, tape.pair, tape.is_buy, tape.venue, tape.kind, tape.base, tape.quote, tape.net),
        *(tape.after_base, tape.after_quote, tape.real_base, tape.real_quote, tape.fees, tape.next_fees),
        tape.following,
        *(jobs.row, jobs.spend, jobs.late, jobs.slippage_bps, jobs.leader_sale),
        *(exits.timer_slot, exits.kill_slot, exits.target_x, exits.stop_x),
        *(exits.trailing, exits.trailing_from_x, exits.mirror),
        costs,
        ladder(settings),
        tape.first_pair[tape.coin[jobs.row]],
        np.zeros((2, np.diff(tape.first_pair).max(initial=1)), np.int64),
        *(found.outcome, found.bought, found.paid, found.pnl, found.spent, found.exit_slot, found.reason),
    )
    return found


def ladder(settings: Settings) -> Ints:
    """`policy.escalation.exit_terms` by attempt, (64, 3): slippage in bps (-1: any price), priority fee, tip."""
    rows = []
    for attempt in range(1, _ATTEMPTS + 1):
        terms = exit_terms(attempt, settings)
        slippage = -1 if terms.slippage_bps is None else terms.slippage_bps
        rows.append((slippage, terms.priority_fee_lamports, terms.tip_lamports))
    return np.array(rows, np.int64)


@uncounted
def _sold(venue, b, q, holds, lp, protocol, creator, coins):
    """What `coins` bring after fees, -1 where the venue gives no quote."""
    if b <= 0 or q <= 0:
        return np.int64(-1)
    moved = proceeds_of(b, q, coins)
    return np.int64(-1) if moved > holds else kept(moved, lp, protocol, creator)


@kernel
def _simulate(
    slot, tx, pair, is_buy, venue, kind, base, quote, net, after_base, after_quote, real_base, real_quote, fees,
    next_fees, following, job_row, job_spend, job_late, job_slippage, job_leader_sale, timer_slot, kill_slot,
    target_x, stop_x, trailing, trailing_from, mirror, costs, terms, job_pair, known, outcome, bought, paid, pnl, spent,
    exit_slot, reason,
):  # fmt: skip
    tx_cost, failed_cost, base_fee, max_cost_bps, urgent_steps, exit_late, last_slot = (
        costs[0], costs[1], costs[2], costs[3], costs[4], costs[5], costs[6],
    )  # fmt: skip
    n_rules = timer_slot.shape[1]
    state = np.zeros(n_rules, np.int8)
    due = np.zeros(n_rules, np.int8)
    attempt = np.zeros(n_rules, np.int64)
    lands = np.zeros(n_rules, np.int64)
    least = np.zeros(n_rules, np.int64)
    cost_now = np.zeros((n_rules, 2), np.int64)
    extra = np.zeros(n_rules, np.int64)
    left, short = known[0], known[1]
    limits = (len(terms), urgent_steps, max_cost_bps)
    for j in range(len(job_row)):
        at, first_pair = job_row[j], job_pair[j]
        spend, entry_slot = job_spend[j], slot[at] + job_late[j]
        lp, protocol, creator = next_fees[at, 0], next_fees[at, 1], next_fees[at, 2]
        is_curve = venue[at] == CURVE
        moved = net_of_fees(spend, lp, protocol, creator)
        coins = coins_for(after_base[at], after_quote[at], moved)
        if coins <= 0 or (is_curve and coins > real_base[at]):
            outcome[j] = NO_MARKET
            continue
        if entry_slot > last_slot:
            outcome[j] = TOO_LATE
            continue
        bound = -(-coins * _BPS // (_BPS + job_slippage[j]))
        k = following[at]
        while k >= 0 and slot[k] <= entry_slot:
            if venue[k] == POOL or venue[at] == CURVE:
                at = k
            k = following[k]
        lp, protocol, creator = next_fees[at, 0], next_fees[at, 1], next_fees[at, 2]
        is_curve = venue[at] == CURVE
        moved = net_of_fees(spend, lp, protocol, creator)
        coins = coins_for(after_base[at], after_quote[at], moved)
        if coins < bound or (is_curve and coins > real_base[at]):
            outcome[j] = REVERTED
            for r in range(n_rules):
                pnl[j, r], spent[j, r], exit_slot[j, r] = -failed_cost, failed_cost, entry_slot
            continue
        cost = spend + tx_cost
        outcome[j], bought[j], paid[j] = LANDED, coins, cost
        cb, cq, pb, pq = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        if is_curve:
            cb, cq = -coins, moved
        else:
            pb, pq = -coins, moved + fee(moved, lp)
        state[:] = _WATCHING
        due[:] = _OPEN
        attempt[:] = 0
        extra[:] = 0
        open_rules = n_rules
        start, peak = k, 0.0
        now, looks = entry_slot, True
        while True:
            # `at` is the row whose market stands; what is due before the coin's next trade happens first.
            until = slot[k] if k >= 0 else last_slot + 1
            in_pool = venue[at] == POOL
            db, dq = (pb, pq) if in_pool else (cb, cq)
            lp, protocol, creator = next_fees[at, 0], next_fees[at, 1], next_fees[at, 2]
            b, q = after_base[at] + db, after_quote[at] + dq
            worth = np.int64(-1)
            if in_pool or real_base[at] + db > 0:
                worth = _sold(venue[at], b, q, real_quote[at] + dq, lp, protocol, creator, coins)
            multiple = (worth - tx_cost) / cost if worth >= 0 else np.nan
            if looks and worth >= 0 and multiple > peak:
                peak = multiple
            for r in range(n_rules):
                if state[r] == _DONE:
                    continue
                if state[r] == _WATCHING and looks:
                    if due[r] == _OPEN:
                        due[r] = _why(
                            now, multiple, peak, timer_slot[j, r], kill_slot[j, r], target_x[j, r], stop_x[j, r],
                            trailing[j, r], trailing_from[j, r],
                            mirror[j, r] and 0 <= job_leader_sale[j] and (job_leader_sale[j] < k or k < 0),
                        )  # fmt: skip
                    if due[r] != _OPEN and worth >= 0:
                        state[r], lands[r] = _UNDER_WAY, now + exit_late
                        attempt[r] += 1
                        least[r] = _terms(due[r], attempt[r], worth, terms, limits, cost_now, r)
                while state[r] != _DONE:
                    if state[r] == _UNDER_WAY:
                        if lands[r] >= until:
                            break
                        if worth >= least[r]:
                            state[r], open_rules = _DONE, open_rules - 1
                            exit_slot[j, r], reason[j, r] = lands[r], due[r]
                            spent[j, r] = cost + extra[r]
                            pnl[j, r] = worth - base_fee - cost_now[r, 0] - cost_now[r, 1] - cost - extra[r]
                            break
                        extra[r] += base_fee + cost_now[r, 0]
                        state[r] = _WATCHING
                        decided = lands[r]
                    else:
                        decided = min(timer_slot[j, r], kill_slot[j, r])
                        if due[r] == _OPEN:
                            if decided >= until:
                                break
                            due[r] = _KILL if kill_slot[j, r] <= decided else _TIMER
                        else:
                            break
                    if worth < 0:
                        break
                    state[r], lands[r] = _UNDER_WAY, decided + exit_late
                    attempt[r] += 1
                    least[r] = _terms(due[r], attempt[r], worth, terms, limits, cost_now, r)
            if open_rules == 0 or k < 0:
                break
            p = pair[k] - first_pair
            left[p] += base[k] if is_buy[k] else -base[k]
            if venue[k] == CURVE:
                cb, cq, short[p] = step(
                    kind[k], CURVE, base[k], quote[k], net[k], fees[k, 0], fees[k, 1], fees[k, 2],
                    after_base[k], after_quote[k], real_base[k], cb, cq, left[p], short[p],
                )  # fmt: skip
            else:
                pb, pq, short[p] = step(
                    kind[k], POOL, base[k], quote[k], net[k], fees[k, 0], fees[k, 1], fees[k, 2],
                    after_base[k], after_quote[k], real_base[k], pb, pq, left[p], short[p],
                )  # fmt: skip
            if venue[k] == POOL or venue[at] == CURVE:
                at = k
            now = slot[k]
            looks = following[k] < 0 or tx[following[k]] != tx[k]
            k = following[k]
        for r in range(n_rules):
            if state[r] != _DONE:
                mark = max(worth - tx_cost, 0) if worth >= 0 else np.int64(0)
                spent[j, r] = cost + extra[r]
                pnl[j, r] = mark - cost - extra[r]
                exit_slot[j, r], reason[j, r] = last_slot, _OPEN
        seen = start
        while seen >= 0 and seen != k:
            left[pair[seen] - first_pair] = 0
            short[pair[seen] - first_pair] = 0
            seen = following[seen]


@uncounted
def _why(now, multiple, peak, timer, kill, target, stop, trailing, trailing_from, leader_sold):
    """`policy.exits.due_exit`."""
    if kill <= now:
        return _KILL
    if multiple <= stop:
        return _ADVERSE
    if timer <= now:
        return _TIMER
    if multiple >= target:
        return _TARGET
    if trailing > 0.0 and peak >= trailing_from and multiple <= peak * (1 - trailing):
        return _TRAILING
    return _LEADER if leader_sold else _OPEN


@uncounted
def _terms(why, attempt, quoted, terms, limits, cost_now, r):
    """The least that this attempt takes; fee and tip go to row `r` of `cost_now` (`policy.escalation`)."""
    n_terms, urgent_steps, max_cost_bps = limits
    reached = attempt + (urgent_steps if why == _KILL or why == _ADVERSE else 0)
    place = min(reached, n_terms) - 1
    priority, tip = terms[place, 1], terms[place, 2]
    most = quoted * max_cost_bps // _BPS
    if priority + tip > most:
        priority, tip = min(priority, most // 2), min(tip, most // 2)
    cost_now[r, 0], cost_now[r, 1] = priority, tip
    if terms[place, 0] < 0:
        return np.int64(1)
    return max(np.int64(1), -(-quoted * (_BPS - terms[place, 0]) // _BPS))
