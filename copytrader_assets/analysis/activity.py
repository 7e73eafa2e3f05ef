"""How often, when and in what rhythm a wallet trades."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_assets.analysis.grouped import Floats, Ints, distinct, ratio, total
from copytrader_assets.analysis.sample import Sample
from copytrader_assets.analysis.window import NS_PER_DAY, NS_PER_HOUR

_HOURS = 24


def activity(sample: Sample) -> dict[str, object]:
    """Days with an ended trip, trips per observed day, the opens by UTC hour, and how they bunch."""
    trips, n = sample.trips, sample.n
    hour = trips.ints("open_ts_ns") // NS_PER_HOUR % _HOURS
    opens = np.bincount(trips.codes * _HOURS + hour, minlength=n * _HOURS).reshape(n, _HOURS)
    burst, gaps = burstiness(trips.codes, trips.ints("open_slot"), n)
    return {
        "sample_days": distinct(trips.codes, trips.ints("end_ns") // NS_PER_DAY, n),
        "avg_daily_trades": sample.size / sample.days,
        "opens_by_hour": pa.array(list(opens.astype(np.int32)), pa.list_(pa.int32())),
        "preferred_time_window": preferred_hours(opens),
        "burstiness": burst,
        "burstiness_gaps": gaps,
    }


def burstiness(codes: Ints, times: Ints, n_groups: int) -> tuple[Floats, Ints]:
    """Burstiness of each group's times, and the number n of gaps between them that it is read from.

    With r = standard deviation / mean of the gaps: (sqrt(n + 1) r - sqrt(n - 1)) / ((sqrt(n + 1) - 2) r + sqrt(n - 1)).
    -1 for a clockwork, 0 on average for a Poisson process of any length, 1 for all at once. NaN below two gaps.
    Source: Goh and Barabasi 2008 (r - 1) / (r + 1), with the finite-size correction of Kim and Jo 2016.
    """
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    same = codes[1:] == codes[:-1]
    group, gap = codes[1:][same], np.diff(times)[same].astype(np.float64)
    n = np.bincount(group, minlength=n_groups).astype(np.int64)
    mean = ratio(total(group, gap, n_groups), n)
    spread = np.sqrt(ratio(total(group, (gap - mean[group]) ** 2, n_groups), n))
    r = ratio(spread, mean)
    more, less = np.sqrt(n + 1.0), np.sqrt(np.maximum(n - 1.0, 0))
    value = ratio(more * r - less, (more - 2) * r + less)
    return np.clip(np.where(n >= 2, value, np.nan), -1, 1), n


def preferred_hours(opens: NDArray[np.int_]) -> NDArray[np.object_]:
    """The shortest circular run of UTC hours that holds half of each row's opens, as "HH-HH" (end exclusive).

    Of several, the one with most opens, then the earliest start.
    """
    result = np.full(len(opens), None, dtype=object)
    half = opens.sum(axis=1) / 2
    running = np.zeros_like(opens)
    undecided = half > 0
    for width in range(1, _HOURS + 1):
        running = running + np.roll(opens, -(width - 1), axis=1)
        best = running.argmax(axis=1)
        done = undecided & (running[np.arange(len(opens)), best] >= half)
        for row in np.flatnonzero(done):
            result[row] = f"{best[row]:02d}-{(best[row] + width) % _HOURS:02d}"
        undecided &= ~done
    return result
