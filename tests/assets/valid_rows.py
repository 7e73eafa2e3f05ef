"""One row of every published table that keeps all of its rules."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa

from copytrader_assets.schemas import TABLES, Table
from copytrader_core.records import WSOL

DAY = dt.date(2026, 3, 1)
_EVENT = {
    "ts_ns": 10**18, "slot": 5, "tx_index": 0, "sig": "s", "outer_ix": 0, "inner_ix": -1, "event_seq": 0, "wallet": "w",
    "program": "p", "action": "BUY", "mint": "m", "quote_mint": WSOL, "base_raw": 1, "quote_raw": 1,
    "reserve_base_raw": 1, "reserve_quote_raw": 1, "tx_fee_lamports": 1, "tip_lamports": 1,
}  # fmt: skip
_TRIP = {
    "wallet": "w", "mint": "m", "quote_mint": WSOL, "open_sig": "o", "open_path": "0.-1.0", "open_ts_ns": 10**18,
    "open_slot": 5, "open_qty": 1.0, "open_qty_raw": Decimal(10), "open_cost_sol": 5.0, "open_cost_raw": Decimal(5),
    "open_cost_lamports": Decimal(5), "close_sig": "c", "close_ts_ns": 10**18 + 10**9, "close_slot": 7,
    "close_qty": 1.0,
    "close_qty_raw": Decimal(10), "close_proceeds_sol": 8.0, "close_proceeds_lamports": Decimal(8),
    "close_proceeds_raw": Decimal(8), "hold_ms": 1000, "pnl_sol": 3.0, "pnl_lamports": Decimal(3),
    "pnl_raw": Decimal(3),
    "pnl_x": 1.6, "was_win": True, "n_buys": 1, "n_sells": 1, "status": "CLOSED", "basis": "COMPLETE",
    "meta_json": "{}",
}  # fmt: skip
_OPEN = dict.fromkeys(("close_sig", "close_ts_ns", "close_slot", "hold_ms", "was_win")) | {
    "status": "OPEN",
    "close_qty_raw": Decimal(4),
}
_EDGE = {
    "leader": "a", "follower": "b", "lag_ms_p50": 1, "lag_ms_p90": 2, "follow_prob": 0.25, "follow_prob_2s": 0.1,
    "follow_prob_5s": 0.3, "follow_prob_10s": 0.4, "follow_prob_30s": 0.5, "baseline_prob": 0.05, "n_leader_buys": 10,
    "n_followed": 5, "q_value": 0.01, "avg_follower_size_sol": 1.0, "as_of": DAY,
}  # fmt: skip

_NETWORK: dict[str, dict[str, Any]] = {
    "first_buys": {"mint_code": 1, "wallet_code": 2, "slot": 5, "tx_index": 0, "paid_lamports": 1},
    "wallet_links": {
        "wallet": "w", "partner": "x", "kind": "fee_payer", "n_transactions": 1, "n_of_wallet": 2, "first_slot": 5,
        "last_slot": 6,
    },
    "entities": {
        "wallet": "w", "entity": "e", "evidence": "fee_payer", "partner": "x", "n_evidence": 3, "strength": 0.5,
        "first_slot": 5, "last_slot": 6, "n_wallets": 2, "as_of": DAY,
    },
    "edge_validation": {
        "leader": "a", "follower": "b", "n_first_half": 10, "prob_first_half": 0.5, "n_second_half": 10,
        "prob_second_half": 0.4, "chance_prob": 0.1, "persisted": True, "predicted_follows": 5.0,
        "realised_follows": 4, "predicted_sol": 1.0, "realised_sol": 0.8, "as_of": DAY,
    },
    "leader_inflow": {
        "leader": "a", "slots": 1, "ahead_sol": 0.1, "behind_sol": 0.2, "followers_ahead": 0.1,
        "followers_behind": 0.3, "n_followers": 2, "n_leader_buys": 9, "as_of": DAY,
    },
    "inflow_calibration": {
        "slots": 1, "decile": 1, "n_buys": 5, "predicted_behind_sol": 0.1, "realised_behind_sol": 0.2,
        "predicted_ahead_sol": 0.1, "realised_ahead_sol": 0.1, "as_of": DAY,
    },
    "leader_links": {
        "sig": "s", "outer_ix": 0, "inner_ix": -1, "event_seq": 0, "follower": "b", "leader_wallet": "a",
        "leader_sig": "t", "mint": "m", "lag_slots": 3,
    },
}  # fmt: skip


_SIGNAL = {"leader": "a", "mint": "m", "sig": "s", "slot": 5}
_RESULT = {"spend_lamports": 10, "pnl_lamports": 2, "hold_ms": 900, "exit_reason": "timer", "censored": False}
_VALUES: dict[str, dict[str, Any]] = {
    "copies": _SIGNAL | _RESULT | {
        "tx_index": 0, "ts_ns": 10**18, "venue": "curve", "real_quote_lamports": 7, "leader_size_lamports": 3,
        "latency_slots": 2, "size_lamports": 9, "rule": "timer=20s", "outcome": "LANDED", "entry_premium_bps": 50.0,
    },
    "copy_exits": _SIGNAL | _RESULT | {"rule": "timer=20s"},
    "copy_value": {
        "leader": "a", "latency_slots": 2, "size_lamports": 9, "n_signals": 30, "n_landed": 25, "n_days": 5,
        "n_coin_days": 20, "landed_share": 0.8, "landing": 0.8, "raw_mean_x": 0.2, "median_x": 0.0, "mean_x": 0.1,
        "lo_x": 0.02, "hi_x": 0.2, "p_positive": 0.98, "value_x": 0.08, "value_lo_x": 0.01, "value_hi_x": 0.16,
        "verdict": "COPY", "reason": "r", "q_value": 0.01, "capacity_sol": 2.0, "capacity_lo_sol": 1.0,
        "capacity_hi_sol": 3.0, "break_even_slots": 6.0, "rule": "timer=20s", "tier": "ACTIVE", "alpha": 1.0,
        "beta": 1.0, "state_x": [0.0] * 8, "state_half_x": [0.0] * 8, "as_of": DAY,
    },
    "leader_exits": {
        "leader": "a", "rule": "timer=20s", "n_copies": 25, "n_coin_days": 20, "raw_mean_x": 0.2, "mean_x": 0.1,
        "lo_x": 0.02, "hi_x": 0.2, "behind_x": 0.0, "behind_se_x": 0.0, "over_seed_x": 0.03, "over_seed_lo_x": 0.0,
        "over_seed_hi_x": 0.06, "conditions": 1, "is_chosen": True, "as_of": DAY,
    },
    "exit_curves": {
        "leader": "a", "curve": "hold_ms", "at": 500.0, "survival": 0.9, "n_trips": 20, "n_censored": 2, "as_of": DAY,
    },
    "calibration": {
        "leader": "a", "mode": "live", "n_decided": 9, "n_landed": 8, "expected_landing": 0.9, "landing_p_value": 0.6,
        "expected_slots": 2.0, "slots_late": 2.5, "entry_premium_bps": 10.0, "entry_premium_se_bps": 3.0,
        "exit_premium_bps": -5.0, "n_finished": 7, "expected_x": 0.05, "realised_x": 0.04, "score": -1.0,
        "kill_line": -12.0, "cusum": 0.4, "drifted": False, "killed": False, "tier": "ACTIVE", "scale": 0.9,
        "alpha": 0.9, "beta": 1.0, "since": DAY, "benched": None, "as_of": DAY,
    },
    "calibration_bins": {
        "kind": "return", "bin": 1, "n_copies": 5, "expected": 0.1, "realised": 0.08, "realised_lo": 0.0,
        "realised_hi": 0.2, "as_of": DAY,
    },
}  # fmt: skip


def _measures(table: Table) -> dict[str, Any]:
    """Every measure known: three trips, one of them dead, one position held."""
    row: dict[str, Any] = {}
    for column in table.columns:
        number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        row[column.name] = (
            {"p50": 1, "p90": 2, "p95": 2, "_lo": 0, "_hi": 1}.get(column.name[-3:], 1) if number else "x"
        )
    return row | {
        "alias": None, "as_of": DAY, "sample_trades": 3, "closed_trades": 2, "dead_trades": 1, "open_trades": 1,
        "censored_holds": 2, "win_rate": 0.3, "win_rate_closed": 0.5, "opens_by_hour": [3] + [0] * 23,
        "typical_exit_style": "mixed", "slippage_pctl_95": 2.0, **{f"p90_{n}": 2 for n in _QUANTILES},
        "km_p90_hold_ms": 2,
    }  # fmt: skip


_TAPE = {
    "slot": 5, "tx_index": 0, "tx": 0, "outer_ix": 0, "inner_ix": -1, "event_seq": 0, "ts_ns": 10**18, "sig": "s",
    "wallet": "w", "mint": "m", "quote_mint": WSOL, "is_buy": True, "venue": 0, "kind": 0,
    **dict.fromkeys(("base_raw", "quote_raw", "net_raw", "reserve_base_raw", "reserve_quote_raw"), 1),
    **dict.fromkeys(("real_base_raw", "real_quote_raw"), 1),
    **dict.fromkeys(("lp_bps", "protocol_bps", "creator_bps"), 30),
    **dict.fromkeys(("next_lp_bps", "next_protocol_bps", "next_creator_bps"), 30),
}  # fmt: skip
_REFUSED = {
    "mode": "paper", "leader": "a", "mint": "m", "sig": "s", "code": "LOCKED", "also": "EXPOSURE",
    "outcome": "LANDED", "pnl_lamports": 1, "spend_lamports": 2, "exit_reason": "timer",
}  # fmt: skip
_BESIDE = {
    "mode": "paper", "leader": "a", "mint": "m", "sig": "s", "slot": 5, "code": "ACCEPTED", "code_again": "ACCEPTED",
    "cause": "none", "slots_late": 2, "quoted_tokens_raw": 1, "replayed_tokens_raw": 1, "tokens_raw": 1,
    "pnl_lamports": 1, "replayed_pnl_lamports": 1,
}  # fmt: skip
_QUANTILES = ("entry_sol", "hold_ms", "target_x", "best_x")
_ROWS: dict[str, dict[str, Any]] = {
    "events": _EVENT,
    "trades": _TRIP,
    "open_positions": _TRIP | _OPEN,
    "follow_edges": _EDGE,
    **_NETWORK,
    **_VALUES,
    "tape": _TAPE,
    "tape_slots": {"slot": 5, "seconds": 10**9},
    "landings": {"side": "BUY", "slots_late": 2, "n_orders": 3, "as_of": DAY},
    "shadow_book": _REFUSED,
    "parity": _BESIDE,
    "leader_scores": {"wallet": "w", "followership_score": 0.5, "leader_score": 0.5},
    "wallet_patterns": _measures(TABLES["wallet_patterns"]),
    "wallet_windows": _measures(TABLES["wallet_windows"]),
}


def rows_of(name: str, *changes: dict[str, Any]) -> pa.Table:
    """A table with one valid row for each of `changes`, changed by it."""
    table = TABLES[name]
    loose = pa.schema([field.with_nullable(True) for field in table.arrow])
    blank = dict.fromkeys(table.names) | {n: v for n, v in _ROWS[name].items() if n in table.names}
    return table.conform(pa.Table.from_pylist([blank | change for change in changes], loose))
