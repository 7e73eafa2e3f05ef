"""What is under way and what is held: orders, their signed bytes, positions, and identities. No prices, no clock."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, NamedTuple

from copytrader_core.policy.record import exit_plan, exit_plan_document
from copytrader_core.policy.values import EntryPlan, ExitPlan, ExitReason
from copytrader_core.quick import quick_record
from copytrader_core.settings import ExecutorSettings
from executor.coins import LikelyCoin

Mode = Literal["paper", "live"]
Side = Literal["BUY", "SELL", "MIGRATE"]
IntentState = Literal["PLANNED", "SIGNED", "SENT", "LANDED_OK", "LANDED_ERR", "EXPIRED", "UNKNOWN"]


def intent_id(mode: Mode, side: Side, origin: str, mint: str, attempt: int = 0) -> str:
    """The identity of an intent: the same buy of the same leader signature always has the same one.

    `origin` is the leader's signature of a buy, the position of a sell or of a migration.
    """
    return hashlib.sha256(f"{mode}|{side}|{origin}|{mint}|{attempt}".encode()).hexdigest()[:32]


@quick_record
class Order:
    """One buy or sell under way, exact-in: `amount_in` lamports for coins, or coins for lamports, at least `min_out`.

    `expected_out` is what it was quoted, `due_slot` when it should land (in paper: when it lands). A buy carries the
    exit plan of the position that it opens, a sell says why it sells. A migration moves the coin's complete curve into
    its pool and trades nothing.
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
    expected_out: int = 0
    priority_fee_lamports: int = 0
    tip_lamports: int = 0
    planned_ns: int = 0
    """The executor's clock when it was planned."""
    exit: ExitPlan | None = None
    coin: Mapping[str, Any] | None = None
    """What a transaction must know of the coin (`executor.coins`); None in paper."""
    restored: bool = False
    """Loaded from the journal by a later run, which may not have seen the slot in which it lands."""

    def document(self) -> dict[str, Any]:
        """The order as JSON values, everything that a restart needs."""
        # `asdict` would copy every value that it meets, on the way between a signal and its order.
        found = {name: getattr(self, name) for name in _FIELDS}
        return found | {"exit": None if self.exit is None else exit_plan_document(self.exit)}


_FIELDS: Final = tuple(field.name for field in fields(Order))


@quick_record
class DurableNonce:
    """A nonce account's value, which keeps bytes alive until it moves on; it stood in `slot` of the confirmed chain."""

    account: str
    value: str
    slot: int

    @property
    def key(self) -> tuple[str, str]:
        """Account and value: of all that is signed under one key exactly one lands."""
        return self.account, self.value


@quick_record
class Signed:
    """An order's bytes, the only ones ever sent for it, and the block height after which they are void.

    With a `nonce` no height ends them (it is 0 then), but the landing of others under the same nonce.
    """

    signature: str
    wire: bytes
    last_valid_block_height: int
    nonce: DurableNonce | None = None

    def holds(self, early: Presigned) -> bool:
        """Whether these are the bytes that were signed early."""
        return self.wire.endswith(early.signature + early.message)

    def is_past(self, height: int) -> bool:
        """Whether no block above `height` can hold it."""
        return self.nonce is None and self.last_valid_block_height < height

    def document(self) -> dict[str, Any]:
        """As JSON values, everything that a restart needs."""
        found: dict[str, Any] = {
            "signature": self.signature,
            "wire": base64.b64encode(self.wire).decode(),
            "last_valid_block_height": self.last_valid_block_height,
        }
        return found if self.nonce is None else found | {"nonce": asdict(self.nonce)}


class Likely(NamedTuple):
    """A buy that has not been decided: the coin (`executor.coins`), the entry, and the fees."""

    mint: str
    coin: LikelyCoin
    entry: EntryPlan
    settings: ExecutorSettings


@quick_record
class Presigned:
    """A message with its signature, made for an order that may never be: only the order's own bytes may take it."""

    message: bytes
    signature: bytes
    parts: object
    """What the message was made of, for the broker that made it: of equal parts it makes equal messages."""


def signed_from(document: Mapping[str, Any]) -> Signed | None:
    """The signed bytes that an intent's payload holds, if any."""
    if "wire" not in document:
        return None
    nonce = document.get("nonce")
    return Signed(
        document["signature"],
        base64.b64decode(document["wire"]),
        document["last_valid_block_height"],
        DurableNonce(**nonce) if nonce else None,
    )


def order_from(document: Mapping[str, Any]) -> Order:
    """An order as a restart finds it."""
    found = {name: document[name] for name in _FIELDS if name in document}
    plan = found["exit"]
    return Order(**found | {"exit": exit_plan(plan) if plan else None, "restored": True})


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
    coin: Mapping[str, Any] | None = None
    attempts: int = 0
    selling: bool = False
    sent_ns: int = 0
    """When the newest attempt to sell left, by the executor's clock."""
    peak_x: float = 0.0
    """The highest multiple that was seen while it was held."""
    peak_written_x: float = 0.0
    leader_sold: bool = False
    waiting: str | None = None
    """Why a due exit cannot be sent (WAIT_MIGRATION, NO_QUOTE, HALTED), None when it can."""
    is_doubted: bool = False
    """Whether the chain has said that its coins are not there: nothing is sold until it has been asked."""
    keeps_account: bool = False
    """Whether our account holds more than the position, so that a sale must not close it."""
    waiting_ns: int = 0
    """Since when, by the executor's clock."""
    due: ExitReason | None = None
    """Why it has to be sold, once it has to be: a due exit stays due."""

    @property
    def origin(self) -> str:
        """Whose sells these are: a buy that lands again after a fork opens another position under the same identity."""
        return f"{self.position_id}@{self.opened_ts_ns}"

    def document(self) -> dict[str, Any]:
        """What `exec_positions.payload` keeps."""
        return {
            "plan": exit_plan_document(self.plan),
            "paid_in_lamports": self.paid_in_lamports,
            "coin": self.coin,
            "attempts": self.attempts,
            "peak_x": self.peak_x,
            "leader_sold": self.leader_sold,
            "waiting": self.waiting,
            "waiting_ns": self.waiting_ns,
            "due": self.due,
        }


def position_from(row: Mapping[str, Any]) -> Position:
    """A position from its row in the ledger."""
    kept = row["payload"]
    return Position(
        position_id=row["position_id"],
        leader=row["leader"],
        leader_sig=row["leader_sig"],
        mint=row["mint"],
        opened_slot=row["slot"],
        opened_ts_ns=row["ts_ns"],
        qty_raw=row["base_raw"],
        cost_lamports=row["cost_lamports"],
        paid_in_lamports=kept["paid_in_lamports"],
        plan=exit_plan(kept["plan"]),
        coin=kept.get("coin"),
        attempts=kept["attempts"],
        peak_x=kept.get("peak_x", 0.0),
        peak_written_x=kept.get("peak_x", 0.0),
        leader_sold=kept["leader_sold"],
        waiting_ns=kept.get("waiting_ns", 0),
        due=kept["due"],
    )
