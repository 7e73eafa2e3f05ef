"""A second market, by other mechanisms: wallets react with delays to prices that a crowd makes, and miss their aims.

planted_trips draws outcomes (a hold, a multiple) and bends a price to them. Here the price comes first, from a crowd
with fat tails, and what a wallet gets out of it is what its rule finds there. Nothing was tuned on these markets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from planted_trips import DAY_NS, END_NS, EVENTS, SOL, WSOL, slot_of, trip

STYLES = ("time_stop", "target_x", "panic_dump", "scale_out", "mixed")
_RULES = ("time_stop", "target_x", "panic_dump", "scale_out", "free")
FEE = 0.0125


@dataclass
class Path:
    """Times in seconds since the open, ascending from 0, and the price after each event (1 at the open)."""

    t: np.ndarray
    price: np.ndarray

    def at(self, when: float) -> float:
        return float(self.price[np.searchsorted(self.t, when, side="right") - 1])


@dataclass
class Crowd:
    """Wallets of known style, their trips, and the events of every coin."""

    rng: np.random.Generator
    noise: float = 0.15
    n_trips: int = 60
    styles: dict[str, str] = field(default_factory=dict)
    trips: list[dict] = field(default_factory=list)
    parts: list[dict] = field(default_factory=list)

    def add(self, style: str) -> None:
        wallet = f"{style}-{len(self.styles):04d}"
        self.styles[wallet] = style
        base = float(np.exp(self.rng.uniform(np.log(6), np.log(400))))
        rules = {name: getattr(self, f"_{name}")(base) for name in _RULES}
        weights = self._mix() if style == "mixed" else [float(name == style) for name in _RULES]
        for n in range(self.n_trips):
            kind = "free" if self.rng.random() < self.noise else _RULES[self.rng.choice(len(_RULES), p=weights)]
            self._trip(wallet, n, *rules[kind]())

    def _mix(self) -> np.ndarray:
        """Shares of the rules of a mixed wallet: anything without a rule that has more than half."""
        while True:
            shares = self.rng.dirichlet(np.ones(len(_RULES)))
            if shares[:-1].max() <= 0.5:
                return shares

    def _path(self, length: float, drift: float = 0.0) -> Path:
        """A crowd's price for `length` seconds: trades at random times, moves with fat tails and changing vigour."""
        n = int(np.clip(length / self.rng.uniform(0.3, 2.0), 12, 900))
        t = np.sort(np.append(self.rng.uniform(0, length, n), 0.0))
        vigour = self.rng.uniform(0.005, 0.02) * np.exp(self.rng.normal(0, 0.3, n + 1))
        moves = self.rng.standard_t(4, n + 1) * vigour + drift / n
        moves[0] = 0
        return Path(t, np.exp(np.cumsum(np.clip(moves, -0.25, 0.25))))

    def _free_exit(self, base: float) -> float:
        return base * float(np.exp(self.rng.normal(0, 1.0)))

    def _free(self, base: float):
        def leave():
            hold = self._free_exit(base)
            return self._path(hold * 1.2, self.rng.normal(0, 0.4)), [(hold, 1.0)]

        return leave

    def _time_stop(self, base: float):
        jitter, lag = self.rng.uniform(0.03, 0.25), self.rng.uniform(0.2, 1.0)

        def leave():
            hold = base * (1 + self.rng.uniform(-jitter, jitter)) + self.rng.exponential(lag)
            return self._path(hold * 1.2, self.rng.normal(0, 0.4)), [(hold, 1.0)]

        return leave

    def _target_x(self, base: float):
        target = 1 + float(np.exp(self.rng.uniform(np.log(0.25), np.log(2.5))))

        def leave():
            while True:
                length = self._free_exit(base) * 3
                path = self._path(length, np.log(target) + self.rng.uniform(0, 0.5))
                reached = np.flatnonzero(path.price * (1 - 2 * FEE) >= target)
                if len(reached):
                    hold = path.t[reached[0]] + self.rng.uniform(0.3, 1.5)
                    return path, [(min(hold, length), 1.0)]

        return leave

    def _panic_dump(self, base: float):
        patience = self.rng.uniform(0.4, 4.0)

        def leave():
            fall_at, took = self._free_exit(base) + 2, self.rng.uniform(0.4, 3.0)
            path = self._path(fall_at + 12, self.rng.normal(-0.1, 0.3))
            depth = np.log(1 - self.rng.uniform(0.15, 0.45))
            slide = np.clip((path.t - fall_at) / took, 0, 1) * depth
            extra = fall_at + took * np.arange(1, 5) / 4
            price = np.exp(np.log(path.price) + slide)
            more = [path.at(e) * np.exp(depth * (i + 1) / 4) for i, e in enumerate(extra)]
            t, p = np.append(path.t, extra), np.append(price, more)
            order = np.argsort(t)
            hold = fall_at + took + 0.3 + self.rng.exponential(patience / 2)
            return Path(t[order], p[order]), [(min(hold, fall_at + 11), 1.0)]

        return leave

    def _scale_out(self, base: float):
        many = self.rng.integers(2, 6)

        def leave():
            n = int(np.clip(many + self.rng.integers(-1, 2), 2, 5))
            times = np.cumsum(self.rng.exponential(base / n, n) + 0.5)
            shares = self.rng.dirichlet(np.full(n, 5.0))
            return self._path(times[-1] * 1.2, self.rng.normal(0, 0.5)), list(zip(times, shares, strict=True))

        return leave

    def _trip(self, wallet: str, n: int, path: Path, sells: list[tuple[float, float]]) -> None:
        opened = END_NS - round(self.rng.uniform(0.5, 29) * DAY_NS)
        received = sum(path.at(t) * share for t, share in sells) * (1 - FEE) / (1 + FEE)
        row = trip(wallet, n, opened_ns=opened, hold_s=sells[-1][0], x=received, legs=tuple(s for _, s in sells))
        self.trips.append(row)
        self._events(row, path, sells)

    def _events(self, row: dict, path: Path, sells: list[tuple[float, float]]) -> None:
        """The crowd's events, the wallet's buy as the first of all, and its sells in the middle of theirs."""
        legs = [f"{row['wallet']}-c{row['mint'].rpartition('m')[2]}-{i}" for i in range(len(sells))]
        t = np.concatenate([path.t, [0.0], [when for when, _ in sells]])
        price = np.concatenate([path.price, [1.0], [path.at(when) * 0.98 for when, _ in sells]])
        who = [None] * len(path.t) + [row["wallet"]] * (1 + len(sells))
        sig = [f"{row['mint']}-{i}" for i in range(len(path.t))] + [row["open_sig"], *legs]
        action = ["BUY"] * (len(path.t) + 1) + ["SELL"] * len(sells)
        base = [10**10] * len(path.t) + [10**12] + [round(1e12 * share) for _, share in sells]
        self.parts.append({
            "t": t, "price": price, "wallet": who, "sig": sig, "action": action, "base": base,
            "opened": row["open_ts_ns"], "mint": row["mint"], "cost": row["open_cost_lamports"],
        })  # fmt: skip

    def events(self) -> pa.Table:
        """All events (EVENTS). The wallet's own stand last within their slot, the open first of all."""
        tables = []
        for part in self.parts:
            n = len(part["t"])
            ts = part["opened"] + np.round(part["t"] * 1e9).astype(np.int64)
            own = np.array([w is not None for w in part["wallet"]])
            first = own & (part["t"] == 0)
            tx = np.where(first, 0, np.where(own, 900, 1 + np.arange(n) % 800))
            quote = np.array(
                [
                    round(b * p / 1e12 * part["cost"] / (1 + FEE))
                    for b, p in zip(part["base"], part["price"], strict=True)
                ]
            )
            columns = {
                "ts_ns": ts, "slot": np.array([slot_of(int(x)) for x in ts]), "tx_index": tx.astype(np.int32),
                "sig": part["sig"], "outer_ix": np.zeros(n, np.int32), "inner_ix": np.full(n, -1, np.int32),
                "event_seq": np.zeros(n, np.int32), "wallet": part["wallet"], "action": part["action"],
                "mint": [part["mint"]] * n, "quote_mint": [WSOL] * n, "base_raw": np.array(part["base"], np.uint64),
                "quote_raw": quote.astype(np.uint64), "swap_fee_raw": np.round(quote * FEE).astype(np.uint64),
                "reserve_base_raw": np.full(n, 10**15, np.uint64),
                "reserve_quote_raw": np.round(part["price"] * 1e3 * SOL / (1 + FEE)).astype(np.uint64),
            }  # fmt: skip
            tables.append(pa.table({f.name: pa.array(columns[f.name], f.type) for f in EVENTS}, schema=EVENTS))
        return pa.concat_tables(tables) if tables else EVENTS.empty_table()
