"""Our own copies up to a day, as arrays by leader: what calibration holds against the replayed ones.

Not here: how they are read (copytrader_core.store.own_copies), and what is concluded (analysis.calibration, tiers).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.calibration import (
    Bins,
    OwnCopies,
    Record,
    Yardstick,
    place_bins,
    probability_transform,
    record,
    reliability,
)
from copytrader_assets.analysis.copy_value import CopyValues
from copytrader_assets.analysis.grouped import Floats
from copytrader_assets.analysis.tiers import Standing
from copytrader_assets.analysis.window import start_ns
from copytrader_assets.resources import Warehouse
from copytrader_core.store.own_copies import OwnCopy, own_copies

_BPS = 10_000


@dataclass(frozen=True, slots=True)
class OurCopies:
    """Copies of ours in order of time. A leader's live ones count; its paper ones only where there are no live ones."""

    copies: Sequence[OwnCopy]
    arrays: OwnCopies

    @classmethod
    def up_to(cls, warehouse: Warehouse, day: dt.date, leaders: Sequence[str]) -> OurCopies:
        """Those of `leaders` (their codes are their places) that were decided on up to the end of `day`."""
        with warehouse.connection() as connection:
            return cls.of(own_copies(connection, day), leaders)

    @classmethod
    def of(cls, copies: Sequence[OwnCopy], leaders: Sequence[str]) -> OurCopies:
        """The same from rows."""
        places = {leader: place for place, leader in enumerate(leaders)}
        live = {one.leader for one in copies if one.mode == "live"}
        mine = [one for one in copies if one.leader in places and (one.mode == "live" or one.leader not in live)]
        returns = [one.pnl_lamports / one.spend_lamports if one.pnl_lamports is not None else None for one in mine]
        arrays = OwnCopies(
            leader=np.array([places[one.leader] for one in mine], dtype=np.int64),
            landed=np.array([one.landed for one in mine], dtype=np.bool_),
            expected_landing=_floats([one.expected_landing for one in mine]),
            expected_slots=_floats([one.expected_slots for one in mine]),
            slots_late=_floats([one.slots_late for one in mine]),
            entry_premium_bps=_floats([one.entry_premium for one in mine]) * _BPS,
            exit_premium_bps=_floats([one.exit_premium for one in mine]) * _BPS,
            expected_returns=_floats([one.expected_x for one in mine]),
            returns=_floats(returns),
        )
        return cls(mine, arrays)

    def record(self, leader: int, standing: Standing, yardstick: Yardstick | None) -> tuple[str, Record] | None:
        """Mode and record of a leader's copies since its standing counts; None without any, or without a yardstick."""
        since = start_ns(standing.since) if standing.since is not None else 0
        counted = [
            one for one in np.flatnonzero(self.arrays.leader == leader).tolist() if self.copies[one].at_ns >= since
        ]
        if not counted or yardstick is None:
            return None
        return self.copies[counted[0]].mode, record(self.arrays.at(np.array(counted)), yardstick)

    def bins(self, values: CopyValues) -> Iterator[tuple[str, Bins]]:
        """Reliability of returns and of landing, and where returns lie among the replayed ones."""
        ours, replayed = self.arrays, values.reference
        yield "return", reliability(ours.expected_returns, ours.returns)
        yield "landing", reliability(ours.expected_landing, ours.landed.astype(np.float64))
        landed = [replayed.returns[replayed.landed & (replayed.leader == code)] for code in range(len(values.leaders))]
        yield "place", place_bins(probability_transform(ours.returns, ours.leader, landed))


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
