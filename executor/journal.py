"""The executor's memory in Postgres: the append-only journal, intents, fills, positions, the trading state.

Each method is one transaction, and it is committed before the caller acts on it. What was decided stands in the
journal, what is under way in `exec_intents`, what is held in `exec_positions`. No decisions here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from copytrader_core.errors import StoreError
from copytrader_core.policy.values import TradingState
from executor.orders import Mode, Order, Position
from executor.paper import Landed, Reverted
from executor.statements import statement

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


@dataclass(frozen=True, slots=True)
class Control:
    """The trading state as the row says it."""

    state: TradingState
    flatten: bool
    reason: str | None


class Journal:
    """Writes and reads one mode's tables through one connection in autocommit, used by one task at a time."""

    def __init__(self, connection: AsyncConnection[DictRow], mode: Mode, run_id: str) -> None:
        self._connection = connection
        self.mode = mode
        self.run_id = run_id

    async def write(self, entry: Entry) -> None:
        """Appends one line."""
        await self._append(entry)

    async def plan_buy(self, entry: Entry, order: Order | None) -> Planned:
        """Writes a decision and, if it is to buy, the intent.

        DUPLICATE: this leader's buy of this coin was planned before, by whatever run. BLOCKED: trading is not ACTIVE.
        """
        async with self._connection.transaction():
            state = await self._locked_state()
            await self._append(entry)
            if order is None:
                return "PLANNED"
            if state != "ACTIVE":
                return "BLOCKED"
            return "PLANNED" if await self._plan(order) else "DUPLICATE"

    async def plan_sell(self, entry: Entry, order: Order, position: Position) -> bool:
        """Writes why a position is sold, the intent, and that the position is closing. False while HALTED."""
        async with self._connection.transaction():
            if await self._locked_state() == "HALTED":
                return False
            await self._append(entry)
            if not await self._plan(order):
                raise StoreError(f"sell {order.intent_id} exists already: two executors trade on this database")
            await self._move_position(position, "CLOSING")
            return True

    async def send(self, order: Order, entry: Entry) -> bool:
        """The last look at the trading state before an order leaves; False if it forbids it: the order is EXPIRED."""
        async with self._connection.transaction():
            state = await self._locked_state()
            allowed = state == "ACTIVE" or (state == "REDUCING" and order.side == "SELL")
            await self._move_intent(order, "PLANNED", "SENT" if allowed else "EXPIRED", {"trading_state": state})
            await self._append(entry)
            return allowed

    async def opened(self, order: Order, landed: Landed, position: Position, entry: Entry) -> None:
        """A buy went through: intent, fill and position."""
        async with self._connection.transaction():
            await self._land(order, landed, position.opened_slot, position.opened_ts_ns)
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
                "payload": Jsonb(position.document()),
            }
            await self._run("open_position", values)
            await self._append(entry)

    async def closed(
        self, order: Order, landed: Landed, position: Position, proceeds_lamports: int, slot: int, entry: Entry
    ) -> None:
        """A sell went through: intent, fill and the end of the position."""
        async with self._connection.transaction():
            await self._land(order, landed, slot, entry.at_ns)
            values = {
                "position_id": position.position_id,
                "proceeds_lamports": proceeds_lamports,
                "reason": order.reason,
                "ts_ns": entry.at_ns,
                "payload": Jsonb(position.document()),
            }
            if not await self._run("close_position", values):
                raise StoreError(f"position {position.position_id} is closed already: two executors trade here")
            await self._append(entry)

    async def failed(self, order: Order, reverted: Reverted, position: Position | None, entry: Entry) -> None:
        """An order landed with an error; a position that it should have sold is open again."""
        facts = {"error": reverted.error, "cost_lamports": reverted.cost_lamports, "landed_ts_ns": entry.at_ns}
        async with self._connection.transaction():
            await self._move_intent(order, "SENT", "LANDED_ERR", facts)
            if position is not None:
                await self._move_position(position, "OPEN")
            await self._append(entry)

    async def expired(
        self, order: Order, was: IntentState, reason: str, position: Position | None, entry: Entry
    ) -> None:
        """An order can no longer land, or never left; a position that it should have sold is open again."""
        async with self._connection.transaction():
            await self._move_intent(order, was, "EXPIRED", {"error": reason})
            if position is not None:
                await self._move_position(position, "OPEN")
            await self._append(entry)

    async def remember(self, position: Position, entry: Entry) -> None:
        """Keeps what changed about a position that stays as it is."""
        async with self._connection.transaction():
            await self._move_position(position, "OPEN")
            await self._append(entry)

    async def control(self) -> Control:
        """The trading state. A missing row stops everything: a lost lock must not read as permission."""
        rows = await self._run("state", {})
        if not rows:
            return Control("HALTED", False, "the row of exec_state is missing")
        return Control(rows[0]["state"], rows[0]["flatten"], rows[0]["reason"])

    async def flatten_done(self, entry: Entry) -> None:
        """Takes the request to flatten back: nothing is held any more."""
        async with self._connection.transaction():
            await self._run("flatten_done", {})
            await self._append(entry)

    async def rows(self, name: str, **values: Any) -> list[DictRow]:
        """The rows of a reading statement of this mode."""
        return await self._run(name, {"mode": self.mode} | values)

    async def _plan(self, order: Order) -> bool:
        values = {
            "intent_id": order.intent_id,
            "mode": self.mode,
            "leader_sig": order.leader_sig,
            "leader": order.leader,
            "mint": order.mint,
            "side": order.side,
            "payload": Jsonb(order.document()),
        }
        return bool(await self._run("plan_intent", values))

    async def _land(self, order: Order, landed: Landed, slot: int, ts_ns: int) -> None:
        await self._move_intent(order, "SENT", "LANDED_OK", {"landed_ts_ns": ts_ns, "landed_slot": slot})
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
            "payload": Jsonb({"attempt": order.attempt, "min_out": order.min_out, "reason": order.reason}),
        }
        await self._run("fill", values)

    async def _move_intent(self, order: Order, was: IntentState, to: IntentState, facts: Mapping[str, Any]) -> None:
        values = {"intent_id": order.intent_id, "from": was, "to": to, "payload": Jsonb(dict(facts))}
        if not await self._run("move_intent", values):
            raise StoreError(f"intent {order.intent_id} is no longer {was}: two executors trade on this database")

    async def _move_position(self, position: Position, state: str) -> None:
        values = {"position_id": position.position_id, "state": state, "payload": Jsonb(position.document())}
        if not await self._run("move_position", values):
            raise StoreError(f"position {position.position_id} is closed already: two executors trade here")

    async def _locked_state(self) -> TradingState:
        rows = await self._run("lock_state", {})
        state: TradingState = rows[0]["state"] if rows else "HALTED"
        return state

    async def _append(self, entry: Entry) -> None:
        values = {name: getattr(entry, name) for name in Entry.__slots__}
        values |= {"run_id": self.run_id, "mode": self.mode, "payload": Jsonb(dict(entry.payload))}
        await self._run("journal", values)

    async def _run(self, name: str, values: Mapping[str, Any]) -> list[DictRow]:
        cursor = await self._connection.execute(statement(name), values)
        return await cursor.fetchall() if cursor.description else []
