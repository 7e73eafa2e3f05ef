"""What a copy is expected to earn under the seed's rule: one multiple, the worst entry price, every cost once.

    EV = spend x (G x (1 - f) / ((1 + f) x (1 + s)) - 1) - 2 x n

G is the price multiple from the leader's entry to the exit, f the swap fees of one side, s the slippage bound (the
entry is charged at the worst price that the order accepts), n what one transaction costs besides the swap. The
leader's `target_x` is measured after the leader's own swap fees, so the price multiple behind it is
target_x x (1 + f) / (1 - f): charging the fees on target_x itself would count them twice.

With `expected_value = "inflow"` it is what the leader's followers alone are worth to us (`inflow.queue_value`): bought
behind those who are faster, sold after those who are slower, on the venue's own curve. With `expected_value = "copy"`
it is what replayed copies of the leader brought (`copy_terms`).
"""

from __future__ import annotations

from copytrader_core.settings import PolicySettings

_BPS = 10_000


def price_multiple(target_x: float, fee_bps: int) -> float:
    """The price multiple that left a trader `target_x` after swap fees of `fee_bps` on both sides."""
    return target_x * (_BPS + fee_bps) / (_BPS - fee_bps)


def expected_value(
    price_x: float, slippage_bps: int, fee_bps: int, spend_lamports: int, network_lamports: int
) -> float:
    """Expected profit in lamports of spending `spend_lamports` (swap fees included) at the worst accepted price."""
    kept = price_x * (_BPS - fee_bps) / (_BPS + fee_bps) * _BPS / (_BPS + slippage_bps)
    return spend_lamports * (kept - 1) - 2 * network_lamports


def deciding_value(policy: PolicySettings, seed_lamports: float, inflow_lamports: int | None) -> float | None:
    """The estimate that a buy is judged by; None where it needs a quote that the venue did not give."""
    return inflow_lamports if policy.expected_value == "inflow" else seed_lamports
