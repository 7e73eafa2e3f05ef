"""An independent ledger: one (wallet, coin) at a time, costs as overlaps of intervals, exact fractions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from typing import Any

from copytrader_core.records import WSOL
from tests.assets.planted import DAY_NS, Row, start_ns

HOUR_NS = 3_600 * 10**9


@dataclass
class Truth:
    """One expected round trip."""

    wallet: str
    mint: str
    quote_mint: str
    open_sig: str
    open_path: str
    open_slot: int
    buys: list[tuple[int, int]] = field(default_factory=list)
    legs: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    gone: int = 0
    status: str = "OPEN"
    close_sig: str | None = None
    unbacked: tuple[int, int] = (0, 0)
    other_quotes: list[str] = field(default_factory=list)

    @property
    def bought(self) -> int:
        return sum(qty for qty, _ in self.buys)

    @property
    def cost(self) -> int:
        return sum(cost for _, cost in self.buys)

    def cost_between(self, low: int, high: int) -> int:
        """The cost of the coins number `low` to `high` in the order in which they were bought, rounded down."""
        total, start = Fraction(0), 0
        for qty, cost in self.buys:
            overlap = min(high, start + qty) - max(low, start)
            if overlap > 0:
                total += Fraction(cost) * overlap / qty
            elif qty == 0 and low <= start < high:
                total += cost
            start += qty
        return math.floor(total)

    def row(self) -> dict[str, Any]:
        proceeds = sum(leg[3] for leg in self.legs)
        matched = sum(leg[4] for leg in self.legs) if self.status == "OPEN" else self.cost
        return {
            "wallet": self.wallet,
            "mint": self.mint,
            "quote_mint": self.quote_mint,
            "open_sig": self.open_sig,
            "open_path": self.open_path,
            "open_qty_raw": self.bought,
            "open_cost_raw": self.cost,
            "close_sig": self.close_sig,
            "close_qty_raw": sum(leg[2] for leg in self.legs),
            "close_proceeds_raw": proceeds,
            "pnl_raw": proceeds - matched,
            "n_buys": len(self.buys),
            "n_sells": len(self.legs),
            "status": self.status,
            "basis": "INCOMPLETE" if self.unbacked[0] or self.other_quotes else "COMPLETE",
            "legs": list(self.legs),
            "unbacked": self.unbacked,
            "other_quotes": self.other_quotes,
        }


def chain_key(row: Row) -> tuple[Any, ...]:
    index = -1 if row["tx_index"] is None else row["tx_index"]
    return (row["slot"], index, row["outer_ix"], row["inner_ix"], row["event_seq"])


def expected(
    rows: Iterable[Row], days: list[Any], dead_after_hours: float = 72.0, dead_quote: int = 10**6
) -> dict[Any, tuple[list[Any], list[Any]]]:
    """day -> (rows of trades, rows of open_positions), each sorted by key."""
    ordered = [dict(row) for row in sorted(rows, key=chain_key)]
    _charge(ordered)
    result: dict[Any, tuple[list[Any], list[Any]]] = {day: ([], []) for day in days}
    moves = [row for row in ordered if row["action"] in ("BUY", "SELL")]
    by_key = sorted(moves, key=lambda r: (r["wallet"], r["mint"]))
    for key, group in groupby(by_key, key=lambda r: (r["wallet"], r["mint"])):
        _walk(*key, list(group), ordered, days, dead_after_hours, dead_quote, result)
    order = ("wallet", "mint", "open_sig", "open_path")
    return {
        day: tuple(sorted((t for t in side), key=lambda t: [t[name] for name in order]) for side in sides)  # type: ignore[misc]
        for day, sides in result.items()
    }


def _charge(ordered: list[Row]) -> None:
    seen = set()
    for row in ordered:
        row["paid"] = 0
        if row["action"] in ("BUY", "SELL") and row["wallet"] == row["fee_payer"] and row["sig"] not in seen:
            seen.add(row["sig"])
            row["paid"] = (row["tx_fee_lamports"] + row["tip_lamports"]) if row["quote_mint"] == WSOL else 0


def _walk(wallet, mint, moves, everything, days, dead_after_hours, dead_quote, result) -> None:
    trips: dict[str, Truth] = {}
    leftovers: dict[str, int] = {}
    for day in days:
        low, high = start_ns(day), start_ns(day) + DAY_NS
        for row in (r for r in moves if low <= r["ts_ns"] < high):
            _step(wallet, mint, row, trips, leftovers, result[day][0])
        known = [r for r in everything if r["ts_ns"] < high]
        trades = [r["ts_ns"] for r in known if (r["mint"] == mint and r["action"] in ("BUY", "SELL", "SWAP"))]
        quiet = bool(trades) and high - trades[-1] >= dead_after_hours * HOUR_NS
        for quote_mint, trip in list(trips.items()) if quiet else []:
            marks = [
                r
                for r in known
                if r["mint"] == mint and r["quote_mint"] == quote_mint and r["reserve_base_raw"] is not None
            ]
            held = trip.bought - trip.gone
            if marks and _quote(marks[-1], held) < (dead_quote if quote_mint == WSOL else 1):
                trip.status = "DEAD"
                result[day][0].append(trips.pop(quote_mint).row())
        if quiet:
            leftovers.clear()
        result[day][1].extend(trip.row() for trip in trips.values())


def _quote(mark: Row, held: int) -> int:
    return int(mark["reserve_quote_raw"] * held // (mark["reserve_base_raw"] + held))


def _step(wallet, mint, row, trips, leftovers, finished):
    path = f"{row['outer_ix']}.{row['inner_ix']}.{row['event_seq']}"
    money, wanted = row["quote_mint"], row["base_raw"]
    trip = trips.get(money)
    if row["action"] == "BUY":
        if trip is None and wanted:
            trip = trips[money] = Truth(wallet, mint, money, row["sig"], path, row["slot"])
        if trip is not None:
            trip.buys.append((wanted, row["quote_raw"] + row["paid"]))
        return
    own = min(trip.bought - trip.gone, wanted) if trip else 0
    old = min(leftovers.get(money, 0), wanted - own)
    leftovers[money] = leftovers.get(money, 0) - old
    missing = wanted - own - old
    if trip is not None:
        gained = row["quote_raw"] - row["paid"]
        if missing:
            kept = math.floor(Fraction(gained * (own + old), wanted))
            trip.unbacked, gained = (missing, gained - kept), kept
        _leg(trip, row, path, own, own + old, gained, trips, leftovers, finished)
    for other in sorted(trips.values(), key=lambda t: (t.open_slot, t.open_sig, t.open_path)):
        taken = min(missing, other.bought - other.gone)
        if taken:
            other.other_quotes = [*other.other_quotes, *({money} - set(other.other_quotes))]
            _leg(other, row, path, taken, taken, 0, trips, leftovers, finished)
            missing -= taken


def _leg(trip, row, path, own, sold, gained, trips, leftovers, finished):
    cost = trip.cost_between(trip.gone, trip.gone + own)
    trip.gone += own
    left = trip.bought - trip.gone
    if left <= 1 or left * 1000 <= trip.bought:
        cost = trip.cost - sum(leg[4] for leg in trip.legs)
        trip.status, trip.close_sig = "CLOSED", row["sig"]
    trip.legs.append((row["sig"], path, sold, gained, cost))
    if trip.status == "CLOSED":
        finished.append(trips.pop(trip.quote_mint).row())
        leftovers[trip.quote_mint] = leftovers.get(trip.quote_mint, 0) + left
