"""What carries orders out: on paper or for real, behind one interface. Neither decides, neither writes the journal."""

from __future__ import annotations

from typing import Any, Protocol

from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import LeaderBuy
from copytrader_core.quick import quick_record
from copytrader_core.settings import ExecutorSettings
from executor.orders import Likely, Order, Presigned, Signed


@quick_record
class Landed:
    """An order that went through: coins and lamports of the swap (fees included), and what the transaction cost.

    `rent_lamports` were locked in accounts of ours (negative: given back); rent is no cost, but it moves the balance.
    """

    base_raw: int
    quote_lamports: int
    swap_fee_lamports: int
    tx_fee_lamports: int
    tip_lamports: int
    rent_lamports: int = 0

    @property
    def cost_lamports(self) -> int:
        """Network fee and tip."""
        return self.tx_fee_lamports + self.tip_lamports

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "base_raw": self.base_raw,
            "quote_lamports": self.quote_lamports,
            "swap_fee_lamports": self.swap_fee_lamports,
            "tx_fee_lamports": self.tx_fee_lamports,
            "tip_lamports": self.tip_lamports,
            "rent_lamports": self.rent_lamports,
        }


@quick_record
class Reverted:
    """An order that landed with an error: why, the network fee that it cost all the same, and the program's code."""

    error: str
    cost_lamports: int
    code: int | None = None
    program: str = ""


class Broker(Protocol):
    """Orders under way, and how they get there."""

    signs: bool
    """Whether orders have bytes to be signed, so that it pays to have them before all is asked."""

    @property
    def orders(self) -> tuple[Order, ...]:
        """What is under way, first to land first."""
        ...

    def adopt(self, settings: ExecutorSettings) -> None:
        """Goes by other settings from now on."""
        ...

    def is_first_trade(self, signal: LeaderBuy) -> bool:
        """Whether our wallet has never traded on the venue of `signal`: the first buy pays an account's rent."""
        ...

    def presign(self, likely: Likely) -> Presigned | None:
        """What a buy is likely to be signed as, before it is decided; None where nothing is signed.

        Raises TransactionError where it cannot be signed now.
        """
        ...

    def sign(self, order: Order, early: Presigned | None = None) -> Signed | None:
        """The bytes of an order; None where none are needed. Raises TransactionError where there can be none now.

        `early` is taken where it is of the very same message.
        """
        ...

    def submit(self, order: Order, signed: Signed | None) -> None:
        """Sends an order. The same intent is under way at most once."""
        ...

    def forget(self, order: Order) -> None:
        """An order that has come to its end."""
        ...

    def routes_of(self, order: Order) -> dict[str, Any]:
        """What each route said to an order: name -> {"result": "sent" or a code, "ms": how long it took}."""
        ...

    def is_exclusive(self, position_id: str) -> bool:
        """Whether of a further attempt to sell the position and all that are under way only one can go through."""
        ...

    def next_due(self, last_slot: int) -> Order | None:
        """The first order that ends by `last_slot` as the broker itself knows; None where the chain tells."""
        ...

    def land(self, order: Order, market: MarketState | None) -> Landed | Reverted | None:
        """What happens to an order of `next_due` on `market`, as its slot leaves it; None: it never lands."""
        ...
