"""The ledger: events in chain order -> round trips, matched first in, first out, in exact integers.

A position is kept per (wallet, mint, quote_mint), across both venues. Only BUY and SELL move it: a SWAP has no price
in money, and ADD and REMOVE change what is held without buying or selling. Coins bought for one money and sold for
another leave their trip at a price that its money cannot express: it shrinks, and is INCOMPLETE from then on.
Not here: Arrow (trip_rows.py), days, files, publishing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple

from copytrader_core.records import WSOL
from copytrader_core.settings import LedgerSettings

Key = tuple[str, str, str]
_DEFAULT_DECIMALS = 6
_NS_PER_HOUR = 3_600_000_000_000


class Movement(NamedTuple):
    """What the ledger reads of an event; the fields are raw_events columns of the same names."""

    slot: int
    sig: str
    outer_ix: int
    inner_ix: int
    event_seq: int
    ts_ns: int
    wallet: str
    alias: str | None
    fee_payer: str | None
    action: str
    mint: str | None
    quote_mint: str | None
    base_raw: int | None
    quote_raw: int | None
    tx_fee_lamports: int | None
    tip_lamports: int | None
    reserve_base_raw: int | None
    reserve_quote_raw: int | None
    amount_in: float | None
    amount_out: float | None

    @property
    def path(self) -> str:
        """Where in its transaction the event stands: "outer.inner.seq"."""
        return f"{self.outer_ix}.{self.inner_ix}.{self.event_seq}"


@dataclass(slots=True)
class Lot:
    """One buy: `qty_raw` coins for `cost_raw`, of which `left_raw` are not yet matched."""

    qty_raw: int
    cost_raw: int
    left_raw: int


class Leg(NamedTuple):
    """One sell of a round trip with the cost that it matched; no proceeds if it was paid in another quote."""

    sig: str
    path: str
    ts_ns: int
    qty_raw: int
    proceeds_raw: int
    cost_raw: int


@dataclass(slots=True)
class Trip:
    """A round trip, open or finished. Amounts in raw units of `mint` and `quote_mint`."""

    wallet: str
    alias: str | None
    mint: str
    quote_mint: str
    open_sig: str
    open_path: str
    open_ts_ns: int
    open_slot: int
    decimals: int = _DEFAULT_DECIMALS
    bought_raw: int = 0
    cost_raw: int = 0
    held_raw: int = 0
    sold_raw: int = 0
    proceeds_raw: int = 0
    n_buys: int = 0
    # Network fees and tips of a trip that is not paid in SOL: they cannot be added to its cost.
    fee_lamports: int = 0
    status: Literal["OPEN", "CLOSED", "DEAD"] = "OPEN"
    close_sig: str | None = None
    close_ts_ns: int | None = None
    close_slot: int | None = None
    unbacked_qty_raw: int = 0
    unbacked_proceeds_raw: int = 0
    # What else its coins were sold for.
    other_quotes: list[str] = field(default_factory=list)
    died_ts_ns: int | None = None
    lots: deque[Lot] = field(default_factory=deque)
    legs: list[Leg] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """What a position is kept by."""
        return (self.wallet, self.mint, self.quote_mint)

    @property
    def matched_raw(self) -> int:
        """The cost that its sells have matched: all of it once it is finished."""
        return self.cost_raw if self.status != "OPEN" else sum(leg.cost_raw for leg in self.legs)

    @property
    def is_complete(self) -> bool:
        """No more was sold than was seen bought, and all of it for the trip's own quote."""
        return self.unbacked_qty_raw == 0 and not self.other_quotes

    @property
    def age(self) -> tuple[int, str, str, str]:
        """Sorts trips from the oldest on, by nothing but themselves."""
        return (self.open_slot, self.open_sig, self.open_path, self.wallet)

    def add(self, lot: Lot) -> None:
        """One more buy."""
        self.bought_raw += lot.qty_raw
        self.held_raw += lot.qty_raw
        self.cost_raw += lot.cost_raw
        self.n_buys += 1
        self.lots.append(lot)

    def match(self, qty_raw: int) -> int:
        """Takes `qty_raw` coins out of the oldest lots and returns their cost, rounded down once for the whole leg."""
        whole, part = 0, Fraction(0)
        self.held_raw -= qty_raw
        while qty_raw:
            lot = self.lots[0]
            taken = min(qty_raw, lot.left_raw)
            if taken == lot.qty_raw:
                whole += lot.cost_raw
            else:
                part += Fraction(lot.cost_raw * taken, lot.qty_raw)
            lot.left_raw -= taken
            qty_raw -= taken
            if not lot.left_raw:
                self.lots.popleft()
        return whole + math.floor(part)


class Mark(NamedTuple):
    """The last seen reserves of a coin against one quote, raw."""

    base_raw: int
    quote_raw: int

    def sell_quote(self, qty_raw: int) -> int:
        """What `qty_raw` coins would fetch from these reserves, before fees (x * y = k)."""
        total = self.base_raw + qty_raw
        return self.quote_raw * qty_raw // total if total else 0


