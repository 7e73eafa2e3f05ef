"""Walks the executor's engine along a tape: it is woken where something can happen, and at no other place.

That is where a leader trades, where a position's price brings its exit, at the end of a slot in which an order lands or
a deadline falls. In between the engine would do nothing, so nothing is lost by leaving it asleep; what its market book
would have heard meanwhile it is asked for (`TapeBook`). No look-ahead: where a price exit falls due is searched on the
tape, but the engine decides there, on what the market then is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from copytrader_core.policy.entry import lamports, transaction_cost
from copytrader_core.records import Action, Event, Release
from copytrader_core.replay.day import TapeDay
from copytrader_core.replay.follow import NOTHING
from copytrader_core.replay.tape import Tape
from copytrader_core.settings import Settings
from executor.backtest.book import TapeBook, Watch
from executor.backtest.clock import TapeClock
from executor.backtest.memory import Line, Memory, Unattended
from executor.desk import Desk, Tally
from executor.engine import Engine
from executor.journal import Journal
from executor.orders import Position
from executor.paper import PaperBroker
from executor.positions import deadline_ns

_RUN_ID: Final = "backtest"
_BLOCK: Final = np.iinfo(np.int64).max


@dataclass(slots=True)
class _Watched:
    """Where a position's price brings its exit, and for which state of the market that holds."""

    version: int
    any_quote: bool
    slot: int
    """Of `row`, behind all where there is none."""
    row: int
    peak_x: float
    deadline: int


class Walker:
    """An engine on paper, from an empty book; days are taken in order."""

    def __init__(self, settings: Settings, heard: Callable[[Line], None] = lambda line: None) -> None:
        self.memory = Memory(heard)
        self._settings = settings
        self._clock = TapeClock()
        self._broker = PaperBroker(settings.executor)
        self._book: TapeBook | None = None
        self._watched: dict[str, _Watched] = {}
        self._noticed: int | None = None
        """The block after slots without one, whose own end is still to come."""
        self._engine: Engine | None = None

    @property
    def tally(self) -> Tally:
        """What was done so far."""
        return self._engine.desk.tally if self._engine is not None else Tally()

    @property
    def desk(self) -> Desk:
        """The desk, once a day was walked."""
        if self._engine is None:
            raise ValueError("no day has been walked yet")
        return self._engine.desk

    def walk(self, day: TapeDay, release: Release) -> None:
        """Trades one day by `release`. What is still held at its end is carried into the next."""
        engine, book = self._begin(day, release)
        self._watched.clear()
        visits = _leader_visits(day.tape, release)
        at, last = 0, int(day.slots[-1]) if len(day.slots) else -1
        while True:
            slot, row = self._attention(engine, book, day.tape)
            if at < len(visits) and (int(day.tape.slot[visits[at]]), int(visits[at])) <= (slot, row):
                self._visit(engine, book, day, int(visits[at]))
                at += 1
                while at < len(visits) and visits[at] < book.until:
                    at += 1
            elif slot > last:
                break
            elif row == _BLOCK:
                self._end_slot(engine, book, day, slot)
            else:
                self._trigger(engine, row)
                self._visit(engine, book, day, row)
        book.until = len(day.tape)
        if last >= 0:
            self._clock.pass_before(last)
            engine.on_block(last, 0)

    def finish(self) -> None:
        """Sells what is still held, at its last quote."""
        if self._engine is not None:
            self._engine.finish(flatten=True)

    def _begin(self, day: TapeDay, release: Release) -> tuple[Engine, TapeBook]:
        self._clock.take(day.slots, day.seconds)
        if self._engine is None or self._book is None:
            self._book = TapeBook(day.tape)
            switch = Unattended()
            journal = Journal(self.memory.as_wal(), "paper", _RUN_ID, lambda: switch.state)
            opening = lamports(self._settings.executor.paper_balance_sol)
            desk = Desk(journal, self._broker, self._clock, self._settings, switch, opening, self._book)
            desk.wall_ns = lambda: 0
            self._engine = Engine(desk, release)
        else:
            self._book.take(day.tape)
            self._engine.swap_release(release)
        return self._engine, self._book

    def _end_slot(self, engine: Engine, book: TapeBook, day: TapeDay, slot: int) -> None:
        """The block of a slot is over; where it has none, its end is noticed with the next one, and dealt with then."""
        self._clock.pass_before(slot)
        book.until = day.tape.end_of(slot)
        following = self._clock.slot_from(slot)
        if following == slot:
            self._noticed = None
            engine.on_block(slot, 0)
        else:
            self._noticed = following
            engine.on_slot(following)

    def _visit(self, engine: Engine, book: TapeBook, day: TapeDay, row: int) -> None:
        """The whole transaction that `row` belongs to."""
        tape = day.tape
        slot, first, end = int(tape.slot[row]), row, row + 1
        while first > 0 and tape.tx[first - 1] == tape.tx[row]:
            first -= 1
        while end < len(tape) and tape.tx[end] == tape.tx[row]:
            end += 1
        book.until = end
        self._clock.pass_before(slot)
        engine.on_transaction(slot, [_event(day, at) for at in range(first, end)], 0)

    def _attention(self, engine: Engine, book: TapeBook, tape: Tape) -> tuple[int, int]:
        """(slot, row) of what comes next by itself; the row is _BLOCK for the end of the slot."""
        desk = engine.desk
        found = (_BLOCK if self._noticed is None else self._noticed, _BLOCK)
        first = self._broker.next_due(_BLOCK)
        if first is not None:
            found = min(found, (first.due_slot, _BLOCK))
        # What has come due in a slot that is dealt with is noticed with the next block.
        next_end = self._clock.next_end
        for position in desk.holdings.open.values():
            if not position.selling:
                known = self._watch_of(position, book, tape)
                found = min(found, (max(known.deadline, next_end), _BLOCK), (known.slot, known.row))
        return found

    def _watch_of(self, position: Position, book: TapeBook, tape: Tape) -> _Watched:
        """Where the position's exit comes next; it is looked for again after a trade of ours in its coin."""
        is_waiting = position.due is not None
        version = book.version(position.mint)
        known = self._watched.get(position.position_id)
        if known is None or (known.version, known.any_quote) != (version, is_waiting):
            row, peak = book.due(position.mint, _watch(position, self._settings, any_quote=is_waiting), len(tape))
            ends = _BLOCK if is_waiting else self._clock.reached(deadline_ns(position))
            at = _BLOCK if row == NOTHING else int(tape.slot[row])
            known = self._watched[position.position_id] = _Watched(version, is_waiting, at, row, peak, ends)
        return known

    def _trigger(self, engine: Engine, row: int) -> None:
        """Positions that are woken by this row have seen their peak on the way."""
        for position in engine.desk.holdings.open.values():
            known = self._watched.get(position.position_id)
            if known is not None and known.row == row:
                position.peak_x = max(position.peak_x, known.peak_x)
                del self._watched[position.position_id]


