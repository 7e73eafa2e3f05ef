"""The plans of a buy that `decide` accepts, without the numbers that explain it: what has to be known before signing.

Everything about a leader that no event changes (size, slippage, exit, limits in lamports) is computed once. Where every
limit holds the answer is the decision's own entry and exit; in all other cases, refusals among them, it is None and
`decide` has to be asked. It is asked afterwards in any case: it alone is the decision, this only says it sooner.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from copytrader_core.errors import QuoteError
from copytrader_core.policy.coin_state import state_of
from copytrader_core.policy.copy_terms import CopyTerms, capped, copy_entry, headroom_x, worth
from copytrader_core.policy.decide import is_usable, size_of, terms_at
from copytrader_core.policy.entry import (
    TOKEN_ACCOUNT_RENT_LAMPORTS,
    VOLUME_ACCOUNT_RENT_LAMPORTS,
    entry_plan,
    lamports,
    seed_slippage_bps,
    transaction_cost,
)
from copytrader_core.policy.escalation import dearest_exit
from copytrader_core.policy.expected_value import expected_value, price_multiple
from copytrader_core.policy.guards import GUARDS, Guard, Proposal
from copytrader_core.policy.guards.gate_sample import gate_sample
from copytrader_core.policy.guards.gate_win_rate import gate_win_rate
from copytrader_core.policy.guards.max_tip import max_tip
from copytrader_core.policy.guards.per_trade_cap import per_trade_cap
from copytrader_core.policy.inflow import queue_at, queue_value
from copytrader_core.policy.landing import expected_slots
from copytrader_core.policy.market import MarketState, price_impact_bps
from copytrader_core.policy.rules import chosen_exit
from copytrader_core.policy.values import Book, EntryPlan, ExitPlan, LeaderBuy, Now
from copytrader_core.records import WSOL, CopyValue, Inflow, Pattern
from copytrader_core.settings import RiskSettings, Settings

__all__ = ["Plans", "prompt_plans"]

_OF_THE_LEADER: Final[tuple[Guard, ...]] = (gate_sample, gate_win_rate, per_trade_cap, max_tip)
"""Guards that look at nothing but pattern, settings and size."""
_MAX_TERMS: Final = 4096
_NS_PER_MS: Final = 1_000_000


class Plans(NamedTuple):
    """What an accepted decision does."""

    entry: EntryPlan
    exit: ExitPlan


class _Limits(NamedTuple):
    """The limits of `RiskSettings` that an event is held against, SOL in lamports."""

    blocked: frozenset[str]
    quote_age_slots: int
    stream_age_ms: int
    leader_size: int
    positions: int
    of_mint: int
    of_leader: int
    mint_pause_ms: int
    leader_pause_ms: int
    exposure: int
    mint_exposure: int
    leader_exposure: int
    loss_hour: int
    loss_day: int
    floor: int
    impact_bps: int


class _Terms(NamedTuple):
    """What a buy after one leader is made with under one version of the settings. `exit` is None: nothing is bought.

    `copy`: what copies are worth in the state of the coin, where that decides.
    """

    pattern: Pattern
    value: CopyValue | None
    settings: Settings
    limits: _Limits
    spend: int
    slippage_bps: int
    network: int
    dearest_exit: int
    expected_x: float
    exit: ExitPlan | None
    copy: CopyTerms | None = None


_terms: Final[dict[tuple[int, int, int, int], _Terms]] = {}


def prompt_plans(
    signal: LeaderBuy,
    pattern: Pattern,
    book: Book,
    settings: Settings,
    now: Now,
    inflow: Inflow | None = None,
    value: CopyValue | None = None,
) -> Plans | None:
    """The plans of `decide` for the same arguments where it accepts; None where it may refuse."""
    market = signal.market
    terms = _terms_of(signal, pattern, book, settings, now, value)
    if not IS_WHOLE or terms.exit is None or market is None or market.complete:
        return None
    if not (_may_buy(terms, signal, book, now) and _is_affordable(terms, book)):
        return None
    impact = price_impact_bps(market, terms.spend)
    if impact is not None and impact > terms.limits.impact_bps:
        return None
    try:
        entry = _entry(terms, market, inflow)
    except QuoteError:
        return None
    return None if entry is None else Plans(entry, terms.exit)


def _entry(terms: _Terms, market: MarketState, inflow: Inflow | None) -> EntryPlan | None:
    """The buy, where it is worth it. Raises QuoteError where the venue gives no quote."""
    settings = terms.settings
    if settings.policy.gate == "copy_value" and not _is_copied(terms, market):
        return None
    if settings.policy.expected_value == "copy":
        return _copy_entry(terms, market, inflow)
    entry = entry_plan(market, terms.spend, terms.slippage_bps, settings.executor)
    return entry if _is_worth_it(terms, market, inflow, entry) else None


def _is_copied(terms: _Terms, market: MarketState) -> bool:
    """Whether COPY_VALUE lets the buy pass; verdict and tier have been looked at."""
    return terms.copy is not None and capped(terms.copy.lower_x, headroom_x(market)) > 0


def _copy_entry(terms: _Terms, market: MarketState, inflow: Inflow | None) -> EntryPlan | None:
    if terms.copy is None or terms.value is None:
        return None
    settings = terms.settings
    mean = capped(terms.copy.mean_x, headroom_x(market))
    if settings.policy.require_positive_ev and worth(terms.copy, mean, settings) <= 0:
        return None
    queue = queue_at(inflow, expected_slots(settings.executor))
    return copy_entry(market, terms.copy, mean, terms.value.beta, queue.ahead_lamports, settings)


def _terms_of(
    signal: LeaderBuy, pattern: Pattern, book: Book, settings: Settings, now: Now, value: CopyValue | None
) -> _Terms:
    """Remembered by identity: all three are frozen, and what is remembered keeps them alive."""
    state = -1 if value is None or signal.market is None else state_of(signal.market)
    key = (id(pattern), id(settings), id(value), state)
    known = _terms.get(key)
    if known is None:
        if len(_terms) >= _MAX_TERMS:
            _terms.clear()
        known = _terms[key] = _new_terms(signal, pattern, book, settings, now, value)
    return known


def _new_terms(
    signal: LeaderBuy, pattern: Pattern, book: Book, settings: Settings, now: Now, value: CopyValue | None
) -> _Terms:
    limits = _limits(settings.risk)
    if not is_usable(pattern):
        return _Terms(pattern, value, settings, limits, 0, 0, 0, 0, 0.0, None)
    copy = terms_at(value, signal.market, settings)
    spend = size_of(pattern, copy, settings)
    proposal = Proposal(signal, pattern, book, settings, now, spend, value, copy)
    plan = chosen_exit(pattern, value, settings)
    may_buy = all(guard(proposal).passed for guard in _OF_THE_LEADER) and _is_followed(value, settings)
    return _Terms(
        pattern=pattern,
        value=value,
        settings=settings,
        limits=limits,
        spend=spend,
        slippage_bps=seed_slippage_bps(pattern, settings.policy),
        network=transaction_cost(settings.executor),
        dearest_exit=dearest_exit(settings.executor),
        expected_x=plan.target_x if plan.target_x is not None else pattern.p50_target_x,
        exit=plan if may_buy else None,
        copy=copy,
    )


def _is_followed(value: CopyValue | None, settings: Settings) -> bool:
    """Whether verdict and tier let the leader be followed; the seed's gate does not ask for them."""
    if settings.policy.gate != "copy_value":
        return True
    return value is not None and value.verdict == "COPY" and value.tier != "BENCH"


