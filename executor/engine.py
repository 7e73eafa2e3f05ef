"""The executor's heart: what the stream shows becomes decisions, landings and exits, in the chain's order.

Time passes only through its methods: slots, blocks and ticks, one call at a time. No sockets here, no clock but the
injected one. What an order does is `executor.desk`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from copytrader_core.policy.exits import due_exit, needs_multiple
from copytrader_core.policy.record import settings_document
from copytrader_core.policy.resolved import resolved
from copytrader_core.policy.values import ExitReason, LeaderBuy, TradingState
from copytrader_core.records import Edge, Event, Release
from copytrader_core.settings import Settings
from copytrader_core.solana.transaction import RawTransaction
from executor.desk import Desk, Early
from executor.glance import Glance
from executor.ledger import DECIDED_SLOTS, decided_key
from executor.orders import Order, Position
from executor.signals import leader_buy, leader_buys, leader_sells

_NS_PER_MS: Final = 1_000_000
_SWEEP_SLOTS: Final = 9_000
_QUICK_ATTEMPTS: Final = 5
_FIRST_PAUSE_NS: Final = 500_000_000
_LONGEST_PAUSE_NS: Final = 30_000_000_000


class Engine:
    """Drives a desk by the stream."""

    def __init__(self, desk: Desk, release: Release) -> None:
        self.desk = desk
        self._decided = desk.journal.ledger.decided
        self._control = desk.switch.control
        self._next_sweep = 0
        self._first_slot: int | None = None
        self._recovered = False
        self.is_reconciled = True
        """Whether the chain has been asked what we hold; live it has to be, before anything is bought."""
        self.stream_age_ms = 0
        """How long the stream had been silent when somebody looked last."""
        self._given = desk.settings
        """The settings as they are set; the desk's say what `auto` means under the release."""
        self._is_begun = False
        self.swap_release(release)
        self._is_begun = True

    @property
    def release(self) -> Release:
        """The patterns and edges in force."""
        return self._release

    def swap_release(self, release: Release) -> None:
        """Decides by another release from now on. Positions keep the exits that they were opened with."""
        self._release = release
        self.desk.release_id = release.release_id
        before = self.desk.settings
        self.desk.settings = resolved(self._given, release)
        self.desk.broker.adopt(self.desk.settings.executor)
        if self._is_begun and self.desk.settings != before:
            self.desk.note("SETTINGS", {"settings": settings_document(self.desk.settings)})
        self._edges: dict[str, list[Edge]] = {}
        for edge in release.edges:
            self._edges.setdefault(edge.leader, []).append(edge)

    def swap_settings(self, settings: Settings) -> None:
        """Decides by other settings from now on. Positions keep the exits that they were opened with."""
        self._given = settings
        self.desk.settings = resolved(settings, self._release)
        self.desk.broker.adopt(self.desk.settings.executor)
        self.desk.note("SETTINGS", {"settings": settings_document(self.desk.settings)})

    @property
    def trading_state(self) -> TradingState:
        """What decisions go by: file and row; REDUCING until the chain's truth is known and overdue exits are out."""
        control = self.desk.switch.control
        waits = control.flatten or not self._is_active
        return "REDUCING" if control.state == "ACTIVE" and waits else control.state

    @property
    def _is_active(self) -> bool:
        """Whether overdue exits are out and the chain's truth is known."""
        return self._recovered and self.is_reconciled

    def on_transaction(
        self, slot: int, events: Sequence[Event], received_ns: int, tx: RawTransaction | None = None
    ) -> None:
        """One transaction's events in chain order. `received_ns` is when its bytes came."""
        self._advance(slot, slot - 1)
        if not events:
            return
        if tx is not None:
            for event in events:
                if event.wallet in self._release.patterns:
                    self.desk.coins.hear(tx, event)
        shown = [(event, self.desk.market.hear(event)) for event in events]
        for wallet, mint in leader_sells(events, self._release.patterns):
            for position in self.desk.holdings.in_mint(mint):
                position.leader_sold |= position.leader == wallet
            self.desk.leader_sold(wallet, mint)
        signals = leader_buys(shown, self._release.patterns)
        self._act([(signal, self._presign(signal)) for signal in signals], received_ns, {one.mint for one in events})

    def on_buy(self, buy: Glance, received_ns: int) -> None:
        """`on_transaction` for a leader's buy that was read the short way."""
        # Signed before anything else happens: by the wall's clock nothing lies before the slot that a buy could tell.
        self.desk.coins.see(buy)
        signal = leader_buy(buy, self.desk.market.see(buy.trade))
        early = self._presign(signal)
        self._advance(buy.slot, buy.slot - 1)
        self._act([(signal, early)], received_ns, {buy.trade.mint})

    def _act(self, signals: Iterable[tuple[LeaderBuy, Early | None]], received_ns: int, mints: set[str]) -> None:
        """Buys after leaders, and sells what is due by the new price of `mints` or by the clock.

        No limit counts whether a position is being sold, and a buy is in more of a hurry: it goes first.
        """
        if not self._is_active:
            # But what is overdue since before the start goes out before anything is bought.
            self._exits(mints)
        for signal, early in signals:
            self._signal(signal, received_ns, early)
        self._exits(mints)

    def _presign(self, signal: LeaderBuy) -> Early | None:
        """Bytes for the buy that a new signal is likely to make."""
        pattern = self._release.patterns.get(signal.leader)
        may_be_signed = self.desk.broker.signs and self._is_active
        if not may_be_signed or pattern is None or self._is_decided(signal):
            return None
        inflow, value = self._release.inflow.get(signal.leader), self._release.values.get(signal.leader)
        return self.desk.presign(signal, pattern, inflow, value)

    def _is_decided(self, signal: LeaderBuy) -> bool:
        return decided_key(signal.sig, signal.mint) in self._decided

    def _signal(self, signal: LeaderBuy, received_ns: int, early: Early | None) -> None:
        """A leader's buy is decided on once, whatever the stream repeats."""
        if not self._is_decided(signal):
            pattern, edges = self._release.patterns.get(signal.leader), self._edges.get(signal.leader, [])
            inflow, value = self._release.inflow.get(signal.leader), self._release.values.get(signal.leader)
            state, age = self.trading_state, self.stream_age_ms
            self.desk.consider(signal, pattern, edges, state, received_ns, inflow, age, value, early)

    def on_slot(self, slot: int) -> None:
        """The stream has begun to show `slot`."""
        self._advance(slot, slot - 1)

    def on_block(self, slot: int, block_time: int | None) -> None:
        """A slot is complete: everything of it has been shown."""
        # What lies before the slot happens by what was known before it.
        self._advance(slot, slot - 1)
        self.desk.clock.heard(slot, block_time)
        self._advance(slot, slot)
        self.on_tick()
        if slot >= self._next_sweep:
            self._sweep(slot)

    def on_tick(self) -> None:
        """Time has passed: exits that are due, those that wait for a quote included."""
        self._note_control()
        self._exits(None)

    def _note_control(self) -> None:
        """Writes a change of the trading state down, once."""
        control = self.desk.switch.control
        if control != self._control:
            self._control = control
            self.desk.note("STATE", {"state": control.state, "flatten": control.flatten, "reason": control.reason})

    def finish(self, flatten: bool) -> None:
        """The run is over. With `flatten` buys under way expire and what is held is sold at the last quote.

        Without it positions stay open and orders stay under way for the next run. HALTED sends nothing, here too.
        """
        if not flatten or self.desk.switch.control.state == "HALTED":
            return
        head = self.desk.head_slot
        for order in self.desk.broker.orders:
            if order.side == "BUY":
                self.desk.expire(order, "end_of_run")
            else:
                self.desk.land(order, head)
        for position in list(self.desk.holdings.open.values()):
            sale = self.desk.sell(position, position.due or "end_of_run", head)
            if sale is not None:
                self.desk.land(sale, head)

    def _sweep(self, slot: int) -> None:
        """Forgets what no decision needs any more, so that a run of months stays as small as one of hours."""
        self._next_sweep = slot + _SWEEP_SLOTS
        held = {position.mint for position in self.desk.holdings.open.values()}
        held.update(order.mint for order in self.desk.broker.orders)
        self.desk.market.forget(slot - _SWEEP_SLOTS, held)
        self.desk.coins.forget(held)
        for key in [key for key, at in self._decided.items() if at < slot - DECIDED_SLOTS]:
            del self._decided[key]

    def _advance(self, slot: int, shown: int) -> None:
        """The stream has reached `slot` and shown everything up to slot `shown`: what lies before happens first.

        In between lie landings and, in chain time, deadlines; each happens in its own slot, so that a stream with gaps,
        or played faster, gives the same trades as the chain gave in its own time.
        """
        if self._first_slot is None:
            # What came due before this run's stream is overdue, not something to be done in its own slot.
            self._first_slot, self.desk.head_slot = slot, shown
        tried: set[str] = set()
        since = self.desk.head_slot
        while self.desk.clock.is_set and (step := self._next_step(since, shown, tried)) is not None:
            at, what = step
            self.desk.head_slot = max(self.desk.head_slot, at)
            if isinstance(what, Order):
                self._land(what, at)
            else:
                tried.add(what.position_id)
                self._exit_if_due(what, at, at, self.desk.switch.control.flatten)
        if slot > self.desk.head_slot:
            self.desk.head_slot = slot
            self.desk.clock.heard(slot, None)

    def _next_step(self, since: int, shown: int, tried: set[str]) -> tuple[int, Order | Position] | None:
        """The first landing up to slot `shown`, or deadline after `since`; a landing before one of the same slot."""
        order = self.desk.broker.next_due(shown)
        last = shown if order is None else min(shown, order.due_slot - 1)
        found = self._next_deadline(since, last, tried)
        if found is not None:
            return found
        return None if order is None else (order.due_slot, order)

    def _next_deadline(self, since: int, last: int, tried: set[str]) -> tuple[int, Position] | None:
        """The first deadline after slot `since` and up to slot `last`; of one slot's the position opened first."""
        slot_at = self.desk.clock.slot_at
        if slot_at(0) is None:
            return None
        found, found_number = None, 0
        for ends_ns, number, position in self.desk.holdings.deadlines:
            at = slot_at(ends_ns)
            if at is None or at <= since:
                continue
            if at > last or (found is not None and at > found[0]):
                break
            is_first = found is None or number < found_number
            if is_first and position.position_id not in tried and self._may_try(position):
                found, found_number = (at, position), number
        return found

    def _land(self, order: Order, slot: int) -> None:
        """Lands an order, unless it was sent by an earlier run and its slot was not seen by this one."""
        if order.restored and self._first_slot is not None and slot < self._first_slot:
            self.desk.expire(order, f"it landed or not in slot {slot}, this run's stream began at {self._first_slot}")
        else:
            self.desk.land(order, slot)

    def _exits(self, mints: set[str] | None) -> None:
        """Sells what is due: coins of `mints` by their new price, every coin by the clock; all of both where None."""
        if not self.desk.clock.is_set:
            return
        holdings = self.desk.holdings
        # In chain time a slot's deadlines fall at its end: a transaction within it comes before them.
        is_within = mints is not None and self.desk.clock.slot_at(0) is not None
        at = self.desk.head_slot - 1 if is_within else self.desk.head_slot
        now_ns = 0 if is_within else self.desk.clock.now_ns()
        pressing = list(holdings.open.values()) if mints is None else holdings.pressing(mints, now_ns)
        if pressing:
            is_over = self.desk.switch.control.flatten
            for position in pressing:
                if self._may_try(position):
                    self._exit_if_due(position, self.desk.head_slot, at, is_over)
        if not self._recovered:
            self._recovered = True
            self.desk.note("RECOVERED", {"positions": len(self.desk.holdings.open)})
        if pressing or mints is None:
            self._note_flat()

    def _note_flat(self) -> None:
        """The wish to sell everything is done once nothing is held or under way."""
        is_flat = self.is_reconciled and not self.desk.holdings.open and not self.desk.broker.orders
        if is_flat and self.desk.switch.control.flatten:
            self.desk.flattened()

    def _may_try(self, position: Position) -> bool:
        """Whether an attempt to sell may leave: none is under way, or the one that is has had its time.

        A further attempt sells the very same coins, so that one of the two fails. Where another position holds the same
        coin both could go through: there an attempt has to come to its end first, unless one nonce lets only one land.
        """
        waited_ns = self.desk.clock.now_ns() - position.sent_ns
        if position.is_doubted or (self.desk.retries and waited_ns < _pause_ns(position.attempts)):
            return False
        if not position.selling:
            return True
        if not self.desk.retries or waited_ns < self.desk.settings.executor.exit_retry_ms * _NS_PER_MS:
            return False
        return self.desk.is_alone(position) or self.desk.broker.is_exclusive(position.position_id)

    def _exit_if_due(self, position: Position, slot: int, ended: int, is_over: bool) -> None:
        """Sells at `slot` what is due when slot `ended` is over; where all `is_over`, whatever there is."""
        reason: ExitReason | None = "flatten" if is_over else self._due(position, ended)
        if reason is not None:
            self.desk.sell(position, reason, slot)
            self._migrate_if_nobody_does(position)

    def _migrate_if_nobody_does(self, position: Position) -> None:
        """A complete curve trades nothing until it is moved into its pool, and anybody may move it."""
        after_ns = self.desk.settings.executor.migrate_after_seconds * 1_000_000_000
        waited_ns = self.desk.clock.now_ns() - max(position.waiting_ns, position.sent_ns)
        if self.desk.retries and position.waiting == "WAIT_MIGRATION" and waited_ns >= after_ns:
            self.desk.migrate(position)

    def _due(self, position: Position, slot: int) -> ExitReason | None:
        """Why the position has to be sold at `slot`. What was due once stays due, whatever the price does then."""
        if position.due is not None:
            return position.due
        open_ms = (self.desk.time_at(slot) - position.opened_ts_ns) // _NS_PER_MS
        plan = position.plan
        multiple = self.desk.multiple(position) if needs_multiple(plan) else None
        if multiple is not None and multiple > position.peak_x:
            self.desk.peak(position, multiple)
        return due_exit(plan, open_ms, multiple, position.leader_sold, position.peak_x or None)


def _pause_ns(attempts: int) -> int:
    """How long to wait after so many attempts: the price is not what fails when even any price does."""
    if attempts <= _QUICK_ATTEMPTS:
        return 0
    return min(_LONGEST_PAUSE_NS, _FIRST_PAUSE_NS << min(attempts - _QUICK_ATTEMPTS - 1, 16))
