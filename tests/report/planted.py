"""A small lake and database with known numbers, written without any analysis, for the tests of the report."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.types.json import Jsonb

from copytrader_assets.lake import Lake
from copytrader_assets.schemas import TABLES
from copytrader_core.records import WSOL

DAY = dt.date(2026, 3, 4)
NOON_NS = int(dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
SOL = 1_000_000_000


def wallet(n: int) -> str:
    return f"Wallet{n:037}x"


def publish(root: Path, name: str, rows: list[dict[str, Any]], day: dt.date = DAY) -> None:
    """Writes one day of one asset; columns that a row leaves out get the empty value of their type."""
    table = TABLES[name]
    filled = [{c.name: row.get(c.name, None if c.nullable else _empty(c.type)) for c in table.columns} for row in rows]
    lake = Lake(root)
    lake.publish([lake.stage(name, day, pa.Table.from_pylist(filled, schema=table.arrow), {})])


def _empty(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else DAY if pa.types.is_date(kind) else 0


def trip(who: str, n: int, *, cost: int, proceeds: int, hold_ms: int | None = 30_000) -> dict[str, Any]:
    closed = hold_ms is not None
    opened_ns = NOON_NS + n * 60_000_000_000
    return {
        "wallet": who, "mint": f"Coin{n}", "quote_mint": WSOL, "open_sig": f"sig{who}{n}", "open_path": "0.0.0",
        "open_ts_ns": opened_ns, "open_slot": n, "open_qty_raw": 1, "open_cost_lamports": cost, "open_cost_raw": cost,
        "open_cost_sol": cost / SOL, "close_sig": f"close{n}" if closed else None,
        "close_ts_ns": opened_ns + hold_ms * 1_000_000 if closed else None, "close_slot": n + 75 if closed else None,
        "close_proceeds_lamports": proceeds, "close_proceeds_raw": proceeds, "close_proceeds_sol": proceeds / SOL,
        "hold_ms": hold_ms, "pnl_lamports": proceeds - cost, "pnl_raw": proceeds - cost,
        "pnl_sol": (proceeds - cost) / SOL,
        "pnl_x": proceeds / cost, "was_win": proceeds > cost, "n_buys": 1, "n_sells": 1 if closed else 0,
        "status": "CLOSED" if closed else "DEAD", "basis": "COMPLETE", "meta_json": "{}",
    }  # fmt: skip


def pattern(who: str, alias: str | None, trades: int, **more: Any) -> dict[str, Any]:
    return {
        "wallet": who, "alias": alias, "sample_days": 1, "sample_trades": trades, "win_rate": 0.6, "win_rate_lo": 0.5,
        "win_rate_hi": 0.7, "p50_entry_sol": 1.0, "p50_hold_ms": 30_000, "p90_hold_ms": 60_000,
        "km_p50_hold_ms": 31_000,
        "p50_target_x": 1.1, "p90_target_x": 1.5, "typical_exit_style": "time_stop", "exit_style_confidence": 0.9,
        "pnl_sol": 1.0, "leader_score": 0.5, "followership_score": 0.4, "preferred_time_window": "12-14", "as_of": DAY,
    } | more  # fmt: skip


def edge(leader: int, follower: int, **more: Any) -> dict[str, Any]:
    return {
        "leader": wallet(leader), "follower": wallet(follower), "lag_ms_p50": 1_200, "lag_ms_p90": 2_500,
        "follow_prob": 0.6, "follow_prob_5s": 0.65, "follow_prob_30s": 0.7, "baseline_prob": 0.05, "n_leader_buys": 40,
        "n_followed": 28, "q_value": 0.001, "as_of": DAY,
    } | more  # fmt: skip


def small_lake(root: Path) -> None:
    """Two leaders, one of them with few trades, and one follower."""
    events = [
        {"ts_ns": NOON_NS, "slot": n, "sig": f"s{n}", "wallet": wallet(n % 3), "action": "CREATE", "mint": f"Coin{n}"}
        for n in range(12)
    ]
    publish(root, "events", events)
    good = [trip(wallet(1), n, cost=SOL, proceeds=SOL + (n - 3) * SOL // 10) for n in range(10)]
    dead = trip(wallet(1), 10, cost=SOL, proceeds=0, hold_ms=None)
    publish(root, "trades", [*good, dead, trip(wallet(2), 0, cost=2 * SOL, proceeds=3 * SOL)])
    publish(
        root,
        "wallet_patterns",
        [pattern(wallet(1), "Ada", 40), pattern(wallet(2), None, 1, leader_score=0.1, pnl_sol=-0.5)],
    )
    publish(root, "follow_edges", [edge(1, 3, leader_alias="Ada", follower_alias="Echo")])


def small_database(connection: psycopg.Connection[Any]) -> None:
    """Three known wallets, one gap, three decisions, a closed and an open paper position, one reverted buy."""
    for n, alias in ((1, "Ada"), (2, None), (3, "Echo")):
        connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, %s)", (wallet(n), alias))
    connection.execute("INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (10, 19, 'broadcast <lost>')")
    for code in ("ACCEPTED", "ACCEPTED", "GATE_WIN_RATE"):
        connection.execute(
            "INSERT INTO exec_journal (run_id, mode, at_ns, kind, payload) VALUES ('r', 'paper', 1, 'DECISION', %s)",
            (Jsonb({"decision": {"code": code}}),),
        )
    position = (
        "INSERT INTO exec_positions (position_id, mode, leader, mint, state, opened_slot, opened_ts_ns, qty_raw, "
        "cost_lamports, proceeds_lamports, exit_reason, closed_ts_ns, payload) "
        "VALUES (%s, 'paper', %s, %s, %s, 1, %s, 5, %s, %s, %s, %s, '{}')"
    )
    connection.execute(
        position, ("p1", wallet(1), "CoinA", "CLOSED", NOON_NS, SOL, SOL * 5 // 4, "timer", NOON_NS + 12 * 10**9)
    )
    connection.execute(position, ("p2", wallet(1), "CoinB", "OPEN", NOON_NS + 10**9, SOL, None, None, None))
    connection.execute(
        "INSERT INTO exec_intents (intent_id, mode, mint, side, state, payload) "
        "VALUES ('i', 'paper', 'CoinC', 'BUY', 'LANDED_ERR', %s)",
        (Jsonb({"cost_lamports": 50_000_000}),),
    )
    connection.commit()


def many_positions(connection: psycopg.Connection[Any], n: int) -> None:
    """Closed paper positions."""
    connection.execute(
        "INSERT INTO exec_positions SELECT 'p' || n, 'paper', %s, 'sig', 'Coin' || n, 'CLOSED', n, "
        "%s + n * 60000000000, "
        "5, 1000000000, 900000000 + n * 1000000, 'timer', %s + n * 60000000000 + 9000000000, '{}' "
        "FROM generate_series(1, %s) AS n",
        (wallet(1), NOON_NS, NOON_NS, n),
    )


def large_lake(root: Path, n_wallets: int, trips_each: int) -> None:
    """Many wallets with random trips, for size and time."""
    rng = random.Random(5)
    trips = [
        trip(
            wallet(w), n, cost=SOL, proceeds=int(SOL * rng.lognormvariate(0, 0.5)), hold_ms=rng.randrange(500, 900_000)
        )
        for w in range(n_wallets)
        for n in range(trips_each)
    ]
    publish(
        root,
        "events",
        [
            {"ts_ns": NOON_NS, "slot": n, "sig": f"s{n}", "wallet": wallet(n), "action": "CREATE"}
            for n in range(n_wallets)
        ],
    )
    publish(root, "trades", trips)
    publish(root, "wallet_patterns", [pattern(wallet(w), f"Trader number {w}", trips_each) for w in range(n_wallets)])
    edges = {(rng.randrange(n_wallets // 8), rng.randrange(n_wallets // 8, n_wallets)) for _ in range(n_wallets)}
    publish(
        root,
        "follow_edges",
        [edge(a, b, lag_ms_p50=rng.randrange(300, 9_000), lag_ms_p90=12_000) for a, b in sorted(edges)],
    )


LATENCIES, SIZES = (1, 2, 8), (SOL // 5, SOL // 2, 2 * SOL)


def values_of(leader: str, value_x: float, *, landed: int = 40, **more: Any) -> list[dict[str, Any]]:
    """A leader's rows of copy_value: its value falls by 0.01 a slot."""
    common = {
        "leader": leader, "n_signals": landed + 2, "n_landed": landed, "n_days": 3, "n_coin_days": 30,
        "landed_share": 0.95, "landing": 0.94, "raw_mean_x": value_x * 1.5, "median_x": value_x / 2, "p_positive": 0.97,
        "verdict": "COPY" if value_x > 0 else "UNCOPYABLE", "reason": "planted", "q_value": 0.01, "capacity_sol": 1.5,
        "capacity_lo_sol": 0.5, "capacity_hi_sol": 2.0, "break_even_slots": 6.0, "rule": "timer=20s",
        "tier": "PROBATION", "alpha": 0.25, "beta": 0.5, "as_of": DAY,
    } | more  # fmt: skip
    rows = []
    for slots in LATENCIES:
        for size in SIZES:
            value = value_x - 0.01 * (slots - 2)
            band = {"value_x": value, "value_lo_x": value - 0.1, "value_hi_x": value + 0.1}
            shown = {"mean_x": value, "lo_x": value - 0.1, "hi_x": value + 0.1}
            rows.append(common | band | shown | {"latency_slots": slots, "size_lamports": size})
    return rows


