"""The executor's memory: each method is one line of the journal, written before the caller acts on it.

What was decided, what is under way and what is held is the ledger that the lines add up to. Postgres gets the same
lines from `executor.projector` a moment later. No decisions here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from copytrader_core.policy.values import TradingState
from copytrader_core.quick import quick_record
from executor.broker import Landed, Reverted
from executor.ledger import Change, Ledger, ledger_from
from executor.orders import IntentState, Mode, Order, Position, Signed
from executor.wal import Wal

Planned = Literal["PLANNED", "DUPLICATE", "BLOCKED"]


@quick_record
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


@quick_record
class Landing:
    """Where an order ended, and what it was before. `final`: no fork can take it back any more."""

    was: IntentState
    slot: int
    sig: str | None = None
    final: bool = True


class Journal:
    """Writes one mode's journal. `state` tells the trading state of this very moment."""

    def __init__(self, wal: Wal, mode: Mode, run_id: str, state: Callable[[], TradingState]) -> None:
        self.mode = mode
        self.run_id = run_id
        self.written: Callable[[], None] = lambda: None
        """Called after each line."""
        self.preamble: Callable[[], Entry] | None = None
        """What every segment begins with, so that its lines can be understood without the older ones."""
        self.syncs_first = False
        """Whether signed bytes are on the disk before they leave: safe from power cuts, at about 0.3 ms an order."""
        self._wal = wal
        self._state = state
        self.ledger: Ledger = ledger_from(wal.snapshot)
        for line in wal.replay():
            self.ledger.apply(line)

    def write(self, entry: Entry, *changes: Change) -> None:
        """Appends one line."""
        line = self._line(entry, changes)
        self._wal.append(line)
        try:
            self.ledger.apply(line)
        except BaseException:
            self._wal.take_back()
            raise
        if self._wal.is_long:
            self._wal.rotate(self.ledger.snapshot())
            if self.preamble is not None:
                self.write(self.preamble())
        self.written()

    def _line(self, entry: Entry, changes: Sequence[Change]) -> dict[str, Any]:
        return {
            "kind": entry.kind,
            "at_ns": entry.at_ns,
            "slot": entry.slot,
            "leader_sig": entry.leader_sig,
            "leader": entry.leader,
            "mint": entry.mint,
            "intent_id": entry.intent_id,
            "release_id": entry.release_id,
            "payload": dict(entry.payload),
            "run_id": self.run_id,
            "mode": self.mode,
            "changes": changes,
        }

    def plan_buy(self, entry: Entry, order: Order | None, signed: Signed | None) -> Planned:
        """Writes a decision and, if it is to buy, the intent with its signed bytes.

        DUPLICATE: this leader's buy of this coin was planned before, by whatever run. BLOCKED: trading is not ACTIVE.
        """
        planned: Planned = "PLANNED"
        if order is not None and self._state() != "ACTIVE":
            planned = "BLOCKED"
        elif order is not None and order.intent_id in self.ledger.bought:
            planned = "DUPLICATE"
        self.write(entry, *(self._plan(order, signed) if order is not None and planned == "PLANNED" else []))
        self._secure(signed)
        return planned

    def plan(self, entry: Entry, order: Order, signed: Signed | None, position: Position) -> bool:
        """Writes why a position is sold, the intent, and that the position is closing. False while HALTED.

        The same for a migration, which no position closes by: of the position only its attempts are kept.
        """
        if self._state() == "HALTED":
            return False
        moved = _move_position(position, "CLOSING" if order.side == "SELL" else "OPEN")
        self.write(entry, *self._plan(order, signed), moved)
        self._secure(signed)
        return True

    def may_leave(self, order: Order) -> TradingState | None:
        """The last look at the trading state before an order leaves; None if it forbids that."""
        state = self._state()
        return state if state == "ACTIVE" or (state == "REDUCING" and order.side != "BUY") else None

    def sent(self, order: Order, was: IntentState, entry: Entry, state: TradingState) -> None:
        """An order has left, allowed by `state`. A crash before this line leaves it SIGNED: it may have left."""
        self.write(entry, _move_intent(order, was, "SENT", {"trading_state": state}))

    def stopped(self, order: Order, was: IntentState, entry: Entry) -> None:
        """An order that was not let out is void."""
        self.write(entry, _move_intent(order, was, "EXPIRED", {"trading_state": self._state()}))

    def unknown(self, order: Order, was: IntentState, reason: str, entry: Entry) -> None:
        """What became of an order is not known: it may land yet, or has."""
        self.write(entry, _move_intent(order, was, "UNKNOWN", {"error": reason}))

    def opened(self, order: Order, landed: Landed, landing: Landing, position: Position, entry: Entry) -> None:
        """A buy went through: intent, fill and position."""
        self.write(entry, *self._land(order, landed, landing, entry), ("open_position", self._position(position)))

    def closed(
        self,
        order: Order,
        landed: Landed,
        landing: Landing,
        position: Position,
        proceeds_lamports: int,
        entry: Entry,
    ) -> None:
        """A sell went through: intent, fill and the end of the position."""
        values = {
            "position_id": position.position_id,
            "proceeds_lamports": proceeds_lamports,
            "reason": order.reason,
            "ts_ns": entry.at_ns,
            "payload": position.document(),
        }
        # What a fork that is left has to put back.
        undo = {"row": self.ledger.positions[position.position_id], "result": _result(values, position)}
        moved, fill = self._land(order, landed, landing, entry)
        moved[1]["payload"]["undo"] = undo
        self.write(entry, moved, fill, ("close_position", values))

    def adopted(self, position: Position, entry: Entry) -> None:
        """Coins that no line accounts for become a position."""
        self.write(entry, ("open_position", self._position(position)))

    def lost(self, position: Position, entry: Entry) -> None:
        """The chain holds none of a position's coins any more."""
        values = {
            "position_id": position.position_id,
            "proceeds_lamports": 0,
            "reason": "missing",
            "ts_ns": entry.at_ns,
            "payload": position.document(),
        }
        self.write(entry, ("close_position", values))

    def landed_aside(self, order: Order, landed: Landed, landing: Landing, entry: Entry) -> None:
        """A sell of what no position holds: what it did to the balance, and nothing else."""
        self.write(entry, *self._land(order, landed, landing, entry))

    def migrated(self, order: Order, landed: Landed, landing: Landing, entry: Entry) -> None:
        """A migration went through: it cost what it moved the balance by."""
        spent = -(landed.cost_lamports + landed.rent_lamports)
        facts = {"landed_ts_ns": entry.at_ns, "landed_slot": landing.slot}
        cash = {"mode": self.mode, "ts_ns": entry.at_ns, "lamports": spent, "reason": "migrate", "sig": landing.sig}
        self.write(entry, _move_intent(order, landing.was, "LANDED_OK", facts), ("cash", cash))

    def failed(
        self, order: Order, reverted: Reverted, landing: Landing, position: Position | None, entry: Entry
    ) -> None:
        """An order landed with an error; a position that it should have sold is open again."""
        facts = {
            "error": reverted.error,
            "cost_lamports": reverted.cost_lamports,
            "landed_ts_ns": entry.at_ns,
            "landed_slot": landing.slot,
        }
        reopened = [_move_position(position, "OPEN")] if position is not None else []
        self.write(entry, _move_intent(order, landing.was, "LANDED_ERR", facts, final=landing.final), *reopened)

    def expired(self, order: Order, was: IntentState, reason: str, position: Position | None, entry: Entry) -> None:
        """An order can no longer land, or never left; a position that it should have sold is open again."""
        reopened = [_move_position(position, "OPEN")] if position is not None else []
        self.write(entry, _move_intent(order, was, "EXPIRED", {"error": reason}), *reopened)

    def confirmed(self, order: Order, entry: Entry) -> None:
        """The cluster has confirmed the block in which an order landed."""
        self.write(entry, ("confirm_intent", {"intent_id": order.intent_id}))

    def rolled_back(self, order: Order, entry: Entry) -> None:
        """The block in which an order landed was left behind: nothing of it has happened, and it may land again."""
        intent = self.ledger.intents[order.intent_id]
        facts = intent["payload"]
        moved = _move_intent(
            order, intent["state"], "UNKNOWN", {"error": f"slot {facts['landed_slot']} was left behind"}
        )
        # What the payload keeps of an earlier landing, that was left behind too, is undone already.
        undone: list[Change] = []
        if intent["state"] == "LANDED_OK":
            undone.append(("undo_fill", facts["fill"]))
            if order.side == "BUY" and order.position_id in self.ledger.positions:
                undone.append(("undo_position", {"position_id": order.position_id}))
            elif facts.get("undo") is not None:
                undone.append(("reopen_position", {"position_id": order.position_id} | facts["undo"]))
        self.write(entry, *undone, moved)

    def remember(self, position: Position, entry: Entry, *, selling: bool = False) -> None:
        """Keeps what changed about a position that stays as it is."""
        self.write(entry, _move_position(position, "CLOSING" if selling else "OPEN"))

    def resized(self, position: Position, entry: Entry) -> None:
        """The chain holds another number of a position's coins than was thought."""
        self.write(entry, ("resize_position", {"position_id": position.position_id, "base_raw": position.qty_raw}))

    def cash(self, lamports: int, reason: str, sig: str | None, entry: Entry) -> None:
        """The balance has moved by something that is no trade."""
        values = {"mode": self.mode, "ts_ns": entry.at_ns, "lamports": lamports, "reason": reason, "sig": sig}
        self.write(entry, ("cash", values))

    def quarantined(self, mint: str, account: str, amount_raw: int, entry: Entry) -> None:
        """Coins that no position accounts for; an amount of 0 takes it back."""
        values = {"mode": self.mode, "mint": mint, "account": account, "amount_raw": amount_raw}
        self.write(entry, ("quarantine", values))

    def _secure(self, signed: Signed | None) -> None:
        if signed is not None and self.syncs_first:
            self._wal.sync()

    def _plan(self, order: Order, signed: Signed | None) -> list[Change]:
        values = {
            "intent_id": order.intent_id,
            "mode": self.mode,
            "leader_sig": order.leader_sig,
            "leader": order.leader,
            "mint": order.mint,
            "side": order.side,
            "payload": order.document(),
        }
        signing = [_move_intent(order, "PLANNED", "SIGNED", signed.document())] if signed is not None else []
        return [("plan_intent", values), *signing]

    def _position(self, position: Position) -> dict[str, Any]:
        return {
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

    def _land(self, order: Order, landed: Landed, landing: Landing, entry: Entry) -> tuple[Change, Change]:
        values = {
            "intent_id": order.intent_id,
            "mode": self.mode,
            "position_id": order.position_id,
            "side": order.side,
            "mint": order.mint,
            "leader": order.leader,
            "sig": landing.sig,
            "slot": landing.slot,
            "ts_ns": entry.at_ns,
            **landed.document(),
            "payload": {"attempt": order.attempt, "min_out": order.min_out, "reason": order.reason},
        }
        facts: dict[str, Any] = {"landed_ts_ns": entry.at_ns, "landed_slot": landing.slot}
        if not landing.final:
            facts |= {"fill": values, "undo": None}
        return _move_intent(order, landing.was, "LANDED_OK", facts, final=landing.final), ("fill", values)


def _result(closing: Mapping[str, Any], position: Position) -> list[int]:
    return [closing["ts_ns"], closing["proceeds_lamports"] - position.cost_lamports]


def _move_intent(
    order: Order, was: IntentState, to: IntentState, facts: Mapping[str, Any], *, final: bool = True
) -> Change:
    values = {"intent_id": order.intent_id, "from": was, "to": to, "payload": dict(facts)}
    return ("move_intent", values if final else values | {"final": False})


def _move_position(position: Position, state: str) -> Change:
    values = {"position_id": position.position_id, "state": state, "payload": position.document()}
    return ("move_position", values)
