"""How long a wallet holds: of what it closed, with what it still holds, and whether it holds longer than a given time.

Not here: the estimator (survival).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from copytrader_assets.analysis.grouped import Flags, Floats, Groups, Ints, count, ratio
from copytrader_assets.analysis.sample import Sample
from copytrader_assets.analysis.survival import Observed, hold_quantiles_ms
from copytrader_assets.analysis.window import NS_PER_MS


def holds(sample: Sample, over_ms: int) -> dict[str, Floats | Ints]:
    """Quantiles of the CLOSED trips' holds, the Kaplan-Meier quantiles, and the share held longer than `over_ms`."""
    trips = sample.trips
    closed = Groups.of(trips.codes, np.where(trips.flags("closed"), trips.floats("hold_ms"), np.nan), sample.n)
    observed, long = observed_holds(sample), _held_over(sample, over_ms)
    half, most = hold_quantiles_ms(observed, (0.5, 0.9), sample.n)
    return {
        "p50_hold_ms": closed.quantile(0.5),
        "p90_hold_ms": closed.quantile(0.9),
        "km_p50_hold_ms": half,
        "km_p90_hold_ms": most,
        "censored_holds": count(observed.codes, observed.ended == 0, sample.n),
        "hold_over_ms": np.full(sample.n, over_ms, dtype=np.int64),
        "hold_over_trials": long.trials,
        "hold_over": ratio(long.longer, long.trials),
        "held_over": long.longer,
    }


def observed_holds(sample: Sample) -> Observed:
    """Every trip and open position with its age, the age since when it is observed, and whether it ended."""
    trips, held = sample.trips, sample.held
    codes = np.concatenate([trips.codes, held.codes])
    opened = np.concatenate([trips.ints("open_ts_ns"), held.ints("open_ts_ns")])
    end = np.concatenate([trips.ints("end_ns"), np.full(len(held.codes), sample.end_ns)])
    ended = np.concatenate([trips.flags("closed"), np.zeros(len(held.codes), dtype=np.bool_)])
    hold = np.concatenate([np.nan_to_num(trips.floats("hold_ms")), np.zeros(len(held.codes))])
    age = np.where(ended, hold, (end - opened) // NS_PER_MS).astype(np.int64)
    entry = np.maximum(sample.since_ns[codes] - opened, 0) // NS_PER_MS
    return Observed(codes, age, entry, ended.astype(np.int64))


@dataclass(frozen=True, slots=True)
class _HeldOver:
    longer: Ints
    trials: Ints


def _held_over(sample: Sample, over_ms: int) -> _HeldOver:
    """Of the positions opened in the window: closed ones, and those held longer already whatever became of them."""
    observed = observed_holds(sample)
    opened_inside = observed.entries_ms == 0
    longer: Flags = (observed.ages_ms > over_ms) & opened_inside
    known: Flags = (longer | (observed.ended != 0)) & opened_inside
    return _HeldOver(count(observed.codes, longer, sample.n), count(observed.codes, known, sample.n))