def copies_of(leader: str, results: list[int]) -> list[dict[str, Any]]:
    """Copies of the reference latency and size with these results in lamports, a minute apart."""
    return [
        {
            "leader": leader, "mint": f"Coin{n}", "sig": f"sig{leader}{n}", "slot": n, "latency_slots": 2,
            "ts_ns": NOON_NS + n * 60_000_000_000, "size_lamports": SOL // 2, "rule": "timer=20s", "outcome": "LANDED",
            "pnl_lamports": pnl, "spend_lamports": SOL // 2, "hold_ms": 20_000, "leader_size_lamports": SOL,
        }
        for n, pnl in enumerate(results)
    ]  # fmt: skip


def small_values(root: Path) -> None:
    """What copies of the second leader of `small_lake` are worth; of the first one nothing is known."""
    who = wallet(2)
    publish(root, "copy_value", values_of(who, 0.2))
    publish(root, "copies", copies_of(who, [SOL // 10, -SOL // 20, SOL // 5]))
    rules = [("timer=20s", 0.2, True), ("seed", 0.05, False), ("mirror", 0.1, False)]
    publish(
        root,
        "leader_exits",
        [
            {
                "leader": who, "rule": rule, "n_copies": 3, "n_coin_days": 3, "raw_mean_x": x, "mean_x": x,
                "lo_x": x - 0.1, "hi_x": x + 0.1, "over_seed_x": None if rule == "seed" else x - 0.05,
                "over_seed_lo_x": None if rule == "seed" else x - 0.15, "is_chosen": chosen, "as_of": DAY,
                "over_seed_hi_x": None if rule == "seed" else x + 0.05,
            }
            for rule, x, chosen in rules
        ],
    )  # fmt: skip
    curve = [("hold_ms", 5_000.0, 0.5), ("hold_ms", 30_000.0, 0.0), ("multiple", 1.2, 0.5), ("multiple", 2.0, 0.0)]
    publish(
        root,
        "exit_curves",
        [
            {"leader": who, "curve": kind, "at": at, "survival": s, "n_trips": 2, "n_censored": 0, "as_of": DAY}
            for kind, at, s in curve
        ],
    )
    publish(
        root,
        "calibration",
        [
            {
                "leader": who, "mode": "paper", "n_decided": 10, "n_landed": 8, "expected_landing": 0.9,
                "landing_p_value": 0.3, "expected_slots": 2.0, "slots_late": 2.5, "n_finished": 8, "kill_line": -5.0,
                "cusum": 1.0, "tier": "PROBATION", "scale": 1.0, "alpha": 0.25, "beta": 0.5, "as_of": DAY,
            }
        ],
    )  # fmt: skip
    publish(
        root,
        "calibration_bins",
        [
            {
                "kind": "return", "bin": n + 1, "n_copies": 4, "expected": n / 20, "realised": n / 25,
                "realised_lo": n / 25 - 0.05, "realised_hi": n / 25 + 0.05, "as_of": DAY,
            }
            for n in range(5)
        ],
    )  # fmt: skip


def backtest_document() -> dict[str, Any]:
    """Two round trips of the first leader of `small_lake`, one of them still open, beside two baselines."""
    who = wallet(1)
    at = [NOON_NS + n * 60_000_000_000 for n in range(3)]
    closed = {
        "leader": who, "alias": "Ada", "mint": "Coin3", "leader_sig": f"sig{who}3", "open_ts_ns": at[0],
        "cost_lamports": SOL, "close_ts_ns": at[1], "pnl_lamports": SOL // 4, "reason": "timer",
    }  # fmt: skip
    held = closed | {"mint": "Coin4", "leader_sig": f"sig{who}4", "close_ts_ns": None, "pnl_lamports": None}
    account = {"pnl_lamports": -SOL, "max_drawdown_lamports": SOL, "bought": 3, "equity": [[at[0], -SOL]]}
    guard = {"code": "GATE_WIN_RATE", "refused": 9, "followed": 8, "pnl_lamports": -SOL}
    return {
        "from": "2026-03-03", "to": "2026-03-04", "days": [{}, {}], "decision_hash": "a", "round_trips": [closed, held],
        "pnl_lamports": SOL // 4, "max_drawdown_lamports": SOL // 8,
        "equity": [[at[0], SOL // 2], [at[1], SOL // 4]], "decisions": {"ACCEPTED": 2, "GATE_WIN_RATE": 9},
        "baselines": {"seed": account | {"decision_hash": "b"}, "everybody": account | {"decision_hash": "c"}},
        "guards": [
            guard | {"low_lamports": -2 * SOL, "high_lamports": 0},
            guard | {"code": "NO_MARKET", "followed": 0, "pnl_lamports": 0, "low_lamports": 0, "high_lamports": 0},
        ],
    }  # fmt: skip
