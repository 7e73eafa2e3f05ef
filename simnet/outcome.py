"""What the planted wallets made of it: closed round trips, summed from the truth without the platform's own ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from simnet.bank import SLOT_MS, seconds_at
from simnet.truth import Truth, TruthEvent

__all__ = ["Outcome", "outcomes"]


@dataclass(slots=True)
class _Trip:
    opened_slot: int
    base: int = 0
    pnl: int = 0
    n_sells: int = 0


@dataclass(slots=True)
class Outcome:
    """A wallet's closed round trips. Profits in lamports, tx fees and tips included, rent not."""

    pnls: list[int] = field(default_factory=list)
    holds_ms: list[int] = field(default_factory=list)
    n_sells: int = 0
    n_open: int = 0

    @property
    def n_closed(self) -> int:
        """Round trips that ended with nothing left."""
        return len(self.pnls)

    @property
    def win_rate(self) -> float:
        """Share of closed trips with a profit; 0 without any."""
        return sum(pnl > 0 for pnl in self.pnls) / len(self.pnls) if self.pnls else 0.0

    @property
    def pnl_lamports(self) -> int:
        """Sum over closed trips."""
        return sum(self.pnls)

    @property
    def p50_hold_ms(self) -> int:
        """Median time from the first buy to the last sell; 0 without any."""
        return round(median(self.holds_ms)) if self.holds_ms else 0


def outcomes(truth: Truth, *, before_second: float | None = None) -> dict[str, Outcome]:
    """Outcomes by wallet name. `before_second` (unix) counts only the sessions that began before it."""
    names = {planted.wallet: planted.name for planted in truth.planted}
    results = {planted.name: Outcome() for planted in truth.planted}
    trips: dict[tuple[str, str], _Trip] = {}
    for event in _trades(truth, before_second):
        key = (event.wallet, event.mint)
        trip = trips.setdefault(key, _Trip(event.slot))
        _book(trip, event)
        if not trip.base:
            result = results[names[event.wallet]]
            result.pnls.append(trip.pnl)
            result.holds_ms.append((event.slot - trip.opened_slot) * SLOT_MS)
            result.n_sells += trip.n_sells
            del trips[key]
    for wallet, _ in trips:
        results[names[wallet]].n_open += 1
    return results


def _trades(truth: Truth, before_second: float | None) -> Iterable[TruthEvent]:
    for event in truth.events:
        if event.action in ("BUY", "SELL") and (before_second is None or seconds_at(event.slot) < before_second):
            yield event


def _book(trip: _Trip, event: TruthEvent) -> None:
    base, quote = event.base_raw or 0, event.quote_raw or 0
    sign = 1 if event.action == "BUY" else -1
    trip.base += sign * base
    trip.pnl -= sign * quote + event.tx_fee_lamports + event.tip_lamports
    trip.n_sells += event.action == "SELL"
