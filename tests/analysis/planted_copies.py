"""Planted worlds of copies: returns like those of memecoins, with edges, impact and latency decay that are known.

Most copies lose or win a little, some lose nearly all, a few per cent multiply; the spread of single returns is 0.5 to
1 and the largest of a world are beyond 20-fold. `edge` is the mean return of a copy at the reference cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pyarrow as pa

from copytrader_assets.value_schemas import COPIES
from copytrader_core.settings import CopySettings

DAY_NS = 86_400 * 10**9
SETTINGS = CopySettings()


@dataclass(frozen=True)
class Kind:
    """How copies of a kind of leader go: spread of the many, share nearly lost, share that multiplies, its tail."""

    spread: float = 0.18
    lost: float = 0.06
    won: float = 0.025
    tail: float = 1.8

    def multiples(self, rng: np.random.Generator, n: int) -> np.ndarray:
        body = np.exp(rng.normal(0, self.spread, n))
        fate = rng.random(n)
        lost, won = fate < self.lost, fate > 1 - self.won
        body[lost] = rng.uniform(0.02, 0.4, lost.sum())
        body[won] = 1.5 * (1 - rng.random(won.sum())) ** (-1 / self.tail)
        return np.minimum(body, 60.0)


USUAL = Kind()
KINDS = (Kind(0.08, 0.02, 0.01, 2.5), USUAL, Kind(0.4, 0.15, 0.06), Kind(0.6, 0.3, 0.12, 1.6))


@cache
def mean_of(kind: Kind) -> float:
    """The mean multiple of a kind."""
    return float(kind.multiples(np.random.default_rng(0), 2_000_000).mean())


def market_returns(rng: np.random.Generator, n: int, kind: Kind = USUAL) -> np.ndarray:
    """Returns of copies without any edge, mean zero."""
    return kind.multiples(rng, n) / mean_of(kind) - 1


@dataclass
class Leader:
    name: str
    edge: float
    trades: int = 100
    impact_per_sol: float = 0.0
    """What each SOL above the reference size takes off the mean return."""
    decay_per_slot: float = 0.0
    """What each slot beyond the reference latency takes off it."""
    landed: float = 1.0
    returns: np.ndarray | None = None
    """In place of the market's."""

    def __post_init__(self):
        if self.returns is not None:
            self.trades = len(self.returns)


@dataclass
class CopyWorld:
    """Copies of `leaders` over `days`; each leader's trades are spread over the days, `per_coin` to a coin."""

    leaders: list[Leader]
    seed: int = 1
    days: int = 20
    per_coin: int = 1
    settings: CopySettings = SETTINGS
    cells: tuple[tuple[int, float], ...] = ()
    rows: list[pa.Table] = field(default_factory=list)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        parts = [part for leader in self.leaders for part in self._of(leader, rng)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self.rows = [_table(columns, columns["day"] == day) for day in range(self.days)]

    def _of(self, leader, rng):
        n, reference = leader.trades, (self.settings.reference_latency, self.settings.reference_size_sol)
        base = market_returns(rng, n) if leader.returns is None else leader.returns
        coin = np.repeat(np.arange(-(-n // self.per_coin)), self.per_coin)[:n]
        sol, landed = rng.uniform(0, 85, n), rng.random(n) < leader.landed
        for latency, size in self.cells or (reference,):
            mean = leader.edge - leader.impact_per_sol * (size - reference[1])
            mean -= leader.decay_per_slot * (latency - reference[0])
            yield {
                "leader": np.full(n, leader.name),
                "day": coin % self.days,
                "coin": coin,
                "trade": np.arange(n),
                "latency": np.full(n, latency),
                "size": np.full(n, int(size * 1e9)),
                "returns": (1 + base) * (1 + mean) - 1,
                "sol": sol,
                "landed": landed,
            }


def _table(columns, here):
    c = {name: values[here] for name, values in columns.items()}
    n, ok, fee = int(here.sum()), c["landed"], 105_000
    per_coin, per_trade = (
        np.char.add(np.char.add(c["leader"], "-"), c[name].astype(str)) for name in ("coin", "trade")
    )
    return pa.table(
        {
            "leader": c["leader"],
            "mint": per_coin,
            "sig": per_trade,
            "slot": c["trade"] + 1000,
            "tx_index": np.zeros(n, np.int32),
            "ts_ns": c["day"] * DAY_NS,
            "venue": np.full(n, "curve"),
            "real_quote_lamports": (c["sol"] * 1e9).astype(np.int64),
            "leader_size_lamports": np.full(n, 10**9),
            "latency_slots": c["latency"].astype(np.int16),
            "size_lamports": c["size"],
            "rule": np.full(n, "timer=20s mirror"),
            "outcome": np.where(ok, "LANDED", "REVERTED"),
            "spend_lamports": np.where(ok, c["size"] + 3 * fee, fee),
            "pnl_lamports": np.where(ok, (c["returns"] * c["size"]).astype(np.int64), -fee),
            "hold_ms": pa.array(np.full(n, 20_000), mask=~ok),
            "exit_reason": pa.array(np.full(n, "timer"), mask=~ok),
            "censored": np.zeros(n, bool),
            "entry_premium_bps": pa.array(np.full(n, 100.0), mask=~ok),
        }
    ).cast(pa.schema([f.with_nullable(True) for f in COPIES.arrow]))
