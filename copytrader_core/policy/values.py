"""What goes into a decision and what comes out of it: frozen values, no arithmetic beyond sums of their own fields.

Times of a plan are in ms since the position was opened; `*_lamports` and `*_raw` are exact integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Literal, NamedTuple

from copytrader_core.quick import quick_record

if TYPE_CHECKING:
    from copytrader_core.policy.market import MarketState

TradingState = Literal["ACTIVE", "REDUCING", "HALTED"]
ExitReason = Literal["kill", "timer", "target", "trailing", "adverse", "leader_sold", "flatten", "end_of_run"]
LockScope = Literal["all", "leader", "mint"]
Number = int | float | str | None

ACCEPTED = "ACCEPTED"


@quick_record
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


@quick_record
class Now:
    """The moment of a decision: the newest slot of the stream and the executor's clock."""

    slot: int
    ts_ns: int


@quick_record
class Lock:
    """Somebody has forbidden buys: all of them, those after one leader, or those of one coin. Exits go on.

    `key` is the wallet or the mint, empty for scope all; `until_ns` is UTC, None for until it is taken back.
    """

    scope: LockScope
    key: str
    reason: str
    until_ns: int | None = None

    def concerns(self, leader: str, mint: str) -> bool:
        """Whether a buy of `mint` after `leader` is what it forbids."""
        return self.scope == "all" or self.key == (leader if self.scope == "leader" else mint)

    def holds(self, leader: str, mint: str, now_ns: int) -> bool:
        """Whether it forbids that buy at `now_ns`; at `until_ns` it is over."""
        return self.concerns(leader, mint) and (self.until_ns is None or now_ns < self.until_ns)


@quick_record
class Book:
    """What we hold, what is under way and what is lost: the state that the limits count.

    In-flight buys count like positions from the moment they are planned. Losses are realised profit and loss over the
    rolling hour and day, fees of failed transactions included, as a positive number (0 when the window is a gain).
    What stands by coin or by leader counts open positions and in-flight buys; a key that is missing is zero, or never.
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
    leader_count: Mapping[str, int] = field(default_factory=dict)
    mint_exposure_lamports: Mapping[str, int] = field(default_factory=dict)
    leader_exposure_lamports: Mapping[str, int] = field(default_factory=dict)
    last_trade_ns: Mapping[str, int] = field(default_factory=dict)
    """By coin: our last buy or exit of it; a buy that is in flight is one of this moment."""
    last_loss_ns: Mapping[str, int] = field(default_factory=dict)
    """By leader: our last exit after it that brought less than the position had cost."""
    stray_sales: Mapping[str, int] = field(default_factory=dict)
    """By coin: sales under way beyond one a position. Each may land yet, and would sell what was bought meanwhile."""
    stream_age_ms: int = 0
    """How long ago the stream moved last."""
    drift: str | None = None
    """Why the programs no longer are what this version knows; None while they are."""
    locks: tuple[Lock, ...] = ()
    first_trade: bool = False
    """Whether our wallet has never traded: its first buy opens an account of its own and pays that account's rent."""

    def of_mint(self, mint: str) -> int:
        """Open positions and in-flight buys of `mint`."""
        return self.mint_count.get(mint, 0)

    def of_leader(self, leader: str) -> int:
        """Open positions and in-flight buys after `leader`."""
        return self.leader_count.get(leader, 0)


@quick_record
class EntryPlan:
    """The buy: exactly `spend_lamports` (swap fees included) for at least `min_tokens_raw` coins."""

    spend_lamports: int
    quoted_tokens_raw: int
    min_tokens_raw: int
    slippage_bps: int
    network_lamports: int
    """What the transaction costs besides the swap: base fee, priority fee, tip."""


@quick_record
class ExitPlan:
    """When the position is sold, whichever comes first; `reasons` says where each number comes from.

    Multiples (`*_x`) are what selling all would bring, costs off, over what the position cost. None never sells.
    """

    timer_ms: int | None
    target_x: float | None
    kill_ms: int
    on_leader_sell: bool
    reasons: Mapping[str, str] = field(default_factory=dict)
    trailing_fraction: float | None = None
    """Sells when the multiple falls by this share below its peak since entry."""
    trailing_from_x: float | None = None
    """The peak from which on that counts; None: from the entry on."""
    stop_x: float | None = None
    """Sells at this multiple and below: the price has moved against us."""


class Plans(NamedTuple):
    """What an accepted decision does."""

    entry: EntryPlan
    exit: ExitPlan


class Check(NamedTuple):
    """One guard's verdict: its standard code, whether it lets the buy pass, and the numbers that it compared."""

    code: str
    passed: bool
    numbers: Mapping[str, Number]


@quick_record
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

    @property
    def plans(self) -> Plans | None:
        """What it does; None for a refusal."""
        if not self.accepted or self.entry is None or self.exit is None:
            return None
        return Plans(self.entry, self.exit)
