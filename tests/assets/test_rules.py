"""Every rule of every published table is broken once, found, and named with its row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from copytrader_assets.assets import fingerprints
from copytrader_assets.schemas import TABLES, Column, Table
from tests.assets.conftest import Platform
from tests.assets.planted import Market, day, track
from tests.assets.valid_rows import rows_of

# How each rule across columns can be broken; a rule that is missing here fails the test below.
_MONEY = ("open_cost", "close_proceeds", "pnl")
_TRIP_BREAKS: dict[str, dict[str, Any]] = {
    **{f"{n}_lamports equals {n}_raw in SOL and is NULL otherwise": {f"{n}_lamports": Decimal(77)} for n in _MONEY},
    "close_sig, close_ts_ns, close_slot and hold_ms are set when CLOSED, else NULL": {
        "status": "DEAD",
        "was_win": False,
    },
    "sells nothing without a sell": {"n_sells": 0},
}
_PATTERN_BREAKS: dict[str, dict[str, Any]] = {
    "a fingerprint has a finished trip": {"sample_trades": 0},
    "sample_trades = closed_trades + dead_trades": {"dead_trades": 0},
    "opens_by_hour has 24 counts that add up to sample_trades": {"opens_by_hour": [3]},
    "censored_holds are at most the DEAD and the open trips": {"censored_holds": 0},
}
_BREAKS: dict[str, dict[str, dict[str, Any]]] = {
    "events": {
        "a BUY or SELL names coin and quote": {"mint": None},
        "a BUY or SELL has amounts": {"quote_raw": None},
    },
    "trades": _TRIP_BREAKS | {
        "a finished trip is CLOSED or DEAD": {"status": "OPEN"},
        "pnl is proceeds - cost": {"pnl_raw": Decimal(4), "pnl_lamports": Decimal(4)},
        "closes after it opens": {"close_slot": 4},
        "CLOSED: was_win is pnl > 0": {"was_win": False},
        "DEAD is a loss": {"status": "DEAD"},
        "CLOSED has a sell": {"n_sells": 0},
        "hold_ms is close_ts_ns - open_ts_ns": {"hold_ms": 1001},
        "a finished trip says whether it won": {"was_win": None},
    },
    "open_positions": _TRIP_BREAKS | {
        "close_sig, close_ts_ns, close_slot and hold_ms are set when CLOSED, else NULL": {"hold_ms": 4},
        "an open trip is OPEN": {"status": "DEAD"},
        "an open trip has not won yet": {"was_win": True},
        "an open trip has sold less than it bought": {"close_qty_raw": Decimal(10)},
    },
    "follow_edges": {
        "nobody follows himself": {"leader": "b"},
        "follow_prob is follow_prob_5s - baseline_prob": {"follow_prob": 0.3},
    },
    "wallet_links": {"a link joins two": {"partner": "w", "wallet": "w"}},
    "copies": {
        "what landed was held": {"hold_ms": None},
        "what did not land earns nothing": {"outcome": "REVERTED", "hold_ms": None},
    },
    "copy_value": {
        "state_x has one number for each of the 8 states": {"state_x": [0.0]},
        "state_half_x has one number for each of the 8 states": {"state_half_x": [0.0] * 9},
        "whose copies are not proven is on the bench": {"verdict": "UNPROVEN"},
    },
    "calibration": {"the bench buys nothing": {"tier": "BENCH"}},
    "leader_exits": {"the seed's exit stands beside the rules": {"rule": "seed"}},
    "wallet_patterns": _PATTERN_BREAKS,
    "wallet_windows": _PATTERN_BREAKS,
}  # fmt: skip


def change_for(table: Table, rule: str) -> dict[str, Any]:
    """What to change in a valid row so that it breaks a rule across columns."""
    if rule in _BREAKS.get(table.name, {}):
        return _BREAKS[table.name][rule]
    if " <= " in rule:
        *_, lower, upper = rule.split(" <= ")
        return {lower: 1, upper: 0}
    name, _, sample = rule.partition(" is NULL exactly without ")
    assert sample, f"{table.name}: nobody breaks the rule {rule!r}"
    return {name: None}


def beyond(column: Column) -> list[tuple[str, dict[str, Any]]]:
    name, exact = column.name, pa.types.is_decimal(column.type)
    found: list[tuple[str, dict[str, Any]]] = []
    if column.ge is not None:
        found.append((f"{name} >= {column.ge}", {name: Decimal(int(column.ge) - 1) if exact else column.ge - 1}))
    if column.le is not None:
        found.append((f"{name} <= {column.le}", {name: column.le + 1}))
    if column.isin is not None:
        found.append((f"{name} is one of {', '.join(column.isin)}", {name: "?"}))
    if not column.nullable:
        found.append((f"{name} is not NULL", {name: None}))
    if pa.types.is_floating(column.type) and column.finite:
        found.append((f"{name} is finite", {name: float("inf")}))
    return found


@pytest.mark.parametrize("name", TABLES)
def test_a_valid_row_keeps_every_rule(name: str) -> None:
    assert TABLES[name].violations(rows_of(name, {})) == ()


@pytest.mark.parametrize("name", TABLES)
def test_every_broken_rule_is_found_and_names_its_row(name: str) -> None:
    table = TABLES[name]
    broken = [(rule.name, change_for(table, rule.name)) for rule in table.rules]
    broken += [one for column in table.columns for one in beyond(column)]
    is_text = pa.types.is_string(table.arrow.field(table.key[0]).type)
    changes = [{table.key[0]: f"row-{n}" if is_text else 100 + n} | change for n, (_, change) in enumerate(broken)]
    rows = rows_of(name, *changes)
    found = {violation.rule: violation for violation in table.violations(rows)}
    assert set(found) >= {rule for rule, _ in broken}
    for n, (rule, _) in enumerate(broken):
        values = [rows[column][n].as_py() for column in table.key]
        key = "/".join("<NA>" if value is None else str(value) for value in values)
        assert key in found[rule].keys or found[rule].rows > len(found[rule].keys)


@pytest.mark.parametrize("name", TABLES)
def test_a_key_that_stands_twice_is_found(name: str) -> None:
    (violation,) = TABLES[name].violations(rows_of(name, {}, {}))
    assert (violation.rule, violation.rows) == (f"unique {'+'.join(TABLES[name].key)}", 2)


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_column_or_a_wrong_type_is_no_such_table(name: str) -> None:
    rows = rows_of(name, {})
    with pytest.raises(pa.ArrowInvalid, match="lacks the columns"):
        TABLES[name].conform(rows.drop_columns([TABLES[name].names[0]]))
    number = next(i for i, c in enumerate(TABLES[name].columns) if not pa.types.is_string(c.type))
    with pytest.raises(pa.ArrowInvalid):
        TABLES[name].conform(rows.set_column(number, TABLES[name].names[number], pa.array(["many"])))


@pytest.mark.parametrize("asset", ["wallet_patterns", "wallet_windows"])
def test_fingerprints_that_break_a_rule_are_not_published(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, asset: str
) -> None:
    track(platform.url, wallet_1="one")
    platform.plant(Market(1, 2, events_per_day=80).rows, day(0), day(1))
    platform.succeed(day(0))
    before = platform.files()
    real = fingerprints.publishable

    def wrong(*args: Any, **kwargs: Any) -> pa.Table:
        rows = real(*args, **kwargs)
        place = rows.column_names.index("win_rate_closed")
        return rows.set_column(place, "win_rate_closed", pa.array([-0.5] * rows.num_rows))

    monkeypatch.setattr(fingerprints, "publishable", wrong)
    message = platform.failure(day(0), select=asset)
    assert "win_rate_closed >= 0" in message and "wallet-1" in message and "the old snapshots stand" in message
    assert platform.files() == before
