"""Planted price paths of copied coins: followers push the price up, the leader sells by a habit of its own, it falls.

Every rule of the family, and the seed's exit, is played on every path in steps of half a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.exit_rules import NAMES
from copytrader_core.policy.exits import seed_exit
from copytrader_core.policy.rules import FAMILY
from copytrader_core.records import Pattern
from copytrader_core.settings import Settings

STEP_MS = 500
STEPS = 1_300
COST = 0.03
SIZE = 500_000_000


@dataclass
class Habit:
    """`hold_s` is the leader's median hold; `lift` what the price gains until then; `fall` what it loses after."""

    name: str
    hold_s: float
    lift: float = 0.25
    fall: float = 0.35
    noise: float = 0.02

    def paths(self, rng, n):
        """Multiples of the price by step, and the step of the leader's sale."""
        hold = self.hold_s * np.exp(rng.normal(0, 0.35, n))
        t = np.arange(STEPS) * STEP_MS / 1000
        luck = np.exp(rng.normal(0, 0.5, n)) * rng.choice([1.0, 1.0, 1.0, 6.0], n, p=[0.4, 0.3, 0.27, 0.03])
        up = self.lift * luck[:, None] * np.minimum(t / hold[:, None], 1.0)
        after = np.maximum(t - hold[:, None], 0)
        down = self.fall * (1 - np.exp(-after / 4.0))
        walk = np.cumsum(rng.normal(0, self.noise / 4, (n, STEPS)), axis=1)
        price = np.maximum((1 + up) * (1 - down) * np.exp(walk), 0.01)
        return price, (hold * 1000 / STEP_MS).astype(int)

    def pattern(self):
        ms, peak = int(self.hold_s * 1000), 1 + self.lift
        return Pattern(
            self.name, self.name, 20, 100, 0.6, 1.0, ms, int(ms * 1.6), peak, peak * 1.6, "mixed", 0.05, 0.0, 0.0
        )  # fmt: skip


def returns_under(price, leader_step, timer_ms, target_x, trail, mirror, kill_ms=1_800_000):
    """Returns of one rule on all paths: the first condition sells at the step's price."""
    n, steps = price.shape
    multiple = price * (1 - COST)
    end = min(timer_ms or kill_ms, kill_ms) // STEP_MS
    due = np.zeros((n, steps), bool)
    due[:, min(end, steps - 1) :] = True
    if target_x is not None:
        due |= multiple >= target_x
    if trail is not None:
        due |= multiple <= np.maximum.accumulate(multiple, axis=1) * (1 - trail)
    if mirror:
        due |= np.arange(steps)[None, :] > leader_step[:, None]
    return multiple[np.arange(n), due.argmax(1)] - 1


def returns_of(habit, rng, n):
    """One row a copy, one column a rule of NAMES."""
    price, leader_step = habit.paths(rng, n)
    seed = seed_exit(habit.pattern(), Settings().policy)
    columns = [
        returns_under(price, leader_step, r.timer_ms, r.target_x, r.trailing_fraction, r.on_leader_sell) for r in FAMILY
    ]
    columns.append(returns_under(price, leader_step, seed.timer_ms, seed.target_x, None, False, seed.kill_ms))
    return np.column_stack(columns)


def copy_exit_days(returns, days):
    """Rows of `copy_exits` from returns by leader, spread over days."""
    tables = []
    for day in range(days):
        columns = {name: [] for name in ("leader", "mint", "sig", "slot", "rule", "pnl_lamports")}
        for leader, matrix in returns.items():
            mine = np.arange(day, len(matrix), days)
            n = len(mine) * len(NAMES)
            ids = np.repeat(mine, len(NAMES))
            columns["leader"].append(np.full(n, leader, dtype=object))
            columns["mint"].append(np.char.add(f"{leader}-c", ids.astype(str)).astype(object))
            columns["sig"].append(np.char.add(f"{leader}-s", ids.astype(str)).astype(object))
            columns["slot"].append(ids)
            columns["rule"].append(np.tile(np.array(NAMES, dtype=object), len(mine)))
            columns["pnl_lamports"].append((matrix[mine].ravel() * SIZE).astype(np.int64))
        table = pa.table({name: np.concatenate(parts) for name, parts in columns.items()})
        n = table.num_rows
        tables.append(
            table.append_column("spend_lamports", pa.array(np.full(n, SIZE)))
            .append_column("hold_ms", pa.array(np.full(n, 1000)))
            .append_column("exit_reason", pa.array(["timer"] * n))
            .append_column("censored", pa.array(np.zeros(n, bool)))
        )
    return tables
