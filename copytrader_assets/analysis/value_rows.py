"""The rows of `copy_value`, `leader_exits`, `exit_curves`, `calibration` and `calibration_bins` from their numbers.

Not here: the numbers (copy_value, exit_rules, exit_curves, calibration, tiers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.calibration import Bins, Record
from copytrader_assets.analysis.copy_value import Cell, CopyValues
from copytrader_assets.analysis.exit_curves import AGES_MS, MULTIPLES, survival_by_age, survival_by_multiple
from copytrader_assets.analysis.exit_rules import NAMES, RuleValues, conditions_of
from copytrader_assets.analysis.grouped import Floats
from copytrader_assets.analysis.survival import Observed
from copytrader_assets.analysis.tiers import Standing

_DIGITS: Final = 6
"""Returns to the millionth: what is journalled with every decision should be short."""
_NORMAL_95: Final = 1.6448536269514722

Columns = dict[str, Any]


def value_rows(
    values: CopyValues, rules: Mapping[str, str], standings: Mapping[str, Standing], as_of: date
) -> pa.Table:
    """One row for each leader with copies, and each cell; `rules` and `standings` are of all these leaders."""
    parts = [_cell_rows(values, key, cell, rules, standings) for key, cell in values.cells.items()]
    if not parts:
        return pa.table({})
    rows: Columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows |= _of_leader(values, rows.pop("code"), as_of)
    return pa.table({name: _known(column) for name, column in rows.items()}).sort_by(
        [("leader", "ascending"), ("latency_slots", "ascending"), ("size_lamports", "ascending")]
    )


def with_copies(values: CopyValues) -> list[int]:
    """The codes of the leaders that have any copy."""
    signals = sum((cell.means.signals for cell in values.cells.values()), np.zeros(len(values.leaders), dtype=np.int64))
    return [int(code) for code in np.flatnonzero(signals)]


def _cell_rows(
    values: CopyValues,
    key: tuple[int, int],
    cell: Cell,
    rules: Mapping[str, str],
    standings: Mapping[str, Standing],
) -> Columns:
    some, means = np.array(with_copies(values), dtype=np.int64), cell.means
    names = [values.leaders[code] for code in some.tolist()]
    with np.errstate(invalid="ignore"):
        landed_share = means.landed / np.where(means.signals > 0, means.signals, np.nan)
    numbers = {
        "landed_share": landed_share,
        "landing": cell.landed,
        "raw_mean_x": means.raw,
        "median_x": means.median,
        "mean_x": cell.mean,
        "lo_x": cell.low,
        "hi_x": cell.high,
        "p_positive": np.clip(cell.p_positive, 0, 1),
        "value_x": cell.per_signal(cell.mean),
        "value_lo_x": cell.per_signal(cell.low),
        "value_hi_x": cell.per_signal(cell.high),
    }
    return {
        "code": some,
        "leader": np.array(names, dtype=object),
        "latency_slots": np.full(len(some), key[0]),
        "size_lamports": np.full(len(some), key[1]),
        "n_signals": means.signals[some],
        "n_landed": means.landed[some],
        "n_days": means.days[some],
        "n_coin_days": means.clusters[some],
        **{name: np.round(column[some], _DIGITS) for name, column in numbers.items()},
        "rule": np.array([rules[name] for name in names], dtype=object),
        "tier": np.array([standings[name].tier for name in names], dtype=object),
        "alpha": np.array([standings[name].alpha for name in names]),
        "beta": np.array([standings[name].beta for name in names]),
    }


def _of_leader(values: CopyValues, code: Any, as_of: date) -> Columns:
    """What is the same in all of a leader's rows."""
    said, states = values.verdicts, len(values.offsets.half)
    half = np.round(values.offsets.half, _DIGITS).tolist()
    offsets = np.round(values.offsets_of, _DIGITS).reshape(-1, states)
    return {
        "verdict": np.array(said.verdict, dtype=object)[code],
        "reason": np.array(said.reason, dtype=object)[code],
        "q_value": np.round(said.q_value, _DIGITS)[code],
        "capacity_sol": np.round(said.capacity_sol, _DIGITS)[code],
        "capacity_lo_sol": np.round(said.capacity_low_sol, _DIGITS)[code],
        "capacity_hi_sol": np.round(said.capacity_high_sol, _DIGITS)[code],
        "break_even_slots": np.round(said.break_even_slots, _DIGITS)[code],
        "state_x": pa.array([offsets[one].tolist() for one in code], pa.list_(pa.float64())),
        "state_half_x": pa.array([half] * len(code), pa.list_(pa.float64())),
        "as_of": pa.array([as_of] * len(code), pa.date32()),
    }


