"""The decision on a leader's buy: one pure function, the same for live, paper, backtest and explain.

It reads no clock, no database and no stream; whatever it needs is an argument, whatever it computed is in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from copytrader_core.errors import QuoteError
from copytrader_core.policy.entry import entry_plan, seed_size, seed_slippage_bps
from copytrader_core.policy.exits import seed_exit
from copytrader_core.policy.expected_value import deciding_value, expected_value, price_multiple
from copytrader_core.policy.guards import GUARDS, Guard, Proposal
from copytrader_core.policy.inflow import queue_at, queue_value
from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import (
    ACCEPTED,
    Book,
    Decision,
    EntryPlan,
    ExitPlan,
    LeaderBuy,
    Now,
    Number,
)
from copytrader_core.records import Edge, Inflow, Pattern
from copytrader_core.settings import Settings


def decide(
    signal: LeaderBuy,
    pattern: Pattern | None,
    edges: Sequence[Edge],
    book: Book,
    settings: Settings,
    now: Now,
    inflow: Inflow | None = None,
    guards: Sequence[Guard] = GUARDS,
) -> Decision:
    """Accepts with an entry and an exit plan, or refuses with a standard code.

    `pattern`, `edges` and `inflow` are the leader's own, of the release in force. Of the settings the sections
    `policy`, `risk` and `executor` count. `guards` differ from today's only where an
    old decision is replayed. Codes: NO_PATTERN, PATTERN_INCOMPLETE, those of `guards`, NO_QUOTE,
    EXPECTED_VALUE.
    """
    numbers: dict[str, Number] = _facts(signal, edges)
    if pattern is None:
        return Decision("NO_PATTERN", None, None, numbers)
    if not is_usable(pattern):
        return Decision("PATTERN_INCOMPLETE", None, None, numbers)
    spend = seed_size(pattern, settings.policy, settings.risk)
    proposal = Proposal(signal, pattern, book, settings, now, spend)
    for guard in guards:
        check = guard(proposal)
        numbers.update(check.numbers)
        if not check.passed:
            return Decision(check.code, None, None, numbers)
    return _with_plans(proposal, inflow, numbers)


def is_usable(pattern: Pattern) -> bool:
    """Whether every number that sizes or times a trade is there; a young wallet's fingerprint can have holes."""
    floats = (pattern.avg_entry_sol, pattern.p50_target_x, pattern.p90_target_x, pattern.slippage_pctl_95)
    return (
        all(isfinite(value) for value in (*floats, pattern.win_rate))
        and pattern.avg_entry_sol > 0
        and pattern.p50_hold_ms > 0
        and pattern.p90_hold_ms > 0
        and pattern.p50_target_x > 0
    )


def _facts(signal: LeaderBuy, edges: Sequence[Edge]) -> dict[str, Number]:
    """What stands beside every decision, whoever takes it: the leader's size and the followers to be expected."""
    return {
        "leader_size_lamports": signal.size_lamports,
        "followers": len(edges),
        "expected_follow_sol": sum(edge.follow_prob * edge.avg_follower_size_sol for edge in edges),
    }


def _with_plans(proposal: Proposal, inflow: Inflow | None, numbers: dict[str, Number]) -> Decision:
    """What passed the guards is quoted, timed and valued; `EXPECTED_VALUE` stands for its leader's typical multiple
    where no target sells: a time_stop leader's exit is the clock, and what it reaches by then is p50.
    """
    settings, market = proposal.settings, proposal.signal.market
    if market is None:
        return Decision("NO_MARKET", None, None, numbers)
    slippage = seed_slippage_bps(proposal.pattern, settings.policy)
    numbers.update(slippage_bps=slippage, fee_bps=market.fee_bps, venue=market.venue)
    try:
        entry = entry_plan(market, proposal.spend_lamports, slippage, settings.executor)
    except QuoteError as error:
        return Decision("NO_QUOTE", None, None, {**numbers, "quote_error": str(error)})
    plan = seed_exit(proposal.pattern, settings.policy)
    numbers.update(_plan_numbers(entry, plan))
    expected_x = plan.target_x if plan.target_x is not None else proposal.pattern.p50_target_x
    price_x = price_multiple(expected_x, market.fee_bps)
    value = expected_value(price_x, slippage, market.fee_bps, entry.spend_lamports, entry.network_lamports)
    numbers.update(expected_x=expected_x, expected_price_x=price_x, expected_value_lamports=value)
    queued = _queue_numbers(proposal, market, inflow, entry)
    numbers.update(queued)
    deciding = deciding_value(settings.policy, value, _whole(queued["inflow_value_lamports"]))
    if deciding is None:
        return Decision("NO_QUOTE", None, None, numbers)
    if settings.policy.require_positive_ev and deciding <= 0:
        return Decision("EXPECTED_VALUE", None, None, numbers)
    return Decision(ACCEPTED, entry, plan, numbers)


def _queue_numbers(
    proposal: Proposal, market: MarketState, inflow: Inflow | None, entry: EntryPlan
) -> dict[str, Number]:
    """Our place among the leader's followers, and what it is worth."""
    queue = queue_at(inflow, proposal.settings.executor.paper_latency_slots)
    return {
        "inflow_ahead_lamports": queue.ahead_lamports,
        "inflow_behind_lamports": queue.behind_lamports,
        "followers_ahead": queue.followers_ahead,
        "inflow_value_lamports": queue_value(market, queue, entry.spend_lamports, entry.network_lamports),
    }


def _whole(number: Number) -> int | None:
    return number if isinstance(number, int) else None


def _plan_numbers(entry: EntryPlan, plan: ExitPlan) -> dict[str, Number]:
    return {
        "quoted_tokens_raw": entry.quoted_tokens_raw,
        "min_tokens_raw": entry.min_tokens_raw,
        "network_lamports": entry.network_lamports,
        "timer_ms": plan.timer_ms,
        "target_x": plan.target_x,
        "kill_ms": plan.kill_ms,
    }