def _watch(position: Position, settings: Settings, *, any_quote: bool) -> Watch:
    plan = position.plan
    return Watch(
        coins=position.qty_raw,
        cost_lamports=max(1, position.cost_lamports),
        tx_cost_lamports=transaction_cost(settings.executor),
        target_x=plan.target_x,
        stop_x=plan.stop_x,
        trailing_fraction=plan.trailing_fraction,
        trailing_from_x=plan.trailing_from_x,
        peak_x=position.peak_x,
        any_quote=any_quote,
    )


def _leader_visits(tape: Tape, release: Release) -> NDArray[np.int64]:
    """The rows at which leaders trade, in order."""
    leaders = np.array([wallet in release.patterns for wallet in tape.wallets], np.bool_)
    return np.flatnonzero(leaders[tape.wallet]) if len(tape) else np.zeros(0, np.int64)


def _event(day: TapeDay, row: int) -> Event:
    """A row as the engine hears it; its meta says where it stands."""
    tape = day.tape
    sig, quote_mint = day.text(row)
    action: Action = "BUY" if tape.is_buy[row] else "SELL"
    mint, index = tape.mints[tape.coin[row]], int(tape.tx_index[row])
    return Event(
        slot=int(tape.slot[row]),
        tx_index=None if index < 0 else index,
        sig=sig,
        outer_ix=0,
        inner_ix=-1,
        event_seq=0,
        wallet=tape.wallets[tape.wallet[row]],
        fee_payer="",
        program="",
        action=action,
        mint=mint,
        base_mint=mint,
        quote_mint=quote_mint,
        base_raw=int(tape.base[row]),
        quote_raw=int(tape.quote[row]),
        swap_fee_raw=None,
        tx_fee_lamports=0,
        tip_lamports=0,
        reserve_base_raw=None,
        reserve_quote_raw=None,
        amount_in=None,
        amount_out=None,
        price_est=None,
        fee_sol=0.0,
        meta={"row": row},
    )
