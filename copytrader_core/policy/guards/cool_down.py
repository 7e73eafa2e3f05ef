"""COOL_DOWN: too soon after our own last trade of the coin, or after a loss with the leader."""

from __future__ import annotations

from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check, Number


def cool_down(p: Proposal) -> Check:
    """A pause of exactly the setting passes; a trade that lies in the future, by another clock, is one of now."""
    risk, book = p.settings.risk, p.book
    idle = _since_ms(p.now.ts_ns, book.last_trade_ns.get(p.signal.mint))
    calm = _since_ms(p.now.ts_ns, book.last_loss_ns.get(p.signal.leader))
    rested = _over(idle, risk.mint_cool_down_ms) and _over(calm, risk.leader_cool_down_ms)
    numbers: dict[str, Number] = {"since_mint_trade_ms": idle, "mint_cool_down_ms": risk.mint_cool_down_ms}
    numbers |= {"since_leader_loss_ms": calm, "leader_cool_down_ms": risk.leader_cool_down_ms}
    return Check("COOL_DOWN", rested, numbers)


def _since_ms(now_ns: int, then_ns: int | None) -> int | None:
    return None if then_ns is None else max(0, now_ns - then_ns) // 1_000_000


def _over(since_ms: int | None, pause_ms: int) -> bool:
    return since_ms is None or since_ms >= pause_ms
