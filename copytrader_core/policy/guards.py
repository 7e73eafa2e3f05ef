"""Every limit that a buy must pass: one function a guard behind one interface, each with a standard code.

Guards look and compare; they never size, quote or change anything. Limits count in-flight exposure: a buy that was
planned a millisecond ago weighs as much as a position. Exits pass no guard: a position can always be sold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from copytrader_core.policy.entry import lamports, transaction_cost
from copytrader_core.policy.values import Book, Check, LeaderBuy, Now, Number
from copytrader_core.records import WSOL, Pattern
from copytrader_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a guard looks at: the signal, who gave it, what we hold, and what we would spend."""

    signal: LeaderBuy
    pattern: Pattern
    book: Book
    settings: Settings
    now: Now
    spend_lamports: int


Guard = Callable[[Proposal], Check]


def pattern_is_usable(pattern: Pattern) -> bool:
    """Whether every number that sizes or times a trade is there; a young wallet's fingerprint can have holes."""
    floats = (pattern.avg_entry_sol, pattern.p50_target_x, pattern.p90_target_x, pattern.slippage_pctl_95)
    return (
        all(isfinite(value) for value in (*floats, pattern.win_rate))
        and pattern.avg_entry_sol > 0
        and pattern.p50_hold_ms > 0
        and pattern.p90_hold_ms > 0
        and pattern.p50_target_x > 0
    )


def trading_state(p: Proposal) -> Check:
    """No buy unless trading is ACTIVE."""
    return Check("TRADING_STATE", p.book.trading_state == "ACTIVE", {"trading_state": p.book.trading_state})


def sample_trades(p: Proposal) -> Check:
    """The seed's quality gate: enough round trips to speak of a fingerprint."""
    least = p.settings.policy.min_sample_trades
    numbers = {"sample_trades": p.pattern.sample_trades, "min_sample_trades": least}
    return Check("GATE_SAMPLE", p.pattern.sample_trades >= least, numbers)


def win_rate(p: Proposal) -> Check:
    """The seed's quality gate: the leader wins often enough."""
    least = p.settings.policy.min_win_rate
    return Check("GATE_WIN_RATE", p.pattern.win_rate >= least, {"win_rate": p.pattern.win_rate, "min_win_rate": least})


def blocked_mint(p: Proposal) -> Check:
    """Coins that the user never wants."""
    return Check("BLOCKED_MINT", p.signal.mint not in p.settings.risk.blocked_mints, {})


def quote_currency(p: Proposal) -> Check:
    """Only coins that are paid in SOL: every limit is in SOL."""
    return Check("QUOTE_CURRENCY", p.signal.quote_mint == WSOL, {"quote_mint": p.signal.quote_mint})


def market_known(p: Proposal) -> Check:
    """A coin without known reserves cannot be priced."""
    return Check("NO_MARKET", p.signal.market is not None, {})


def curve_open(p: Proposal) -> Check:
    """A completed curve trades nothing until its pool exists."""
    market = p.signal.market
    return Check("CURVE_COMPLETE", market is None or not market.complete, {})


def quote_age(p: Proposal) -> Check:
    """A signal heard late is another trade than the leader's."""
    age, most = max(0, p.now.slot - p.signal.slot), p.settings.risk.max_quote_age_slots
    return Check("QUOTE_AGE", age <= most, {"quote_age_slots": age, "max_quote_age_slots": most})


def per_trade_cap(p: Proposal) -> Check:
    """The cap trims a size; where it is below the smallest size there is no trade."""
    cap, least = lamports(p.settings.risk.max_trade_sol), lamports(p.settings.policy.min_size_sol)
    numbers: dict[str, Number] = {"spend_lamports": p.spend_lamports, "max_trade_lamports": cap}
    return Check("PER_TRADE_CAP", p.spend_lamports <= cap and cap >= least, {**numbers, "min_size_lamports": least})


def open_positions(p: Proposal) -> Check:
    """How many positions at once, buys under way included."""
    held, most = p.book.open_positions + p.book.in_flight_buys, p.settings.risk.max_open_positions
    return Check("OPEN_POSITIONS", held < most, {"positions": held, "max_open_positions": most})


def per_mint(p: Proposal) -> Check:
    """How many positions in one coin, buys under way included."""
    held, most = p.book.of_mint(p.signal.mint), p.settings.risk.max_positions_per_mint
    return Check("PER_MINT", held < most, {"positions_of_mint": held, "max_positions_per_mint": most})


def exposure(p: Proposal) -> Check:
    """What may be at stake at once: cost of everything held, under way and proposed."""
    staked, cap = p.book.exposure_lamports + p.book.in_flight_lamports, lamports(p.settings.risk.max_exposure_sol)
    after = staked + p.spend_lamports + transaction_cost(p.settings.executor)
    return Check("EXPOSURE", after <= cap, {"exposure_after_lamports": after, "max_exposure_lamports": cap})


def loss_hour(p: Proposal) -> Check:
    """No new risk after this much was lost within an hour."""
    lost, cap = p.book.loss_hour_lamports, lamports(p.settings.risk.max_loss_per_hour_sol)
    return Check("LOSS_HOUR", lost < cap, {"loss_hour_lamports": lost, "max_loss_hour_lamports": cap})


def loss_day(p: Proposal) -> Check:
    """No new risk after this much was lost within a day."""
    lost, cap = p.book.loss_day_lamports, lamports(p.settings.risk.max_loss_per_day_sol)
    return Check("LOSS_DAY", lost < cap, {"loss_day_lamports": lost, "max_loss_day_lamports": cap})


def balance(p: Proposal) -> Check:
    """The buy, its costs, and one exit of everything then held must be payable."""
    exits = p.book.open_positions + p.book.in_flight_buys + 1
    needed = p.spend_lamports + (1 + exits) * transaction_cost(p.settings.executor)
    free = p.book.balance_lamports - p.book.in_flight_lamports
    return Check("BALANCE", needed <= free, {"needed_lamports": needed, "free_lamports": free})


GUARDS: tuple[Guard, ...] = (
    trading_state,
    blocked_mint,
    quote_currency,
    market_known,
    curve_open,
    quote_age,
    sample_trades,
    win_rate,
    per_trade_cap,
    open_positions,
    per_mint,
    exposure,
    loss_hour,
    loss_day,
    balance,
)
"""In the order of asking: the first refusal is the decision's code."""
