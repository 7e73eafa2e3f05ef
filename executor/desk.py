"""The desk: how an order leaves, lands, fails or expires, and what that does to the book. When is the engine's.

The journal's line is written before anything here changes in memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from copytrader_core.errors import QuoteError
from copytrader_core.policy.decide import decide
from copytrader_core.policy.entry import min_tokens, transaction_cost
from copytrader_core.policy.record import inputs_document
from copytrader_core.policy.values import (
    Decision,
    EntryPlan,
    ExitPlan,
    ExitReason,
    LeaderBuy,
    Now,
    TradingState,
)
from copytrader_core.records import Edge, Inflow, Pattern
from copytrader_core.settings import Settings
from executor.clock import Clock
from executor.control import Switch, flatten_done
from executor.journal import Entry, IntentState, Journal
from executor.market_book import MarketBook
from executor.orders import Order, Position, intent_id
from executor.paper import Landed, PaperBroker, Reverted
from executor.positions import Holdings

# After this attempt a sell takes whatever it gets: an exit is guaranteed work.
_LAST_BOUNDED_ATTEMPT: Final = 3


@dataclass(slots=True)
class Tally:
    """What a run did, for its summary."""

    decisions: dict[str, int] = field(default_factory=dict)
    bought: int = 0
    sold: int = 0
    reverted: int = 0
    expired: int = 0
    pnl_lamports: int = 0
    latencies_us: list[int] = field(default_factory=list)


class Desk:
    """Orders and positions of one mode."""

    def __init__(
        self,
        journal: Journal,
        broker: PaperBroker,
        clock: Clock,
        settings: Settings,
        switch: Switch,
        holdings: Holdings,
    ) -> None:
        self.journal = journal
        self.broker = broker
        self.clock = clock
        self.settings = settings
        self.switch = switch
        self.holdings = holdings
        self.market = MarketBook()
        self.tally = Tally()
        self.head_slot = 0
        self.release_id = ""

    def time_at(self, slot: int) -> int:
        """The clock's time at a slot that has been reached."""
        return self.clock.at_slot(slot)

    def consider(
        self,
        signal: LeaderBuy,
        pattern: Pattern | None,
        edges: Sequence[Edge],
        state: TradingState,
        received_ns: int,
        inflow: Inflow | None = None,
    ) -> None:
        """Decides on a leader's buy, writes the decision down with all of its numbers, and buys if it says so."""
        now = Now(self.head_slot, self.clock.now_ns())
        book = self.holdings.book(state, self.broker.orders, now.ts_ns)
        decision = decide(signal, pattern, edges, book, self.settings, now, inflow)
        latency_us = (time.time_ns() - received_ns) // 1000
        inputs = inputs_document(signal, pattern, edges, book, now, inflow)
        payload = {"inputs": inputs, "decision": asdict(decision), "latency_us": latency_us}
        order = self._buy(signal, decision.entry, decision.exit) if decision.accepted else None
        entry = self._entry("DECISION", signal, self.head_slot, payload, order)
        planned = self.journal.plan_buy(entry, order)
        self._count(decision, latency_us)
        if order is None:
            return
        if planned == "PLANNED":
            self._send(order)
        else:
            self.journal.write(self._entry(planned, order, self.head_slot, {"code": decision.code}, order))

    def sell(self, position: Position, reason: ExitReason, slot: int) -> Order | None:
        """Sends one attempt to sell with a fresh quote; None (and the exit stays due) where that is not possible."""
        market = self.market.state(position.mint)
        try:
            quoted = self.quote(position)
        except QuoteError as error:
            waiting = "WAIT_MIGRATION" if market is not None and market.complete else "NO_QUOTE"
            self._wait(position, reason, waiting, str(error))
            return None
        order = self._sell(position, reason, quoted, slot)
        position.attempts, position.due = order.attempt, reason
        payload = {"reason": reason, "attempt": order.attempt, "quoted_lamports": quoted, "min_out": order.min_out}
        entry = self._entry("EXIT", order, slot, payload, order)
        if self.switch.state == "HALTED" or not self.journal.plan_sell(entry, order, position):
            position.attempts -= 1
            self._wait(position, reason, "HALTED", "nothing is sent while HALTED")
            return None
        position.selling, position.waiting = True, None
        return order if self._send(order) else None

    def quote(self, position: Position) -> int:
        """What the whole position would bring now after swap fees. Raises QuoteError where the venue gives no quote."""
        market = self.market.state(position.mint)
        if market is None:
            raise QuoteError(f"no trade of {position.mint} has been seen by this run: its reserves are not known")
        return self.broker.quote_sell(market, position.qty_raw, position.paid_in_lamports).proceeds_lamports

    def multiple(self, position: Position) -> float | None:
        """What selling now would bring, all costs off, over what was paid; None without a quote."""
        try:
            proceeds = self.quote(position)
        except QuoteError:
            return None
        return (proceeds - transaction_cost(self.settings.executor)) / position.cost_lamports

    def land(self, order: Order, slot: int) -> None:
        """The slot in which `order` lands is complete: it goes through or reverts."""
        outcome = self.broker.land(order, self.market.state(order.mint))
        if isinstance(outcome, Reverted):
            self._reverted(order, outcome, slot)
        elif order.side == "BUY":
            self._bought(order, outcome, slot)
        else:
            self._sold(order, outcome, slot)

    def expire(self, order: Order, reason: str, was: IntentState = "SENT") -> None:
        """`order` will never land."""
        position = self.holdings.open.get(order.position_id) if order.side == "SELL" else None
        entry = self._entry("EXPIRED", order, self.head_slot, {"reason": reason}, order)
        self.journal.expired(order, was, reason, position, entry)
        self.broker.forget(order)
        self.tally.expired += 1
        if position is not None:
            position.selling = False

    def note(self, kind: str, payload: dict[str, Any]) -> None:
        """Writes down something that concerns no order."""
        self.journal.write(self._note(kind, payload))

    def flattened(self) -> None:
        """Nothing is held any more: the wish to sell everything is done."""
        self.journal.write(self._note("FLATTENED", {}), flatten_done())
        self.switch.flattened()

    def _note(self, kind: str, payload: dict[str, Any]) -> Entry:
        return Entry(kind, self.clock.now_ns(), self.head_slot, release_id=self.release_id, payload=payload)

    def _send(self, order: Order) -> bool:
        """The last look at the trading state, in the database; then the order is under way."""
        entry = self._entry("SEND", order, self.head_slot, {"due_slot": order.due_slot}, order)
        if self.journal.send(order, entry):
            self.broker.submit(order)
            return True
        self.tally.expired += 1
        position = self.holdings.open.get(order.position_id)
        if position is not None:
            position.selling = False
            self._wait(position, position.due or "kill", "HALTED", "nothing is sent while HALTED")
        return False

    def _bought(self, order: Order, landed: Landed, slot: int) -> None:
        cost = landed.quote_lamports + landed.tx_fee_lamports + landed.tip_lamports
        position = Position(
            position_id=order.position_id,
            leader=order.leader,
            leader_sig=order.leader_sig,
            mint=order.mint,
            opened_slot=slot,
            opened_ts_ns=self.time_at(slot),
            qty_raw=landed.base_raw,
            cost_lamports=cost,
            paid_in_lamports=landed.quote_lamports - landed.swap_fee_lamports,
            plan=order.exit or ExitPlan(None, None, 0, False),
        )
        entry = self._entry("FILL", order, slot, asdict(landed) | {"side": "BUY", "cost_lamports": cost}, order)
        self.journal.opened(order, landed, position, entry)
        self.broker.forget(order)
        self.holdings.open[position.position_id] = position
        self.holdings.balance_lamports -= cost
        self.tally.bought += 1

    def _sold(self, order: Order, landed: Landed, slot: int) -> None:
        position = self.holdings.open[order.position_id]
        proceeds = landed.quote_lamports - landed.tx_fee_lamports - landed.tip_lamports
        pnl = proceeds - position.cost_lamports
        payload = asdict(landed) | {"side": "SELL", "reason": order.reason, "pnl_lamports": pnl}
        entry = self._entry("FILL", order, slot, payload, order)
        self.journal.closed(order, landed, position, proceeds, slot, entry)
        self.broker.forget(order)
        del self.holdings.open[position.position_id]
        self.holdings.balance_lamports += proceeds
        self.holdings.realised(entry.at_ns, pnl)
        self.tally.sold += 1
        self.tally.pnl_lamports += pnl

    def _reverted(self, order: Order, reverted: Reverted, slot: int) -> None:
        position = self.holdings.open.get(order.position_id) if order.side == "SELL" else None
        entry = self._entry("REVERTED", order, slot, asdict(reverted) | {"side": order.side}, order)
        self.journal.failed(order, reverted, position, entry)
        self.broker.forget(order)
        self.holdings.balance_lamports -= reverted.cost_lamports
        self.holdings.realised(entry.at_ns, -reverted.cost_lamports)
        self.tally.reverted += 1
        self.tally.pnl_lamports -= reverted.cost_lamports
        if position is not None:
            position.selling = False

    def _wait(self, position: Position, reason: ExitReason, waiting: str, why: str) -> None:
        """A due exit that cannot be sent stays due; it is written down once, not at every try."""
        if position.waiting == waiting and position.due == reason:
            return
        position.waiting, position.due = waiting, reason
        payload = {"reason": reason, "waiting": waiting, "why": why, "position_id": position.position_id}
        self.journal.remember(position, self._entry("WAIT", position, self.head_slot, payload))

    def _buy(self, signal: LeaderBuy, plan: EntryPlan | None, exit_plan: ExitPlan | None) -> Order | None:
        if plan is None:
            return None
        identity = intent_id(self.journal.mode, "BUY", signal.sig, signal.mint)
        return Order(
            intent_id=identity,
            side="BUY",
            mint=signal.mint,
            leader=signal.leader,
            leader_sig=signal.sig,
            position_id=identity,
            amount_in=plan.spend_lamports,
            min_out=plan.min_tokens_raw,
            decided_slot=self.head_slot,
            due_slot=self.head_slot + self.settings.executor.paper_latency_slots,
            exit=exit_plan,
        )

    def _sell(self, position: Position, reason: ExitReason, quoted: int, slot: int) -> Order:
        attempt = position.attempts + 1
        return Order(
            intent_id=intent_id(self.journal.mode, "SELL", position.position_id, position.mint, attempt),
            side="SELL",
            mint=position.mint,
            leader=position.leader,
            leader_sig=position.leader_sig,
            position_id=position.position_id,
            amount_in=position.qty_raw,
            min_out=self._least_proceeds(quoted, attempt),
            decided_slot=slot,
            due_slot=slot + self.settings.executor.paper_latency_slots,
            attempt=attempt,
            reason=reason,
            paid_in_lamports=position.paid_in_lamports,
        )

    def _least_proceeds(self, quoted: int, attempt: int) -> int:
        """The bound widens with each attempt, until anything is taken."""
        if attempt > _LAST_BOUNDED_ATTEMPT:
            return 1
        policy = self.settings.policy
        return min_tokens(quoted, min(policy.base_slippage_bps * attempt, policy.max_slippage_bps))

    def _count(self, decision: Decision, latency_us: int) -> None:
        self.tally.decisions[decision.code] = self.tally.decisions.get(decision.code, 0) + 1
        self.tally.latencies_us.append(latency_us)

    def _entry(
        self,
        kind: str,
        about: LeaderBuy | Order | Position,
        slot: int,
        payload: dict[str, Any],
        order: Order | None = None,
    ) -> Entry:
        return Entry(
            kind=kind,
            at_ns=self.time_at(slot),
            slot=slot,
            leader_sig=about.sig if isinstance(about, LeaderBuy) else about.leader_sig,
            leader=about.leader,
            mint=about.mint,
            intent_id=order.intent_id if order else None,
            release_id=self.release_id,
            payload=payload,
        )