@dataclass(slots=True)
class Carry:
    """Everything that a day needs of the days before it.

    `written_off` are coins that a finished trip left behind as dust: they have no cost, and they back a later sale only
    after the coins that a new trip bought. `last_trade_ns` and `marks` are kept for the coins of both.
    """

    trips: dict[Key, Trip] = field(default_factory=dict)
    written_off: dict[Key, int] = field(default_factory=dict)
    last_trade_ns: dict[str, int] = field(default_factory=dict)
    marks: dict[tuple[str, str], Mark] = field(default_factory=dict)

    def in_order(self) -> list[Trip]:
        """The open trips, the oldest first."""
        return sorted(self.trips.values(), key=lambda trip: trip.age)

    def drop_unheld(self) -> None:
        """Forgets the coins that nobody holds, so that a carry in memory equals one that was stored and read back."""
        held = {mint for _, mint, _ in self.trips} | {mint for _, mint, _ in self.written_off}
        open_pairs = {(mint, quote_mint) for _, mint, quote_mint in self.trips}
        self.last_trade_ns = {mint: ts for mint, ts in self.last_trade_ns.items() if mint in held}
        self.marks = {pair: mark for pair, mark in self.marks.items() if pair in open_pairs}


@dataclass(slots=True)
class Folded:
    """What one day did: trips in the order of their end, and coins that left without being seen to arrive."""

    finished: list[Trip] = field(default_factory=list)
    unbacked_qty_raw: int = 0
    forgotten_qty_raw: int = 0


def fold(carry: Carry, movements: Iterable[Movement], day_end_ns: int, rules: LedgerSettings) -> Folded:
    """Moves `carry` over one day's events, which must be in chain order, and returns what finished.

    `carry` is changed in place: it is the state at the end of the day afterwards.
    """
    ledger = _Ledger(carry, Fraction(str(rules.dust_fraction)), rules.dust_raw)
    for movement in movements:
        ledger.see(movement)
    ledger.bury(day_end_ns, math.ceil(rules.dead_after_hours * _NS_PER_HOUR), rules.dead_quote_lamports)
    return ledger.folded


