"""The decision on a leader's buy: one pure function, the same for live, paper, backtest and explain.

It reads no clock, no database and no stream; whatever it needs is an argument, whatever it computed is in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from copytrader_core.errors import QuoteError
from copytrader_core.policy.coin_state import state_of
from copytrader_core.policy.copy_terms import CopyTerms, capped, copy_entry, copy_terms, headroom_x, worth
from copytrader_core.policy.entry import entry_plan, seed_size, seed_slippage_bps
from copytrader_core.policy.expected_value import deciding_value, expected_value, price_multiple
from copytrader_core.policy.guards import GUARDS, Guard, Proposal
from copytrader_core.policy.inflow import Queue, queue_at, queue_value
from copytrader_core.policy.landing import expected_slots
from copytrader_core.policy.market import MarketState
from copytrader_core.policy.rules import chosen_exit
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
from copytrader_core.records import CopyValue, Edge, Inflow, Pattern
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
    value: CopyValue | None = None,
) -> Decision:
    """Accepts with an entry and an exit plan, or refuses with a standard code.

    `pattern`, `edges`, `inflow` and `value` are the leader's own, of the release in force. Of the settings the sections
    `policy`, `risk`, `executor` and `copies` count. `guards` differ from today's only where an
    old decision is replayed. Codes: NO_PATTERN, PATTERN_INCOMPLETE, those of `guards`, NO_QUOTE,
    EXPECTED_VALUE.
    """
    numbers: dict[str, Number] = _facts(signal, edges)
    if pattern is None:
        return Decision("NO_PATTERN", None, None, numbers)
    if not is_usable(pattern):
        return Decision("PATTERN_INCOMPLETE", None, None, numbers)
    proposal = proposal_of(signal, pattern, book, settings, now, value)
    for guard in guards:
        check = guard(proposal)
        numbers.update(check.numbers)
        if not check.passed:
            return Decision(check.code, None, None, numbers)
    return _with_plans(proposal, inflow, numbers)


def proposal_of(
    signal: LeaderBuy, pattern: Pattern, book: Book, settings: Settings, now: Now, value: CopyValue | None
) -> Proposal:
    """What the guards are asked about, for a leader whose pattern is usable."""
    terms = terms_at(value, signal.market, settings)
    return Proposal(signal, pattern, book, settings, now, size_of(pattern, terms, settings), value, terms)


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


def terms_at(value: CopyValue | None, market: MarketState | None, settings: Settings) -> CopyTerms | None:
    """What a copy is worth with the coin as `market` has it; None where the release or the market does not say."""
    policy = settings.policy
    is_asked = policy.expected_value == "copy" or policy.gate == "copy_value"
    if value is None or market is None or not is_asked:
        return None
    return copy_terms(value, state_of(market), settings)


def size_of(pattern: Pattern, terms: CopyTerms | None, settings: Settings) -> int:
    """The spend in lamports: that of the best copy, or the seed's."""
    if terms is not None and settings.policy.expected_value == "copy":
        return terms.spend_lamports
    return seed_size(pattern, settings.policy, settings.risk)


def _with_plans(proposal: Proposal, inflow: Inflow | None, numbers: dict[str, Number]) -> Decision:
    """What passed the guards is quoted, timed and valued."""
    market = proposal.signal.market
    if market is None:
        return Decision("NO_MARKET", None, None, numbers)
    executor = proposal.settings.executor
    queue = queue_at(inflow, expected_slots(executor))
    numbers.update(fee_bps=market.fee_bps, venue=market.venue)
    if executor.measured is not None:
        numbers.update(landing_model=executor.measured.name)
    valued = _as_copy if proposal.settings.policy.expected_value == "copy" else _as_seed
    try:
        entry, plan, value = valued(proposal, market, queue, numbers)
    except QuoteError as error:
        return Decision("NO_QUOTE", None, None, {**numbers, "quote_error": str(error)})
    if entry is None or value is None:
        return Decision("NO_QUOTE" if entry is not None else "EXPECTED_VALUE", None, None, numbers)
    if proposal.settings.policy.require_positive_ev and value <= 0:
        return Decision("EXPECTED_VALUE", None, None, numbers)
    return Decision(ACCEPTED, entry, plan, numbers)


_Valued = tuple[EntryPlan | None, ExitPlan, float | None]


def _as_seed(proposal: Proposal, market: MarketState, queue: Queue, numbers: dict[str, Number]) -> _Valued:
    """The seed's slippage and estimate, or what the followers are worth. `EXPECTED_VALUE` stands for the leader's
    typical multiple where no target sells: a time_stop leader's exit is the clock, and what it reaches by then is p50.
    """
    settings = proposal.settings
    slippage = seed_slippage_bps(proposal.pattern, settings.policy)
    numbers.update(slippage_bps=slippage)
    entry = entry_plan(market, proposal.spend_lamports, slippage, settings.executor)
    plan = chosen_exit(proposal.pattern, proposal.value, settings)
    numbers.update(_plan_numbers(entry, plan))
    expected_x = plan.target_x if plan.target_x is not None else proposal.pattern.p50_target_x
    price_x = price_multiple(expected_x, market.fee_bps)
    value = expected_value(price_x, slippage, market.fee_bps, entry.spend_lamports, entry.network_lamports)
    numbers.update(expected_x=expected_x, expected_price_x=price_x, expected_value_lamports=value)
    queued = _queue_numbers(market, queue, entry)
    numbers.update(queued)
    return entry, plan, deciding_value(settings.policy, value, _whole(queued["inflow_value_lamports"]))


def _as_copy(proposal: Proposal, market: MarketState, queue: Queue, numbers: dict[str, Number]) -> _Valued:
    """What copies of the leader were worth at this latency, size and state; the price at which that is gone is the
    bound. Own impact is in it already. Nothing is known of a leader without copies: no entry.
    """
    settings, value, terms = proposal.settings, proposal.value, proposal.terms
    plan = chosen_exit(proposal.pattern, value, settings)
    if value is None or terms is None:
        numbers.update(expected_value_lamports=None)
        return None, plan, None
    headroom = headroom_x(market)
    mean, lower = capped(terms.mean_x, headroom), capped(terms.lower_x, headroom)
    expected = worth(terms, mean, settings)
    numbers.update(_copy_numbers(value, terms))
    numbers.update(
        copy_latency_slots=expected_slots(settings.executor),
        copy_headroom_x=headroom,
        copy_mean_x=mean,
        copy_lower_x=lower,
        expected_value_lamports=expected,
        lower_value_lamports=worth(terms, lower, settings),
    )
    entry = copy_entry(market, terms, mean, value.beta, queue.ahead_lamports, settings)
    numbers.update(_plan_numbers(entry, plan) | {"slippage_bps": entry.slippage_bps})
    numbers.update(_queue_numbers(market, queue, entry))
    return entry, plan, expected


def _copy_numbers(value: CopyValue, terms: CopyTerms) -> dict[str, Number]:
    return {
        "copy_verdict": value.verdict,
        "copy_tier": value.tier,
        "copy_alpha": value.alpha,
        "copy_beta": value.beta,
        "copy_rule": value.rule,
        "copy_capacity_sol": value.capacity_sol,
        "copy_best_lamports": terms.best_lamports,
        "copy_landing": terms.landing,
        "copy_state": terms.state,
        "copy_state_x": terms.state_x,
    }


def _queue_numbers(market: MarketState, queue: Queue, entry: EntryPlan) -> dict[str, Number]:
    """Our place among the leader's followers, and what it is worth."""
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
