"""When to sell: the plan made at entry from the leader's fingerprint, and the check against clock and market.

What a coin is worth now is the caller's business; nothing here quotes, waits or sells.
"""

from __future__ import annotations

from copytrader_core.policy.entry import exact
from copytrader_core.policy.values import ExitPlan, ExitReason
from copytrader_core.records import Pattern
from copytrader_core.settings import PolicySettings


def seed_target_x(pattern: Pattern, policy: PolicySettings) -> float:
    """min(0.8 x p50, 0.5 x p90) of the leader's multiples, at least `min_target_x` (the seed's take profit)."""
    wanted = min(policy.target_p50_factor * pattern.p50_target_x, policy.target_p90_factor * pattern.p90_target_x)
    return max(wanted, policy.min_target_x)


def seed_timer_ms(pattern: Pattern, policy: PolicySettings) -> int:
    """0.6 x the leader's median hold, whole ms rounded down."""
    return int(exact(policy.timer_factor) * pattern.p50_hold_ms)


def seed_exit(pattern: Pattern, policy: PolicySettings) -> ExitPlan:
    """The seed's exit: by the clock for time_stop leaders, by the multiple for target_x leaders.

    A leader of any other style (panic_dump, scale_out, mixed) shows no single habit to run ahead of, so both guards
    stand and the first one sells. The kill at the leader's p90 hold always stands.
    """
    style = pattern.typical_exit_style
    timer = None if style == "target_x" else seed_timer_ms(pattern, policy)
    target = None if style == "time_stop" else seed_target_x(pattern, policy)
    reasons = {"kill": f"p90 hold of the leader, {pattern.p90_hold_ms} ms"}
    if timer is not None:
        reasons["timer"] = f"{policy.timer_factor} x p50 hold {pattern.p50_hold_ms} ms ({style})"
    if target is not None:
        reasons["target"] = (
            f"min({policy.target_p50_factor} x p50 {pattern.p50_target_x}, "
            f"{policy.target_p90_factor} x p90 {pattern.p90_target_x}), at least {policy.min_target_x} ({style})"
        )
    trailing, stop = policy.trailing_fraction, policy.stop_x
    if trailing is not None:
        reasons["trailing"] = f"{trailing} below the peak, from {policy.trailing_from_x}x on (settings)"
    if stop is not None:
        reasons["adverse"] = f"at {stop}x of the cost (settings)"
    return ExitPlan(
        timer_ms=timer,
        target_x=target,
        kill_ms=pattern.p90_hold_ms,
        on_leader_sell=policy.exit_on_leader_sell,
        reasons=reasons,
        trailing_fraction=trailing,
        trailing_from_x=None if trailing is None else policy.trailing_from_x,
        stop_x=stop,
    )


def due_exit(
    plan: ExitPlan, open_ms: int, multiple: float | None, leader_sold: bool, peak_x: float | None = None
) -> ExitReason | None:
    """Why a position open for `open_ms` must be sold now, or None; of several reasons the one that most hurries.

    `multiple` is what selling everything now would bring, all costs off, over what the position cost: the same
    quantity as `pnl_x` and `target_x`. None where the venue gives no quote; the clock works without it. `peak_x` is the
    highest multiple since entry (`peak`), None where none was seen.
    """
    if open_ms >= plan.kill_ms:
        return "kill"
    if plan.stop_x is not None and multiple is not None and multiple <= plan.stop_x:
        return "adverse"
    if plan.timer_ms is not None and open_ms >= plan.timer_ms:
        return "timer"
    if plan.target_x is not None and multiple is not None and multiple >= plan.target_x:
        return "target"
    if _has_fallen(plan, multiple, peak(peak_x, multiple)):
        return "trailing"
    if plan.on_leader_sell and leader_sold:
        return "leader_sold"
    return None


def needs_multiple(plan: ExitPlan) -> bool:
    """Whether anything but the clock and the leader can sell: without that no quote is needed."""
    return plan.target_x is not None or plan.trailing_fraction is not None or plan.stop_x is not None


def peak(peak_x: float | None, multiple: float | None) -> float | None:
    """The highest multiple so far, with this one."""
    if peak_x is None or multiple is None:
        return multiple if peak_x is None else peak_x
    return max(peak_x, multiple)


def _has_fallen(plan: ExitPlan, multiple: float | None, peak_x: float | None) -> bool:
    if plan.trailing_fraction is None or multiple is None or peak_x is None:
        return False
    armed = plan.trailing_from_x is None or peak_x >= plan.trailing_from_x
    return armed and multiple <= peak_x * (1 - plan.trailing_fraction)


def first_deadline_ms(plan: ExitPlan) -> int:
    """The earliest moment at which the clock alone sells."""
    return plan.kill_ms if plan.timer_ms is None else min(plan.timer_ms, plan.kill_ms)
