"""The domain's records: frozen values that the rooms pass to each other. No I/O, no behaviour beyond derived values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from copytrader_core.quick import quick_record

WSOL = "So11111111111111111111111111111111111111112"
LAMPORTS_PER_SOL = 1_000_000_000

Action = Literal["CREATE", "BUY", "SELL", "SWAP", "ADD", "REMOVE"]
OrderSide = Literal["BUY", "SELL"]
Verdict = Literal["COPY", "UNPROVEN", "UNCOPYABLE"]
Tier = Literal["BENCH", "PROBATION", "ACTIVE"]
ExitStyle = Literal["time_stop", "target_x", "panic_dump", "scale_out", "mixed"]


@quick_record
class Event:
    """One decoded event: a `raw_events` row without the clocks and the alias, which the lander adds.

    Addresses and the signature are base58 text. `*_raw` are base units of `base_mint` or `quote_mint`,
    `*_lamports` are lamports, `amount_*`, `price_est` and `fee_sol` are human units for reading only.
    `(outer_ix, inner_ix)` is the path of the program instruction that emitted the event, -1 = top level.
    """

    slot: int
    tx_index: int | None
    sig: str
    outer_ix: int
    inner_ix: int
    event_seq: int
    wallet: str
    fee_payer: str
    program: str
    action: Action
    mint: str
    base_mint: str
    quote_mint: str | None
    base_raw: int | None
    quote_raw: int | None
    swap_fee_raw: int | None
    tx_fee_lamports: int
    tip_lamports: int
    reserve_base_raw: int | None
    reserve_quote_raw: int | None
    amount_in: float | None
    amount_out: float | None
    price_est: float | None
    fee_sol: float
    ix_accounts: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int, int, int]:
        """The identity of the event: (sig, outer_ix, inner_ix, event_seq)."""
        return (self.sig, self.outer_ix, self.inner_ix, self.event_seq)


@quick_record
class Pattern:
    """What a decision needs of one leader's fingerprint (a `wallet_patterns` row). Times in ms, sizes in SOL."""

    wallet: str
    alias: str | None
    sample_days: int
    sample_trades: int
    win_rate: float
    avg_entry_sol: float
    p50_hold_ms: int
    p90_hold_ms: int
    p50_target_x: float
    p90_target_x: float
    typical_exit_style: ExitStyle
    slippage_pctl_95: float
    followership_score: float
    leader_score: float


@quick_record
class Edge:
    """A validated follower of a leader (a `follow_edges` row). Lags in ms, sizes in SOL."""

    leader: str
    follower: str
    follow_prob: float
    lag_ms_p50: int
    lag_ms_p90: int
    avg_follower_size_sol: float


@quick_record
class Inflow:
    """What a leader's followers are expected to buy after one buy of it (`leader_inflow` rows), by slots since then.

    `ahead_sol[i]` is bought at most `slots[i]` slots after the leader, `behind_sol[i]` from then to the horizon;
    `followers_ahead[i]` is the expected number of those who come first. `slots` ascends.
    """

    leader: str
    n_followers: int
    slots: tuple[int, ...]
    ahead_sol: tuple[float, ...]
    behind_sol: tuple[float, ...]
    followers_ahead: tuple[float, ...]


@quick_record
class CopyValue:
    """What copying one leader is worth (`copy_value` rows): a grid of latency x size, and what we make of it.

    Returns (`*_x`) are profit of a landed copy as a share of its size, every cost in: posterior mean and lower 5 %
    bound, by latency, then size; `landing` is the share that lands. `state_x` is added by the coin's state at the
    signal, `state_half_x` is half of its 90 % interval. Both grids ascend.
    """

    leader: str
    verdict: Verdict
    tier: Tier
    alpha: float
    """Our size as a share of the best one: 0 to 1."""
    beta: float
    """The share of what a copy is worth that its price may give away: 0 to 1."""
    rule: str
    """The exit rule that the values were replayed under."""
    capacity_sol: float
    latencies: tuple[int, ...]
    sizes_lamports: tuple[int, ...]
    mean_x: tuple[tuple[float, ...], ...]
    lower_x: tuple[tuple[float, ...], ...]
    landing: tuple[tuple[float, ...], ...]
    state_x: tuple[float, ...]
    state_half_x: tuple[float, ...]


@quick_record
class LandingCount:
    """How many of our own live orders of a side landed so many slots late (a `landings` row); -1: never landed."""

    side: OrderSide
    slots_late: int
    n_orders: int


@quick_record
class Lateness:
    """How orders of one side land: `shares` of those that do by `slots` after their decision, which ascend.

    `n_orders` of our own are in it, 0 where the settings alone say so.
    """

    slots: tuple[int, ...]
    shares: tuple[float, ...]
    lost_share: float
    mean_slots: float
    n_orders: int


@quick_record
class LandingModel:
    """What our own live orders up to the end of `as_of` (ISO date) say of both sides. `name` changes with any of it."""

    name: str
    as_of: str
    buy: Lateness
    sell: Lateness


@quick_record
class Release:
    """One consistent set of patterns, edges, inflow, copy values by leader and landings, as published together.

    `as_of` is an ISO date.
    """

    release_id: str
    as_of: str
    patterns: Mapping[str, Pattern]
    edges: tuple[Edge, ...]
    inflow: Mapping[str, Inflow] = field(default_factory=dict)
    values: Mapping[str, CopyValue] = field(default_factory=dict)
    landings: tuple[LandingCount, ...] = ()
