"""How much to buy and at which worst price: the seed's sizing and slippage, in exact integers where money is meant."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from copytrader_core.policy.market import MarketState, tokens_for
from copytrader_core.policy.values import EntryPlan
from copytrader_core.records import LAMPORTS_PER_SOL, Pattern
from copytrader_core.settings import ExecutorSettings, PolicySettings, RiskSettings

BASE_FEE_LAMPORTS = 5_000
"""Solana's fee for a transaction with one signature."""
TOKEN_ACCOUNT_RENT_LAMPORTS = 2_074_080
"""What the first buy of a coin puts into its token account (Token-2022, 170 bytes); closing it gives that back."""
VOLUME_ACCOUNT_RENT_LAMPORTS = 1_844_400
"""What a wallet's first trade ever puts into its volume accumulator (137 bytes)."""
_BPS = 10_000


@lru_cache(maxsize=1024)
def exact(number: float) -> Fraction:
    """The decimal number that a float stands for: 0.6 is 3/5, so that no product ends one unit too low."""
    return Fraction(repr(float(number)))


@lru_cache(maxsize=256)
def lamports(sol: float) -> int:
    """SOL in lamports, rounded down."""
    return int(exact(sol) * LAMPORTS_PER_SOL)


@lru_cache(maxsize=4096)
def _whole_product(number: float, factor: float, unit: int) -> int:
    """number x factor in whole units. Remembered: a leader's numbers stay the same for a whole release."""
    return int(exact(number) * exact(factor) * unit)


def seed_size(pattern: Pattern, policy: PolicySettings, risk: RiskSettings) -> int:
    """clamp(leader's mean entry x alpha, min, max) in lamports, never above the per-trade cap."""
    wanted = _whole_product(pattern.avg_entry_sol, policy.size_factor, LAMPORTS_PER_SOL)
    clamped = max(lamports(policy.min_size_sol), min(wanted, lamports(policy.max_size_sol)))
    return min(clamped, lamports(risk.max_trade_sol))


def seed_slippage_bps(pattern: Pattern, policy: PolicySettings) -> int:
    """max(base, leader's p95 slippage x beta) in basis points, at most `max_slippage_bps`."""
    learned = _whole_product(pattern.slippage_pctl_95, policy.slippage_factor, _BPS)
    return min(max(policy.base_slippage_bps, learned), policy.max_slippage_bps)


def min_tokens(quoted_raw: int, slippage_bps: int) -> int:
    """The fewest coins at which the price is at most `slippage_bps` above the quoted one, rounded up."""
    return -(-quoted_raw * _BPS // (_BPS + slippage_bps))


def network_fee(executor: ExecutorSettings) -> int:
    """What the network takes for one of our transactions, landed well or not: base fee and priority fee."""
    return BASE_FEE_LAMPORTS + executor.priority_fee_lamports


def transaction_cost(executor: ExecutorSettings) -> int:
    """What one successful transaction costs besides the swap: network fee and tip. A failed one pays no tip."""
    return network_fee(executor) + executor.tip_lamports


def entry_plan(market: MarketState, spend_lamports: int, slippage_bps: int, executor: ExecutorSettings) -> EntryPlan:
    """The buy as quoted on `market`. Raises QuoteError where the venue cannot give a quote."""
    quoted_raw = tokens_for(market, spend_lamports)
    # In the order of the record: between a signal and its bytes names cost as much as values.
    return EntryPlan(
        spend_lamports, quoted_raw, min_tokens(quoted_raw, slippage_bps), slippage_bps, transaction_cost(executor)
    )
