"""What a buy after a leader would spend, and for how many coins at least, before anybody has asked whether to make it.

Signing takes longer than all that a signature depends on, so the bytes of a likely buy are signed first and `decide` is
asked afterwards: it alone is the decision. Wherever it accepts, its entry is the one given here (a property test says
so); where it refuses, or should it ever say otherwise, what was signed is thrown away and never leaves the process.
What no event changes about a leader (size, slippage, whether he is followed at all) is computed once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from copytrader_core.errors import QuoteError
from copytrader_core.policy.coin_state import state_of
from copytrader_core.policy.copy_terms import CopyTerms, capped, copy_entry, headroom_x
from copytrader_core.policy.decide import is_usable, size_of, terms_at
from copytrader_core.policy.entry import entry_plan, seed_slippage_bps
from copytrader_core.policy.guards import Guard, Proposal
from copytrader_core.policy.guards.gate_sample import gate_sample
from copytrader_core.policy.guards.gate_win_rate import gate_win_rate
from copytrader_core.policy.guards.max_tip import max_tip
from copytrader_core.policy.guards.per_trade_cap import per_trade_cap
from copytrader_core.policy.inflow import queue_at
from copytrader_core.policy.landing import expected_slots
from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import Book, EntryPlan, LeaderBuy, Now
from copytrader_core.records import WSOL, CopyValue, Inflow, Pattern
from copytrader_core.settings import Settings

__all__ = ["prompt_entry"]

_OF_THE_LEADER: Final[tuple[Guard, ...]] = (gate_sample, gate_win_rate, per_trade_cap, max_tip)
"""Guards that look at nothing but pattern, settings and size."""
_NOTHING: Final = Book("ACTIVE", 0)
_NEVER: Final = Now(0, 0)
_MAX_TERMS: Final = 4096


class _Terms(NamedTuple):
    """What a buy after one leader is made with under one version of the settings; `is_followed`: whether at all.

    `copy`: what copies are worth in the state of the coin, where that decides.
    """

    pattern: Pattern
    value: CopyValue | None
    settings: Settings
    is_followed: bool
    spend: int
    slippage_bps: int
    copy: CopyTerms | None


_terms: Final[dict[tuple[int, int, int, int], _Terms]] = {}


def prompt_entry(
    signal: LeaderBuy,
    pattern: Pattern,
    settings: Settings,
    inflow: Inflow | None = None,
    value: CopyValue | None = None,
) -> EntryPlan | None:
    """The entry of `decide` for the same arguments, should it accept; None where it is sure to refuse."""
    market = signal.market
    if market is None or market.complete or signal.quote_mint != WSOL:
        return None
    terms = _terms_of(signal, market, pattern, settings, value)
    if not terms.is_followed:
        return None
    try:
        if settings.policy.expected_value != "copy":
            return entry_plan(market, terms.spend, terms.slippage_bps, settings.executor)
        return _copy_entry(terms, market, inflow)
    except QuoteError:
        return None


def _copy_entry(terms: _Terms, market: MarketState, inflow: Inflow | None) -> EntryPlan | None:
    if terms.copy is None or terms.value is None:
        return None
    settings = terms.settings
    mean = capped(terms.copy.mean_x, headroom_x(market))
    queue = queue_at(inflow, expected_slots(settings.executor))
    return copy_entry(market, terms.copy, mean, terms.value.beta, queue.ahead_lamports, settings)


def _terms_of(
    signal: LeaderBuy, market: MarketState, pattern: Pattern, settings: Settings, value: CopyValue | None
) -> _Terms:
    """Remembered by identity: all three are frozen, and what is remembered keeps them alive."""
    key = (id(pattern), id(settings), id(value), -1 if value is None else state_of(market))
    known = _terms.get(key)
    if known is None:
        if len(_terms) >= _MAX_TERMS:
            _terms.clear()
        known = _terms[key] = _new_terms(signal, pattern, settings, value)
    return known


def _new_terms(signal: LeaderBuy, pattern: Pattern, settings: Settings, value: CopyValue | None) -> _Terms:
    if not is_usable(pattern):
        return _Terms(pattern, value, settings, False, 0, 0, None)
    copy = terms_at(value, signal.market, settings)
    spend = size_of(pattern, copy, settings)
    proposal = Proposal(signal, pattern, _NOTHING, settings, _NEVER, spend, value, copy)
    is_followed = _is_worth_following(value, settings) and all(guard(proposal).passed for guard in _OF_THE_LEADER)
    slippage = seed_slippage_bps(pattern, settings.policy)
    return _Terms(pattern, value, settings, is_followed, spend, slippage, copy)


def _is_worth_following(value: CopyValue | None, settings: Settings) -> bool:
    """Whether verdict and tier let the leader be followed; the seed's gate does not ask for them."""
    if settings.policy.gate != "copy_value":
        return True
    return value is not None and value.verdict == "COPY" and value.tier != "BENCH"
