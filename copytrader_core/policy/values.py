"""What goes into a decision and what comes out of it: frozen values, no arithmetic beyond sums of their own fields.

Times of a plan are in ms since the position was opened; `*_lamports` and `*_raw` are exact integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from copytrader_core.policy.market import MarketState

TradingState = Literal["ACTIVE", "REDUCING", "HALTED"]
ExitReason = Literal["kill", "timer", "target", "leader_sold", "flatten", "end_of_run"]
Number = int | float | str | None

ACCEPTED = "ACCEPTED"


@dataclass(frozen=True, slots=True)
class LeaderBuy:
    """A tracked leader bought a coin. One transaction gives one signal per coin, whatever number of buys it holds.

    `size_lamports` is what the leader paid for the swaps, fees included; `market` is the coin's market after the
    leader's transaction, None where it is not known or not quoted in SOL (`quote_mint` says which).
    """

    leader: str
    mint: str
    sig: str
    slot: int
    tx_index: int
    size_lamports: int
    quote_mint: str
    market: MarketState | None


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of a decision: the newest slot of the stream and the executor's clock."""

    slot: int
    ts_ns: int


@dataclass(frozen=True, slots=True)
class Book:
    """What we hold, what is under way and what is lost: the state that the limits count.

    In-flight buys count like positions from the moment they are planned. Losses are realised profit and loss over the
    rolling hour and day, fees of failed transactions included, as a positive number (0 when the window is a gain).
    """

    trading_state: TradingState
    balance_lamports: int
    open_positions: int = 0
    in_flight_buys: int = 0
    exposure_lamports: int = 0
    in_flight_lamports: int = 0
    loss_hour_lamports: int = 0
    loss_day_lamports: int = 0
    mint_count: Mapping[str, int] = field(default_factory=dict)
    """Open positions and in-flight buys of each coin."""

    def of_mint(self, mint: str) -> int:
        """Open positions and in-flight buys of `mint`."""
        return self.mint_count.get(mint, 0)


@dataclass(frozen=True, slots=True)
class EntryPlan:
    """The buy: exactly `spend_lamports` (swap fees included) for at least `min_tokens_raw` coins."""

    spend_lamports: int
    quoted_tokens_raw: int
    min_tokens_raw: int
    slippage_bps: int
    network_lamports: int
    """What the transaction costs besides the swap: base fee, priority fee, tip."""


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """When the position is sold, whichever comes first; `reasons` says where each number comes from."""

    timer_ms: int | None
    target_x: float | None
    kill_ms: int
    on_leader_sell: bool
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """One guard's verdict: its standard code, whether it lets the buy pass, and the numbers that it compared."""

    code: str
    passed: bool
    numbers: Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class Decision:
    """Accepted with its plans, or refused with a standard code; `numbers` holds everything that was computed."""

    code: str
    entry: EntryPlan | None
    exit: ExitPlan | None
    numbers: Mapping[str, Number]

    @property
    def accepted(self) -> bool:
        """True when there is something to buy."""
        return self.code == ACCEPTED
