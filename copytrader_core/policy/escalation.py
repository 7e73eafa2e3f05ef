"""How far an exit goes to get out: each attempt accepts less, and pays more for being first.

An exit is guaranteed work. Attempt 1 asks for a price near the quote and pays what a buy pays; every further one takes
a step, up to caps; from `exit_any_price_attempt` on whatever the market gives is taken. Quotes are the caller's, and
fresh at every attempt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from copytrader_core.policy.entry import BASE_FEE_LAMPORTS
from copytrader_core.policy.values import ExitReason
from copytrader_core.quick import quick_record
from copytrader_core.settings import ExecutorSettings, Settings

_BPS: Final = 10_000
_URGENT: Final[frozenset[ExitReason]] = frozenset({"kill", "flatten", "adverse"})


@quick_record
class ExitTerms:
    """One attempt's terms. `slippage_bps` None takes anything; fee and tip are those of one transaction."""

    slippage_bps: int | None
    priority_fee_lamports: int
    tip_lamports: int


def is_urgent(reason: ExitReason) -> bool:
    """Whether waiting for a better price is what this exit must not do."""
    return reason in _URGENT


def exit_terms(attempt: int, settings: Settings, urgent: bool = False) -> ExitTerms:
    """The terms of the attempt with this number, counted from 1; never above a cap, never below the attempt before.

    An urgent exit begins `exit_urgent_steps` attempts higher. Raises ValueError for an attempt below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts count from 1, got {attempt}")
    executor = settings.executor
    reached = attempt + (executor.exit_urgent_steps if urgent else 0)
    steps = reached - 1
    slippage = executor.exit_slippage_bps + steps * executor.exit_slippage_step_bps
    priority = executor.priority_fee_lamports + steps * executor.exit_priority_fee_step_lamports
    tip = executor.tip_lamports + steps * executor.exit_tip_step_lamports
    return ExitTerms(
        None if reached >= executor.exit_any_price_attempt else min(slippage, executor.max_exit_slippage_bps),
        min(priority, executor.max_exit_priority_fee_lamports),
        min(tip, executor.max_exit_tip_lamports),
    )


def affordable(terms: ExitTerms, quoted: int, settings: Settings) -> ExitTerms:
    """The same terms, with fee and tip trimmed to `max_exit_cost_bps` of what the sale should bring, half of it each.

    An exit is guaranteed work, but not at more than it is worth: a sale that fails pays its fee each time.
    """
    most = quoted * settings.executor.max_exit_cost_bps // _BPS
    if terms.priority_fee_lamports + terms.tip_lamports <= most:
        return terms
    return replace(
        terms,
        priority_fee_lamports=min(terms.priority_fee_lamports, most // 2),
        tip_lamports=min(terms.tip_lamports, most // 2),
    )


def min_out(quoted: int, terms: ExitTerms) -> int:
    """The least that an exit quoted at `quoted` lamports takes: the slippage below it, rounded up, at least 1."""
    if terms.slippage_bps is None:
        return 1
    return max(1, -(-quoted * (_BPS - terms.slippage_bps) // _BPS))


def dearest_exit(executor: ExecutorSettings) -> int:
    """What the transaction of one exit costs at most, in lamports; an attempt that fails pays no tip."""
    return BASE_FEE_LAMPORTS + executor.max_exit_priority_fee_lamports + executor.max_exit_tip_lamports
