"""What the chain says of our own orders, turned into what it means for the book: landed, confirmed, taken back, void.

The stream is heard at processed: what it shows stands at once, and is taken back where the cluster leaves that fork.
Truth about balances is applied here too. No sockets here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from copytrader_core.errors import QuoteError
from copytrader_core.policy.escalation import dearest_exit
from copytrader_core.policy.market import quote_sell
from copytrader_core.policy.values import ExitPlan
from copytrader_core.solana.transaction import RawTransaction
from executor.accounts import CoinNews
from executor.broker import Landed, Reverted
from executor.control import Control
from executor.engine import Engine
from executor.fills import Failure, outcome_of
from executor.forks import Forks
from executor.live import Flight, LiveBroker, Outcome
from executor.orders import Position, intent_id, order_from, signed_from
from executor.reconcile import Truth, by_mint
from executor.trips import Trips

# A balance is judged only where nothing of ours has moved it for so long before it was asked for.
_QUIET_SECONDS: Final = 5.0
_LOOKS: Final = 2
_NEVER: Final = (float("-inf"), 0)
# From this silence of the stream on the nodes are asked for the reserves of what is held.
_SILENT_MS: Final = 2_500


class ChainEvents:
    """Beside an engine that trades live."""

    def __init__(self, engine: Engine, broker: LiveBroker) -> None:
        self.forks = Forks()
        self._engine = engine
        self._desk = engine.desk
        self._broker = broker
        self._trips = Trips()
        self._moved: dict[str, tuple[float, int]] = {}
        """When, and in which slot, something of ours moved each coin last."""
        self._moved_last: tuple[float, int] = _NEVER
        self._known_slot = 0
        """The newest slot in which an earlier run has seen something of ours move."""
        self._doubts: dict[tuple[str, int], int] = {}
        self._strangers: dict[str, tuple[str, int]] = {}
        """Coins of ours without a position that may be worth selling: mint -> account and amount."""
        self._worthless: dict[str, int] = {}
        """How many coins without a position were looked at and not worth selling."""
        self.doubted: Callable[[], None] = lambda: None
        """Called when the chain should be asked before its time."""
        engine.is_reconciled = False

    def resume(self) -> None:
        """Takes over what an earlier run left under way. Nothing is sent by this; what was never signed is over."""
        ledger = self._desk.journal.ledger
        self._known_slot = ledger.moved_slot
        for row in list(ledger.intents.values()):
            order, signed = order_from(row["payload"]), signed_from(row["payload"])
            if signed is None:
                self._desk.expire(order, "the run that planned it ended before it was signed")
                continue
            self._broker.resume(order, signed)
            if row["state"] in ("LANDED_OK", "LANDED_ERR"):
                flight = self._broker.flights[signed.signature]
                flight.landed_slot = row["payload"]["landed_slot"]
            elif order.side == "SELL" and order.position_id in self._desk.holdings.open:
                self._desk.holdings.open[order.position_id].selling = True
            if row["state"] == "SIGNED":
                self._desk.presume_sent(order)

    # --- the stream -----------------------------------------------------------------------------------------------

    def on_own(self, slot: int, signature: str, tx: RawTransaction, failure: Failure | None) -> None:
        """A transaction of ours in a block."""
        flight = self._broker.flights.get(signature)
        if flight is None:
            return
        result, problem = outcome_of(flight.order, tx, failure)
        final = self.forks.verdict(slot) == "confirmed"
        self.on_outcome(Outcome(signature, slot, result, final, problem=problem))

    def on_slot_status(self, slot: int, parent: int | None, status: str) -> None:
        """`status`: processed, confirmed or dead."""
        if parent is not None:
            self.forks.block(slot, parent)
        if status == "dead":
            self.forks.kill(slot)
        elif status == "confirmed":
            self.forks.confirm(slot)
            self._broker.head.confirm(slot)
        if status != "processed":
            self._review()

    def _review(self) -> None:
        """Landed orders whose block is confirmed by now, and those whose block is gone.

        What is gone is taken back first, the newest first; only then does what has been seen elsewhere land again.
        """
        landed = [flight for flight in self._broker.flights.values() if flight.landed_slot is not None]
        gone = [flight for flight in landed if self.forks.verdict(flight.landed_slot or 0) == "gone"]
        for flight in sorted(gone, key=lambda one: -(one.landed_slot or 0)):
            self._take_back(flight)
        for flight in gone:
            self._land_again(flight)
        for flight in list(self._broker.flights.values()):
            if flight.landed_slot is not None and self.forks.verdict(flight.landed_slot) == "confirmed":
                self._desk.confirm(flight.order, flight.landed_slot)

    def _take_back(self, flight: Flight) -> None:
        slot = flight.landed_slot or 0
        flight.sightings.pop(slot, None)
        flight.landed_slot, flight.voids = None, 0
        self._desk.roll_back(flight.order, slot)
        self._touch(flight, slot)
        for other in list(self._broker.flights.values()):
            # Another attempt has sold what this one had sold before it: now it is that one's sale that counts.
            same = other.order.position_id == flight.order.position_id and other.order.side == "SELL"
            if same and other.landed_slot is not None and self._desk.landed_aside(other.order):
                at = other.landed_slot
                result = other.sightings.get(at)
                self._take_back(other)
                if result is not None:
                    self._land(other, Outcome(other.signed.signature, at, result, final=False))

    def _land_again(self, flight: Flight) -> None:
        """By another block that holds it, if one was seen that is not gone too."""
        for slot, result in sorted(flight.sightings.items()):
            if flight.landed_slot is None and self.forks.verdict(slot) != "gone":
                self._land(flight, Outcome(flight.signed.signature, slot, result, final=False))

    # --- outcomes -------------------------------------------------------------------------------------------------

    def on_outcome(self, outcome: Outcome) -> None:
        """What the stream or a node has said of a signature."""
        flight = self._broker.flights.get(outcome.signature)
        if flight is None:
            return
        if outcome.result is None:
            self._void(flight, outcome)
        elif flight.landed_slot is None:
            self._land(flight, outcome)
        elif outcome.slot == flight.landed_slot or (outcome.final and _same(flight, outcome)):
            if outcome.final:
                self._desk.confirm(flight.order, outcome.slot)
        else:
            flight.sightings[outcome.slot] = outcome.result
            if outcome.final:
                self._take_back(flight)
                self._land(flight, outcome)

    def _land(self, flight: Flight, outcome: Outcome) -> None:
        result = outcome.result
        if result is None:
            return
        flight.sightings[outcome.slot] = result
        if flight.order.side == "MIGRATE" and not outcome.final and isinstance(result, Landed):
            # It costs next to nothing and trades nothing: it is booked once it stays.
            flight.landed_slot = None
            return
        self._touch(flight, outcome.slot)
        self._desk.settle(flight.order, result, outcome.slot, sig=flight.signed.signature, final=outcome.final)
        flight.landed_slot = outcome.slot
        if isinstance(result, Reverted):
            self._trip(self._trips.failed(result))
            if self.needs_truth:
                self.doubted()
        else:
            self._trips.landed()
        if outcome.problem is not None:
            self._trip(f"a fill without a readable event: {outcome.problem}")

    def _void(self, flight: Flight, outcome: Outcome) -> None:
        if flight.landed_slot is not None:
            if flight.landed_slot and self.forks.verdict(flight.landed_slot) == "confirmed":
                return
            self._take_back(flight)
            self._land_again(flight)
            if flight.landed_slot is not None:
                return
        if not outcome.final:
            # Under a nonce it may still land: it is sent again.
            return
        self._touch(flight, self._desk.head_slot)
        self._desk.expire(flight.order, outcome.reason)
        if flight.signed.nonce is None:
            # Under a nonce it is void because another attempt was first: nothing is lost.
            self._trip(self._trips.expired(flight.order))

    def _touch(self, flight: Flight, slot: int) -> None:
        """Whatever the chain held before this slot and this moment is no truth about this coin any more."""
        self._moved[flight.order.mint] = self._moved_last = (self._broker.time(), slot)

    def _trip(self, reason: str | None) -> None:
        if reason is not None:
            self.trip(reason)

    def trip(self, reason: str) -> None:
        """Stops buying until somebody resumes; exits go on."""
        if self._desk.switch.trip(Control("REDUCING", False, f"tripped: {reason}")):
            self._desk.note("TRIPPED", {"reason": reason})

    @property
    def needs_truth(self) -> bool:
        """Whether the chain has to be asked what we hold, again and soon."""
        doubted = any(position.is_doubted for position in self._desk.holdings.open.values())
        return doubted or not self._engine.is_reconciled or bool(self._doubts) or bool(self._strangers)

    def on_drift(self, reason: str | None) -> None:
        """The canary has tried our transactions on today's programs."""
        if reason != self._desk.drift:
            self._desk.drift = reason
            self._desk.note("DRIFT", {"reason": reason})

    # --- the truth ------------------------------------------------------------------------------------------------

    def on_coin(self, mint: str, news: CoinNews | None) -> None:
        """A coin as its accounts show it; None: no node can read it as a coin of ours to trade."""
        if news is not None:
            self._desk.learn(news.coin, news.market)
        if mint in self._strangers:
            account, amount = self._strangers.pop(mint)
            self._receive(mint, account, amount, news)
        self._engine.on_tick()

    def wanted(self) -> list[str]:
        """Coins whose accounts somebody waits for."""
        held = self._desk.holdings.open.values()
        waiting = {
            position.mint
            for position in held
            if position.waiting is not None
            or self._desk.market.state(position.mint) is None
            or (position.coin is None and self._desk.coins.document(position.mint) is None)
        }
        if self._engine.stream_age_ms > _SILENT_MS:
            waiting.update(position.mint for position in held)
        return sorted(waiting | set(self._strangers) | (self._desk.unsure & {position.mint for position in held}))

    def on_truth(self, truth: Truth) -> None:
        """Balances of the chain against the book. What differs in two looks, with nothing under way, is acted on.

        Nodes that are behind what an earlier run has seen may well agree with each other: what they say is the past.
        """
        if truth.slot < self._known_slot:
            return
        self._broker.has_traded |= truth.venues
        flying = {flight.order.mint for flight in self._broker.flights.values()}
        found = by_mint(truth.tokens, self._broker.owner)
        known = {position.mint for position in self._desk.holdings.open.values()}
        mints = known | set(found) | set(self._desk.journal.ledger.quarantined)
        self._doubts = {key: n for key, n in self._doubts.items() if not key[0] or key[0] in mints - flying}
        clear = True
        for mint in sorted(mints):
            account, amount = (found[mint].account, found[mint].amount_raw) if mint in found else (None, 0)
            if self._is_older(truth, self._moved.get(mint, _NEVER)):
                clear = False
                continue
            self._clear_doubt(mint, amount)
            if mint not in flying:
                clear &= self._judge(mint, str(account), amount)
        restored = any(flight.order.restored for flight in self._broker.flights.values())
        if not flying and not self._is_older(truth, self._moved_last):
            self._balance(truth)
        if clear and not restored and not self._engine.is_reconciled:
            self._engine.is_reconciled = True
            self._desk.note("RECONCILED", {"lamports": truth.lamports, "positions": len(known)})
        self._moved = {mint: at for mint, at in self._moved.items() if mint in mints or at[0] > truth.asked_at - 600.0}
        self._engine.on_tick()

    def _is_older(self, truth: Truth, moved: tuple[float, int]) -> bool:
        """Whether the truth may be from before something of ours moved: by its slot, or by when it was asked."""
        return truth.slot < moved[1] or moved[0] > truth.asked_at - _QUIET_SECONDS

    def _clear_doubt(self, mint: str, amount: int) -> None:
        """The coins are there after all."""
        positions = self._desk.holdings.in_mint(mint)
        if amount >= sum(position.qty_raw for position in positions):
            for position in positions:
                position.is_doubted = False

    def _judge(self, mint: str, account: str, amount: int) -> bool:
        """One coin; False while a difference waits for its second look."""
        positions = self._desk.holdings.in_mint(mint)
        held = sum(position.qty_raw for position in positions)
        reported = int(self._desk.journal.ledger.quarantined.get(mint, {}).get("amount_raw", 0))
        if reported and not positions and self._sells(mint) and self._worthless.get(mint) != amount:
            # Put aside by a run that was not to sell it.
            reported = 0
        if amount == held + reported:
            self._doubts = {key: n for key, n in self._doubts.items() if key[0] != mint}
            return True
        looks = self._doubts[mint, amount] = self._doubts.get((mint, amount), 0) + 1
        if looks < _LOOKS:
            self.doubted()
            return False
        del self._doubts[mint, amount]
        if positions and amount < held:
            self._missing(positions, amount)
        else:
            self._surplus(mint, account, amount - held)
        return True

    def _missing(self, positions: list[Position], amount: int) -> None:
        """Fewer coins than were thought: the oldest positions are the ones that are still there."""
        for position in positions:
            left = min(position.qty_raw, amount)
            amount -= left
            if left == 0:
                self._desk.lose(position)
            elif left < position.qty_raw:
                self._desk.resize(position, left)

    def _surplus(self, mint: str, account: str, amount: int) -> None:
        """Coins that no position accounts for: sold if they are worth it, or kept apart, as the settings say.

        What an order of ours may have brought, which was given up or lost, is ours to sell whatever they say.
        """
        if amount and self._sells(mint) and not self._desk.holdings.in_mint(mint):
            self._strangers[mint] = (account, amount)
        else:
            self._desk.quarantine(mint, account, amount)

    def _sells(self, mint: str) -> bool:
        """Whether coins of this kind that no position accounts for are to be sold."""
        return self._desk.settings.executor.unknown_balances == "sell" or mint in self._desk.journal.ledger.given_up

    def _receive(self, mint: str, account: str, amount: int, news: CoinNews | None) -> None:
        """A coin without a position has been looked at: sold if it trades and brings more than selling it costs."""
        worth = 0
        if news is not None and news.refusal is None and not self._desk.holdings.in_mint(mint):
            with suppress(QuoteError):
                worth = quote_sell(news.market, amount).proceeds_lamports
            if news.market.complete:
                worth = dearest_exit(self._desk.settings.executor) + 1
        if worth > dearest_exit(self._desk.settings.executor):
            self._desk.quarantine(mint, account, 0)
            self._adopt(mint, amount)
        else:
            self._worthless[mint] = amount
            self._desk.quarantine(mint, account, amount)

    def _adopt(self, mint: str, amount: int) -> None:
        slot = self._desk.head_slot
        origin = f"adopted at {self._desk.clock.now_ns()}"
        position = Position(
            position_id=intent_id("live", "BUY", origin, mint),
            leader="",
            leader_sig=origin,
            mint=mint,
            opened_slot=slot,
            opened_ts_ns=self._desk.clock.now_ns(),
            qty_raw=amount,
            cost_lamports=0,
            paid_in_lamports=0,
            plan=ExitPlan(None, None, 0, False, {"kill": "found on chain without a buy of ours"}),
        )
        self._desk.adopt(position)

    def _balance(self, truth: Truth) -> None:
        """The wallet's SOL: what is not explained by our lines came or went by other hands."""
        ledger = self._desk.journal.ledger
        difference = truth.lamports - ledger.cash_lamports
        self._doubts = {key: n for key, n in self._doubts.items() if key[0] or key[1] == truth.lamports}
        if difference == 0:
            return
        first = not ledger.signatures and ledger.cash_lamports == 0
        reason = "opening" if first else "not by our orders"
        looks = self._doubts["", truth.lamports] = self._doubts.get(("", truth.lamports), 0) + 1
        if first or looks >= _LOOKS:
            del self._doubts["", truth.lamports]
            self._desk.deposit(difference, reason, truth.foreign)


def _same(flight: Flight, outcome: Outcome) -> bool:
    """Whether a node's answer is about the landing that was seen, though it may name another slot."""
    return flight.landed_slot is not None and flight.sightings.get(flight.landed_slot) == outcome.result
