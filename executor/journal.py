"""The executor's memory: each method is one line of the journal, written before the caller acts on it.

What was decided, what is under way and what is held is the ledger that the lines add up to. Postgres gets the same
lines from `executor.projector` a moment later. No decisions here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from copytrader_core.policy.values import TradingState
from executor.ledger import Change, Ledger, ledger_from
from executor.orders import Mode, Order, Position
from executor.paper import Landed, Reverted
from executor.wal import Wal

IntentState = Literal["PLANNED", "SENT", "LANDED_OK", "LANDED_ERR", "EXPIRED"]
Planned = Literal["PLANNED", "DUPLICATE", "BLOCKED"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. `at_ns` is the executor's clock, 0 while the chain's time is not known yet."""

    kind: str
    at_ns: int
    slot: int | None = None
    leader_sig: str | None = None
    leader: str | None = None
    mint: str | None = None
    intent_id: str | None = None
    release_id: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """Writes one mode's journal. `state` tells the trading state of this very moment."""

    def __init__(self, wal: Wal, mode: Mode, run_id: str, state: Callable[[], TradingState]) -> None:
        self.mode = mode
        self.run_id = run_id
        self.written: Callable[[], None] = lambda: None
        """Called after each line."""
        self._wal = wal
        self._state = state
        self.ledger: Ledger = ledger_from(wal.snapshot)
        for line in wal.replay():
            self.ledger.apply(line)

    def write(self, entry: Entry, *changes: Change) -> None:
        """Appends one line."""
        line = {name: getattr(entry, name) for name in Entry.__slots__}
        line |= {"run_id": self.run_id, "mode": self.mode, "payload": dict(entry.payload), "changes": changes}
        self._wal.append(line)
        self.ledger.apply(line)
        if self._wal.is_long:
            self._wal.rotate(self.ledger.snapshot())
        self.written()

    def plan_buy(self, entry: Entry, order: Order | None) -> Planned:
        """Writes a decision and, if it is to buy, the intent.

        DUPLICATE: this leader's buy of this coin was planned before, by whatever run. BLOCKED: trading is not ACTIVE.
        """
        planned: Planned = "PLANNED"
        if order is not None and self._state() != "ACTIVE":
            planned = "BLOCKED"
        elif order is not None and order.intent_id in self.ledger.bought:
            planned = "DUPLICATE"
        self.write(entry, *([self._plan(order)] if order is not None and planned == "PLANNED" else []))
        return planned

    def plan_sell(self, entry: Entry, order: Order, position: Position) -> bool:
        """Writes why a position is sold, the intent, and that the position is closing. False while HALTED."""
        if self._state() == "HALTED":
            return False
        self.write(entry, self._plan(order), _move_position(position, "CLOSING"))
        return True

    def send(self, order: Order, entry: Entry) -> bool:
        """The last look at the trading state before an order leaves; False if it forbids it: the order is EXPIRED."""
        state = self._state()
        allowed = state == "ACTIVE" or (state == "REDUCING" and order.side == "SELL")
        self.write(entry, _move_intent(order, "PLANNED", "SENT" if allowed else "EXPIRED", {"trading_state": state}))
        return allowed

    def opened(self, order: Order, landed: Landed, position: Position, entry: Entry) -> None:
        """A buy went through: intent, fill and position."""
        values = {
            "position_id": position.position_id,
            "mode": self.mode,
            "leader": position.leader,
            "leader_sig": position.leader_sig,
            "mint": position.mint,
            "slot": position.opened_slot,
            "ts_ns": position.opened_ts_ns,
            "base_raw": position.qty_raw,
            "cost_lamports": position.cost_lamports,
            "payload": position.document(),
        }
        landing = self._land(order, landed, position.opened_slot, position.opened_ts_ns)
        self.write(entry, *landing, ("open_position", values))

    def closed(
        self, order: Order, landed: Landed, position: Position, proceeds_lamports: int, slot: int, entry: Entry
    ) -> None:
        """A sell went through: intent, fill and the end of the position."""
        values = {
            "position_id": position.position_id,
            "proceeds_lamports": proceeds_lamports,
            "reason": order.reason,
            "ts_ns": entry.at_ns,
            "payload": position.document(),
        }
        self.write(entry, *self._land(order, landed, slot, entry.at_ns), ("close_position", values))

    def failed(self, order: Order, reverted: Reverted, position: Position | None, entry: Entry) -> None:
        """An order landed with an error; a position that it should have sold is open again."""
        facts = {"error": reverted.error, "cost_lamports": reverted.cost_lamports, "landed_ts_ns": entry.at_ns}
        reopened = [_move_position(position, "OPEN")] if position is not None else []
        self.write(entry, _move_intent(order, "SENT", "LANDED_ERR", facts), *reopened)

    def expired(self, order: Order, was: IntentState, reason: str, position: Position | None, entry: Entry) -> None:
        """An order can no longer land, or never left; a position that it should have sold is open again."""
        reopened = [_move_position(position, "OPEN")] if position is not None else []
        self.write(entry, _move_intent(order, was, "EXPIRED", {"error": reason}), *reopened)

    def remember(self, position: Position, entry: Entry) -> None:
        """Keeps what changed about a position that stays as it is."""
        self.write(entry, _move_position(position, "OPEN"))

    def _plan(self, order: Order) -> Change:
        values = {
            "intent_id": order.intent_id,
            "mode": self.mode,
            "leader_sig": order.leader_sig,
            "leader": order.leader,
            "mint": order.mint,
            "side": order.side,
            "payload": order.document(),
        }
        return ("plan_intent", values)

    def _land(self, order: Order, landed: Landed, slot: int, ts_ns: int) -> list[Change]:
        values = {
            "intent_id": order.intent_id,
            "mode": self.mode,
            "position_id": order.position_id,
            "side": order.side,
            "mint": order.mint,
            "leader": order.leader,
            "slot": slot,
            "ts_ns": ts_ns,
            "base_raw": landed.base_raw,
            "quote_lamports": landed.quote_lamports,
            "swap_fee_lamports": landed.swap_fee_lamports,
            "tx_fee_lamports": landed.tx_fee_lamports,
            "tip_lamports": landed.tip_lamports,
            "payload": {"attempt": order.attempt, "min_out": order.min_out, "reason": order.reason},
        }
        moved = _move_intent(order, "SENT", "LANDED_OK", {"landed_ts_ns": ts_ns, "landed_slot": slot})
        return [moved, ("fill", values)]


def _move_intent(order: Order, was: IntentState, to: IntentState, facts: Mapping[str, Any]) -> Change:
    return ("move_intent", {"intent_id": order.intent_id, "from": was, "to": to, "payload": dict(facts)})


def _move_position(position: Position, state: str) -> Change:
    values = {"position_id": position.position_id, "state": state, "payload": position.document()}
    return ("move_position", values)
