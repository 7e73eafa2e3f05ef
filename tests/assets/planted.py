"""Planted markets: raw_events rows with everything that a ledger can stumble over, and their way into Postgres."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import psycopg

from copytrader_core.records import WSOL

USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGkZwyTDt1v"
DAY_NS = 86_400_000_000_000
FIRST = dt.date(2026, 3, 1)
SLOTS_PER_DAY = 216_000
CONTRACT_COLUMNS = (
    "ts_ns",
    "slot",
    "tx_index",
    "sig",
    "outer_ix",
    "inner_ix",
    "event_seq",
    "wallet",
    "alias",
    "fee_payer",
    "program",
    "action",
    "mint",
    "base_mint",
    "quote_mint",
    "base_raw",
    "quote_raw",
    "swap_fee_raw",
    "tx_fee_lamports",
    "tip_lamports",
    "reserve_base_raw",
    "reserve_quote_raw",
    "amount_in",
    "amount_out",
    "price_est",
)

Row = dict[str, Any]


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def start_ns(date: dt.date) -> int:
    return (date - dt.date(1970, 1, 1)).days * DAY_NS


def event(slot: int, action: str, base: int | None, quote: int | None, **other: Any) -> Row:
    """One row; the slot decides the time: 400 ms a slot from the first planted day on."""
    row: Row = dict.fromkeys(CONTRACT_COLUMNS)
    row |= {
        "ts_ns": start_ns(FIRST) + slot * 400_000_000 // 1_000_000_000 * 1_000_000_000,
        "slot": slot,
        "tx_index": 0,
        "sig": f"sig{slot}",
        "outer_ix": 0,
        "inner_ix": -1,
        "event_seq": 0,
        "wallet": "wallet-a",
        "program": "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P",
        "action": action,
        "mint": "coin-a",
        "quote_mint": WSOL,
        "base_raw": base,
        "quote_raw": quote,
        "swap_fee_raw": 0,
        "tx_fee_lamports": 5_000,
        "tip_lamports": 0,
        "reserve_base_raw": 10**15,
        "reserve_quote_raw": 30 * 10**9,
    }
    row |= other
    row.setdefault("fee_payer", None)
    row["fee_payer"] = other.get("fee_payer", row["wallet"])
    row["base_mint"] = row["mint"]
    return row


class Market:
    """A seeded market: every wallet knows what it holds, so that exits, dust, re-entries and oversells happen."""

    def __init__(self, seed: int, days: int, events_per_day: int, wallets: int = 8, coins: int = 5) -> None:
        self.random = random.Random(seed)
        self.wallets = [f"wallet-{n}" for n in range(wallets)]
        self.coins = [f"coin-{n}" for n in range(coins)]
        self.held: dict[tuple[str, str, str], int] = {}
        self.rows: list[Row] = []
        for number in range(days):
            self._day(number, events_per_day)

    def _day(self, number: int, wanted: int) -> None:
        low, high = number * SLOTS_PER_DAY, (number + 1) * SLOTS_PER_DAY - 1
        slots = sorted([*self.random.choices(range(low, high), k=wanted - 2), low, high])
        place: dict[int, int] = {}
        for slot in slots:
            place[slot] = place.get(slot, -1) + self.random.randint(1, 3)
            self._transaction(slot, place[slot])

    def _transaction(self, slot: int, tx_index: int) -> None:
        payer = self.random.choice(self.wallets)
        sig = f"{self.random.getrandbits(64):016x}{slot}-{tx_index}"
        fee, tip = self.random.randint(5_000, 9_000), self.random.choice([0, 0, 1_000_000])
        for place in range(self.random.choice([1, 1, 1, 2, 3])):
            who = payer if self.random.random() < 0.8 else self.random.choice(self.wallets)
            inner = self.random.choice([-1, -1, 3])
            self.rows.append(
                self._event(slot, who)
                | {"tx_index": tx_index, "sig": sig, "fee_payer": payer, "tx_fee_lamports": fee, "tip_lamports": tip}
                | {"outer_ix": place, "inner_ix": inner, "event_seq": self.random.choice([0, 0, 1])}
            )

    def _event(self, slot: int, wallet: str) -> Row:
        coin = self.random.choice(self.coins)
        quote_mint = self.random.choice([WSOL, WSOL, WSOL, USDC])
        key = (wallet, coin, quote_mint)
        held = self.held.get(key, 0)
        kind = self.random.random()
        amounts: tuple[str, int | None, int | None]
        if kind < 0.04:
            amounts = ("CREATE", None, None)
        elif kind < 0.1:
            amounts = (
                self.random.choice(["ADD", "REMOVE", "SWAP"]),
                self.random.randint(1, 10**9),
                self.random.randint(1, 10**9),
            )
        elif kind < 0.5 or (held == 0 and kind < 0.95):
            amounts = (
                "BUY",
                self.random.choice([self.random.randint(1, 10**12), 7, 0]),
                self.random.randint(0, 10**10),
            )
        else:
            amounts = ("SELL", self._sold(held), self.random.randint(0, 10**10))
        if amounts[0] == "BUY":
            self.held[key] = held + int(amounts[1] or 0)
        elif amounts[0] == "SELL":
            self.held[key] = max(0, held - int(amounts[1] or 0))
        return event(slot, *amounts, wallet=wallet, mint=coin, quote_mint=quote_mint)

    def _sold(self, held: int) -> int:
        part = self.random.random()
        if part < 0.03:
            return 0
        if part < 0.4:
            return max(1, held)
        if part < 0.5:
            return max(1, held - held // 2000)
        if part < 0.6:
            return held + self.random.randint(1, 10**6)
        return max(1, int(held * self.random.random()))


def moved_to(first: dt.date, rows: Sequence[Row]) -> list[Row]:
    """The same market, beginning on another day."""
    shift = (first - FIRST).days * SLOTS_PER_DAY
    moved = [row | {"slot": row["slot"] + shift} for row in rows]
    return [row | {"ts_ns": event(row["slot"], "BUY", 1, 1)["ts_ns"]} for row in moved]


def load(url: str, rows: Sequence[Row]) -> None:
    """Plain COPY, as other programs would do it."""
    statement = f"COPY raw_events ({', '.join(CONTRACT_COLUMNS)}) FROM STDIN"
    with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([row[name] for name in CONTRACT_COLUMNS])


def seal(url: str, *days: dt.date) -> None:
    with psycopg.connect(url) as connection:
        for date in days:
            low = start_ns(date)
            connection.execute(
                "INSERT INTO ingest_days (day, sealed_by, n_events) "
                "SELECT %s, 'test', count(*) FROM raw_events WHERE ts_ns >= %s AND ts_ns < %s "
                "ON CONFLICT (day) DO UPDATE SET n_events = excluded.n_events",
                (date, low, low + DAY_NS),
            )


def track(url: str, **wallets: str) -> None:
    with psycopg.connect(url) as connection:
        for wallet, alias in wallets.items():
            connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, %s)", (wallet.replace("_", "-"), alias))
