"""How much SOL a leader's followers bring after it, ahead of us and behind us, slot by slot; and whether that holds.

Over the leader's first buys of a coin: `ahead_sol(k)` is the mean SOL that its validated followers bought at most k
slots later, `behind_sol(k)` what they bought from then to the horizon. Sums over buys, followed or not, so the mean is
what one buy may expect. Not here: what the policy makes of it (copytrader_core.policy.inflow).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Floats, Ints
from copytrader_assets.analysis.pair_counts import Met

GRID_SLOTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60)
"""Slots at which the forecast is kept; the horizon is added."""
CHECKED_SLOTS = (0, 2, 5)
DECILES = 10
INFLOW_SCHEMA = pa.schema(
    [
        pa.field("leader", pa.string(), nullable=False),
        pa.field("slots", pa.int64(), nullable=False),
        pa.field("ahead_sol", pa.float64(), nullable=False),
        pa.field("behind_sol", pa.float64(), nullable=False),
        pa.field("followers_ahead", pa.float64(), nullable=False),
        pa.field("followers_behind", pa.float64(), nullable=False),
        pa.field("n_followers", pa.int64(), nullable=False),
        pa.field("n_leader_buys", pa.int64(), nullable=False),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)
CALIBRATION_SCHEMA = pa.schema(
    [
        pa.field("slots", pa.int64(), nullable=False),
        pa.field("decile", pa.int64(), nullable=False),
        pa.field("n_buys", pa.int64(), nullable=False),
        pa.field("predicted_behind_sol", pa.float64(), nullable=False),
        pa.field("realised_behind_sol", pa.float64(), nullable=False),
        pa.field("predicted_ahead_sol", pa.float64(), nullable=False),
        pa.field("realised_ahead_sol", pa.float64(), nullable=False),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)
"""Means per leader buy of the second half, by tenth of what the first half predicted (behind the slot)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What followed a leader's buys: for each follow the number of the buy, the slots since it, and the SOL."""

    n_buys: int
    n_followers: int
    buy: Ints
    slots: Ints
    sol: Floats

    @classmethod
    def of(cls, buys: FirstBuys, leader: int, followers: Ints, horizon: int, since_slot: int = 0) -> Answers:
        """The follows of `followers` within `horizon` slots of the leader's buys from `since_slot` on."""
        met = Met.of(buys, leader, followers, since_slot)
        slots = (buys.slot[met.at] - buys.slot[met.source]).astype(np.int64)
        near = met.later & (slots <= horizon)
        place = np.searchsorted(np.sort(met.own), met.source[near])
        sol = np.nan_to_num(buys.size_sol[met.at[near]].astype(np.float64))
        return cls(len(met.own), len(followers), place.astype(np.int64), slots[near], sol)

    def mean(self, within: int, weights: Floats | None = None) -> float:
        """Mean per buy of SOL (or of `weights`) that came at most `within` slots later."""
        values = self.sol if weights is None else weights
        return float(values[self.slots <= within].sum() / max(self.n_buys, 1))

    def per_buy(self, within: int) -> Floats:
        """SOL at most `within` slots after each buy."""
        early = self.slots <= within
        return np.bincount(self.buy[early], weights=self.sol[early], minlength=self.n_buys).astype(np.float64)


def inflow_rows(
    buys: FirstBuys, leader: Ints, follower: Ints, horizon: int, names: Mapping[int, list[str]], as_of: date
) -> pa.Table:
    """The forecast of every leader of the edges (leader[i], follower[i]) as INFLOW_SCHEMA.

    `names` lists the tracked wallets behind each leader's code: each of them gets the actor's forecast.
    """
    grid = [k for k in GRID_SLOTS if k < horizon] + [horizon]
    rows = []
    for one in np.unique(leader):
        answers = Answers.of(buys, int(one), follower[leader == one], horizon)
        curve = [_point(answers, k, horizon) for k in grid]
        rows += [point | {"leader": name, "as_of": as_of} for name in names[int(one)] for point in curve]
    table = pa.Table.from_pylist(rows, schema=INFLOW_SCHEMA)
    return table.sort_by([("leader", "ascending"), ("slots", "ascending")])


def _point(answers: Answers, k: int, horizon: int) -> dict[str, float]:
    ones = np.ones(len(answers.sol))
    ahead, followers = answers.mean(k), answers.mean(k, ones)
    return {
        "slots": k,
        "ahead_sol": ahead,
        "behind_sol": max(0.0, answers.mean(horizon) - ahead),
        "followers_ahead": followers,
        "followers_behind": answers.mean(horizon, ones) - followers,
        "n_followers": answers.n_followers,
        "n_leader_buys": answers.n_buys,
    }


def calibration_rows(
    first_half: FirstBuys, buys: FirstBuys, leader: Ints, follower: Ints, horizon: int, middle: int, as_of: date
) -> pa.Table:
    """The first half's forecast against every leader buy of the second, as CALIBRATION_SCHEMA.

    `leader` and `follower` are the edges that were found on the first half; `middle` is the second's first slot.
    """
    rows = [CALIBRATION_SCHEMA.empty_table()]
    pairs = []
    for one in np.unique(leader):
        mine = follower[leader == one]
        before = Answers.of(first_half, int(one), mine, horizon)
        pairs.append((before, Answers.of(buys, int(one), mine, horizon, middle)))
    rows += [_deciles(pairs, k, horizon, as_of) for k in CHECKED_SLOTS if pairs]
    return pa.concat_tables(rows)


def _deciles(pairs: list[tuple[Answers, Answers]], k: int, horizon: int, as_of: date) -> pa.Table:
    """All buys of the second half sorted by what was predicted for them and cut into tenths."""
    total = np.concatenate([after.per_buy(horizon) for _, after in pairs])
    ahead = np.concatenate([after.per_buy(k) for _, after in pairs])
    sizes = [after.n_buys for _, after in pairs]
    expected = np.repeat([max(0.0, before.mean(horizon) - before.mean(k)) for before, _ in pairs], sizes)
    expected_ahead = np.repeat([before.mean(k) for before, _ in pairs], sizes)
    order = np.argsort(expected, kind="stable")
    parts = [part for part in np.array_split(order, DECILES) if len(part)]
    means = [
        [float(values[part].mean()) for part in parts] for values in (expected, total - ahead, expected_ahead, ahead)
    ]
    columns = [np.full(len(parts), k), np.arange(1, len(parts) + 1), [len(part) for part in parts], *means]
    return pa.table([*columns, pa.array([as_of] * len(parts), pa.date32())], schema=CALIBRATION_SCHEMA)