def _limits(risk: RiskSettings) -> _Limits:
    return _Limits(
        blocked=frozenset((*risk.blocked_mints, *risk.blocked_leaders)),
        quote_age_slots=risk.max_quote_age_slots,
        stream_age_ms=risk.max_stream_age_ms,
        leader_size=lamports(risk.min_leader_size_sol),
        positions=risk.max_open_positions,
        of_mint=risk.max_positions_per_mint,
        of_leader=risk.max_positions_per_leader,
        mint_pause_ms=risk.mint_cool_down_ms,
        leader_pause_ms=risk.leader_cool_down_ms,
        exposure=lamports(risk.max_exposure_sol),
        mint_exposure=lamports(risk.max_exposure_per_mint_sol),
        leader_exposure=lamports(risk.max_exposure_per_leader_sol),
        loss_hour=lamports(risk.max_loss_per_hour_sol),
        loss_day=lamports(risk.max_loss_per_day_sol),
        floor=lamports(risk.sol_floor),
        impact_bps=risk.max_price_impact_bps,
    )


def _may_buy(terms: _Terms, signal: LeaderBuy, book: Book, now: Now) -> bool:
    """Whether nothing but money speaks against the buy. What is locked or blocked at all is left to the guards."""
    limits, mint, leader = terms.limits, signal.mint, signal.leader
    return (
        book.trading_state == "ACTIVE"
        and not book.locks
        and book.drift is None
        and book.stream_age_ms <= limits.stream_age_ms
        and (not limits.blocked or limits.blocked.isdisjoint((mint, leader)))
        and signal.quote_mint == WSOL
        and now.slot - signal.slot <= limits.quote_age_slots
        and signal.size_lamports >= limits.leader_size
        and book.open_positions + book.in_flight_buys < limits.positions
        and book.mint_count.get(mint, 0) < limits.of_mint
        and book.leader_count.get(leader, 0) < limits.of_leader
        and _has_rested(now.ts_ns, book.last_trade_ns.get(mint), limits.mint_pause_ms)
        and _has_rested(now.ts_ns, book.last_loss_ns.get(leader), limits.leader_pause_ms)
        and _is_within(terms, signal, book)
    )