def exit_rows(values: RuleValues, leaders: Sequence[str], as_of: date) -> pa.Table:
    """One row for each leader with copies, and each rule that was tried."""
    leader, rule = (axis.ravel() for axis in np.indices(values.raw.shape))
    tried = ~np.isnan(values.raw).ravel()
    leader, rule = leader[tried], rule[tried]
    half = _NORMAL_95 * values.spread
    over, over_half = values.over_seed, _NORMAL_95 * values.over_seed_error
    numbers = {
        "raw_mean_x": values.raw,
        "mean_x": values.mean,
        "lo_x": values.mean - half,
        "hi_x": values.mean + half,
        "behind_x": values.behind,
        "behind_se_x": values.behind_error,
        "over_seed_x": over,
        "over_seed_lo_x": over - over_half,
        "over_seed_hi_x": over + over_half,
    }
    conditions = np.array([conditions_of(name) for name in NAMES])
    columns: Columns = {
        "leader": np.array(leaders, dtype=object)[leader],
        "rule": np.array(NAMES, dtype=object)[rule],
        "n_copies": values.copies[leader],
        "n_coin_days": values.coin_days[leader],
        **{name: np.round(table[leader, rule], _DIGITS) for name, table in numbers.items()},
        "conditions": conditions[rule],
        "is_chosen": values.chosen[leader] == rule,
        "as_of": pa.array([as_of] * len(leader), pa.date32()),
    }
    return pa.table({name: _known(column) for name, column in columns.items()})


def curve_rows(holds: Observed, multiples: Observed, leaders: Sequence[str], as_of: date) -> pa.Table:
    """Both curves of every leader with a position, at AGES_MS and MULTIPLES."""
    parts = [
        _curve("hold_ms", holds, survival_by_age(holds, len(leaders)), AGES_MS.astype(np.float64), leaders),
        _curve("multiple", multiples, survival_by_multiple(multiples, len(leaders)), MULTIPLES, leaders),
    ]
    rows: Columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return pa.table({**rows, "as_of": pa.array([as_of] * len(rows["leader"]), pa.date32())})


def _curve(name: str, observed: Observed, survival: Floats, points: Floats, leaders: Sequence[str]) -> Columns:
    some = np.flatnonzero(~np.isnan(survival).any(1))
    trips = np.bincount(observed.codes, minlength=len(leaders))
    censored = np.bincount(observed.codes[observed.ended == 0], minlength=len(leaders))
    each = np.repeat(some, len(points))
    return {
        "leader": np.array(leaders, dtype=object)[each],
        "curve": np.full(len(each), name, dtype=object),
        "at": np.tile(points, len(some)),
        "survival": np.round(np.clip(survival[some].ravel(), 0, 1), _DIGITS),
        "n_trips": trips[each],
        "n_censored": censored[each],
    }


_RECORD: Final = {"n_decided": "decided", "n_landed": "landed", "n_finished": "finished"}


def calibration_rows(
    records: Mapping[str, tuple[str, Record]], standings: Mapping[str, Standing], as_of: date
) -> pa.Table:
    """One row for each leader that has a standing; `records`: mode and record of those with copies of ours."""
    rows = []
    names = [field.name for field in fields(Record) if field.name not in _RECORD.values()]
    for leader, standing in sorted(standings.items()):
        mode, record = records.get(leader, (None, Record.none()))
        row: dict[str, Any] = {name: _number(getattr(record, name)) for name in names}
        row |= {column: getattr(record, name) for column, name in _RECORD.items()}
        row |= {"leader": leader, "mode": mode, "tier": standing.tier, "scale": standing.scale, "alpha": standing.alpha}
        row |= {"beta": standing.beta, "since": standing.since, "benched": standing.benched, "as_of": as_of}
        rows.append(row)
    return pa.Table.from_pylist(rows)


def bin_rows(tables: Iterable[tuple[str, Bins]], as_of: date) -> pa.Table:
    """Reliability tables, one row a bin that has copies."""
    rows = [
        {
            "kind": kind,
            "bin": n + 1,
            "n_copies": int(bins.number[n]),
            "expected": _number(bins.expected[n]),
            "realised": _number(bins.realised[n]),
            "realised_lo": _number(bins.low[n]),
            "realised_hi": _number(bins.high[n]),
            "as_of": as_of,
        }
        for kind, bins in tables
        for n in np.flatnonzero(bins.number).tolist()
    ]
    return pa.Table.from_pylist(rows)


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _known(column: Any) -> pa.Array:
    return column if isinstance(column, pa.Array) else pa.array(column, from_pandas=True)
