"""Wallets with a known way of trading, as round trips, open positions and the events behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa

SOL = 1_000_000_000
WSOL = "So11111111111111111111111111111111111111112"
AS_OF = date(2026, 3, 10)
END_NS = int(datetime(2026, 3, 11, tzinfo=UTC).timestamp()) * 1_000_000_000
DAY_NS = 86_400_000_000_000
SLOT_MS = 400
SLOT_0 = 400_000_000

_AMOUNT = pa.decimal128(38, 0)
TRIPS = pa.schema(
    [(n, pa.string()) for n in ("wallet", "alias", "mint", "quote_mint", "open_sig", "open_path")]
    + [("open_ts_ns", pa.int64()), ("open_slot", pa.int64()), ("open_qty", pa.float64()), ("open_qty_raw", _AMOUNT)]
    + [("open_cost_sol", pa.float64()), ("open_cost_lamports", pa.int64()), ("open_cost_raw", _AMOUNT)]
    + [("close_sig", pa.string()), ("close_ts_ns", pa.int64()), ("close_slot", pa.int64()), ("close_qty", pa.float64())]
    + [("close_qty_raw", _AMOUNT), ("close_proceeds_sol", pa.float64()), ("close_proceeds_lamports", pa.int64())]
    + [
        ("close_proceeds_raw", _AMOUNT),
        ("hold_ms", pa.int64()),
        ("pnl_sol", pa.float64()),
        ("pnl_lamports", pa.int64()),
    ]
    + [("pnl_raw", _AMOUNT), ("pnl_x", pa.float64()), ("was_win", pa.bool_()), ("n_buys", pa.int32())]
    + [("n_sells", pa.int32()), ("status", pa.string()), ("basis", pa.string()), ("meta_json", pa.string())]
)
EVENTS = pa.schema(
    [("ts_ns", pa.int64()), ("slot", pa.int64()), ("tx_index", pa.int32()), ("sig", pa.string())]
    + [("outer_ix", pa.int32()), ("inner_ix", pa.int32()), ("event_seq", pa.int32()), ("wallet", pa.string())]
    + [("action", pa.string()), ("mint", pa.string()), ("quote_mint", pa.string())]
    + [(n, pa.uint64()) for n in ("base_raw", "quote_raw", "swap_fee_raw", "reserve_base_raw", "reserve_quote_raw")]
)


def slot_of(ts_ns: int) -> int:
    return SLOT_0 + (ts_ns - END_NS + 60 * DAY_NS) // (SLOT_MS * 1_000_000)


def trip(wallet: str, n: int, *, opened_ns: int, hold_s: float, x: float, cost_sol: float = 1.0, **changes) -> dict:
    """One closed round trip; `legs` of `changes` are shares sold one after the other."""
    cost, legs = round(cost_sol * SOL), changes.pop("legs", (1.0,))
    closed_ns = opened_ns + round(hold_s * 1e9)
    proceeds = round(cost * x)
    sells = [{"sig": f"{wallet}-c{n}-{i}", "path": "0.-1.0", "ts_ns": closed_ns, "qty_raw": round(1e12 * share)}
             for i, share in enumerate(legs)]  # fmt: skip
    row = {
        "wallet": wallet, "alias": None, "mint": f"{wallet}-m{n}", "quote_mint": WSOL,
        "open_sig": f"{wallet}-o{n}", "open_path": "0.-1.0", "open_ts_ns": opened_ns, "open_slot": slot_of(opened_ns),
        "open_qty": 1e6, "open_qty_raw": Decimal(10**12), "open_cost_sol": cost / SOL, "open_cost_lamports": cost,
        "open_cost_raw": Decimal(cost), "close_sig": sells[-1]["sig"], "close_ts_ns": closed_ns,
        "close_slot": slot_of(closed_ns), "close_qty": 1e6, "close_qty_raw": Decimal(10**12),
        "close_proceeds_sol": proceeds / SOL, "close_proceeds_lamports": proceeds,
        "close_proceeds_raw": Decimal(proceeds), "hold_ms": (closed_ns - opened_ns) // 1_000_000,
        "pnl_sol": (proceeds - cost) / SOL, "pnl_lamports": proceeds - cost, "pnl_raw": Decimal(proceeds - cost),
        "pnl_x": proceeds / cost if cost else None, "was_win": proceeds > cost, "n_buys": 1, "n_sells": len(legs),
        "status": "CLOSED", "basis": "COMPLETE", "meta_json": json.dumps({"legs": sells}),
    }  # fmt: skip
    return row | changes


def open_trip(wallet: str, n: int, *, opened_ns: int) -> dict:
    gone = dict.fromkeys(("close_sig", "close_ts_ns", "close_slot", "hold_ms", "pnl_x", "was_win"))
    return trip(wallet, n, opened_ns=opened_ns, hold_s=0, x=0) | gone | {"status": "OPEN", "n_sells": 0}


def trips_table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TRIPS)


def events_table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=EVENTS)


def event(wallet: str, action: str, mint: str, ts_ns: int, sig: str, **columns) -> dict:
    place = {"tx_index": 5, "outer_ix": 0, "inner_ix": -1, "event_seq": 0}
    row = {"wallet": wallet, "action": action, "mint": mint, "ts_ns": ts_ns, "slot": slot_of(ts_ns), "sig": sig}
    return place | row | {"quote_mint": WSOL} | columns


@dataclass
class Planted:
    """A population of wallets: address -> style, their rows, and the price path of every coin they held."""

    rng: np.random.Generator
    noise: float = 0.1
    n_trips: int = 60
    with_path: bool = True
    styles: dict[str, str] = field(default_factory=dict)
    trips: list[dict] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)

    def add(self, style: str) -> None:
        """One wallet whose trips follow `style`, but for a share `noise` of them that follows nothing."""
        wallet = f"{style}-{len(self.styles):04d}"
        self.styles[wallet] = style
        habits = {s: self._habit(s) for s in ("time_stop", "target_x", "panic_dump", "scale_out", "free")}
        for n in range(self.n_trips):
            kind = style if style != "mixed" else self.rng.choice(list(habits))
            kind = "free" if self.rng.random() < self.noise else kind
            hold_s, x, legs, fall = habits[kind]()
            opened = END_NS - round(self.rng.uniform(0.1, 29) * DAY_NS)
            row = trip(wallet, n, opened_ns=opened, hold_s=hold_s, x=x, legs=legs, cost_sol=self.rng.uniform(0.2, 3))
            self.trips.append(row)
            if self.with_path:
                self._path(row, x, fall)

    def _habit(self, style: str):
        """A draw of (hold seconds, multiple, legs, fall just before the exit) with this wallet's own parameters."""
        r = self.rng
        base_hold, base_x = np.exp(r.uniform(np.log(4), np.log(900))), 1 + np.exp(r.uniform(np.log(0.15), np.log(4)))
        spread, jitter, drop = r.uniform(0.05, 0.2), r.uniform(0.01, 0.06), r.uniform(0.1, 0.3)

        def free_hold():
            return base_hold * np.exp(r.normal(0, 1.1))

        def free_x():
            return np.exp(r.normal(-0.05, 0.55))

        def one_leg():
            return (1.0,) if r.random() < 0.9 else (0.5, 0.5)

        def parts():
            return tuple(r.dirichlet(np.full(r.integers(2, 5), 8.0)))

        draws = {
            "time_stop": lambda: (base_hold * np.exp(r.normal(0, spread)), free_x(), one_leg(), 0.0),
            "target_x": lambda: (free_hold(), base_x * np.exp(r.normal(0, jitter)), one_leg(), 0.0),
            "panic_dump": lambda: (free_hold(), (1 - drop) * np.exp(-abs(r.normal(0, 0.2))), one_leg(), drop),
            "scale_out": lambda: (free_hold(), free_x(), parts(), 0.0),
            "free": lambda: (free_hold(), free_x(), one_leg(), r.choice([0.0, 0.15], p=[0.7, 0.3])),
        }
        return draws[style]

    def _path(self, row: dict, x: float, fall: float) -> None:
        """Prices of the coin: 1 at the open, smooth to the level before the fall, the fall seconds before the exit."""
        opened, closed, mint = row["open_ts_ns"], row["close_ts_ns"], row["mint"]
        before = x / (1 - fall)
        self._price(row["wallet"], "BUY", mint, opened, row["open_sig"], 1.0)
        for share in np.sort(self.rng.uniform(0, 1, 12)):
            at = opened + round((closed - opened) * share)
            if at < closed - 1_500_000_000:
                self._price("crowd", "BUY", mint, at, f"{mint}-{share}", before**share)
        if fall:
            at = max(opened + 1, closed - round(self.rng.uniform(0.8, 4) * 1e9))
            self._price("crowd", "SELL", mint, at, f"{mint}-fall", x)
        self._price(row["wallet"], "SELL", mint, closed, row["close_sig"], x * 0.97, tx_index=900)

    def _price(self, wallet, action, mint, at, sig, price, **columns) -> None:
        reserves = {"reserve_base_raw": 10**15, "reserve_quote_raw": round(3e10 * price)}
        amounts = {"base_raw": 10**12, "quote_raw": 10**9, "swap_fee_raw": 12_500_000}
        self.events.append(event(wallet, action, mint, at, sig, **reserves, **amounts, **columns))
