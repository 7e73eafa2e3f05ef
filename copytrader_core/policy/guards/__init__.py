"""Every limit that a buy must pass: one file a guard behind one interface, each with a standard code.

A guard looks and compares; it never sizes or changes anything. Limits count in-flight exposure: a buy that was planned
a millisecond ago weighs as much as a position. Exits pass no guard: a position can always be sold. Guards are named
after their codes: `quote_age` refuses with QUOTE_AGE.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from copytrader_core.policy.guards.balance import balance
from copytrader_core.policy.guards.blocked_leader import blocked_leader
from copytrader_core.policy.guards.blocked_mint import blocked_mint
from copytrader_core.policy.guards.cool_down import cool_down
from copytrader_core.policy.guards.copy_value import copy_value
from copytrader_core.policy.guards.curve_complete import curve_complete
from copytrader_core.policy.guards.exposure import exposure
from copytrader_core.policy.guards.gate_sample import gate_sample
from copytrader_core.policy.guards.gate_win_rate import gate_win_rate
from copytrader_core.policy.guards.leader_min_size import leader_min_size
from copytrader_core.policy.guards.locked import locked
from copytrader_core.policy.guards.loss_day import loss_day
from copytrader_core.policy.guards.loss_hour import loss_hour
from copytrader_core.policy.guards.max_tip import max_tip
from copytrader_core.policy.guards.no_market import no_market
from copytrader_core.policy.guards.open_positions import open_positions
from copytrader_core.policy.guards.per_leader_exposure import per_leader_exposure
from copytrader_core.policy.guards.per_leader_positions import per_leader_positions
from copytrader_core.policy.guards.per_mint import per_mint
from copytrader_core.policy.guards.per_mint_exposure import per_mint_exposure
from copytrader_core.policy.guards.per_trade_cap import per_trade_cap
from copytrader_core.policy.guards.price_impact import price_impact
from copytrader_core.policy.guards.proposal import Guard, Proposal
from copytrader_core.policy.guards.protocol_drift import protocol_drift
from copytrader_core.policy.guards.quote_age import quote_age
from copytrader_core.policy.guards.quote_currency import quote_currency
from copytrader_core.policy.guards.sol_floor import sol_floor
from copytrader_core.policy.guards.stray_sale import stray_sale
from copytrader_core.policy.guards.stream_stale import stream_stale
from copytrader_core.policy.guards.trading_state import trading_state

__all__ = ["FIRST_CODES", "GUARDS", "Guard", "Proposal", "code", "guards_named"]

GUARDS: Final[tuple[Guard, ...]] = (
    trading_state,
    locked,
    protocol_drift,
    stream_stale,
    blocked_mint,
    blocked_leader,
    quote_currency,
    no_market,
    curve_complete,
    quote_age,
    leader_min_size,
    gate_sample,
    gate_win_rate,
    copy_value,
    per_trade_cap,
    max_tip,
    open_positions,
    per_mint,
    per_leader_positions,
    stray_sale,
    cool_down,
    exposure,
    per_mint_exposure,
    per_leader_exposure,
    loss_hour,
    loss_day,
    balance,
    sol_floor,
    price_impact,
)
"""In the order of asking: the first refusal is the decision's code. What is cheap and stops everything comes first, the
quote last.
"""

FIRST_CODES: Final = (
    "TRADING_STATE",
    "BLOCKED_MINT",
    "QUOTE_CURRENCY",
    "NO_MARKET",
    "CURVE_COMPLETE",
    "QUOTE_AGE",
    "GATE_SAMPLE",
    "GATE_WIN_RATE",
    "PER_TRADE_CAP",
    "OPEN_POSITIONS",
    "PER_MINT",
    "EXPOSURE",
    "LOSS_HOUR",
    "LOSS_DAY",
    "BALANCE",
)
"""What was asked before journals named their guards: those decisions are replayed by these."""


def code(guard: Guard) -> str:
    """The code that `guard` refuses with."""
    return guard.__name__.upper()


def guards_named(codes: Iterable[str]) -> tuple[Guard, ...]:
    """The guards of these codes, in that order. Raises KeyError for a code that this version does not have."""
    by_code = {code(guard): guard for guard in GUARDS}
    return tuple(by_code[name] for name in codes)
