"""How a wallet leaves its positions: one of five styles with the share of trips that agrees with it.

A style is called where it is dominant, that is where it describes about two thirds of the closed trips:

- scale_out: the trip is sold in two or more transactions of which none sells nearly everything;
- time_stop: hold times are concentrated, whatever the price did;
- target_x: exit multiples above 1 are concentrated, whatever the time was;
- panic_dump: trips are left soon after the price fell, more often than it falls by itself, or at a concentrated loss;
- mixed: none of these.

Concentration is the length of the shortest interval of log holds (or log multiples) that holds 65 % of the trips: up to
a third of the trips may be anything else. The rules and their limits are in docs/methods.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from copytrader_assets.analysis.grouped import Flags, Floats, Groups, Ints, count, ratio, total

DOMINANT_SHARE = 0.65
CLEAR_SHARE = 0.62
HOLD_LENGTH = 0.60
"""Longest 65 % interval of log holds of a time stop: about plus or minus 35 %, or a log-normal spread of 0.32."""
MULTIPLE_LENGTH = 0.26
"""Longest 65 % interval of log multiples of a target: about plus or minus 14 %, or a spread of 0.14."""
ALWAYS_LOSES = 0.85
"""A wallet that leaves this share of its trips at a moderate loss cuts losses, even where the fall before was slow."""
TOTAL_LOSS = 0.4
"""Below this multiple a loss was ridden down, not cut."""
FEE_MARGIN = 0.03
"""A round trip without any price move loses about 2.5 % to fees: within this margin of 1 nothing was reached."""


@dataclass(frozen=True, slots=True)
class ClosedTrips:
    """Closed trips, one element each: group code, time held (any unit), exit multiple and flags."""

    codes: Ints
    held: Floats
    multiple: Floats
    in_parts: Flags
    after_fall: Flags
    fall_share: Floats
    """How often the price had just fallen by itself while each trip was held; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class ExitStyles:
    """Each group's style and the share of its trips that agrees (for mixed: 1 - the best style's share)."""

    style: NDArray[np.object_]
    confidence: Floats


def exit_styles(trips: ClosedTrips, n_groups: int, min_trips: int) -> ExitStyles:
    """The exit style of each group; `mixed` with confidence 0 below `min_trips` closed trips."""
    size = np.bincount(trips.codes, minlength=n_groups)
    parts = ratio(count(trips.codes, trips.in_parts, n_groups), size)
    hold = _concentration(trips.codes, np.log(trips.held + 0.5), HOLD_LENGTH, n_groups)
    multiple = _concentration(trips.codes, _log_multiple(trips), MULTIPLE_LENGTH, n_groups)
    fled = _beyond_chance(trips, size, n_groups)
    lost = ratio(count(trips.codes, _loss(trips) & (trips.multiple >= TOTAL_LOSS), n_groups), size)

    moved = np.abs(multiple.middle) > FEE_MARGIN
    timed = hold.is_clear & ~(multiple.is_clear & moved & (multiple.tightness < hold.tightness))
    on_multiple = multiple.is_clear & ~timed
    conditions = [
        parts >= CLEAR_SHARE,
        timed,
        on_multiple & (multiple.middle > FEE_MARGIN),
        (on_multiple & (multiple.middle < -FEE_MARGIN)) | (fled >= CLEAR_SHARE) | (lost >= ALWAYS_LOSES),
    ]
    enough = size >= min_trips
    style = np.select([c & enough for c in conditions], ["scale_out", "time_stop", "target_x", "panic_dump"], "mixed")
    nearest = np.fmax.reduce([parts, hold.share, multiple.share, fled])
    agreeing = np.select(conditions, [parts, hold.share, multiple.share, np.fmax(lost, fled)], 1 - nearest)
    return ExitStyles(style.astype(object), np.where(enough, agreeing, 0.0))


def _beyond_chance(trips: ClosedTrips, size: Ints, n_groups: int) -> Floats:
    """The share of trips that were left because of a fall.

    A volatile coin has always just fallen: where the price had done so in a share c of the time that coins were held,
    exits at random follow a fall as often. Of the share f that did, (f - c) / (1 - c) were left on purpose.
    """
    share = ratio(count(trips.codes, trips.after_fall, n_groups), size)
    by_chance = ratio(
        total(trips.codes, trips.fall_share, n_groups), count(trips.codes, np.isfinite(trips.fall_share), n_groups)
    )
    by_chance = np.clip(np.nan_to_num(by_chance), 0, 0.99)
    return np.clip((share - by_chance) / (1 - by_chance), 0, 1)


def _log_multiple(trips: ClosedTrips) -> Floats:
    """Log of the exit multiple; a trip that returned nothing lies far below every target."""
    return np.log(np.maximum(trips.multiple, 1e-6))


def _loss(trips: ClosedTrips) -> Flags:
    """Trips that lost more than the fees of a round trip."""
    return np.asarray(trips.multiple < 1 - FEE_MARGIN)


@dataclass(frozen=True, slots=True)
class _Concentration:
    """Of each group: length of the 65 % shorth over the longest allowed, its middle, and the share of values near it.

    `clear` is that share without what a broad background would put there anyway, read from the values a little farther
    off: two habits in equal parts must not fill each other's gaps.
    """

    tightness: Floats
    middle: Floats
    share: Floats
    clear: Floats

    @property
    def is_clear(self) -> Flags:
        """Groups whose values are concentrated."""
        return np.asarray((self.tightness <= 1) & (self.clear >= CLEAR_SHARE))


def _concentration(codes: Ints, values: Floats, length: float, n_groups: int) -> _Concentration:
    """How concentrated each group's values are: near is half a `length` from the middle, farther off one to two."""
    size = np.bincount(codes, minlength=n_groups)
    shortest, middle = Groups.of(codes, values, n_groups).shorth(DOMINANT_SHARE)
    distance = np.abs(values - middle[codes])
    near = ratio(count(codes, distance <= length / 2 + 1e-12, n_groups), size)
    farther = ratio(count(codes, (distance > length) & (distance <= 2 * length), n_groups), size)
    return _Concentration(shortest / length, middle, near, near - farther / 2)
