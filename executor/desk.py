"""The desk: how an order is made, signed and sent, and what its end does to the book. When is the engine's.

The journal's line is written before anything here changes in memory, and before anything leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from copytrader_core.errors import QuoteError, TransactionError
from copytrader_core.policy.decide import decide
from copytrader_core.policy.entry import transaction_cost
from copytrader_core.policy.escalation import affordable, exit_terms, is_urgent, min_out
from copytrader_core.policy.landing import likely_slots
from copytrader_core.policy.market import MarketState, quote_sell
from copytrader_core.policy.promptly import prompt_entry
from copytrader_core.policy.record import decision_document, inputs_document
from copytrader_core.policy.values import (
    Book,
    Decision,
    ExitPlan,
    ExitReason,
    LeaderBuy,
    Now,
    Plans,
    TradingState,
)
from copytrader_core.records import CopyValue, Edge, Inflow, Pattern
from copytrader_core.settings import Settings
from copytrader_core.solana.coins import Coin
from executor.broker import Broker, Landed, Reverted
from executor.clock import Clock
from executor.coins import CoinBook, is_same_coin
from executor.control import Switch, flatten_done
from executor.journal import Entry, Journal, Landing
from executor.market_book import MarketBook
from executor.orders import IntentState, Likely, Order, Position, Presigned, Signed, intent_id
from executor.positions import Holdings, holdings_of
from executor.trips import account_holds_more, coins_are_missing

_PEAK_STEP: Final = 1.02


@dataclass(slots=True)
class Tally:
    """What a run did, for its summary."""

    decisions: dict[str, int] = field(default_factory=dict)
    bought: int = 0
    sold: int = 0
    reverted: int = 0
    expired: int = 0
    rolled_back: int = 0
    pnl_lamports: int = 0
    latencies_us: list[int] = field(default_factory=list)


class Early(NamedTuple):
    """What was signed before the decision, and when (ns UTC)."""

    bytes: Presigned
    signed_ns: int


class Desk:
    """Orders and positions of one mode."""

    def __init__(
        self,
        journal: Journal,
        broker: Broker,
        clock: Clock,
        settings: Settings,
        switch: Switch,
        opening_lamports: int,
        market: MarketBook | None = None,
    ) -> None:
        self.journal = journal
        self.broker = broker
        self.clock = clock
        self.settings = settings
        self.switch = switch
        self.market = market or MarketBook()
        self.coins = CoinBook()
        self.tally = Tally()
        self.head_slot = 0
        self.release_id = ""
        self.drift: str | None = None
        """Why the programs are no longer what this version knows; nothing is bought while there is a reason."""
        self.wall_ns: Callable[[], int] = time.time_ns
        self.retries = journal.mode == "live"
        """Whether an order may never come to an end that we hear of, so that waiting for it has to end."""
        self._multiples: dict[str, tuple[MarketState | None, int, float | None]] = {}
        """What each position was worth last, on which market."""
        self._left_early: set[str] = set()
        """Positions to be, whose leader has sold before our buy has landed."""
        self._opening_lamports = opening_lamports
        self.holdings: Holdings = self._holdings()
        self.unsure = {position.mint for position in self.holdings.open.values() if position.attempts}
        """Coins that a sale has failed with, here or before a restart: their accounts have to be read."""

    def time_at(self, slot: int) -> int:
        """The clock's time at a slot that has been reached."""
        return self.clock.at_slot(slot)

    # --- orders ---------------------------------------------------------------------------------------------------

    def consider(
        self,
        signal: LeaderBuy,
        pattern: Pattern | None,
        edges: Sequence[Edge],
        state: TradingState,
        received_ns: int,
        inflow: Inflow | None = None,
        stream_age_ms: int = 0,
        value: CopyValue | None = None,
        early: Early | None = None,
    ) -> None:
        """Decides on a leader's buy, writes the decision down with all of its numbers, and buys if it says so.

        `early` is what `presign` gave for it; an order that is another one is signed anew.
        """
        now = Now(self.head_slot, self.clock.now_ns())
        book = self._book(signal, state, now, stream_age_ms)
        decision = decide(signal, pattern, edges, book, self.settings, now, inflow, value=value)
        order, signed, why = self._buy(signal, decision.plans, now, early)
        is_early = signed is not None and early is not None and signed.holds(early.bytes)
        signed_ns = early.signed_ns if early is not None and is_early else self.wall_ns()
        latency_us = (signed_ns - received_ns) // 1000
        inputs = inputs_document(signal, pattern, edges, book, now, inflow, value)
        payload = {"inputs": inputs, "decision": decision_document(decision), "latency_us": latency_us}
        if why is not None:
            payload["not_signed"] = why
        entry = self._entry("DECISION", signal, self.head_slot, payload, order)
        planned = self.journal.plan_buy(entry, order, signed)
        self._count(decision, latency_us)
        if order is None:
            return
        if planned == "PLANNED":
            self._send(order, signed)
        else:
            self.journal.write(self._entry(planned, order, self.head_slot, {"code": decision.code}, order))

    def presign(
        self, signal: LeaderBuy, pattern: Pattern, inflow: Inflow | None, value: CopyValue | None
    ) -> Early | None:
        """The bytes of the buy that this signal is likely to make, before anything else is asked: see `promptly`.

        They leave only in an order that `decide` has accepted and whose message is the same.
        """
        likely = self._likely(signal, pattern, inflow, value)
        if likely is None:
            return None
        try:
            found = self.broker.presign(likely)
        except TransactionError:
            return None
        return None if found is None else Early(found, self.wall_ns())

    def _likely(
        self, signal: LeaderBuy, pattern: Pattern, inflow: Inflow | None, value: CopyValue | None
    ) -> Likely | None:
        entry = prompt_entry(signal, pattern, self.settings, inflow, value)
        if entry is None or signal.market is None:
            return None
        coin = self.coins.likely(signal.mint, signal.market, entry.quoted_tokens_raw)
        if coin is None:
            return None
        return Likely(signal.mint, coin, entry, self.settings.executor)

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
        try:
            signed = self.broker.sign(order)
        except TransactionError as error:
            self._wait(position, reason, "NOT_SIGNED", str(error))
            return None
        position.attempts, position.due = order.attempt, reason
        payload = {"reason": reason, "attempt": order.attempt, "quoted_lamports": quoted, "min_out": order.min_out}
        entry = self._entry("EXIT", order, slot, payload, order)
        if self.switch.state == "HALTED" or not self.journal.plan(entry, order, signed, position):
            position.attempts -= 1
            self._wait(position, reason, "HALTED", "nothing is sent while HALTED")
            return None
        position.selling, position.waiting, position.sent_ns = True, None, self.clock.now_ns()
        return order if self._send(order, signed) else None

    def migrate(self, position: Position) -> bool:
        """Moves the complete curve of a position's coin into its pool by a transaction of ours; False: not possible."""
        under_way = [order for order in self.broker.orders if order.mint == position.mint]
        coin = self.coins.document(position.mint) or position.coin
        if under_way or coin is None:
            return False
        attempt = position.attempts + 1
        identity = intent_id(self.journal.mode, "MIGRATE", position.origin, position.mint, attempt)
        order = Order(
            intent_id=identity,
            side="MIGRATE",
            mint=position.mint,
            leader=position.leader,
            leader_sig=position.leader_sig,
            position_id=position.position_id,
            amount_in=0,
            min_out=0,
            decided_slot=self.head_slot,
            due_slot=self.head_slot,
            attempt=attempt,
            reason="nobody has migrated the coin",
            priority_fee_lamports=self.settings.executor.priority_fee_lamports,
            planned_ns=self.clock.now_ns(),
            coin=coin,
        )
        try:
            signed = self.broker.sign(order)
        except TransactionError:
            return False
        position.attempts, position.sent_ns = attempt, self.clock.now_ns()
        entry = self._entry("MIGRATE", order, self.head_slot, {"attempt": attempt}, order)
        return self.journal.plan(entry, order, signed, position) and self._send(order, signed)

    def quote(self, position: Position) -> int:
        """What the whole position would bring now after swap fees. Raises QuoteError where the venue gives no quote."""
        market = self.market.state(position.mint)
        if market is None:
            raise QuoteError(f"no trade of {position.mint} has been seen by this run: its reserves are not known")
        return quote_sell(market, position.qty_raw).proceeds_lamports

    def learn(self, coin: Coin, market: MarketState) -> None:
        """A coin as its accounts show it. Where our sales said otherwise, the next one waits no longer."""
        mint = str(coin.mint)
        self.coins.learn(coin)
        self.market.learn(mint, market)
        self.unsure.discard(mint)
        document = self.coins.document(mint, market)
        for position in self.holdings.in_mint(mint):
            if document is not None and not is_same_coin(position.coin, document):
                position.coin, position.sent_ns = document, 0
                entry = self._entry("COIN", position, self.head_slot, {"coin": document})
                self.journal.remember(position, entry, selling=position.selling)

    def leader_sold(self, leader: str, mint: str) -> None:
        """A leader has left a coin that we are still buying after him."""
        for order in self.broker.orders:
            if (order.side, order.leader, order.mint) == ("BUY", leader, mint):
                self._left_early.add(order.position_id)

    def is_alone(self, position: Position) -> bool:
        """Whether our account holds this position and nothing else, and will: then a second sale of it must fail."""
        mint = position.mint
        others = mint in self.journal.ledger.quarantined or position.keeps_account
        if others or len(self.holdings.in_mint(mint)) != 1:
            return False
        return not any(order.side == "BUY" and order.mint == mint for order in self.broker.orders)

    def multiple(self, position: Position) -> float | None:
        """What selling now would bring, all costs off, over what was paid; None without a quote."""
        market = self.market.state(position.mint)
        known = self._multiples.get(position.position_id)
        if known is None or known[0] is not market or known[1] != position.qty_raw:
            known = self._multiples[position.position_id] = (market, position.qty_raw, self._multiple(position))
        return known[2]

    def _multiple(self, position: Position) -> float | None:
        try:
            proceeds = self.quote(position)
        except QuoteError:
            return None
        return (proceeds - transaction_cost(self.settings.executor)) / max(1, position.cost_lamports)

    def peak(self, position: Position, multiple: float) -> None:
        """A position has never been worth more. Written down where an exit counts on it, in steps worth a line."""
        written, position.peak_x = position.peak_written_x, multiple
        if position.plan.trailing_fraction is not None and multiple > written * _PEAK_STEP:
            position.peak_written_x = multiple
            entry = self._entry("PEAK", position, self.head_slot, {"peak_x": multiple})
            self.journal.remember(position, entry, selling=position.selling)

    # --- ends -----------------------------------------------------------------------------------------------------

    def land(self, order: Order, slot: int) -> None:
        """The end of an order of paper, by the market as it is now."""
        outcome = self.broker.land(order, self.market.state(order.mint))
        if outcome is None:
            self.expire(order, "it was never included")
        else:
            if isinstance(outcome, Landed):
                self.market.insert(order, outcome)
            self.settle(order, outcome, slot)
        is_under_way = any(other.mint == order.mint for other in self.broker.orders)
        if not is_under_way and not self.holdings.in_mint(order.mint):
            self.market.leave(order.mint)

    def settle(
        self, order: Order, outcome: Landed | Reverted, slot: int, *, sig: str | None = None, final: bool = True
    ) -> None:
        """What the chain did with an order. `final`: no fork can take it back."""
        landing = Landing(self.state_of(order), slot, sig, final)
        if isinstance(outcome, Reverted):
            self._reverted(order, outcome, landing)
        elif order.side == "BUY":
            self._bought(order, outcome, landing)
        elif order.side == "SELL":
            self._sold(order, outcome, landing)
        else:
            cost = outcome.cost_lamports + outcome.rent_lamports
            self.journal.migrated(order, outcome, landing, self._entry("MIGRATED", order, slot, {"cost": cost}, order))
            self.holdings.balance_lamports -= cost
        if final:
            self.broker.forget(order)

    def state_of(self, order: Order) -> IntentState:
        """How far an order has come, as the journal has it."""
        state: IntentState = self.journal.ledger.intents[order.intent_id]["state"]
        return state

    def expire(self, order: Order, reason: str, was: IntentState | None = None) -> None:
        """An order that can no longer land."""
        position = self._selling(order)
        entry = self._entry("EXPIRED", order, self.head_slot, {"reason": reason}, order)
        self.journal.expired(order, was or self.state_of(order), reason, position, entry)
        self.broker.forget(order)
        self._left_early.discard(order.position_id)
        self.tally.expired += 1
        if position is not None:
            # Another attempt may still be under way: the next one waits for its time.
            position.selling = any(self._selling(other) is position for other in self.broker.orders)

    def unknown(self, order: Order, reason: str) -> None:
        """Nobody knows what became of an order; it is looked for until somebody does."""
        if self.state_of(order) == "SENT":
            entry = self._entry("UNKNOWN", order, self.head_slot, {"reason": reason}, order)
            self.journal.unknown(order, "SENT", reason, entry)

    def confirm(self, order: Order, slot: int) -> None:
        """The block of a landed order cannot be left behind any more."""
        self._left_early.discard(order.position_id)
        self.journal.confirmed(order, self._entry("CONFIRMED", order, slot, {}, order))
        self.broker.forget(order)

    def roll_back(self, order: Order, slot: int) -> None:
        """The block of a landed order was left behind: as if it had not landed, and it may land again."""
        self.journal.rolled_back(order, self._entry("ROLLED_BACK", order, slot, {}, order))
        self.tally.rolled_back += 1
        kept = self.holdings
        self.holdings = self._holdings()
        selling = {one.position_id for one in self.broker.orders if one.side == "SELL" and self._is_out(one)}
        for identity, position in self.holdings.open.items():
            position.selling, position.sent_ns = identity in selling, self.clock.now_ns()
            if (before := kept.open.get(identity)) is not None:
                position.peak_x, position.leader_sold = before.peak_x, before.leader_sold
                position.is_doubted, position.keeps_account = before.is_doubted, before.keeps_account
                position.attempts = max(position.attempts, before.attempts)

    def landed_aside(self, order: Order) -> bool:
        """Whether an order's sale was booked without a position, because another attempt had sold it before."""
        intent = self.journal.ledger.intents.get(order.intent_id)
        return intent is not None and intent["state"] == "LANDED_OK" and intent["payload"].get("undo") is None

    # --- what the chain holds -------------------------------------------------------------------------------------

    def presume_sent(self, order: Order) -> None:
        """An order that was signed by a run that died: it may have left."""
        self.journal.unknown(
            order,
            "SIGNED",
            "the run that signed it ended",
            self._entry("UNKNOWN", order, self.head_slot, {"reason": "the run that signed it ended"}, order),
        )

    def adopt(self, position: Position) -> None:
        """Coins of ours that no line accounts for are sold like any other position."""
        payload = {"qty_raw": position.qty_raw, "position_id": position.position_id}
        self.journal.adopted(position, self._entry("ADOPTED", position, self.head_slot, payload))
        self.holdings.hold(position)

    def resize(self, position: Position, qty_raw: int) -> None:
        """The chain holds another number of a position's coins."""
        payload = {"was_raw": position.qty_raw, "is_raw": qty_raw, "position_id": position.position_id}
        position.qty_raw = qty_raw
        self.journal.resized(position, self._entry("RESIZED", position, self.head_slot, payload))

    def lose(self, position: Position) -> None:
        """None of a position's coins are there: it ends, and all that it had cost is a loss."""
        entry = self._entry("LOST", position, self.head_slot, {"position_id": position.position_id})
        self.journal.lost(position, entry)
        self.holdings.drop(position.position_id)
        if position.leader:
            self.holdings.realised(entry.at_ns, -position.cost_lamports, mint=position.mint, leader=position.leader)

    def quarantine(self, mint: str, account: str, amount_raw: int) -> None:
        """Coins that no position accounts for are reported and left alone; 0: there are none any more."""
        if self.journal.ledger.quarantined.get(mint, {}).get("amount_raw", 0) != amount_raw:
            entry = self.entry("QUARANTINED", {"mint": mint, "account": account, "amount_raw": amount_raw})
            self.journal.quarantined(mint, account, amount_raw, entry)

    def deposit(self, lamports: int, reason: str, foreign: Sequence[str]) -> None:
        """The balance has moved without us."""
        entry = self.entry("BALANCE", {"lamports": lamports, "reason": reason, "foreign": list(foreign[:20])})
        self.journal.cash(lamports, reason, foreign[0] if foreign else None, entry)
        self.holdings.balance_lamports += lamports

    # --- notes ----------------------------------------------------------------------------------------------------

    def note(self, kind: str, payload: dict[str, Any]) -> None:
        """Writes down something that concerns no order."""
        self.journal.write(self.entry(kind, payload))

    def flattened(self) -> None:
        """Nothing is held any more: the wish to sell everything is done."""
        self.journal.write(self.entry("FLATTENED", {}), flatten_done())
        self.switch.flattened()

    def entry(self, kind: str, payload: dict[str, Any]) -> Entry:
        """A line about no order."""
        return Entry(kind, self.clock.now_ns(), self.head_slot, release_id=self.release_id, payload=payload)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _holdings(self) -> Holdings:
        return holdings_of(self.journal.ledger, self._opening_lamports)

    def _is_out(self, order: Order) -> bool:
        return self.state_of(order) in ("SENT", "UNKNOWN")

    def _send(self, order: Order, signed: Signed | None) -> bool:
        """The last look at the trading state; then the order is under way.

        Its bytes are in the journal: that they have left is written down once they have.
        """
        was: IntentState = "PLANNED" if signed is None else "SIGNED"
        state = self.journal.may_leave(order)
        if state is not None:
            self.broker.submit(order, signed)
        entry = self._entry("SEND", order, self.head_slot, {"due_slot": order.due_slot}, order)
        if state is not None:
            self.journal.sent(order, was, entry, state)
            return True
        self.journal.stopped(order, was, entry)
        self.tally.expired += 1
        position = self._selling(order)
        if position is not None:
            position.selling = False
            self._wait(position, position.due or "kill", "HALTED", "nothing is sent while HALTED")
        return False

    def _selling(self, order: Order) -> Position | None:
        """The position that an order sells, if it is still there."""
        return self.holdings.open.get(order.position_id) if order.side == "SELL" else None

    def _bought(self, order: Order, landed: Landed, landing: Landing) -> None:
        slot, cost = landing.slot, landed.quote_lamports + landed.cost_lamports
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
            coin=order.coin,
            leader_sold=order.position_id in self._left_early,
        )
        payload = self._fill_facts(order, landed, slot) | {"side": "BUY", "cost_lamports": cost}
        self.journal.opened(order, landed, landing, position, self._entry("FILL", order, slot, payload, order))
        self.holdings.hold(position)
        self.holdings.balance_lamports -= cost + landed.rent_lamports
        self.tally.bought += 1

    def _sold(self, order: Order, landed: Landed, landing: Landing) -> None:
        position = self.holdings.open.get(order.position_id)
        proceeds = landed.quote_lamports - landed.cost_lamports
        payload = self._fill_facts(order, landed, landing.slot) | {"side": "SELL", "reason": order.reason}
        self.holdings.balance_lamports += proceeds - landed.rent_lamports
        if position is None:
            entry = self._entry("FILL", order, landing.slot, payload, order)
            self.journal.landed_aside(order, landed, landing, entry)
            return
        pnl = proceeds - position.cost_lamports
        entry = self._entry("FILL", order, landing.slot, payload | {"pnl_lamports": pnl}, order)
        self.journal.closed(order, landed, landing, position, proceeds, entry)
        self.holdings.drop(position.position_id)
        self._multiples.pop(position.position_id, None)
        if position.leader:
            self.holdings.realised(entry.at_ns, pnl, mint=position.mint, leader=position.leader)
        self.tally.sold += 1
        self.tally.pnl_lamports += pnl

    def _reverted(self, order: Order, reverted: Reverted, landing: Landing) -> None:
        position = self._selling(order)
        payload = asdict(reverted) | {"side": order.side} | self._late(order, landing.slot)
        entry = self._entry("REVERTED", order, landing.slot, payload, order)
        self.journal.failed(order, reverted, landing, position, entry)
        self.holdings.balance_lamports -= reverted.cost_lamports
        self.holdings.realised(entry.at_ns, -reverted.cost_lamports)
        self.tally.reverted += 1
        self.tally.pnl_lamports -= reverted.cost_lamports
        if position is not None:
            position.selling = False
            position.is_doubted |= coins_are_missing(reverted)
            position.keeps_account |= account_holds_more(reverted)
            self.unsure.add(position.mint)

    def _fill_facts(self, order: Order, landed: Landed, slot: int) -> dict[str, Any]:
        bought = order.side == "BUY"
        expected = {
            "base_raw": order.expected_out if bought else order.amount_in,
            "quote_lamports": order.amount_in if bought else order.expected_out,
        }
        return landed.document() | {"expected": expected, "attempt": order.attempt} | self._late(order, slot)

    def _late(self, order: Order, slot: int) -> dict[str, Any]:
        return {"slots_late": slot - order.decided_slot, "routes": self.broker.routes_of(order)}

    def _wait(self, position: Position, reason: ExitReason, waiting: str, why: str) -> None:
        """A due exit that cannot be sent stays due; it is written down once, not at every try."""
        if position.waiting == waiting and position.due == reason:
            return
        position.waiting, position.due = waiting, reason
        position.waiting_ns = self.clock.now_ns()
        payload = {"reason": reason, "waiting": waiting, "why": why, "position_id": position.position_id}
        self.journal.remember(position, self._entry("WAIT", position, self.head_slot, payload))

    def _buy(
        self, signal: LeaderBuy, plans: Plans | None, now: Now, early: Early | None
    ) -> tuple[Order | None, Signed | None, str | None]:
        """The order and its bytes, or why there are none: what cannot be signed is not bought."""
        if plans is None:
            return None, None, None
        order = self._order(signal, plans, now)
        try:
            return order, self.broker.sign(order, None if early is None else early.bytes), None
        except TransactionError as error:
            return None, None, str(error)

    def _order(self, signal: LeaderBuy, plans: Plans, now: Now) -> Order:
        """The buy of a signal as planned."""
        identity, plan = intent_id(self.journal.mode, "BUY", signal.sig, signal.mint), plans.entry
        executor = self.settings.executor
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
            due_slot=self.head_slot + likely_slots(executor, "BUY"),
            expected_out=plan.quoted_tokens_raw,
            priority_fee_lamports=executor.priority_fee_lamports,
            tip_lamports=executor.tip_lamports,
            planned_ns=now.ts_ns,
            exit=plans.exit,
            coin=self.coins.document(signal.mint, signal.market, plan.quoted_tokens_raw),
        )

    def _book(self, signal: LeaderBuy, state: TradingState, now: Now, stream_age_ms: int) -> Book:
        """What the limits count for a signal."""
        return self.holdings.book(
            state,
            self.broker.orders,
            now.ts_ns,
            stream_age_ms=stream_age_ms,
            drift=self.drift,
            locks=self.switch.locks.locks,
            first_trade=self.broker.is_first_trade(signal),
            signal=signal,
        )

    def _sell(self, position: Position, reason: ExitReason, quoted: int, slot: int) -> Order:
        attempt = position.attempts + 1
        terms = affordable(exit_terms(attempt, self.settings, urgent=is_urgent(reason)), quoted, self.settings)
        market = self.market.state(position.mint)
        coin = self.coins.document(position.mint, market) or position.coin
        if coin is not None and market is not None:
            coin = {**coin, "venue": market.venue}
        return Order(
            intent_id=intent_id(self.journal.mode, "SELL", position.origin, position.mint, attempt),
            side="SELL",
            mint=position.mint,
            leader=position.leader,
            leader_sig=position.leader_sig,
            position_id=position.position_id,
            amount_in=position.qty_raw,
            min_out=min_out(quoted, terms),
            decided_slot=slot,
            due_slot=slot + likely_slots(self.settings.executor, "SELL"),
            attempt=attempt,
            reason=reason,
            expected_out=quoted,
            priority_fee_lamports=terms.priority_fee_lamports,
            tip_lamports=terms.tip_lamports,
            planned_ns=self.clock.now_ns(),
            coin=None if coin is None else {**coin, "closes": self.is_alone(position)},
        )

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
