"""One ordinary decision, and any field of it changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from copytrader_core.policy.decide import decide
from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import Book, Decision, LeaderBuy, Now
from copytrader_core.records import WSOL, CopyValue, Edge, Pattern
from copytrader_core.settings import Settings

SOL = 1_000_000_000
MARKET = MarketState(
    venue="curve",
    pool=None,
    slot=100,
    tx_index=3,
    base_raw=1_000 * 10**12,
    quote_raw=32_190_000_000,
    real_base_raw=720_100_000_000_000,
    real_quote_raw=2_190_000_000,
    lp_fee_bps=0,
    protocol_fee_bps=95,
    creator_fee_bps=30,
)
SIGNAL = LeaderBuy("leader", "mint", "sig", 100, 3, SOL, WSOL, MARKET)
PATTERN = Pattern(
    wallet="leader",
    alias="Leo",
    sample_days=20,
    sample_trades=50,
    win_rate=0.52,
    avg_entry_sol=1.0,
    p50_hold_ms=10_000,
    p90_hold_ms=40_000,
    p50_target_x=1.5,
    p90_target_x=3.0,
    typical_exit_style="target_x",
    slippage_pctl_95=0.05,
    followership_score=0.4,
    leader_score=0.5,
)
EDGES = (Edge("leader", "follower", 0.5, 900, 2_000, 0.3),)
BOOK = Book("ACTIVE", 100 * SOL)
SIZES = (100_000_000, 500_000_000, 1_000_000_000, 5_000_000_000)
VALUE = CopyValue(
    leader="leader",
    verdict="COPY",
    tier="ACTIVE",
    alpha=1.0,
    beta=1.0,
    rule="timer=40s target=1.4",
    capacity_sol=3.0,
    latencies=(1, 2, 4),
    sizes_lamports=SIZES,
    mean_x=((0.14, 0.13, 0.11, -0.08), (0.12, 0.11, 0.09, -0.1), (0.02, 0.01, -0.01, -0.2)),
    lower_x=((0.08, 0.07, 0.05, -0.14), (0.06, 0.05, 0.03, -0.16), (-0.04, -0.05, -0.07, -0.26)),
    landing=((0.95,) * 4, (0.9,) * 4, (0.8,) * 4),
    state_x=(0.0, -0.02, 0.0, 0.03, 0.0, 0.0, 0.0, -0.2),
    state_half_x=(0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05),
)
COPY_POLICY = {"gate": "copy_value", "exit": "value", "expected_value": "copy"}
NOW = Now(100, 1_791_800_000 * SOL)


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings(**sections)


def decided(
    signal: dict[str, Any] | None = None,
    pattern: dict[str, Any] | None = None,
    book: dict[str, Any] | None = None,
    now: Now = NOW,
    **sections: dict[str, Any],
) -> Decision:
    """The ordinary decision with these fields changed; keyword sections are settings."""
    return decide(
        replace(SIGNAL, **signal or {}),
        replace(PATTERN, **pattern or {}),
        EDGES,
        replace(BOOK, **book or {}),
        settings(**sections),
        now,
    )
