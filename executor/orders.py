"""What is under way and what is held: orders, positions, and their identities. No prices, no clock, no database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from copytrader_core.policy.record import exit_plan
from copytrader_core.policy.values import ExitPlan, ExitReason

Mode = Literal["paper", "live"]
Side = Literal["BUY", "SELL"]


def intent_id(mode: Mode, side: Side, origin: str, mint: str, attempt: int = 0) -> str:
    """The identity of an intent: the same buy of the same leader signature always has the same one.

    `origin` is the leader's signature of a buy, the position of a sell.
    """
    return hashlib.sha256(f"{mode}|{side}|{origin}|{mint}|{attempt}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Order:
    """One buy or sell under way, exact-in: `amount_in` lamports for coins, or coins for lamports, at least `min_out`.

    It lands in `due_slot`. A buy carries the exit plan of the position that it opens. A sell says why it sells, and
    what the position's buy had put into the market.
    """

    intent_id: str
    side: Side
    mint: str
    leader: str
    leader_sig: str
    position_id: str
    amount_in: int
    min_out: int
    decided_slot: int
    due_slot: int
    attempt: int = 0
    reason: str = ""
    paid_in_lamports: int = 0
    exit: ExitPlan | None = None
    restored: bool = False
    """Loaded from the database by a later run, which may not have seen the slot in which it lands."""

    def document(self) -> dict[str, Any]:
        """The order as JSON values, everything that a restart needs."""
        return asdict(self)


def order_from(document: Mapping[str, Any]) -> Order:
    """An order as a restart finds it."""
    fields = {name: document[name] for name in Order.__slots__ if name in document}
    plan = fields["exit"]
    return Order(**fields | {"exit": exit_plan(plan) if plan else None, "restored": True})


@dataclass(slots=True)
class Position:
    """Coins held. `cost_lamports` is all that was paid for them, `paid_in_lamports` the part that moved the price.

    Only the desk and the engine change what can change.
    """

    position_id: str
    leader: str
    leader_sig: str
    mint: str
    opened_slot: int
    opened_ts_ns: int
    qty_raw: int
    cost_lamports: int
    paid_in_lamports: int
    plan: ExitPlan
    attempts: int = 0
    selling: bool = False
    leader_sold: bool = False
    waiting: str | None = None
    """Why a due exit cannot be sent (WAIT_MIGRATION, NO_QUOTE, HALTED), None when it can."""
    due: ExitReason | None = None
    """Why it has to be sold, once it has to be: a due exit stays due."""

    def document(self) -> dict[str, Any]:
        """What `exec_positions.payload` keeps."""
        return {
            "plan": asdict(self.plan),
            "paid_in_lamports": self.paid_in_lamports,
            "attempts": self.attempts,
            "leader_sold": self.leader_sold,
            "waiting": self.waiting,
            "due": self.due,
        }