class _Ledger:
    """The fold's working state of one day."""

    def __init__(self, carry: Carry, dust_fraction: Fraction, dust_raw: int) -> None:
        self.carry = carry
        self.folded = Folded()
        self._dust_fraction = dust_fraction
        self._dust_raw = dust_raw
        # A transaction lies within one slot and so within one day.
        self._charged: set[str] = set()
        # The quotes of each coin's open trips; what has closed since may still be among them.
        self._quotes: dict[str, set[str]] = {}
        for _, mint, quote_mint in carry.trips:
            self._quotes.setdefault(mint, set()).add(quote_mint)

    def see(self, move: Movement) -> None:
        """One event, in chain order."""
        if move.mint is None or move.quote_mint is None:
            return
        if move.reserve_base_raw is not None and move.reserve_quote_raw is not None:
            self.carry.marks[move.mint, move.quote_mint] = Mark(move.reserve_base_raw, move.reserve_quote_raw)
        if move.action in ("BUY", "SELL", "SWAP"):
            self.carry.last_trade_ns[move.mint] = move.ts_ns
        if move.action == "SWAP":
            self.carry.last_trade_ns[move.quote_mint] = move.ts_ns
        if move.base_raw is not None and move.action == "BUY":
            self._buy(move, self._fees(move))
        elif move.base_raw is not None and move.action == "SELL":
            self._sell(move, self._fees(move))

    def bury(self, day_end_ns: int, dead_after_ns: int, dead_quote: int) -> None:
        """The day's end: bags of dead coins become losses, and leftovers of coins that nobody trades are forgotten."""
        oldest = day_end_ns - dead_after_ns
        last = self.carry.last_trade_ns
        for trip in [t for t in self.carry.in_order() if last[t.mint] <= oldest]:
            if self._is_worthless(trip, dead_quote):
                trip.died_ts_ns = day_end_ns
                self._finish(trip, "DEAD")
        for key in [k for k in self.carry.written_off if last[k[1]] <= oldest]:
            self.folded.forgotten_qty_raw += self.carry.written_off.pop(key)
        self.carry.drop_unheld()

    def _is_worthless(self, trip: Trip, dead_quote: int) -> bool:
        # Unknown reserves are not an empty pool. Without SOL there is no threshold: nothing at all must be bid.
        mark = self.carry.marks.get((trip.mint, trip.quote_mint))
        if mark is None:
            return False
        return mark.sell_quote(trip.held_raw) < (dead_quote if trip.quote_mint == WSOL else 1)

    def _fees(self, move: Movement) -> int:
        """The transaction's fee and tip, for the paying wallet's first BUY or SELL in it, else 0."""
        if move.wallet != move.fee_payer or move.sig in self._charged:
            return 0
        self._charged.add(move.sig)
        return (move.tx_fee_lamports or 0) + (move.tip_lamports or 0)

    def _buy(self, move: Movement, fee_lamports: int) -> None:
        assert move.mint is not None and move.quote_mint is not None and move.base_raw is not None
        key = (move.wallet, move.mint, move.quote_mint)
        trip = self.carry.trips.get(key)
        if trip is None:
            if not move.base_raw:
                return
            trip = self.carry.trips[key] = _opened(move, key)
            self._quotes.setdefault(move.mint, set()).add(move.quote_mint)
        cost = (move.quote_raw or 0) + _in_quote(trip, fee_lamports)
        trip.alias = trip.alias or move.alias
        trip.add(Lot(move.base_raw, cost, move.base_raw))

    def _sell(self, move: Movement, fee_lamports: int) -> None:
        assert move.mint is not None and move.quote_mint is not None and move.base_raw is not None
        key = (move.wallet, move.mint, move.quote_mint)
        trip = self.carry.trips.get(key)
        matched = min(move.base_raw, trip.held_raw) if trip is not None else 0
        backed = matched + self._take_written_off(key, move.base_raw - matched)
        unbacked = move.base_raw - backed
        if trip is not None:
            proceeds = (move.quote_raw or 0) - _in_quote(trip, fee_lamports)
            if unbacked:
                trip.unbacked_qty_raw = unbacked
                trip.unbacked_proceeds_raw = proceeds - proceeds * backed // move.base_raw
            self._leave(trip, move, matched, backed, proceeds - trip.unbacked_proceeds_raw)
        if unbacked:
            self.folded.unbacked_qty_raw += self._leave_others(move, unbacked)

    def _leave_others(self, move: Movement, wanted_raw: int) -> int:
        """Takes coins out of the wallet's trips in other quotes, oldest first, and returns how many none of them held.

        What was paid for them is in no trip's money: their cost is matched by nothing.
        """
        assert move.mint is not None and move.quote_mint is not None
        keys = [(move.wallet, move.mint, quote) for quote in self._quotes.get(move.mint, ())]
        for trip in sorted((self.carry.trips[key] for key in keys if key in self.carry.trips), key=lambda t: t.age):
            taken = min(wanted_raw, trip.held_raw)
            if taken:
                if move.quote_mint not in trip.other_quotes:
                    trip.other_quotes.append(move.quote_mint)
                self._leave(trip, move, taken, taken, 0)
                wanted_raw -= taken
        return wanted_raw

    def _leave(self, trip: Trip, move: Movement, matched_raw: int, sold_raw: int, received_raw: int) -> None:
        """One more leg; the trip closes where it leaves no more than dust."""
        trip.sold_raw += sold_raw
        trip.proceeds_raw += received_raw
        trip.legs.append(Leg(move.sig, move.path, move.ts_ns, sold_raw, received_raw, trip.match(matched_raw)))
        if self._is_dust(trip.held_raw, trip.bought_raw):
            self._close(trip, move)

    def _is_dust(self, left_raw: int, bought_raw: int) -> bool:
        return left_raw <= self._dust_raw or left_raw <= self._dust_fraction * bought_raw

    def _close(self, trip: Trip, move: Movement) -> None:
        before = sum(leg.cost_raw for leg in trip.legs[:-1])
        trip.legs[-1] = trip.legs[-1]._replace(cost_raw=trip.cost_raw - before)
        trip.close_sig, trip.close_ts_ns, trip.close_slot = move.sig, move.ts_ns, move.slot
        self._finish(trip, "CLOSED")

    def _finish(self, trip: Trip, status: Literal["CLOSED", "DEAD"]) -> None:
        trip.status = status
        if trip.held_raw:
            self.carry.written_off[trip.key] = self.carry.written_off.get(trip.key, 0) + trip.held_raw
        del self.carry.trips[trip.key]
        self.folded.finished.append(trip)

    def _take_written_off(self, key: Key, wanted_raw: int) -> int:
        """Uses up to `wanted_raw` written-off coins and returns how many there were."""
        there = self.carry.written_off.get(key, 0)
        taken = min(there, wanted_raw)
        if taken and taken == there:
            del self.carry.written_off[key]
        elif taken:
            self.carry.written_off[key] = there - taken
        return taken


def _opened(move: Movement, key: Key) -> Trip:
    wallet, mint, quote_mint = key
    return Trip(wallet, move.alias, mint, quote_mint, move.sig, move.path, move.ts_ns, move.slot, _decimals(move))


def _in_quote(trip: Trip, fee_lamports: int) -> int:
    """The fee in the trip's own money: all of it for SOL, else 0 and it is only noted."""
    if trip.quote_mint == WSOL:
        return fee_lamports
    trip.fee_lamports += fee_lamports
    return 0


def _decimals(move: Movement) -> int:
    """The coin's decimals, read off the buy's human amount; pump.fun's 6 where there is none. For reading only."""
    if not move.amount_out or not move.base_raw or move.amount_out < 0 or not math.isfinite(move.amount_out):
        return _DEFAULT_DECIMALS
    guess = round(math.log10(move.base_raw / move.amount_out))
    return guess if 0 <= guess <= 18 else _DEFAULT_DECIMALS