def _has_rested(now_ns: int, then_ns: int | None, pause_ms: int) -> bool:
    return then_ns is None or max(0, now_ns - then_ns) // _NS_PER_MS >= pause_ms


def _is_within(terms: _Terms, signal: LeaderBuy, book: Book) -> bool:
    """Whether exposure and losses leave room."""
    limits, cost = terms.limits, terms.spend + terms.network
    return (
        book.exposure_lamports + book.in_flight_lamports + cost <= limits.exposure
        and book.mint_exposure_lamports.get(signal.mint, 0) + cost <= limits.mint_exposure
        and book.leader_exposure_lamports.get(signal.leader, 0) + cost <= limits.leader_exposure
        and book.loss_hour_lamports < limits.loss_hour
        and book.loss_day_lamports < limits.loss_day
    )


def _is_affordable(terms: _Terms, book: Book) -> bool:
    """Whether the wallet can pay for the buy and for the exits, as BALANCE and SOL_FLOOR count."""
    exits, opening = book.open_positions + book.in_flight_buys + 1, terms.network + TOKEN_ACCOUNT_RENT_LAMPORTS
    free = book.balance_lamports - book.in_flight_lamports
    own = terms.spend + opening + (VOLUME_ACCOUNT_RENT_LAMPORTS if book.first_trade else 0)
    left = free - book.in_flight_buys * opening - own - exits * terms.dearest_exit
    return terms.spend + terms.network + exits * terms.network <= free and left >= terms.limits.floor


def _is_worth_it(terms: _Terms, market: MarketState, inflow: Inflow | None, entry: EntryPlan) -> bool:
    policy = terms.settings.policy
    if policy.expected_value != "inflow":
        price_x = price_multiple(terms.expected_x, market.fee_bps)
        worth = expected_value(
            price_x, terms.slippage_bps, market.fee_bps, entry.spend_lamports, entry.network_lamports
        )
        return worth > 0 or not policy.require_positive_ev
    queue = queue_at(inflow, expected_slots(terms.settings.executor))
    value = queue_value(market, queue, entry.spend_lamports, entry.network_lamports)
    return value is not None and (value > 0 or not policy.require_positive_ev)


# A guard that this module does not know may refuse what it accepts: then `decide` has to be asked first.
_KNOWN: Final = frozenset(
    {
        *("trading_state", "locked", "protocol_drift", "stream_stale", "blocked_mint", "blocked_leader"),
        *("quote_currency", "no_market", "curve_complete", "quote_age", "leader_min_size", "gate_sample"),
        *(
            "gate_win_rate",
            "copy_value",
            "per_trade_cap",
            "max_tip",
            "open_positions",
            "per_mint",
            "per_leader_positions",
        ),
        *("cool_down", "exposure", "per_mint_exposure", "per_leader_exposure", "loss_hour", "loss_day", "balance"),
        *("sol_floor", "price_impact"),
    }
)
IS_WHOLE: Final = {guard.__name__ for guard in GUARDS} == _KNOWN
"""Whether every guard of today is held against a buy here."""
